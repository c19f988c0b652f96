//! Starts: one real proxy as a child process, waits until it really answers, stops it on drop.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::probe::{self, Reply};

/// How long a proxy may take to its first real answer. Measured: 0.3 to 2 s.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How often the first answer is asked for.
const START_STEP: Duration = Duration::from_millis(50);

/// The one TLS version a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// TLS 1.2 only.
    V12,
    /// TLS 1.3 only.
    V13,
}

impl Tls {
    /// The version as it is printed in the case's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V12 => "tls1.2",
            Self::V13 => "tls1.3",
        }
    }
}

/// Everything a proxy needs to be configured.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// An own empty folder for the configuration and the logs.
    pub(crate) folder: PathBuf,
    /// The HTTP server behind the proxy.
    pub(crate) upstream: SocketAddr,
    /// The proxy's own certificate for `localhost`, leaf first, PEM.
    pub(crate) server_chain: PathBuf,
    /// The key of the proxy's certificate, PEM.
    pub(crate) server_key: PathBuf,
    /// The authorities of the devices, root and issuing, PEM.
    pub(crate) client_authorities: PathBuf,
    /// The version to speak.
    pub(crate) tls: Tls,
    /// The free loopback port to listen on.
    pub(crate) port: u16,
}

impl Site {
    /// Writes one configuration file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    }
}

/// One kind of proxy: how its program is found and how it is started.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The name in the output and for `--filter`.
    pub(crate) name: &'static str,
    /// The environment variable that names the program.
    pub(crate) variable: &'static str,
    /// Where the program is below `target/venv`; `*` stands for any one folder.
    pub(crate) packaged: &'static str,
    /// Whether a refused certificate is answered in HTTP instead of by an alert.
    pub(crate) refuses_in_http: bool,
    /// Writes the configuration and makes the command.
    pub(crate) command: fn(&Path, &Site) -> Outcome<Command>,
}

impl Kind {
    /// The program: by the variable, else from the virtual environment, else on the path.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        if let Some(named) = std::env::var_os(self.variable) {
            return Some(PathBuf::from(named)).filter(|path| path.is_file());
        }
        let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv");
        let path = std::env::var_os("PATH").unwrap_or_default();
        below(&environment, self.packaged).or_else(|| {
            std::env::split_paths(&path)
                .chain([PathBuf::from("/usr/sbin")])
                .map(|folder| folder.join(self.name))
                .find(|candidate| candidate.is_file())
        })
    }

    /// Starts the program and returns once a request through it has reached the upstream.
    /// `ready` asks one question of the proxy at the site's port.
    pub(crate) fn start(
        &self,
        program: &Path,
        site: &Site,
        ready: &dyn Fn() -> Outcome<probe::Answer>,
    ) -> Outcome<Running> {
        let log = site.folder.join("proxy.log");
        let file = File::create(&log).map_err(|error| format!("cannot create the log: {error}"))?;
        let copy = file
            .try_clone()
            .map_err(|error| format!("cannot share the log: {error}"))?;
        let child = bound_to_this_process(&(self.command)(program, site)?)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(copy)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let mut running = Running { child };
        running
            .wait_until(ready)
            .map_err(|reason| format!("{reason}; see {}", log.display()))?;
        Ok(running)
    }
}

/// A proxy that runs; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Running {
    fn wait_until(&mut self, ready: &dyn Fn() -> Outcome<probe::Answer>) -> Outcome<()> {
        let limit = Instant::now() + START_LIMIT;
        let mut last = String::from("nothing");
        while Instant::now() < limit {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the proxy ended at once: {status}"));
            }
            match ready() {
                Ok(probe::Answer {
                    reply: Reply::Status { code: 200, .. },
                    ..
                }) => return Ok(()),
                Ok(answer) => last = format!("{answer:?}"),
                Err(reason) => last = reason,
            }
            thread::sleep(START_STEP);
        }
        Err(format!(
            "no answer through the proxy in {START_LIMIT:?}, last was {last}"
        ))
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
pub(crate) fn free_port() -> Outcome<u16> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
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
