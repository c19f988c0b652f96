//! Acts: passes octets between one local client and its LNS connection, both ways.
//!
//! ```text
//! local --read--> rustls --write_tls--> remote      read only while rustls has nothing to send
//! local <--write-- rustls <--read_tls-- remote      read only while nothing waits for the local side
//! ```
//! So each way holds at most one chunk, and whoever is slow slows the other side down.
//! What waits is freed as soon as it is sent; `reference/perf.md` section 2.

use core::time::Duration;
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::PollFlags;

use super::local::Local;
use super::remote::{Remote, Scratch, Seen, flush, send_or_keep};
use crate::limits::{RELAY_GOODBYE, RELAY_HALF_OPEN};

/// Chunks passed each way before others get their turn.
const TURN_CHUNKS: u32 = 16;

/// A local client and its LNS connection.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each side and each direction ends by itself"
)]
pub(in crate::daemon) struct Pipe {
    local: Local,
    remote: Remote,
    /// What the local side did not take yet.
    waiting: Vec<u8>,
    has_local_ended: bool,
    has_remote_ended: bool,
    /// The LNS hears nothing any more: what the client still says is dropped.
    is_remote_deaf: bool,
    is_local_told: bool,
    is_remote_told: bool,
    is_local_gone: bool,
    is_hungry: bool,
    quiet_since: Duration,
    /// What took the LNS from a client that was still here, until it is told.
    loss: Option<ErrorKind>,
}

/// The ways in which there may be something to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) struct Ways {
    up: bool,
    down: bool,
}

impl Ways {
    /// Both.
    pub(in crate::daemon) const BOTH: Self = Self {
        up: true,
        down: true,
    };

    /// What events on one side mean: who is heard, or has room again.
    pub(in crate::daemon) fn of(events: PollFlags, is_remote: bool) -> Self {
        let (heard, room) = (events != PollFlags::POLLOUT, events != PollFlags::POLLIN);
        if is_remote {
            Self {
                up: room,
                down: heard,
            }
        } else {
            Self {
                up: heard,
                down: room,
            }
        }
    }

    /// These and others.
    pub(in crate::daemon) const fn and(self, other: Self) -> Self {
        Self {
            up: self.up || other.up,
            down: self.down || other.down,
        }
    }
}

/// Octets passed in one turn.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::daemon) struct Moved {
    pub(in crate::daemon) up: u64,
    pub(in crate::daemon) down: u64,
}

impl Pipe {
    /// Joins both. `to_remote` is what the client sent too early, `to_local` the LNS's head
    /// and what came with it.
    pub(in crate::daemon) fn new(
        local: Local,
        mut remote: Remote,
        to_remote: &[u8],
        to_local: Vec<u8>,
    ) -> io::Result<Self> {
        remote.push(to_remote)?;
        Ok(Self {
            local,
            remote,
            waiting: to_local,
            has_local_ended: false,
            has_remote_ended: false,
            is_remote_deaf: false,
            is_local_told: false,
            is_remote_told: false,
            is_local_gone: false,
            // rustls may hold what came with the head.
            is_hungry: true,
            quiet_since: Duration::ZERO,
            loss: None,
        })
    }

    /// Passes what can be passed now.
    pub(in crate::daemon) fn work(
        &mut self,
        ways: Ways,
        scratch: &mut Scratch,
        now: Duration,
    ) -> Moved {
        self.is_hungry = false;
        let kept = self.waiting.len();
        let down = if ways.down || self.is_half_open() {
            self.pass_down(scratch)
        } else {
            0
        };
        let up = if ways.up || self.is_half_open() {
            self.pass_up(scratch)
        } else {
            0
        };
        // An answer of rustls itself, such as a key update.
        self.send();
        if up > 0 || down > 0 || self.waiting.len() < kept || !self.is_half_open() {
            self.quiet_since = now;
        }
        Moved { up, down }
    }

    /// Whether nothing is left to be done.
    pub(in crate::daemon) const fn is_over(&self) -> bool {
        self.has_remote_ended && self.has_local_ended && (self.is_local_told || self.is_local_gone)
    }

    /// How the connection to the LNS broke under its client; told once.
    pub(in crate::daemon) const fn take_loss(&mut self) -> Option<ErrorKind> {
        self.loss.take()
    }

    /// Whether it wants another turn without waiting.
    pub(in crate::daemon) const fn is_hungry(&self) -> bool {
        self.is_hungry
    }

    /// When a connection that only one side keeps open is given up.
    pub(in crate::daemon) fn deadline(&self) -> Option<Duration> {
        let patience = if self.is_local_gone {
            RELAY_GOODBYE
        } else {
            RELAY_HALF_OPEN
        };
        self.is_half_open()
            .then(|| self.quiet_since.saturating_add(patience))
    }

    /// Ends it politely: what is on its way to the client is lost only if it does not fit.
    pub(in crate::daemon) fn end(&mut self) {
        self.remote.finish();
        // As far as the sockets take it: nobody waits for a connection that is given up.
        let _ = self.remote.send();
        let _ = flush(&mut self.local, &mut self.waiting);
        drop(self.local.shutdown(Shutdown::Write));
    }

    /// What to wait for on the client's side; nothing: not polled, a hang-up is always told.
    pub(in crate::daemon) fn local_interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        if !self.has_local_ended && (self.is_remote_deaf || !self.remote.has_waiting()) {
            flags |= PollFlags::POLLIN;
        }
        if !self.waiting.is_empty() {
            flags |= PollFlags::POLLOUT;
        }
        flags
    }

    /// What to wait for on the LNS's side.
    pub(in crate::daemon) fn remote_interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        if !self.has_remote_ended && self.waiting.is_empty() {
            flags |= PollFlags::POLLIN;
        }
        if !self.is_remote_deaf && self.remote.has_waiting() {
            flags |= PollFlags::POLLOUT;
        }
        flags
    }

    pub(in crate::daemon) fn local_fd(&self) -> BorrowedFd<'_> {
        self.local.as_fd()
    }

    pub(in crate::daemon) fn remote_fd(&self) -> BorrowedFd<'_> {
        self.remote.as_fd()
    }

    const fn is_half_open(&self) -> bool {
        self.has_local_ended || self.has_remote_ended
    }

    fn pass_up(&mut self, scratch: &mut Scratch) -> u64 {
        let mut passed: u64 = 0;
        for _ in 0..TURN_CHUNKS {
            self.send();
            if !self.is_remote_deaf && self.remote.has_waiting() {
                return passed;
            }
            if self.has_local_ended {
                self.tell_remote();
                return passed;
            }
            let seen = match self.local.read(&mut scratch.plain) {
                Ok(amount) => {
                    let octets = scratch.plain.get(..amount).unwrap_or_default();
                    if !self.is_remote_deaf {
                        let pushed = self.remote.push(octets);
                        pushed.unwrap_or_else(|error| self.lose(&error));
                        passed = passed.saturating_add(amount as u64);
                    }
                    Seen::of(amount, scratch.plain.len())
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return passed,
                Err(error) if error.kind() == ErrorKind::Interrupted => Seen::Full,
                Err(_) => {
                    self.is_local_gone = true;
                    Seen::End
                }
            };
            self.has_local_ended = seen == Seen::End;
            if seen == Seen::All {
                // The next poll tells of more; asking now would mostly be in vain.
                self.send();
                return passed;
            }
        }
        self.is_hungry = true;
        passed
    }

    fn pass_down(&mut self, scratch: &mut Scratch) -> u64 {
        let mut passed: u64 = 0;
        for _ in 0..TURN_CHUNKS {
            if self.is_local_gone {
                self.waiting = Vec::new();
            } else if flush(&mut self.local, &mut self.waiting).is_err() {
                self.is_local_gone = true;
            }
            if !self.waiting.is_empty() {
                return passed;
            }
            if self.has_remote_ended {
                if !self.is_local_told {
                    self.is_local_told = true;
                    drop(self.local.shutdown(Shutdown::Write));
                }
                return passed;
            }
            let (local, waiting) = (&mut self.local, &mut self.waiting);
            let is_gone = &mut self.is_local_gone;
            let read = self.remote.read(scratch, |octets| {
                // Nobody may be left to hear it; what the client had said still goes up.
                if !*is_gone {
                    passed = passed.saturating_add(octets.len() as u64);
                    *is_gone = send_or_keep(local, octets, waiting).is_err();
                }
            });
            match read {
                Ok(Seen::End) => self.has_remote_ended = true,
                Ok(Seen::All) => return passed,
                Ok(Seen::Full) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return passed,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.lose(&error);
                    self.has_remote_ended = true;
                }
            }
        }
        self.is_hungry = true;
        passed
    }

    fn tell_remote(&mut self) {
        if !self.is_remote_told {
            self.is_remote_told = true;
            self.remote.finish();
            self.send();
        }
    }

    fn send(&mut self) {
        if !self.is_remote_deaf {
            let sent = self.remote.send();
            sent.unwrap_or_else(|error| self.lose(&error));
        }
    }

    /// The kernel says only once why; whoever asks next sees just the end. After an end that one
    /// side wanted, what the other still says has nowhere to go: nothing is lost by that.
    fn lose(&mut self, error: &io::Error) {
        self.is_remote_deaf = true;
        if !self.is_half_open() {
            self.loss = self.loss.or(Some(error.kind()));
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a socket to ourselves connects at once"
)]
mod tests {
    use core::time::Duration;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::{Pipe, Remote, Scratch, Ways};
    use crate::daemon::reset;
    use std::io::Write as _;

    /// A pipe without TLS, the client's far end and the LNS's far end.
    fn pipe() -> (Pipe, UnixStream, TcpStream) {
        let (client, local) = UnixStream::pair().unwrap();
        local.set_nonblocking(true).unwrap();
        client.set_nonblocking(true).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (lns, _) = listener.accept().unwrap();
        lns.set_nonblocking(true).unwrap();
        let remote = Remote::new(near, None).unwrap();
        let pipe = Pipe::new(local, remote, &[], Vec::new()).unwrap();
        (pipe, client, lns)
    }

    fn work(pipe: &mut Pipe, now_s: u64) -> u64 {
        let mut scratch = Scratch::new();
        let moved = pipe.work(Ways::BOTH, &mut scratch, Duration::from_secs(now_s));
        moved.up + moved.down
    }

    #[test]
    fn a_client_that_does_not_read_the_last_of_an_ended_lns_is_given_up() {
        let (mut pipe, client, mut lns) = pipe();
        for _ in 0..1000 {
            while matches!(lns.write(&[7; 8192]), Ok(1..)) {}
            work(&mut pipe, 1);
        }
        assert_eq!(pipe.deadline(), None, "both live: it may take its time");
        drop(lns);
        while work(&mut pipe, 2) > 0 {}
        assert!(!pipe.waiting.is_empty());
        // The end itself is not seen before what waits is gone; the client's is.
        client.shutdown(std::net::Shutdown::Write).unwrap();
        work(&mut pipe, 3);
        assert!(pipe.deadline().is_some());
    }

    #[test]
    fn a_client_that_talks_on_after_the_lns_has_ended_has_lost_nothing() {
        let (mut pipe, mut client, lns) = pipe();
        drop(lns);
        work(&mut pipe, 1);
        assert!(pipe.has_remote_ended);
        for now_s in 2..5 {
            client.write_all(b"still here").unwrap();
            work(&mut pipe, now_s);
        }
        assert!(pipe.is_remote_deaf);
        assert_eq!(pipe.take_loss(), None);
    }

    #[test]
    fn a_reset_that_only_a_write_meets_is_a_loss() {
        let (mut pipe, mut client, lns) = pipe();
        reset::when_closed(&lns);
        drop(lns);
        client.write_all(b"on its way").unwrap();
        pipe.pass_up(&mut Scratch::new());
        assert!(pipe.take_loss().is_some());
    }
}
