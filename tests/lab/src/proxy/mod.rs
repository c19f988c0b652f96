//! Starts: a real proxy as a child process; finds its program, stops it on drop.

pub mod envoy;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a proxy may take to its first real answer. Measured: 0.3 to 2 s.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How often the first answer is asked for.
const START_STEP: Duration = Duration::from_millis(50);

/// Where the program of a proxy may be.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name on the path.
    pub name: &'static str,
    /// The environment variable that names it.
    pub variable: &'static str,
    /// Where it is below `target/venv`; `*` stands for any one folder.
    pub packaged: &'static str,
}

impl Program {
    /// The program: by the variable, else from the virtual environment, else on the path.
    #[must_use]
    pub fn find(&self) -> Option<PathBuf> {
        if let Some(named) = std::env::var_os(self.variable) {
            return Some(PathBuf::from(named)).filter(|path| path.is_file());
        }
        let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv");
        let path = std::env::var_os("PATH").unwrap_or_default();
        below(&environment, self.packaged).or_else(|| {
            std::env::split_paths(&path)
                .chain([PathBuf::from("/usr/sbin")])
                .map(|folder| folder.join(self.name))
                .find(|candidate| candidate.is_file())
        })
    }
}

/// A proxy that runs; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts the command, its output in `log`, and returns once `ready` has nothing to object.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or is still not ready after half a minute: the last
    /// objection.
    pub fn start(
        command: &Command,
        log: &Path,
        ready: &dyn Fn() -> Result<(), String>,
    ) -> Result<Self, String> {
        let (output, errors) = File::create(log)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|error| format!("cannot create {}: {error}", log.display()))?;
        let child = bound_to_this_process(command)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
        let mut running = Self { child };
        running
            .wait_until(ready)
            .map_err(|reason| format!("{reason}; see {}", log.display()))?;
        Ok(running)
    }

    fn wait_until(&mut self, ready: &dyn Fn() -> Result<(), String>) -> Result<(), String> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the proxy ended at once: {status}"));
            }
            match ready() {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() > limit => {
                    return Err(format!(
                        "no answer through the proxy in {START_LIMIT:?}, last was {reason}"
                    ));
                }
                Err(_) => thread::sleep(START_STEP),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the process has already ended, which is what is wanted.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// A free port of 127.0.0.1 above those that Linux gives to outgoing connections: a server that
/// goes for a while finds it still free. It is this program's until it ends, also while nobody
/// listens there: who asks for one at the same time gets another.
///
/// # Errors
/// There is none.
pub fn steady_port() -> io::Result<u16> {
    const FIRST: u16 = 61_000;
    const COUNT: u16 = 4_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static SIGNS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    // Two test programs at a time begin at different places.
    let begin = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + begin.wrapping_add(step) % COUNT;
        // The UDP port of this number is the sign that the TCP port is taken.
        let Ok(sign) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            SIGNS
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(sign);
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The first file that fits the pattern below a folder.
fn below(folder: &Path, pattern: &str) -> Option<PathBuf> {
    let (first, rest) = pattern.split_once('/').unwrap_or((pattern, ""));
    let candidates: Vec<PathBuf> = if first == "*" {
        fs::read_dir(folder)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .collect()
    } else {
        vec![folder.join(first)]
    };
    candidates.into_iter().find_map(|candidate| match rest {
        "" => Some(candidate).filter(|path| path.is_file()),
        rest => below(&candidate, rest),
    })
}

/// The same command under `setpriv --pdeathsig`, which execs: the proxy dies with the test
/// even when the test is killed. Without the tool only the normal way of stopping is left.
fn bound_to_this_process(command: &Command) -> Command {
    let tool = Path::new("/usr/bin/setpriv");
    let mut bound = if tool.is_file() {
        let mut outer = Command::new(tool);
        outer
            .args(["--pdeathsig", "KILL"])
            .arg(command.get_program());
        outer
    } else {
        Command::new(command.get_program())
    };
    bound.args(command.get_args());
    bound
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::steady_port;

    #[test]
    fn a_steady_port_bears_a_sign_for_other_programs() {
        let port = steady_port().unwrap();
        assert_ne!(steady_port().unwrap(), port);
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        assert!(other.is_err(), "another program would take {port}");
    }
}
