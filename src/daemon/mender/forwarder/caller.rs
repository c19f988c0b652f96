//! Acts: the program's side of one request: its head, its body, and what it is told.

use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use zeroize::Zeroizing;

use super::body::{Decoder, Framing};
use super::head::{Request, Status};
use crate::daemon::clock::Cutoff;
use crate::daemon::reset;
use crate::limits::{FORWARDER_CHUNK_OCTETS, FORWARDER_GOODBYE, FORWARDER_KEPT_OCTETS_MAX};

/// Octets read at a time while the head is not whole.
const HEAD_CHUNK_OCTETS: usize = 2048;

/// A program of this device, and how far its request has come.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) stream: TcpStream,
    /// Read and not looked at.
    input: Zeroizing<Vec<u8>>,
    decoder: Decoder,
    /// All of the body so far, unless it has become too long to be sent again.
    kept: Option<Vec<u8>>,
}

/// What the program's body has.
#[derive(Debug)]
pub(super) enum Piece {
    Octets(Vec<u8>),
    Later,
    End,
}

/// The request is no good after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallerFault {
    Gone,
    Malformed,
}

impl Caller {
    /// Reads the head. `None`: the program has gone, and nobody is there to be told.
    pub(super) fn hear(
        stream: TcpStream,
        patience: Duration,
    ) -> (Self, Option<Result<Request, Status>>) {
        let mut caller = Self {
            stream,
            input: Zeroizing::new(Vec::new()),
            decoder: Decoder::new(Framing::Nothing),
            kept: Some(Vec::new()),
        };
        let heard = caller.head(patience);
        (caller, heard)
    }

    fn head(&mut self, patience: Duration) -> Option<Result<Request, Status>> {
        let cutoff = Cutoff::after(patience);
        let mut chunk = Zeroizing::new([0; HEAD_CHUNK_OCTETS]);
        loop {
            let Some(left) = cutoff.left() else {
                return Some(Err(Status(408)));
            };
            self.stream.set_read_timeout(Some(left)).ok()?;
            match self.stream.read(chunk.as_mut_slice()) {
                Ok(0) => return None,
                Ok(amount) => self
                    .input
                    .extend_from_slice(chunk.get(..amount).unwrap_or_default()),
                Err(error) if is_for_later(&error) => continue,
                Err(_) => return None,
            }
            match Request::read(&self.input) {
                Ok(None) => {}
                Ok(Some(request)) => {
                    self.input.drain(..request.octets);
                    self.decoder = Decoder::new(request.framing);
                    return self.stream.set_nonblocking(true).ok().map(|()| Ok(request));
                }
                Err(status) => return Some(Err(status)),
            }
        }
    }

    /// Whether the request can be sent again as it was.
    pub(super) const fn can_repeat(&self) -> bool {
        self.kept.is_some()
    }

    /// The body so far.
    pub(super) fn kept(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// The request will not be sent again.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Whether there is more of the body to come.
    pub(super) fn is_sending(&self) -> bool {
        !self.decoder.is_done()
    }

    /// Takes the next piece of the body.
    pub(super) fn piece(&mut self) -> Result<Piece, CallerFault> {
        loop {
            if self.decoder.is_done() {
                return Ok(Piece::End);
            }
            if self.input.is_empty() && !self.read()? {
                return Ok(Piece::Later);
            }
            let step = self
                .decoder
                .step(&self.input)
                .map_err(|_| CallerFault::Malformed)?;
            let octets = self.input.get(step.body).unwrap_or_default().to_vec();
            self.input.drain(..step.used);
            if !octets.is_empty() {
                self.keep(&octets);
                return Ok(Piece::Octets(octets));
            }
        }
    }

    fn read(&mut self) -> Result<bool, CallerFault> {
        let mut chunk = vec![0; FORWARDER_CHUNK_OCTETS];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(CallerFault::Gone),
            Ok(amount) => {
                chunk.truncate(amount);
                self.input = Zeroizing::new(chunk);
                Ok(true)
            }
            Err(error) if is_for_later(&error) => Ok(false),
            Err(_) => Err(CallerFault::Gone),
        }
    }

    fn keep(&mut self, octets: &[u8]) {
        let length = self.kept().len().saturating_add(octets.len());
        if length > FORWARDER_KEPT_OCTETS_MAX {
            self.kept = None;
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(octets);
        }
    }

    /// The connection, and what the program said after its request.
    pub(super) fn into_parts(self) -> (TcpStream, Zeroizing<Vec<u8>>) {
        (self.stream, self.input)
    }

    /// Says the last of an answer and waits for the program to go: what it still sends must not
    /// turn its end into a reset that eats the answer.
    pub(super) fn leave(mut self, last: &[u8]) {
        let cutoff = Cutoff::after(FORWARDER_GOODBYE);
        let bounded = |left: Duration, stream: &TcpStream| {
            let times = stream.set_read_timeout(Some(left));
            times.and_then(|()| stream.set_write_timeout(Some(left)))
        };
        let ready = self.stream.set_nonblocking(false);
        let told = ready
            .and_then(|()| bounded(FORWARDER_GOODBYE, &self.stream))
            .and_then(|()| self.stream.write_all(last))
            .and_then(|()| self.stream.shutdown(Shutdown::Write));
        let mut scratch = vec![0; FORWARDER_CHUNK_OCTETS];
        while let (Ok(()), Some(left)) = (&told, cutoff.left()) {
            let heard = bounded(left, &self.stream).and_then(|()| self.stream.read(&mut scratch));
            if !matches!(heard, Ok(1..)) {
                return;
            }
        }
    }

    /// Ends with a reset, so that nobody takes what came for all there is.
    pub(super) fn cut(self) {
        reset::when_closed(&self.stream);
    }
}

pub(super) fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
