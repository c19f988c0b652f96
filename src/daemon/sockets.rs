//! Acts: the two sockets in the runtime directory.
//!
//! | socket | mode | speaks |
//! |---|---|---|
//! | `status.sock` | 0666 | writes one JSON object and closes; never reads |
//! | `control.sock` | 0600 | one verb a line: `refresh` or `reload`; answers `ok` or why not |

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::clock::Cutoff;
use crate::limits::{CLIENTS_A_ROUND, CONTROL_OCTETS_MAX, SOCKET_PATIENCE, STATUS_OCTETS_MAX};

/// The name of the status socket.
pub const STATUS: &str = "status.sock";
/// The name of the control socket.
pub const CONTROL: &str = "control.sock";

/// What can be asked for on the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Ask CUPS now.
    Refresh,
    /// Read identity and configuration again.
    Reload,
}

impl Verb {
    /// Reads one line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        match line.trim() {
            "refresh" => Some(Self::Refresh),
            "reload" => Some(Self::Reload),
            _ => None,
        }
    }

    /// The line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Reload => "reload",
        }
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
}

impl Sockets {
    /// Binds both. A socket left behind by a killed process is replaced; the store's lock has
    /// made sure that no other agent lives.
    pub fn bind(runtime_dir: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o755).create(runtime_dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let paths = [runtime_dir.join(STATUS), runtime_dir.join(CONTROL)];
        let [status, control] = &paths;
        Ok(Self {
            status: listen(status, 0o666)?,
            control: listen(control, 0o600)?,
            paths,
        })
    }

    /// Gives the status to those who wait for it; the rest is served in the next round.
    pub fn serve_status(&self, object: &str) {
        for _ in 0..CLIENTS_A_ROUND {
            let Ok((mut stream, _)) = self.status.accept() else {
                return;
            };
            let line = object.as_bytes();
            // The object fits the socket's buffer; a reader that does not read loses it.
            let _ = stream.set_nonblocking(true);
            let _ = stream.write_all(line.get(..STATUS_OCTETS_MAX).unwrap_or(line));
        }
    }

    /// Takes one verb of each who waits, and answers; the rest is served in the next round.
    #[must_use]
    pub fn take_verbs(&self) -> Vec<Verb> {
        let mut verbs = Vec::new();
        for _ in 0..CLIENTS_A_ROUND {
            let Ok((stream, _)) = self.control.accept() else {
                break;
            };
            if let Ok(verb) = converse(stream) {
                verbs.extend(verb);
            }
        }
        verbs
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
    Ok(text)
}

/// Gives a verb to a running agent and returns its answer.
pub fn give_verb(runtime_dir: &Path, verb: Verb) -> io::Result<String> {
    let mut stream = UnixStream::connect(runtime_dir.join(CONTROL))?;
    stream.set_read_timeout(Some(SOCKET_PATIENCE.saturating_mul(5)))?;
    writeln!(stream, "{}", verb.name())?;
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

fn converse(mut stream: UnixStream) -> io::Result<Option<Verb>> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(SOCKET_PATIENCE))?;
    let verb = Verb::parse(&line(&mut stream)?);
    let answer = if verb.is_some() {
        "ok\n"
    } else {
        "unknown verb; refresh and reload exist\n"
    };
    stream.write_all(answer.as_bytes())?;
    Ok(verb)
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
    use super::{CLIENTS_A_ROUND, CONTROL, STATUS, Sockets, fs};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

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
        assert_eq!(sockets.take_verbs().len(), CLIENTS_A_ROUND);
        assert_eq!(sockets.take_verbs().len(), 2);
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
