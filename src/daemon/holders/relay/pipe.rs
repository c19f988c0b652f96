//! Acts: passes octets between one local client and its LNS connection, both ways.
//!
//! ```text
//! local --read--> rustls --write_tls--> remote      read only while rustls has nothing to send
//! local <--write-- rustls <--read_tls-- remote      read only while nothing waits for the local side
//! ```
//! So each way holds at most one chunk, and whoever is slow slows the other side down.
//! What waits is freed as soon as it is sent; `reference/perf.md` section 2.

use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::PollFlags;
use rustls::ClientConnection;

use super::local::Local;
use crate::limits::{RELAY_GOODBYE, RELAY_HALF_OPEN};

/// Chunks passed each way before others get their turn.
const TURN_CHUNKS: u32 = 16;

/// An open connection to the LNS, not blocking.
#[derive(Debug)]
pub(super) struct Remote {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Only without TLS: what the socket did not take.
    waiting: Vec<u8>,
    is_broken: bool,
}

/// A local client and its LNS connection.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each side and each direction ends by itself"
)]
pub(super) struct Pipe {
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
}

/// Octets passed in one turn.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    pub(super) up: u64,
    pub(super) down: u64,
}

impl Remote {
    pub(super) fn new(socket: TcpStream, tls: Option<Box<ClientConnection>>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            tls,
            waiting: Vec::new(),
            is_broken: false,
        })
    }

    fn has_waiting(&self) -> bool {
        match &self.tls {
            Some(tls) => tls.wants_write(),
            None => !self.waiting.is_empty(),
        }
    }

    /// Takes all of a chunk; only to be called when nothing waits.
    fn push(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(octets),
            None => send_or_keep(&mut self.socket, octets, &mut self.waiting),
        }
    }

    /// Sends what waits, as far as the socket takes it.
    fn send(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return flush(&mut self.socket, &mut self.waiting);
        };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what the LNS said; 0 is its end, "would block" means that nothing new is there.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if self.is_broken {
                return Err(ErrorKind::InvalidData.into());
            }
            tls.read_tls(&mut self.socket)?;
            // What came before a broken record is still good: it is read on the next round.
            self.is_broken = tls.process_new_packets().is_err();
        }
    }

    /// Says that nothing more will be sent.
    fn finish(&mut self) {
        match &mut self.tls {
            Some(tls) => tls.send_close_notify(),
            None => drop(self.socket.shutdown(Shutdown::Write)),
        }
    }
}

impl Pipe {
    /// Joins both. `to_remote` is what the client sent too early, `to_local` the LNS's head
    /// and what came with it.
    pub(super) fn new(
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
        })
    }

    /// Passes what can be passed now, both ways.
    pub(super) fn work(&mut self, scratch: &mut [u8], now: Duration) -> Moved {
        self.is_hungry = false;
        let down = self.pass_down(scratch);
        let up = self.pass_up(scratch);
        // An answer of rustls itself, such as a key update.
        if !self.is_remote_deaf && self.remote.send().is_err() {
            self.is_remote_deaf = true;
        }
        if up > 0 || down > 0 || !self.is_half_open() {
            self.quiet_since = now;
        }
        Moved { up, down }
    }

    /// Whether nothing is left to be done.
    pub(super) const fn is_over(&self) -> bool {
        self.has_remote_ended && self.has_local_ended && (self.is_local_told || self.is_local_gone)
    }

    /// Whether it wants another turn without waiting.
    pub(super) const fn is_hungry(&self) -> bool {
        self.is_hungry
    }

    /// When a connection that only one side keeps open is given up.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let patience = if self.is_local_gone {
            RELAY_GOODBYE
        } else {
            RELAY_HALF_OPEN
        };
        let is_ending = self.is_half_open() && self.waiting.is_empty();
        is_ending.then(|| self.quiet_since.saturating_add(patience))
    }

    /// Ends it politely: what is on its way to the client is lost only if it does not fit.
    pub(super) fn end(&mut self) {
        self.remote.finish();
        // As far as the sockets take it: nobody waits for a connection that is given up.
        let _ = self.remote.send();
        let _ = flush(&mut self.local, &mut self.waiting);
        self.local.finish();
    }

    /// What to wait for on the client's side; nothing: leave it out of the poll, because a
    /// hang-up is always told and would not let us sleep.
    pub(super) fn local_interest(&self) -> PollFlags {
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
    pub(super) fn remote_interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        if !self.has_remote_ended && self.waiting.is_empty() {
            flags |= PollFlags::POLLIN;
        }
        if !self.is_remote_deaf && self.remote.has_waiting() {
            flags |= PollFlags::POLLOUT;
        }
        flags
    }

    pub(super) fn local_fd(&self) -> BorrowedFd<'_> {
        self.local.as_fd()
    }

    pub(super) fn remote_fd(&self) -> BorrowedFd<'_> {
        self.remote.socket.as_fd()
    }

    const fn is_half_open(&self) -> bool {
        self.has_local_ended || self.has_remote_ended
    }

    fn pass_up(&mut self, scratch: &mut [u8]) -> u64 {
        let mut passed: u64 = 0;
        for _ in 0..TURN_CHUNKS {
            if !self.is_remote_deaf && self.remote.send().is_err() {
                self.is_remote_deaf = true;
            }
            if !self.is_remote_deaf && self.remote.has_waiting() {
                return passed;
            }
            if self.has_local_ended {
                self.tell_remote();
                return passed;
            }
            match self.local.read(scratch) {
                Ok(0) => self.has_local_ended = true,
                Ok(_) if self.is_remote_deaf => {}
                Ok(amount) => {
                    let octets = scratch.get(..amount).unwrap_or_default();
                    self.is_remote_deaf = self.remote.push(octets).is_err();
                    passed = passed.saturating_add(amount as u64);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return passed,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.has_local_ended = true;
                    self.is_local_gone = true;
                }
            }
        }
        self.is_hungry = true;
        passed
    }

    fn pass_down(&mut self, scratch: &mut [u8]) -> u64 {
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
                    self.local.finish();
                }
                return passed;
            }
            match self.remote.read(scratch) {
                Ok(0) => self.has_remote_ended = true,
                // Nobody is left to hear it; what the client had said still goes up.
                Ok(_) if self.is_local_gone => {}
                Ok(amount) => {
                    let octets = scratch.get(..amount).unwrap_or_default();
                    let sent = send_or_keep(&mut self.local, octets, &mut self.waiting);
                    self.is_local_gone = sent.is_err();
                    passed = passed.saturating_add(amount as u64);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return passed,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.has_remote_ended = true;
                    self.is_remote_deaf = true;
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
            if self.remote.send().is_err() {
                self.is_remote_deaf = true;
            }
        }
    }
}

/// Sends a chunk and keeps what was not taken.
fn send_or_keep(socket: &mut impl Write, octets: &[u8], waiting: &mut Vec<u8>) -> io::Result<()> {
    let mut rest = octets;
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(amount) => rest = rest.get(amount..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                waiting.extend_from_slice(rest);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends what waits, as far as it is taken; an empty buffer is given back.
pub(super) fn flush(socket: &mut impl Write, waiting: &mut Vec<u8>) -> io::Result<()> {
    if !waiting.is_empty() {
        let octets = core::mem::take(waiting);
        send_or_keep(socket, &octets, waiting)?;
    }
    Ok(())
}
