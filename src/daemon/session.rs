//! Acts: one connection, TLS or plain, with a deadline on every call.
//!
//! In TLS 1.3 a server refuses the client's certificate after the handshake, while we are
//! already writing; the write then fails with "broken pipe" although the alert that says why
//! lies unread in the socket. So after any failure the read side is drained and rustls is
//! asked again. `reference/proxies.md` section 3.3.

mod broken;

use core::fmt;
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind, ProtocolVersion};

pub use self::broken::{Seen, SessionError};
use super::clock::Cutoff;
use super::dial::{self, DialError};
use super::tls::{self, Observed, TlsAccess};
use crate::agent::evidence::{SocketFault, Stage};
use crate::limits::DRAIN_MAX;
use crate::wire::uri::ServerUri;

/// A connection whose handshake is done.
pub struct Session {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    observed: Option<Arc<Observed>>,
    cutoff: Cutoff,
    // The far side has answered and closed its ears: reading goes on, writing is over.
    is_write_over: bool,
    // Calls return at once; what cannot be done now is `WouldBlock` and is not lost.
    is_nonblocking: bool,
    // Octets that may still be read before others get their turn.
    ration: Option<usize>,
    // Octets the socket has taken: they tell a slow far side from one that does not read.
    taken: u64,
}

impl Session {
    /// Connects and, for a secure address, finishes the TLS handshake.
    pub fn open(
        uri: &ServerUri,
        access: &TlsAccess,
        connect: Cutoff,
        total: Cutoff,
    ) -> Result<Self, SessionError> {
        let early = |stage, socket| SessionError {
            stage,
            tls: None,
            socket,
            seen: Seen::default(),
        };
        let socket = dial::dial(uri.host(), uri.port(), connect)
            .map_err(|DialError { stage, fault }| early(stage, fault))?;
        let mut session = Self {
            socket,
            tls: None,
            observed: None,
            cutoff: connect,
            is_write_over: false,
            is_nonblocking: false,
            ration: None,
            taken: 0,
        };
        if uri.is_secure() {
            let tls_error = |error: &rustls::Error| SessionError {
                tls: Some(tls::fault_of(error)),
                ..early(Stage::Handshake, SocketFault::Other)
            };
            let (config, observed) = access.client_config().map_err(|error| tls_error(&error))?;
            let name = ServerName::try_from(uri.host().to_owned())
                .map_err(|_| early(Stage::Handshake, SocketFault::NoSuchName))?;
            let connection =
                ClientConnection::new(config, name).map_err(|error| tls_error(&error))?;
            session.tls = Some(Box::new(connection));
            session.observed = Some(observed);
            if let Err(error) = session.handshake() {
                return Err(SessionError::from_io(
                    &error,
                    Stage::Handshake,
                    session.seen(),
                ));
            }
        }
        session.cutoff = total;
        Ok(session)
    }

    /// What is known of the handshake.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let tls = self.tls.as_deref();
        let observed = self.observed.as_deref();
        Seen {
            is_full_handshake: tls
                .and_then(|tls| tls.handshake_kind())
                .is_some_and(|kind| {
                    matches!(
                        kind,
                        HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest
                    )
                }),
            is_tls13: tls.and_then(|tls| tls.protocol_version()) == Some(ProtocolVersion::TLSv1_3),
            certificate_requested: observed.is_some_and(Observed::requested),
            scheme_mismatch: observed.is_some_and(Observed::scheme_mismatch),
        }
    }

    /// Sets the deadline of the calls that follow.
    pub fn set_cutoff(&mut self, cutoff: Cutoff) {
        self.cutoff = cutoff;
    }

    /// From now on no call waits: `WouldBlock` comes instead, and the cutoff counts no more.
    pub fn set_nonblocking(&mut self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        self.is_nonblocking = true;
        Ok(())
    }

    /// No more than so many octets are read from now on; then `WouldBlock` comes.
    pub fn set_ration(&mut self, octets: usize) {
        self.ration = Some(octets);
    }

    /// Whether all of them were read, so that there may be more.
    #[must_use]
    pub fn is_ration_over(&self) -> bool {
        self.ration == Some(0)
    }

    /// Octets that the socket has taken so far.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    fn count(&mut self, octets: usize) {
        self.taken = self.taken.saturating_add(octets as u64);
    }

    /// Whether something is left that the socket did not take.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        let wants_write = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        wants_write && !self.is_write_over
    }

    /// Whether the far side hears nothing any more; what it said can still be read.
    #[must_use]
    pub const fn is_write_over(&self) -> bool {
        self.is_write_over
    }

    /// Sends a polite end of the TLS connection, without waiting.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.socket);
        }
    }

    /// Gives the connection away, still blocking and with the last deadline on its socket.
    #[must_use]
    pub fn into_parts(self) -> (TcpStream, Option<Box<ClientConnection>>) {
        (self.socket, self.tls)
    }

    fn handshake(&mut self) -> io::Result<()> {
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.send()?;
            if self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) && !self.receive()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.send()
    }

    /// Sends what rustls has to send; on failure asks the read side for the reason.
    fn send(&mut self) -> io::Result<()> {
        while !self.is_write_over {
            self.arm()?;
            let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) else {
                break;
            };
            let written = tls.write_tls(&mut self.socket);
            self.count(*written.as_ref().unwrap_or(&0));
            if let Err(error) = written {
                if self.is_only_full(&error) {
                    return Err(error);
                }
                let reason = self.reason_behind(error);
                if !self.has_plaintext() {
                    return Err(reason);
                }
                // An answer came before all was sent, such as nginx's 400: read it.
                self.is_write_over = true;
            }
        }
        Ok(())
    }

    /// Receives once and lets rustls work on it; `false` at the end of the stream.
    fn receive(&mut self) -> io::Result<bool> {
        self.arm()?;
        let Some(tls) = self.tls.as_mut() else {
            return Ok(false);
        };
        match tls.read_tls(&mut self.socket) {
            Ok(0) => Ok(false),
            Ok(_) => match tls.process_new_packets() {
                Ok(_) => Ok(true),
                Err(error) => {
                    // Tell the server why, as far as the socket still takes it.
                    let _ = tls.write_tls(&mut self.socket);
                    Err(Error::new(ErrorKind::InvalidData, error))
                }
            },
            Err(error) => Err(self.reason_behind(error)),
        }
    }

    /// Reads what the server sent before it closed: the alert precedes the reset.
    fn reason_behind(&mut self, error: Error) -> Error {
        let Some(tls) = self.tls.as_mut() else {
            return error;
        };
        if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) {
            return error;
        }
        let limit = Cutoff::after(DRAIN_MAX).or_earlier(self.cutoff);
        while let Some(left) = limit.left() {
            if self.socket.set_read_timeout(Some(left)).is_err() {
                break;
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if let Err(reason) = tls.process_new_packets() {
                return Error::new(ErrorKind::InvalidData, reason);
            }
        }
        error
    }

    fn has_plaintext(&mut self) -> bool {
        let state = self.tls.as_mut().map(|tls| tls.process_new_packets());
        matches!(state, Some(Ok(state)) if state.plaintext_bytes_to_read() > 0)
    }

    fn is_only_full(&self, error: &Error) -> bool {
        self.is_nonblocking && error.kind() == ErrorKind::WouldBlock
    }

    /// Puts the time that is left on the socket.
    fn arm(&self) -> io::Result<()> {
        if self.is_nonblocking {
            return Ok(());
        }
        let left = self.cutoff.left().ok_or(ErrorKind::TimedOut)?;
        self.socket.set_read_timeout(Some(left))?;
        self.socket.set_write_timeout(Some(left))
    }
}

impl Session {
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            self.arm()?;
            return self.socket.read(buffer);
        }
        loop {
            if let Some(tls) = self.tls.as_mut() {
                match tls.reader().read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return result,
                }
            }
            match self.send() {
                // A far side that does not read for now may still be heard.
                Err(error) if self.is_only_full(&error) => {}
                sent => sent?,
            }
            self.receive()?;
        }
    }
}

impl Read for Session {
    /// Waits for octets; 0 is an orderly end. An end without `close_notify` is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(ration) = self.ration else {
            return self.read_some(buffer);
        };
        if ration == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let share = buffer.len().min(ration);
        let amount = self.read_some(buffer.get_mut(..share).unwrap_or_default())?;
        self.ration = Some(ration.saturating_sub(amount));
        Ok(amount)
    }
}

impl Write for Session {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Some(tls) = self.tls.as_mut() else {
            self.arm()?;
            let taken = self.socket.write(octets)?;
            self.count(taken);
            return Ok(taken);
        };
        let taken = tls.writer().write(octets)?;
        match self.send() {
            // Taken is taken; without room for more the next call comes to nothing.
            Err(error) if self.is_only_full(&error) && taken > 0 => Ok(taken),
            Ok(()) if taken == 0 && !octets.is_empty() => Err(ErrorKind::WouldBlock.into()),
            sent => sent.map(|()| taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("seen", &self.seen())
            .finish_non_exhaustive()
    }
}
