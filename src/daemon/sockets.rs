//! Acts: the two sockets in the runtime directory.
//!
//! | socket | mode | speaks |
//! |---|---|---|
//! | `status.sock` | 0666 | writes one JSON object and closes; never reads |
//! | `control.sock` | 0600 | one line: `refresh`, `reload` or `uplink HEX [FREQ_HZ [DR]]`; answers `ok`, `sent` or why not |

use core::cell::Cell;
use core::time::Duration;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tracing::debug;

use super::clock::{self, Cutoff};
use crate::limits::{
    ACCEPT_PAUSE, CLIENTS_A_ROUND, CONTROL_OCTETS_MAX, SOCKET_PATIENCE, STATUS_OCTETS_MAX,
};
use crate::wire::uplink::Frame;

/// The name of the status socket.
pub const STATUS: &str = "status.sock";
/// The name of the control socket.
pub const CONTROL: &str = "control.sock";

/// What can be asked for on the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Ask CUPS now.
    Refresh,
    /// Read identity and configuration again.
    Reload,
    /// Send a frame to the LNS as if it had been received by radio.
    Uplink(Frame),
}

impl Verb {
    /// Reads one line. The error is a sentence for whoever sent it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let (verb, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match (verb, rest) {
            ("refresh", "") => Ok(Self::Refresh),
            ("reload", "") => Ok(Self::Reload),
            ("uplink", rest) => Frame::parse(rest)
                .map(Self::Uplink)
                .map_err(|error| error.to_string()),
            _ => Err("unknown verb; refresh, reload and uplink exist".to_owned()),
        }
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Refresh => "refresh".to_owned(),
            Self::Reload => "reload".to_owned(),
            Self::Uplink(frame) => format!("uplink {}", frame.line()),
        }
    }

    /// What is answered when it is done.
    #[must_use]
    pub const fn answer(&self) -> &'static str {
        match self {
            Self::Refresh | Self::Reload => "ok",
            Self::Uplink(_) => "sent",
        }
    }
}

/// Makes the runtime directory, unless it is there.
pub(super) fn make_runtime_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Both listeners; the files go with them.
#[derive(Debug)]
pub struct Sockets {
    /// Serves the status.
    pub status: UnixListener,
    /// Takes verbs.
    pub control: UnixListener,
    paths: [PathBuf; 2],
    /// No client is taken before that: the system had nothing left for one.
    paused_until: Cell<Option<Duration>>,
}

impl Sockets {
    /// Binds both. A socket left behind by a killed process is replaced; the store's lock has
    /// made sure that no other agent lives.
    pub fn bind(runtime_dir: &Path) -> io::Result<Self> {
        make_runtime_dir(runtime_dir)?;
        let paths = [runtime_dir.join(STATUS), runtime_dir.join(CONTROL)];
        let [status, control] = &paths;
        Ok(Self {
            status: listen(status, 0o666)?,
            control: listen(control, 0o600)?,
            paths,
            paused_until: Cell::new(None),
        })
    }

    /// When clients are taken again, if they are not now.
    #[must_use]
    pub fn paused_until(&self) -> Option<Duration> {
        let until = self.paused_until.get();
        until.filter(|&until| clock::since_boot() < until)
    }

    /// The next client. One that cannot be taken stays in the queue and would wake the loop at
    /// once, again and again.
    fn accept(&self, listener: &UnixListener) -> Option<UnixStream> {
        match listener.accept() {
            Ok((stream, _)) => Some(stream),
            Err(error) => {
                let is_usual = matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                );
                if !is_usual {
                    let until = clock::since_boot().saturating_add(ACCEPT_PAUSE);
                    self.paused_until.set(Some(until));
                    debug!("no client can be taken: {error}");
                }
                None
            }
        }
    }

    /// Gives the status to those who wait for it; the rest is served in the next round.
    pub fn serve_status(&self, object: &str) {
        for _ in 0..CLIENTS_A_ROUND {
            let Some(mut stream) = self.accept(&self.status) else {
                return;
            };
            let line = object.as_bytes();
            // The object fits the socket's buffer; a reader that does not read loses it.
            let _ = stream.set_nonblocking(true);
            let _ = stream.write_all(line.get(..STATUS_OCTETS_MAX).unwrap_or(line));
        }
    }

    /// Takes one verb of each who waits, has it done, and answers how that went; the rest is
    /// served in the next round.
    pub fn serve_control(&self, act: &mut dyn FnMut(Verb) -> Result<(), String>) {
        for _ in 0..CLIENTS_A_ROUND {
            let Some(stream) = self.accept(&self.control) else {
                break;
            };
            // Whoever is gone already does not get an answer.
            let _ = converse(stream, act);
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = fs::remove_file(path);
        }
    }
}

/// Asks a running agent for its status.
pub fn ask_status(runtime_dir: &Path) -> io::Result<String> {
    let stream = UnixStream::connect(runtime_dir.join(STATUS))?;
    stream.set_read_timeout(Some(SOCKET_PATIENCE.saturating_mul(5)))?;
    let mut text = String::new();
    stream
        .take(u64::try_from(STATUS_OCTETS_MAX).unwrap_or(u64::MAX))
        .read_to_string(&mut text)?;
    if text.is_empty() {
        // It is about to end.
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(text)
}

/// Gives a verb to a running agent and returns its answer.
pub fn give_verb(runtime_dir: &Path, verb: &Verb) -> io::Result<String> {
    let mut stream = UnixStream::connect(runtime_dir.join(CONTROL))?;
    stream.set_read_timeout(Some(SOCKET_PATIENCE.saturating_mul(5)))?;
    writeln!(stream, "{}", verb.line())?;
    let mut answer = String::new();
    stream
        .take(CONTROL_OCTETS_MAX as u64)
        .read_to_string(&mut answer)?;
    Ok(answer.trim().to_owned())
}

fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn converse(
    mut stream: UnixStream,
    act: &mut dyn FnMut(Verb) -> Result<(), String>,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(SOCKET_PATIENCE))?;
    let verb = Verb::parse(&line(&mut stream)?);
    let done = verb.and_then(|verb| {
        let answer = verb.answer();
        act(verb).map(|()| answer)
    });
    let answer = done.map_or_else(|why| why, str::to_owned);
    stream.write_all(format!("{answer}\n").as_bytes())
}

/// Reads one line. The patience is for all of it: one octet at a time holds nobody up.
fn line(stream: &mut UnixStream) -> io::Result<String> {
    let cutoff = Cutoff::after(SOCKET_PATIENCE);
    let mut line = Vec::new();
    let mut buffer = [0; CONTROL_OCTETS_MAX];
    while line.len() < CONTROL_OCTETS_MAX && !line.contains(&b'\n') {
        let left = cutoff.left().ok_or(ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            amount => line.extend_from_slice(buffer.get(..amount).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{CLIENTS_A_ROUND, CONTROL, STATUS, Sockets, ask_status, fs};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_agent_that_ends_before_it_has_answered_has_not_answered() {
        let name = format!("mtls-agent-ending-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let sockets = Sockets::bind(&folder).unwrap();
        let path = folder.clone();
        let asked = std::thread::spawn(move || ask_status(&path));
        while sockets.status.accept().is_err() {
            std::thread::yield_now();
        }
        assert!(asked.join().unwrap().is_err());
        drop(sockets);
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn a_crowd_of_clients_is_served_in_rounds_between_which_the_loop_goes_on() {
        let name = format!("mtls-agent-sockets-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let sockets = Sockets::bind(&folder).unwrap();
        let crowd = |socket: &str| -> Vec<UnixStream> {
            let client = |_| UnixStream::connect(folder.join(socket)).unwrap();
            (0..CLIENTS_A_ROUND + 2).map(client).collect()
        };
        let mut orders = crowd(CONTROL);
        for client in &mut orders {
            client.write_all(b"refresh\n").unwrap();
        }
        let served = || {
            let mut count = 0;
            sockets.serve_control(&mut |_| {
                count += 1;
                Ok(())
            });
            count
        };
        assert_eq!((served(), served()), (CLIENTS_A_ROUND, 2));
        let mut readers = crowd(STATUS);
        sockets.serve_status("{}\n");
        let last = readers.last_mut().unwrap();
        last.set_nonblocking(true).unwrap();
        assert!(last.read(&mut [0; 8]).is_err(), "served in the next round");
        sockets.serve_status("{}\n");
        assert_eq!(last.read(&mut [0; 8]).unwrap(), 3);
        drop(sockets);
        fs::remove_dir(folder).unwrap();
    }
}
