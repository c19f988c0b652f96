//! Acts: one HTTP request over a session that is already open.
//!
//! ureq speaks HTTP; name, connection, TLS and deadlines are ours. Its connector interface is
//! outside semver, so everything that touches it is in this file.

use core::fmt;
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;

use ureq::config::{AutoHeaderValue, Config};
use ureq::http::{HeaderMap, Method, Request, Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Body, Error};

use super::clock::Cutoff;
use super::session::{Seen, Session, SessionError};
use crate::agent::evidence::Stage;
use crate::agent::failure::{Class, Failure};
use crate::limits::{BUFFER_OCTETS, ERROR_BODY_OCTETS_MAX, HEADER_OCTETS_MAX};
use crate::wire::cups::stack_error::printable;
use crate::wire::timestamp::http_date;

/// A request that is sent as it is.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// POST unless something else is wanted.
    pub method: &'a Method,
    /// The whole address with path.
    pub url: &'a str,
    /// Header names and values; may hold a token.
    pub headers: &'a [(String, String)],
    /// The JSON body.
    pub body: &'a str,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum HttpError {
    /// The connection broke.
    Broken(SessionError),
    /// What came is not an HTTP answer that can be used.
    NotHttp(Failure),
}

/// The body of an answer, still on the wire.
pub struct Answering {
    reader: ureq::BodyReader<'static>,
    seen: Seen,
}

/// Sends a request. Any status is an answer; redirects are not followed. `response` bounds
/// the wait for the first octet, `total` everything.
pub fn send(
    session: Session,
    message: Message<'_>,
    response: Cutoff,
    total: Cutoff,
) -> Result<(Response<()>, Answering), HttpError> {
    let seen = session.seen();
    let wire = Wire {
        session,
        buffers: LazyBuffers::new(BUFFER_OCTETS, BUFFER_OCTETS),
        pending: Vec::new(),
        has_received: false,
        is_at_end: false,
        response: response.or_earlier(total),
        total,
    };
    let agent = Agent::with_parts(settings(), OneSession(Mutex::new(Some(wire))), Nowhere);
    let mut request = Request::builder()
        .method(message.method)
        .uri(message.url)
        .header("Content-Type", "application/json");
    for (name, value) in message.headers {
        request = request.header(name, value);
    }
    let request = request.body(message.body.to_owned()).map_err(|_| {
        let text = format!("{} is not an address that can be asked", message.url);
        HttpError::NotHttp(Failure::new(Class::Configuration, "uri_host", text))
    })?;
    let answer = agent
        .run(request)
        .map_err(|error| refine(error, Stage::Response, seen))?;
    let (parts, body): (_, Body) = answer.into_parts();
    let reader = body.into_with_config().limit(u64::MAX).reader();
    Ok((Response::from_parts(parts, ()), Answering { reader, seen }))
}

impl Answering {
    /// Reads some octets; 0 at the end of the body.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        self.reader
            .read(buffer)
            .map_err(|error| refine(Error::from(error), Stage::Body, self.seen))
    }

    /// The first octets of an answer that is only quoted; what cannot be read is left out.
    pub fn excerpt(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut buffer = [0; 1024];
        while text.len() < ERROR_BODY_OCTETS_MAX {
            match self.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(amount) => text.extend_from_slice(buffer.get(..amount).unwrap_or_default()),
            }
        }
        text
    }

    /// What was seen of the handshake.
    #[must_use]
    pub const fn seen(&self) -> Seen {
        self.seen
    }
}

/// What the server says about coming back: seconds by The Things Stack's header or the standard
/// one, or the distance of two of its own times, as our clock may be wrong. RFC 9110 section
/// 10.2.3.
pub(super) fn retry_after(headers: &HeaderMap, longest: Duration) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name| text(name)?.parse().ok();
    let distance = || {
        let then_s = http_date(text("retry-after")?)?;
        Some(then_s.saturating_sub(http_date(text("date")?)?))
    };
    let seconds = number("x-rate-limit-retry").or_else(|| number("retry-after"));
    let wait = Duration::from_secs(seconds.or_else(distance)?);
    Some(wait.min(longest))
}

fn settings() -> Config {
    Config::builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .http_status_as_error(false)
        .max_response_header_size(HEADER_OCTETS_MAX)
        .max_idle_connections(0)
        .user_agent(concat!("mtls-agent/", env!("CARGO_PKG_VERSION")))
        .accept(AutoHeaderValue::None)
        .accept_encoding(AutoHeaderValue::None)
        .build()
}

fn refine(error: Error, stage: Stage, seen: Seen) -> HttpError {
    match error {
        Error::Io(error) => match error.downcast::<Error>() {
            Ok(inner) if !matches!(inner, Error::Io(_)) => refine(inner, stage, seen),
            Ok(Error::Io(error)) => HttpError::Broken(SessionError::from_io(&error, stage, seen)),
            Ok(_) => not_http("unusable"),
            Err(error) => HttpError::Broken(SessionError::from_io(&error, stage, seen)),
        },
        other => not_http(&other.to_string()),
    }
}

fn not_http(why: &str) -> HttpError {
    let text = format!("the answer is not usable HTTP: {}", printable(why, 120));
    HttpError::NotHttp(Failure::new(Class::Protocol, "http_body", text))
}

/// A session as ureq wants it: octets in, octets out.
struct Wire {
    session: Session,
    buffers: LazyBuffers,
    // ureq hands over head and body one by one; one record saves octets and a packet, and a
    // server that closes between the two can no longer hide its alert.
    pending: Vec<u8>,
    has_received: bool,
    is_at_end: bool,
    response: Cutoff,
    total: Cutoff,
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let output = self.buffers.output();
        self.pending
            .extend_from_slice(output.get(..amount).unwrap_or(output));
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        self.session.set_cutoff(if self.has_received {
            self.total
        } else {
            self.response
        });
        if !self.pending.is_empty() {
            let octets = core::mem::take(&mut self.pending);
            self.session.write_all(&octets)?;
        }
        match self.session.read(self.buffers.input_append_buf()) {
            Ok(0) => self.end(ErrorKind::UnexpectedEof.into()),
            Ok(amount) => {
                self.has_received = true;
                self.buffers.input_appended(amount);
                Ok(true)
            }
            // Without close_notify, as some servers end a body that has no length. The
            // parser checks every length, so a cut shows.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.end(error),
            Err(error) => Err(error.into()),
        }
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl Wire {
    fn end(&mut self, error: io::Error) -> Result<bool, Error> {
        if self.has_received && !self.is_at_end {
            self.is_at_end = true;
            self.session.close();
            return Ok(false);
        }
        Err(error.into())
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Gives away the one session it holds.
#[derive(Debug)]
struct OneSession(Mutex<Option<Wire>>);

impl Connector for OneSession {
    type Out = Wire;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, Error> {
        Ok(self.0.lock().ok().and_then(|mut slot| slot.take()))
    }
}

/// The session is connected already; ureq wants an address all the same.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([127, 0, 0, 1], 0).into());
        Ok(addresses)
    }
}
