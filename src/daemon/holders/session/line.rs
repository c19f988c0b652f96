//! Acts: one traffic socket, from the upgrade to its end. No call blocks.

use core::time::Duration;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use tracing::warn;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Error, Message, WebSocket};

use super::Pace;
use crate::agent::ExchangeId;
use crate::agent::evidence::Stage;
use crate::agent::failure::{Class, Failure};
use crate::daemon::clock;
use crate::daemon::discovery::Proof;
use crate::daemon::session::{Session, SessionError};
use crate::wire::cups::stack_error::printable;
use crate::wire::traffic::{self, Kind, MESSAGE_OCTETS_MAX};
use crate::wire::uplink::Frame;
use crate::wire::uri::ServerUri;

/// Pings that may stay without any sign of life.
const SILENT_PINGS_MAX: u32 = 2;

/// TCP: a dead far side is noticed in about a minute, even while nothing is sent.
const KEEPALIVE_IDLE_S: u32 = 30;
const KEEPALIVE_EVERY_S: u32 = 10;
const KEEPALIVE_COUNT: u32 = 3;
/// TCP: how long what was sent may stay without acknowledgement.
const UNACKNOWLEDGED_MS_MAX: u32 = 30_000;

const BARRIER: &[u8] = b"drained";
const ALIVE: &[u8] = b"alive";

/// One open traffic socket.
pub(super) struct Line {
    pub(super) id: ExchangeId,
    uri: ServerUri,
    access: Box<Proof>,
    socket: WebSocket<Session>,
    pace: Pace,
    is_blocked: bool,
    ping_at: Duration,
    silent_pings: u32,
    /// By when `router_config` must have come.
    configured_by: Option<Duration>,
    mux_time: Option<(f64, Duration)>,
    has_warned: bool,
}

/// What the LNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// `router_config`: the region and the length.
    Configured(Option<String>, usize),
    /// Something to send by radio.
    Down,
    /// It has read everything that was sent before the question.
    Drained,
    /// Nothing that matters.
    Nothing,
}

impl Line {
    /// Takes a socket over whose upgrade succeeded, and says who we are.
    pub(super) fn begin(
        id: ExchangeId,
        (uri, access): (ServerUri, Box<Proof>),
        mut socket: WebSocket<Session>,
        (version, pace): (&str, Pace),
    ) -> Result<Self, Failure> {
        let now = clock::since_boot();
        let blocking = socket.get_mut().set_nonblocking();
        keep_alive(socket.get_ref());
        let mut line = Self {
            id,
            uri,
            access,
            socket,
            pace,
            is_blocked: false,
            ping_at: now.saturating_add(spread(pace.ping)),
            silent_pings: 0,
            configured_by: Some(now.saturating_add(pace.configured)),
            mux_time: None,
            has_warned: false,
        };
        blocking.map_err(|error| line.failure(Error::Io(error)))?;
        line.send(Message::text(version))?;
        Ok(line)
    }

    pub(super) const fn uri(&self) -> &ServerUri {
        &self.uri
    }

    /// Whether what was sent waits for room.
    pub(super) const fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// When [`Line::be_on_time`] is due.
    pub(super) fn deadline(&self) -> Duration {
        self.configured_by
            .map_or(self.ping_at, |by| by.min(self.ping_at))
    }

    /// Reads one message; `None` when there is none now.
    pub(super) fn hear(&mut self) -> Result<Option<Said>, Failure> {
        let message = match self.socket.read() {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(self.failure(error)),
            Ok(message) => message,
        };
        self.silent_pings = 0;
        let said = match message {
            Message::Text(text) => self.judge(text.as_str()),
            Message::Pong(octets) if octets.as_ref() == BARRIER => Said::Drained,
            Message::Close(frame) => return Err(self.closed(frame)),
            Message::Ping(_) => {
                self.flush()?;
                Said::Nothing
            }
            Message::Binary(_) | Message::Pong(_) | Message::Frame(_) => Said::Nothing,
        };
        Ok(Some(said))
    }

    /// Sends one uplink; it is kept if there is no room now.
    pub(super) fn send_uplink(&mut self, frame: &Frame) -> Result<(), Failure> {
        let now = clock::since_boot();
        let ref_time_s = self.mux_time.map_or(0.0, |(time_s, at)| {
            time_s + now.saturating_sub(at).as_secs_f64()
        });
        let rx_time_s = Duration::from_secs(clock::wall_s()).as_secs_f64();
        self.send(Message::text(frame.message(ref_time_s, rx_time_s)))
    }

    /// Asks for a sign that everything sent so far has been read.
    pub(super) fn ask_whether_drained(&mut self) -> Result<(), Failure> {
        self.send(Message::Ping(Bytes::from_static(BARRIER)))
    }

    /// Sends what had no room before.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.socket.flush();
        self.note(flushed)
    }

    /// Does what is due; `true` if that was a ping.
    pub(super) fn be_on_time(&mut self, now: Duration) -> Result<bool, Failure> {
        let peer = self.uri.authority();
        if self.configured_by.is_some_and(|by| by <= now) {
            let wait_s = self.pace.configured.as_secs();
            let text = format!(
                "{peer} opened the traffic socket and sent no router_config for {wait_s} s"
            );
            return Err(Failure::new(Class::Network, "silent_lns", text)
                .with_hint("give the gateway a frequency plan on the server"));
        }
        if now < self.ping_at {
            return Ok(false);
        }
        if self.silent_pings >= SILENT_PINGS_MAX {
            let text = format!("{peer} answered neither of two pings");
            return Err(Failure::new(Class::Network, "lns_dead", text));
        }
        self.silent_pings = self.silent_pings.saturating_add(1);
        self.ping_at = now.saturating_add(spread(self.pace.ping));
        self.send(Message::Ping(Bytes::from_static(ALIVE)))?;
        Ok(true)
    }

    /// Ends it politely, without waiting for an answer.
    pub(super) fn end(mut self) {
        let _ = self.socket.close(None);
        self.socket.get_mut().close();
    }

    fn judge(&mut self, text: &str) -> Said {
        let heard = traffic::parse(text);
        if let Some(time_s) = heard.mux_time_s {
            self.mux_time = Some((time_s, clock::since_boot()));
        }
        match heard.kind {
            Kind::RouterConfig { region, octets } => {
                self.configured_by = None;
                Said::Configured(region, octets)
            }
            Kind::Down => Said::Down,
            Kind::Command(name) => {
                self.warn_once(&format!("wants to run something here by {name}; refused"));
                Said::Nothing
            }
            Kind::Error(text) => {
                let text = self.access.withheld_text(&text);
                self.warn_once(&format!("reports an error: {text}"));
                Said::Nothing
            }
            Kind::TimeSync | Kind::Other => Said::Nothing,
        }
    }

    /// One line a connection is enough: the LNS could fill the journal.
    fn warn_once(&mut self, what: &str) {
        if !self.has_warned {
            warn!("the LNS {} {what}", self.uri.authority());
        }
        self.has_warned = true;
    }

    fn send(&mut self, message: Message) -> Result<(), Failure> {
        let sent = self.socket.send(message);
        self.note(sent)
    }

    fn note(&mut self, result: Result<(), Error>) -> Result<(), Failure> {
        self.is_blocked = false;
        match result {
            // The message is in the socket's buffer and goes with the next flush.
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.is_blocked = true;
                Ok(())
            }
            result => result.map_err(|error| self.failure(error)),
        }
    }

    fn failure(&mut self, error: Error) -> Failure {
        let peer = self.uri.authority();
        let failure = match error {
            Error::Io(error) => {
                let seen = self.socket.get_ref().seen();
                let error = SessionError::from_io(&error, Stage::Response, seen);
                error
                    .evidence(peer, true, self.access.time.is_sane())
                    .classify()
            }
            Error::Capacity(_) => {
                let _ = self.socket.close(Some(CloseFrame {
                    code: CloseCode::Size,
                    reason: "".into(),
                }));
                let limit = MESSAGE_OCTETS_MAX / 1024;
                let text = format!("{peer} sent a message of more than {limit} KiB");
                Failure::new(Class::Protocol, "lns_oversize", text)
            }
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
            ) => {
                let text = format!("{peer} closed the traffic socket without a word");
                Failure::new(Class::Network, "lns_closed", text)
            }
            other => {
                let why = printable(&other.to_string(), 120);
                let text = format!("{peer} does not keep to the LNS protocol: {why}");
                Failure::new(Class::Protocol, "websocket", text)
            }
        };
        self.access.withheld(failure)
    }

    /// Codes only tell how long to wait: whether a key is still good is seen at the next try.
    fn closed(&self, frame: Option<CloseFrame>) -> Failure {
        let peer = self.uri.authority();
        let Some(frame) = frame else {
            let text = format!("{peer} closed the traffic socket without a code");
            return Failure::new(Class::Network, "lns_closed", text);
        };
        let class = match frame.code {
            CloseCode::Error => Class::ServerFault,
            CloseCode::Restart | CloseCode::Again => Class::Busy,
            _ => Class::Network,
        };
        let code = u16::from(frame.code);
        let reason = match printable(frame.reason.as_str(), 120) {
            reason if reason.is_empty() => String::new(),
            reason => format!(": {reason}"),
        };
        let text = format!("{peer} closed the traffic socket with code {code}{reason}");
        self.access
            .withheld(Failure::new(class, "lns_closed", text))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

/// The wait, 10 % more or less; the clock's nanoseconds are chance enough for that.
fn spread(wait: Duration) -> Duration {
    let draw = clock::since_boot().subsec_nanos() % 2001;
    wait.saturating_mul(9000_u32.saturating_add(draw)) / 10_000
}

/// Without these options the pings still find a dead far side, only later.
fn keep_alive(session: &Session) {
    let set = || {
        setsockopt(session, sockopt::KeepAlive, &true)?;
        setsockopt(session, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_S)?;
        setsockopt(session, sockopt::TcpKeepInterval, &KEEPALIVE_EVERY_S)?;
        setsockopt(session, sockopt::TcpKeepCount, &KEEPALIVE_COUNT)?;
        setsockopt(session, sockopt::TcpUserTimeout, &UNACKNOWLEDGED_MS_MAX)
    };
    if let Err(error) = set() {
        warn!("the traffic socket has no TCP keepalive: {error}");
    }
}
