//! Acts: one request at the server, octets passing both ways at the same time.
//!
//! ```text
//! program --read--> [ one piece ] --write--> TLS --> server
//! program <--write-- [ one piece ] <--read-- TLS <-- server
//! ```
//! Each way holds one piece, and whoever is slow slows the other side down.

use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zeroize::Zeroizing;

use super::answer::Answer;
use super::body::{Decoder, Framing, write_end, write_piece};
use super::caller::{Caller, CallerFault, Piece, is_for_later};
use super::head::Request;
use crate::agent::evidence::Stage;
use crate::daemon::clock::Cutoff;
use crate::daemon::mender::gathering::Authorised;
use crate::daemon::session::{Session, SessionError};
use crate::limits::FORWARDER_CHUNK_OCTETS;

/// Pieces passed one way before the other gets its turn.
const TURN_PIECES: u32 = 16;
/// Heads with 1xx before the answer: far more than any server sends.
const INTERIM_MAX: u32 = 16;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Exchange {
    session: Session,
    /// For the server.
    up: Zeroizing<Vec<u8>>,
    /// From the server, not looked at.
    received: Vec<u8>,
    /// For the program.
    down: Vec<u8>,
    framing: Framing,
    is_up_over: bool,
    has_end: bool,
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// The program has gone, or does not take its answer.
    Gone,
    /// The program's body is malformed.
    Malformed,
    /// The program does not send its body.
    Slow,
    /// The server, or the way to it.
    Server(SessionError),
    /// The server speaks something else.
    Odd(&'static str),
}

impl Exchange {
    /// Connects, and makes ready what is to be sent.
    pub(super) fn open(
        lent: &Authorised,
        request: &Request,
        kept: &[u8],
        is_repeat: bool,
    ) -> Result<Self, Fault> {
        let network = lent.access.network;
        let connect = Cutoff::after(Duration::from_secs(network.connect_s));
        let total = Cutoff::after(Duration::from_secs(network.total_s));
        let mut session = Session::open(lent.server.uri(), &lent.access.tls, connect, total)
            .map_err(Fault::Server)?;
        let mut up = request.forwarded(lent, is_repeat);
        write_piece(request.framing, kept, &mut up);
        session
            .set_nonblocking()
            .map_err(|error| broken(&session, &error, Stage::Response))?;
        Ok(Self {
            session,
            up,
            received: Vec::new(),
            down: Vec::new(),
            framing: request.framing,
            is_up_over: false,
            has_end: false,
        })
    }

    /// Sends the request until the answer's head is there. `patience` counts from the last octet
    /// that went up.
    pub(super) fn until_head(
        &mut self,
        caller: &mut Caller,
        request: &Request,
        patience: Duration,
    ) -> Result<Answer, Fault> {
        let mut cutoff = Cutoff::after(patience);
        let mut interim: u32 = 0;
        loop {
            let has_moved = self.pass_up(caller)?;
            self.flush_down(caller)?;
            while let Some(answer) = self.read_head(request)? {
                self.received.drain(..answer.octets);
                if answer.status == 101 && (request.upgrade.is_none() || !self.up.is_empty()) {
                    return Err(Fault::Odd("an upgrade that nobody asked for"));
                }
                if !answer.is_interim() {
                    return Ok(answer);
                }
                interim = interim.saturating_add(1);
                if interim > INTERIM_MAX {
                    return Err(Fault::Odd("one answer in advance after the other"));
                }
                if !request.is_old {
                    self.down.extend_from_slice(&answer.forwarded(request));
                }
            }
            if has_moved {
                cutoff = Cutoff::after(patience);
                continue;
            }
            if !self.wait(caller, cutoff)? {
                let is_slow = caller.is_sending() && self.up.is_empty();
                return Err(if is_slow { Fault::Slow } else { self.silent() });
            }
        }
    }

    /// Passes the answer on to its end. `patience` counts from the last octet either way.
    pub(super) fn finish(
        &mut self,
        caller: &mut Caller,
        request: &Request,
        answer: &Answer,
        patience: Duration,
    ) -> Result<(), Fault> {
        self.down.extend_from_slice(&answer.forwarded(request));
        let mut decoder = Decoder::new(answer.framing);
        let framing = answer.framing_for(request);
        let mut cutoff = Cutoff::after(patience);
        let mut is_ended = false;
        loop {
            let went_up = self.pass_up(caller).unwrap_or_else(|_| {
                // The answer is there; the rest of the request is not needed.
                self.is_up_over = true;
                false
            });
            let mut has_moved = went_up | self.flush_down(caller)?;
            if self.down.is_empty() {
                if is_ended {
                    return Ok(());
                }
                has_moved |= self.next_down(&mut decoder, framing)?;
                if decoder.is_done() {
                    is_ended = true;
                    write_end(framing, &mut self.down);
                    continue;
                }
            }
            if has_moved {
                cutoff = Cutoff::after(patience);
            } else if !self.wait(caller, cutoff)? {
                return Err(if self.down.is_empty() {
                    self.silent()
                } else {
                    Fault::Gone
                });
            }
        }
    }

    /// Ends the connection in good order.
    pub(super) fn close(mut self) {
        self.session.close();
    }

    /// The connection; what is to be said to the program, and what of it the server said.
    pub(super) fn into_parts(self) -> (Session, Vec<u8>) {
        let mut down = self.down;
        down.extend_from_slice(&self.received);
        (self.session, down)
    }

    /// Sends what can be sent now.
    fn pass_up(&mut self, caller: &mut Caller) -> Result<bool, Fault> {
        let mut has_moved = false;
        for _ in 0..TURN_PIECES {
            if self.session.is_write_over() {
                self.is_up_over = true;
            }
            if self.is_up_over {
                return Ok(has_moved);
            }
            has_moved |= self.flush_up()?;
            if !self.up.is_empty() || self.session.has_waiting() || self.has_end {
                return Ok(has_moved);
            }
            match caller.piece().map_err(Fault::from)? {
                Piece::Octets(octets) => write_piece(self.framing, &octets, &mut self.up),
                Piece::Later => return Ok(has_moved),
                Piece::End => {
                    self.has_end = true;
                    write_end(self.framing, &mut self.up);
                }
            }
        }
        Ok(true)
    }

    fn flush_up(&mut self) -> Result<bool, Fault> {
        let mut has_moved = false;
        while !self.up.is_empty() {
            match self.session.write(&self.up) {
                Ok(amount) => {
                    self.up.drain(..amount);
                    has_moved = true;
                }
                Err(error) if is_for_later(&error) => return Ok(has_moved),
                Err(error) => return Err(broken(&self.session, &error, Stage::Response)),
            }
        }
        if self.session.has_waiting() {
            match self.session.flush() {
                Ok(()) => has_moved = true,
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Err(broken(&self.session, &error, Stage::Response)),
            }
        }
        Ok(has_moved)
    }

    fn flush_down(&mut self, caller: &mut Caller) -> Result<bool, Fault> {
        let mut has_moved = false;
        while !self.down.is_empty() {
            match caller.stream.write(&self.down) {
                Ok(0) => return Err(Fault::Gone),
                Ok(amount) => {
                    self.down.drain(..amount);
                    has_moved = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_for_later(&error) => return Ok(has_moved),
                Err(_) => return Err(Fault::Gone),
            }
        }
        Ok(has_moved)
    }

    /// The next head, if it is whole.
    fn read_head(&mut self, request: &Request) -> Result<Option<Answer>, Fault> {
        loop {
            if !self.received.is_empty() {
                let read = Answer::read(&self.received, request).map_err(Fault::Odd)?;
                if read.is_some() {
                    return Ok(read);
                }
            }
            match self.receive() {
                Ok(0) => {
                    let error = ErrorKind::UnexpectedEof.into();
                    return Err(broken(&self.session, &error, Stage::Response));
                }
                Ok(_) => {}
                Err(error) if is_for_later(&error) => return Ok(None),
                Err(error) => return Err(broken(&self.session, &error, Stage::Response)),
            }
        }
    }

    /// Takes one piece of the answer's body.
    fn next_down(&mut self, decoder: &mut Decoder, framing: Framing) -> Result<bool, Fault> {
        if decoder.is_done() {
            return Ok(false);
        }
        if self.received.is_empty() {
            match self.receive() {
                Err(error) if is_for_later(&error) => return Ok(false),
                // Some servers end such a body without close_notify.
                Ok(0) if decoder.may_end() => return Ok(self.end(decoder)),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && decoder.may_end() => {
                    return Ok(self.end(decoder));
                }
                Ok(0) => {
                    let error = ErrorKind::UnexpectedEof.into();
                    return Err(broken(&self.session, &error, Stage::Body));
                }
                Err(error) => return Err(broken(&self.session, &error, Stage::Body)),
                Ok(1..) => {}
            }
        }
        while self.down.is_empty() && !self.received.is_empty() && !decoder.is_done() {
            let step = decoder
                .step(&self.received)
                .map_err(|_| Fault::Odd("an answer with malformed chunks"))?;
            let piece = self.received.get(step.body).unwrap_or_default();
            write_piece(framing, piece, &mut self.down);
            self.received.drain(..step.used);
        }
        Ok(true)
    }

    fn end(&mut self, decoder: &mut Decoder) -> bool {
        *decoder = Decoder::new(Framing::Nothing);
        self.session.close();
        true
    }

    fn receive(&mut self) -> io::Result<usize> {
        let before = self.received.len();
        self.received
            .resize(before.saturating_add(FORWARDER_CHUNK_OCTETS), 0);
        let room = self.received.get_mut(before..).unwrap_or_default();
        let read = self.session.read(room);
        let amount = read.as_ref().map_or(0, |amount| *amount);
        self.received.truncate(before.saturating_add(amount));
        read
    }

    /// Waits until something can be passed; `false` when the time is over.
    fn wait(&self, caller: &Caller, cutoff: Cutoff) -> Result<bool, Fault> {
        let Some(left) = cutoff.left() else {
            return Ok(false);
        };
        let mut near = PollFlags::empty();
        let may_send = !self.is_up_over && self.up.is_empty() && !self.session.has_waiting();
        near.set(PollFlags::POLLIN, may_send && caller.is_sending());
        near.set(PollFlags::POLLOUT, !self.down.is_empty());
        let mut far = PollFlags::empty();
        far.set(PollFlags::POLLIN, self.down.is_empty());
        let waits = !self.up.is_empty() || self.session.has_waiting();
        far.set(PollFlags::POLLOUT, waits && !self.is_up_over);
        let mut fds = vec![PollFd::new(caller.stream.as_fd(), near)];
        // A hang-up is always told; who does not listen must not be woken by it again and again.
        if !far.is_empty() {
            fds.push(PollFd::new(self.session.as_fd(), far));
        }
        match poll(&mut fds, timeout(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Err(Fault::Gone),
        }
        let lost = PollFlags::POLLERR | PollFlags::POLLHUP;
        let near = fds.first().and_then(PollFd::revents);
        if near.is_some_and(|events| events.intersects(lost)) {
            return Err(Fault::Gone);
        }
        Ok(true)
    }

    fn silent(&self) -> Fault {
        broken(&self.session, &ErrorKind::TimedOut.into(), Stage::Response)
    }
}

impl From<CallerFault> for Fault {
    fn from(fault: CallerFault) -> Self {
        match fault {
            CallerFault::Gone => Self::Gone,
            CallerFault::Malformed => Self::Malformed,
        }
    }
}

/// Whole milliseconds, upwards: a wait that ends too early would be another round.
pub(super) fn timeout(left: Duration) -> PollTimeout {
    let left = left.saturating_add(Duration::from_millis(1));
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

fn broken(session: &Session, error: &io::Error, stage: Stage) -> Fault {
    Fault::Server(SessionError::from_io(error, stage, session.seen()))
}
