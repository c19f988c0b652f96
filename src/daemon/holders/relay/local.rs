//! Acts: the relay's own side, its listener and the local clients it lets in.

use core::cell::Cell;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{User, geteuid};
use tracing::warn;

use crate::config::Listen;
use crate::store::durable::read_bounded;

/// What lets the users of `relay.users` have their numbers in a unit.
const NAMELESS: &str = "the unit needs PrivateUsers=no in a drop-in";

/// The kernel takes 340 lines of three numbers each.
const USER_MAP_OCTETS_MAX: usize = 16 * 1024;

/// The listening socket and who may come.
#[derive(Debug)]
pub(super) struct Door {
    listener: Listener,
    /// User numbers let in on a Unix socket.
    users: Vec<u32>,
    /// Who was sent away last: a station that tries again and again is told of once.
    sent_away: Cell<Option<u32>>,
    /// What clients are told to come back to when they do not say it themselves.
    pub(super) name: String,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One local client: the calls on a socket of TCP are the same.
pub(in crate::daemon) type Local = UnixStream;

impl Door {
    /// Begins to listen. The error is a sentence for the operator.
    pub(super) fn open(listen: &Listen, users: &[String]) -> Result<Self, String> {
        let failed = |error: io::Error| format!("the relay cannot listen on {listen}: {error}");
        let listener = match listen {
            Listen::Tcp(address) => Listener::Tcp(TcpListener::bind(address).map_err(failed)?),
            Listen::Unix(path) => Listener::Unix(bind(path).map_err(failed)?),
        };
        let name = match &listener {
            Listener::Tcp(tcp) => tcp.local_addr().map_err(failed)?.to_string(),
            Listener::Unix(_) => "localhost:80".to_owned(),
        };
        match &listener {
            Listener::Tcp(tcp) => tcp.set_nonblocking(true),
            Listener::Unix(unix) => unix.set_nonblocking(true),
        }
        .map_err(failed)?;
        let known = known_users();
        let mut numbers = vec![0, geteuid().as_raw()];
        for user in users {
            let number = number_of(user)?;
            if known.contains(number) {
                numbers.push(number);
            } else {
                // Let in, its number could be anybody's.
                warn!(hint = NAMELESS, "relay.users: {user} has no number in here");
            }
        }
        Ok(Self {
            listener,
            users: numbers,
            sent_away: Cell::new(None),
            name,
        })
    }

    /// Takes the next client; `None` is one that may not come in.
    pub(super) fn accept(&self) -> io::Result<Option<Local>> {
        match &self.listener {
            Listener::Tcp(tcp) => {
                let (stream, peer) = tcp.accept()?;
                if !peer.ip().is_loopback() {
                    return Ok(None);
                }
                // One that is gone already is no reason to let the others wait.
                let set = stream
                    .set_nonblocking(true)
                    .and_then(|()| stream.set_nodelay(true));
                Ok(set.ok().map(|()| OwnedFd::from(stream).into()))
            }
            Listener::Unix(unix) => {
                let (stream, _) = unix.accept()?;
                let Ok(peer) = getsockopt(&stream, PeerCredentials) else {
                    return Ok(None);
                };
                let user = peer.uid();
                if !self.users.contains(&user) {
                    if self.sent_away.replace(Some(user)) != Some(user) {
                        let hint = if known_users().contains(user) {
                            "add it to relay.users"
                        } else {
                            NAMELESS
                        };
                        warn!(user, hint, "the relay sent a user away");
                    }
                    return Ok(None);
                }
                let set = stream.set_nonblocking(true);
                Ok(set.ok().map(|()| stream))
            }
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::Tcp(tcp) => tcp.as_fd(),
            Listener::Unix(unix) => unix.as_fd(),
        }
    }
}

/// Binds a socket that everybody may knock at: the user's number decides, not the mode.
fn bind(path: &PathBuf) -> io::Result<UnixListener> {
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        // Left behind by a process that was killed, unless somebody answers.
        if UnixStream::connect(path).is_ok() {
            return Err(ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// The users that have numbers in this user namespace; all others share one, 65534 mostly.
struct Known(Vec<(u64, u64)>);

impl Known {
    /// Of lines `first-inside first-outside count`; none at all: every user is known.
    fn parse(map: &str) -> Self {
        let line = |line: &str| {
            let mut numbers = line.split_whitespace().map(str::parse::<u64>);
            let first = numbers.next()?.ok()?;
            let count = numbers.nth(1)?.ok()?;
            Some((first, count))
        };
        Self(map.lines().filter_map(line).collect())
    }

    fn contains(&self, user: u32) -> bool {
        let user = u64::from(user);
        let is_in =
            |(first, count): &(u64, u64)| user.checked_sub(*first).is_some_and(|at| at < *count);
        self.0.is_empty() || self.0.iter().any(is_in)
    }
}

fn known_users() -> Known {
    let map = read_bounded(Path::new("/proc/self/uid_map"), USER_MAP_OCTETS_MAX);
    Known::parse(&String::from_utf8_lossy(&map.unwrap_or_default()))
}

fn number_of(user: &str) -> Result<u32, String> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    match User::from_name(user) {
        Ok(Some(found)) => Ok(found.uid.as_raw()),
        _ => Err(format!("relay.users: there is no user called {user:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Known;

    #[test]
    fn who_has_no_number_of_its_own_is_not_known() {
        let unit =
            Known::parse("         0          0          1\n       998        998          1\n");
        assert!(unit.contains(0) && unit.contains(998));
        assert!(!unit.contains(999) && !unit.contains(65534));
        let whole = Known::parse("         0          0 4294967295\n");
        assert!(whole.contains(999) && whole.contains(65534));
        assert!(Known::parse("").contains(999));
    }
}
