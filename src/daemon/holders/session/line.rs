//! Acts: one traffic socket, from the upgrade to its end. No call blocks.

use core::time::Duration;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};

use tracing::warn;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Error, Message, WebSocket};

use super::{Pace, ending};
use crate::agent::ExchangeId;
use crate::agent::failure::{Class, Failure};
use crate::daemon::clock;
use crate::daemon::discovery::Proof;
use crate::daemon::reset;
use crate::daemon::session::Session;
use crate::wire::traffic::{self, Kind};
use crate::wire::uplink::Frame;
use crate::wire::uri::ServerUri;

/// Pings that may stay without any sign of life.
const SILENT_PINGS_MAX: u32 = 2;

/// Messages and octets taken in one round, so that a flood holds nobody up.
const ROUND_MAX: usize = 256;
const ROUND_OCTETS_MAX: usize = 256 * 1024;

const BARRIER: &[u8] = b"drained";
/// Begins any other ping: it asks whether so many uplinks have been read.
const READ: &[u8] = b"read";

/// One open traffic socket.
pub(super) struct Line {
    pub(super) id: ExchangeId,
    uri: ServerUri,
    access: Box<Proof>,
    socket: WebSocket<Session>,
    pace: Pace,
    is_blocked: bool,
    /// What the socket had taken when it was full, and since when it has taken no more.
    stuck: Option<(u64, Duration)>,
    ping_at: Duration,
    silent_pings: u32,
    /// By when `router_config` must have come.
    configured_by: Option<Duration>,
    mux_time: Option<(f64, Duration)>,
    warned: BTreeSet<&'static str>,
    /// Uplinks sent, and those of them that the LNS has read for certain.
    sent: u64,
    read: u64,
    /// How many were sent when the LNS was asked how many it has read.
    asked: Option<u64>,
}

/// What one round of listening brought.
pub(super) struct Round {
    pub(super) said: Vec<Said>,
    /// There may be more without the socket saying so.
    pub(super) has_more: bool,
    pub(super) end: Result<(), Failure>,
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
    /// It has read uplinks.
    Read,
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
        let mut line = Self {
            id,
            uri,
            access,
            socket,
            pace,
            is_blocked: false,
            stuck: None,
            ping_at: now,
            silent_pings: 0,
            configured_by: Some(now.saturating_add(pace.configured)),
            mux_time: None,
            warned: BTreeSet::new(),
            sent: 0,
            read: 0,
            asked: None,
        };
        line.set_ping(pace.ping);
        blocking.map_err(|error| line.failure(Error::Io(error)))?;
        line.send(Message::text(version))?;
        Ok(line)
    }

    pub(super) const fn uri(&self) -> &ServerUri {
        &self.uri
    }

    /// From now on so long is between two pings.
    pub(super) fn set_ping(&mut self, ping: Duration) {
        self.pace.ping = ping;
        self.ping_at = clock::since_boot().saturating_add(spread(ping));
        self.pace.keep_alive(self.socket.get_ref());
    }

    /// Whether what was sent waits for room.
    pub(super) const fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// When [`Line::be_on_time`] is due.
    pub(super) fn deadline(&self) -> Duration {
        let configured_by = self.configured_by.unwrap_or(Duration::MAX);
        let taken_by = self.taken_by().unwrap_or(Duration::MAX);
        self.ping_at.min(configured_by).min(taken_by)
    }

    /// Reads what has come, up to `router_config` or a round's worth.
    pub(super) fn listen(&mut self) -> Round {
        self.socket.get_mut().set_ration(ROUND_OCTETS_MAX);
        let mut said = Vec::new();
        let end = loop {
            if said.len() >= ROUND_MAX || matches!(said.last(), Some(Said::Configured(..))) {
                break Ok(true);
            }
            match self.flush().and_then(|()| self.hear()) {
                Ok(Some(word)) => said.push(word),
                Ok(None) => break Ok(self.socket.get_ref().is_ration_over()),
                Err(failure) => break Err(failure),
            }
        };
        Round {
            said,
            has_more: end == Ok(true),
            end: end.map(drop),
        }
    }

    /// Reads one message; `None` when there is none now.
    fn hear(&mut self) -> Result<Option<Said>, Failure> {
        let message = match self.socket.read() {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(self.failure(error)),
            Ok(message) => message,
        };
        self.silent_pings = 0;
        Ok(Some(match message {
            Message::Text(text) => self.judge(text.as_str())?,
            Message::Pong(octets) => self.answered(&octets),
            Message::Close(frame) => {
                let peer = self.uri.authority();
                return Err(ending::of_close(&peer, &self.access, frame));
            }
            Message::Ping(_) => {
                self.flush()?;
                Said::Nothing
            }
            Message::Binary(_) | Message::Frame(_) => Said::Nothing,
        }))
    }

    fn answered(&mut self, octets: &[u8]) -> Said {
        if octets == BARRIER {
            self.read = self.sent;
            self.asked = None;
            return Said::Drained;
        }
        match self.asked {
            Some(count) if octets == question(count) => {
                self.asked = None;
                self.read = count;
                Said::Read
            }
            _ => Said::Nothing,
        }
    }

    /// Sends one uplink; it is kept if there is no room now.
    pub(super) fn send_uplink(&mut self, frame: &Frame) -> Result<(), Failure> {
        let now = clock::since_boot();
        let ref_time_s = self.mux_time.map_or(0.0, |(time_s, at)| {
            time_s + now.saturating_sub(at).as_secs_f64()
        });
        let rx_time_s = Duration::from_secs(clock::wall_s()).as_secs_f64();
        self.send(Message::text(frame.message(ref_time_s, rx_time_s)))?;
        self.sent = self.sent.saturating_add(1);
        Ok(())
    }

    /// Uplinks of which it is not known whether the LNS has read them.
    pub(super) const fn unread(&self) -> u64 {
        self.sent.saturating_sub(self.read)
    }

    /// Asks how many uplinks the LNS has read, unless it still owes an answer.
    pub(super) fn ask_whether_read(&mut self) -> Result<(), Failure> {
        if self.asked.is_some() || self.is_blocked || self.unread() == 0 {
            return Ok(());
        }
        self.ask()
    }

    /// Of several pings a server may answer the last one only, so the last one counts.
    fn ask(&mut self) -> Result<(), Failure> {
        self.asked = Some(self.sent);
        self.send(Message::Ping(question(self.sent).into()))
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
        if self.taken_by().is_some_and(|by| by <= now) {
            let wait_s = self.pace.unacknowledged.as_secs();
            let text = format!("{peer} has taken nothing of what was sent for {wait_s} s");
            return Err(self.dead(text));
        }
        if now < self.ping_at {
            return Ok(false);
        }
        if self.silent_pings >= SILENT_PINGS_MAX {
            return Err(self.dead(format!("{peer} answered neither of two pings")));
        }
        self.silent_pings = self.silent_pings.saturating_add(1);
        self.ping_at = now.saturating_add(spread(self.pace.ping));
        self.ask()?;
        Ok(true)
    }

    /// Nothing that is still on its way may arrive after its sender was told that it is lost.
    fn dead(&self, text: String) -> Failure {
        reset::when_closed(self.socket.get_ref());
        Failure::new(Class::Network, "lns_dead", text)
    }

    /// Ends it politely, without waiting for an answer.
    pub(super) fn end(mut self, code: CloseCode) {
        self.say_goodbye(code);
        self.socket.get_mut().close();
    }

    fn judge(&mut self, text: &str) -> Result<Said, Failure> {
        let heard = traffic::parse(text);
        let now = clock::since_boot();
        if let Some(time_s) = heard.mux_time_s {
            self.mux_time = Some((time_s, now));
        }
        Ok(match heard.kind {
            Kind::RouterConfig { region, octets } => {
                self.configured_by = None;
                let region = region.map(|region| self.access.withheld_text(&region));
                Said::Configured(region, octets)
            }
            // Like station: who does not read what is sent is not answered.
            Kind::GetTime if self.is_blocked => Said::Nothing,
            Kind::GetTime => {
                let mux_time_s = heard.mux_time_s.unwrap_or_default();
                let answer = traffic::times(mux_time_s, now, clock::wall_s());
                self.send(Message::text(answer))?;
                Said::Nothing
            }
            Kind::Down => Said::Down,
            Kind::Command(name) => {
                self.warn_once(
                    "command",
                    &format!("wants to run something here by {name}; refused"),
                );
                Said::Nothing
            }
            Kind::Error(text) => {
                let text = self.access.withheld_text(&text);
                self.warn_once("error", &format!("reports an error: {text}"));
                Said::Nothing
            }
            Kind::TimeSync | Kind::Other => Said::Nothing,
        })
    }

    /// One line of a kind is enough for a connection: the LNS could fill the journal.
    fn warn_once(&mut self, kind: &'static str, what: &str) {
        if self.warned.insert(kind) {
            warn!("the LNS {} {what}", self.uri.authority());
        }
    }

    fn send(&mut self, message: Message) -> Result<(), Failure> {
        let sent = self.socket.send(message);
        self.note(sent)
    }

    fn note(&mut self, result: Result<(), Error>) -> Result<(), Failure> {
        self.is_blocked = match &result {
            // The message is in the socket's buffer and goes with the next flush.
            Err(Error::Io(error)) => error.kind() == ErrorKind::WouldBlock,
            // Only a ping is tried while there is no room; the next one will do as well.
            Err(Error::WriteBufferFull(_)) => true,
            _ => false,
        };
        if self.is_blocked {
            let taken = self.socket.get_ref().taken();
            if self.stuck.is_none_or(|(before, _)| before != taken) {
                self.stuck = Some((taken, clock::since_boot()));
            }
            return Ok(());
        }
        self.stuck = None;
        result.map_err(|error| self.failure(error))
    }

    /// By when a full socket must have taken something. TCP's own limit does not count while
    /// the far side goes on sending: it says that it is alive, but not that it reads.
    fn taken_by(&self) -> Option<Duration> {
        self.stuck
            .map(|(_, since)| since.saturating_add(self.pace.unacknowledged))
    }

    /// Tells the LNS its own fault, as far as there is room for that.
    fn failure(&mut self, error: Error) -> Failure {
        if let Some(code) = ending::told(&error) {
            self.say_goodbye(code);
        }
        let (peer, seen) = (self.uri.authority(), self.socket.get_ref().seen());
        ending::of_error(peer, seen, &self.access, error)
    }

    /// The first goodbye counts.
    fn say_goodbye(&mut self, code: CloseCode) {
        let reason = "".into();
        let _ = self.socket.close(Some(CloseFrame { code, reason }));
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

/// The ping that asks whether so many uplinks have been read.
fn question(count: u64) -> Vec<u8> {
    [READ, &count.to_be_bytes()].concat()
}
