//! Acts: one local client, from its head to its end.
//!
//! ```text
//! Head --/router-info--> Question --EUI--> Asked --answer--> Leaving --> Over
//!   |---traffic path---> Waiting --101--> Piping -----------------------> Over
//!   '---anything else, or no link---> Leaving
//! ```
//! While it waits for the LNS nothing is read from a client.

use core::time::Duration;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::PollFlags;
use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::head::{Opening, refusal};
use super::local::Local;
use super::pipe::Pipe;
use super::remote::flush;
use crate::limits::{RELAY_CHATTER_MAX, RELAY_READS_A_TURN};
use crate::wire::eui::Eui64;
use crate::wire::lns::ANSWER_OCTETS_MAX;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) phase: Phase,
    pub(super) deadline: Option<Duration>,
    /// The set it uses, counted by the relay.
    pub(super) set: u64,
    /// Host and gateway of its LNS connection.
    pub(super) peer: Option<String>,
}

/// How far a client has come.
#[derive(Debug)]
pub(super) enum Phase {
    Head { local: Local, octets: Vec<u8> },
    Question(Box<Asking>),
    Asked(Box<Asking>, Arc<AtomicBool>),
    Waiting(Early, Arc<AtomicBool>),
    Piping(Box<Pipe>),
    Leaving { local: Local, octets: Vec<u8> },
    Over,
}

/// A client of traffic before its LNS connection is there, and what it sent too early.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) local: Local,
    pub(super) octets: Vec<u8>,
}

/// A client that does discovery.
#[derive(Debug)]
pub(super) struct Asking {
    socket: WebSocket<Local>,
    host: String,
    /// Messages that were no question.
    chatter: usize,
}

/// What reading brought.
#[derive(Debug)]
pub(super) enum Heard<T> {
    Nothing,
    Word(T),
    End,
}

impl Client {
    /// What to wait for, and where: whether it is the LNS's side, descriptor, events.
    pub(super) fn interests(&self) -> impl Iterator<Item = (bool, BorrowedFd<'_>, PollFlags)> {
        let gone = PollFlags::from_bits_retain(libc::POLLRDHUP);
        let pair = match &self.phase {
            Phase::Head { local, .. } => [Some((local.as_fd(), PollFlags::POLLIN)), None],
            Phase::Question(asking) => [Some((asking.fd(), PollFlags::POLLIN)), None],
            Phase::Asked(asking, _) => [Some((asking.fd(), gone)), None],
            Phase::Waiting(early, _) => [Some((early.local.as_fd(), gone)), None],
            Phase::Leaving { local, octets } if octets.is_empty() => {
                [Some((local.as_fd(), PollFlags::POLLIN)), None]
            }
            Phase::Leaving { local, .. } => [Some((local.as_fd(), PollFlags::POLLOUT)), None],
            Phase::Piping(pipe) => [
                Some((pipe.local_fd(), pipe.local_interest())),
                Some((pipe.remote_fd(), pipe.remote_interest())),
            ],
            Phase::Over => [None, None],
        };
        let sides = pair.into_iter().zip([false, true]);
        sides.filter_map(|(side, is_remote)| {
            let (fd, flags) = side?;
            (!flags.is_empty()).then_some((is_remote, fd, flags))
        })
    }

    /// When it is given up, if nothing happens.
    pub(super) fn due(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Piping(pipe) => pipe.deadline(),
            _ => self.deadline,
        }
    }

    pub(super) fn is_hungry(&self) -> bool {
        matches!(&self.phase, Phase::Piping(pipe) if pipe.is_hungry())
    }
}

impl Asking {
    /// Takes the upgrade of a client that wants discovery.
    pub(super) fn start(
        mut local: Local,
        opening: &Opening,
        early: &[u8],
        name: &str,
    ) -> Option<Self> {
        // The first octets of a new connection always fit.
        local.write_all(&opening.accepted()).ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * ANSWER_OCTETS_MAX)
            .max_message_size(Some(ANSWER_OCTETS_MAX))
            .max_frame_size(Some(ANSWER_OCTETS_MAX));
        let socket =
            WebSocket::from_partially_read(local, early.to_vec(), Role::Server, Some(config));
        let host = opening.host.as_deref().unwrap_or(name);
        let has_port = host.rsplit(':').next().is_some_and(is_port);
        let host = if has_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        Some(Self {
            socket,
            host,
            chatter: 0,
        })
    }

    /// Reads the question: the gateway, or `None` in it if that cannot be read.
    pub(super) fn hear(&mut self) -> Heard<Option<Eui64>> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Heard::Word(router(text.as_bytes())),
                Ok(Message::Binary(octets)) => return Heard::Word(router(&octets)),
                Ok(Message::Close(_)) => return Heard::End,
                // Whoever pings without end must not keep the others waiting.
                Ok(_) if self.chatter >= RELAY_CHATTER_MAX => return Heard::End,
                Ok(_) => self.chatter = self.chatter.saturating_add(1),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Heard::Nothing;
                }
                Err(_) => return Heard::End,
            }
        }
    }

    /// Answers with the relay's own address.
    pub(super) fn found(self, router: Eui64, target: &str) -> Phase {
        let own = format!("ws://{}{target}", self.host);
        let router = router.id6().to_string();
        self.answer(&json!({ "router": router, "muxs": "muxs-::0", "uri": own }))
    }

    /// Answers with an error, as The Things Stack does.
    pub(super) fn refused(self, router: Option<Eui64>, error: &str) -> Phase {
        let router = router.map_or_else(|| "::0".to_owned(), |router| router.id6().to_string());
        self.answer(&json!({ "router": router, "muxs": "::0", "error": error }))
    }

    /// Ends without an answer: come back later.
    pub(super) fn put_off(mut self) -> Phase {
        let frame = CloseFrame {
            code: CloseCode::Again,
            reason: "no LNS link".into(),
        };
        let _ = self.socket.close(Some(frame));
        self.leave()
    }

    fn answer(mut self, answer: &Value) -> Phase {
        if self.socket.send(Message::text(answer.to_string())).is_err() {
            return Phase::Over;
        }
        let _ = self.socket.close(None);
        self.leave()
    }

    fn leave(mut self) -> Phase {
        let _ = self.socket.flush();
        Phase::Leaving {
            local: self.socket.into_inner(),
            octets: Vec::new(),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl Phase {
    /// Turns a client away with this status.
    pub(super) fn refused(local: Local, status: u16) -> Self {
        Self::Leaving {
            local,
            octets: refusal(status),
        }
    }

    /// Turns away whoever waits for the LNS; others stay as they are.
    pub(super) fn turned_away(self) -> Self {
        match self {
            Self::Waiting(early, wanted) => {
                wanted.store(false, Ordering::Relaxed);
                Self::refused(early.local, 503)
            }
            Self::Asked(asking, wanted) => {
                wanted.store(false, Ordering::Relaxed);
                asking.put_off()
            }
            other => other,
        }
    }

    /// Whether it waits for the LNS.
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Asked(..) | Self::Waiting(..))
    }

    /// Ends at once whatever it is.
    pub(super) fn end(&mut self) {
        match self {
            Self::Piping(pipe) => pipe.end(),
            Self::Waiting(_, wanted) | Self::Asked(_, wanted) => {
                wanted.store(false, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Reads more of a head.
pub(super) fn hear_head(local: &mut Local, octets: &mut Vec<u8>) -> Heard<Result<Opening, u16>> {
    let mut chunk = [0; 1024];
    loop {
        match local.read(&mut chunk) {
            Ok(0) => return Heard::End,
            Ok(amount) => octets.extend_from_slice(chunk.get(..amount).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
            Err(_) => return Heard::End,
        }
        match Opening::read(octets) {
            Ok(None) => {}
            Ok(Some(opening)) => return Heard::Word(Ok(opening)),
            Err(status) => return Heard::Word(Err(status.0)),
        }
    }
}

/// Sends the last words, then waits for the client to go.
pub(super) fn leave(mut local: Local, mut octets: Vec<u8>, scratch: &mut [u8]) -> Phase {
    if flush(&mut local, &mut octets).is_err() {
        return Phase::Over;
    }
    if octets.is_empty() {
        // What it still sends must not turn its end into a reset that eats the answer.
        drop(local.shutdown(Shutdown::Write));
        for _ in 0..RELAY_READS_A_TURN {
            match local.read(scratch) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => return Phase::Over,
            }
        }
    }
    Phase::Leaving { local, octets }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

fn router(question: &[u8]) -> Option<Eui64> {
    let value: Value = serde_json::from_slice(question).ok()?;
    match value.get("router")? {
        Value::String(text) => Eui64::from_any(text).ok(),
        Value::Number(number) => number.as_u64().map(Eui64::new),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::{Asking, Heard, Local, Opening, Phase, leave};
    use crate::limits::RELAY_READS_A_TURN;

    const HEAD: &[u8] = b"GET /router-info HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn pair() -> (UnixStream, Local) {
        let (far, near) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (far, near)
    }

    #[test]
    fn a_client_that_talks_on_after_its_end_is_heard_only_so_much_a_turn() {
        let (mut far, local) = pair();
        far.write_all(&vec![b'x'; 32 * 1024]).unwrap();
        let mut scratch = [0; 512];
        let mut turns = 0;
        let mut phase = leave(local, Vec::new(), &mut scratch);
        drop(far);
        while let Phase::Leaving { local, octets } = phase {
            turns += 1;
            phase = leave(local, octets, &mut scratch);
        }
        assert_eq!(turns, 32 * 1024 / (512 * RELAY_READS_A_TURN));
    }

    #[test]
    fn a_client_that_pings_instead_of_asking_is_given_up() {
        let (mut far, local) = pair();
        let opening = Opening::read(HEAD).unwrap().unwrap();
        let mut asking = Asking::start(local, &opening, &[], "localhost:80").unwrap();
        far.write_all(&[0x89, 0x80, 0, 0, 0, 0].repeat(17)).unwrap();
        assert!(matches!(asking.hear(), Heard::End));
    }
}
