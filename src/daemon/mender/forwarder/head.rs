//! Speaks: the heads of requests, as programs of this device send them and the server gets them.
//!
//! ```text
//! GET /api/devices/v1/... HTTP/1.1    ->   GET /base/api/devices/v1/... HTTP/1.1
//! Host: 127.0.0.1:4711                ->   Host: ambassador:8443
//! Authorization: Bearer (known)       ->   Authorization: Bearer (current)
//! Connection: keep-alive, X           ->   Connection: close, and no line X
//! ```
//! Nothing is passed on that two readers could understand differently.

use core::fmt::Write as _;

use zeroize::Zeroizing;

use super::body::Framing;
use super::target;
use crate::daemon::mender::gathering::Authorised;
use crate::limits::{FORWARDER_HEAD_OCTETS_MAX, FORWARDER_RETRY_S};
use crate::wire::secret::Secret;

/// More lines than any of Mender's programs sends.
const LINES_MAX: usize = 64;

/// Lines that concern one connection, or are written anew.
const NOT_PASSED_ON: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A request whose head is whole and sound.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query, not judged yet.
    pub(super) target: String,
    /// The token that the caller shows.
    pub(super) bearer: Option<Secret>,
    /// How its body ends.
    pub(super) framing: Framing,
    /// What the connection is to become.
    pub(super) upgrade: Option<String>,
    /// HTTP/1.0: knows neither chunks nor 1xx.
    pub(super) is_old: bool,
    /// Octets of the head.
    pub(super) octets: usize,
    /// Waits for 100 before it sends the body.
    expects: bool,
    /// The lines that are passed on, as they are sent.
    lines: Vec<u8>,
}

/// Why a request is not taken: an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16);

impl Request {
    /// Reads a head; `None` while it is not whole.
    pub(super) fn read(octets: &[u8]) -> Result<Option<Self>, Status> {
        let mut room = [httparse::EMPTY_HEADER; LINES_MAX];
        let mut request = httparse::Request::new(&mut room);
        let length = match request.parse(octets) {
            Ok(httparse::Status::Complete(length)) if length <= FORWARDER_HEAD_OCTETS_MAX => length,
            Ok(httparse::Status::Partial) if octets.len() < FORWARDER_HEAD_OCTETS_MAX => {
                return Ok(None);
            }
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Status(431)),
            Err(_) => return Err(Status(400)),
        };
        // The parser is content with a line feed alone; others may not be.
        if has_bare_line_end(octets.get(..length).unwrap_or_default()) {
            return Err(Status(400));
        }
        let is_old = request.version == Some(0);
        let found = Lines::of(request.headers)?;
        let framing = found.framing(is_old)?;
        let upgrade = found.upgrade()?;
        if upgrade.is_some() && framing != Framing::Nothing {
            return Err(Status(400));
        }
        Ok(Some(Self {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            bearer: found.bearer()?,
            framing,
            upgrade: upgrade.filter(|_| !is_old),
            is_old,
            octets: length,
            expects: found.expects()?,
            lines: found.passed_on(),
        }))
    }

    /// Whether it is one that may pass, whoever sends it.
    pub(super) fn is_allowed(&self) -> bool {
        target::is_allowed(&self.target) && !["CONNECT", "TRACE"].contains(&self.method.as_str())
    }

    /// The path without a query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The head for the server. `is_repeat`: the body is there, and nobody waits for a 100.
    pub(super) fn forwarded(&self, lent: &Authorised, is_repeat: bool) -> Zeroizing<Vec<u8>> {
        let token = lent.token.expose();
        // Room for all of it: what grows leaves copies of the token behind.
        let room = self.lines.len() + self.target.len() + token.len() + 1024;
        let mut head = String::with_capacity(room);
        // Writing to a text cannot fail.
        let _ = write!(
            head,
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method,
            lent.server.target(&self.target),
            lent.server.uri().authority(),
        );
        head.push_str("Authorization: Bearer ");
        head.push_str(token);
        head.push_str("\r\n");
        match &self.upgrade {
            Some(upgrade) => {
                let _ = write!(head, "Connection: Upgrade\r\nUpgrade: {upgrade}\r\n");
            }
            None => head.push_str("Connection: close\r\n"),
        }
        match self.framing {
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::Length(octets) => {
                let _ = write!(head, "Content-Length: {octets}\r\n");
            }
            Framing::Nothing | Framing::UntilClose => {}
        }
        if self.expects && !is_repeat {
            head.push_str("Expect: 100-continue\r\n");
        }
        let mut head = Zeroizing::new(head.into_bytes());
        head.extend_from_slice(&self.lines);
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// All lines of a head, to look through.
struct Lines<'a> {
    lines: Vec<(String, &'a [u8])>,
    names: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    fn of(headers: &[httparse::Header<'a>]) -> Result<Self, Status> {
        let lines: Vec<(String, &[u8])> = headers
            .iter()
            .map(|line| (line.name.to_ascii_lowercase(), line.value))
            .collect();
        let found = Self {
            lines,
            names: headers.iter().map(|line| line.name).collect(),
        };
        found.one("host")?;
        Ok(found)
    }

    fn all(&self, wanted: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_it = move |(name, value): &(String, &'a [u8])| (name == wanted).then_some(*value);
        self.lines
            .iter()
            .filter_map(is_it)
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The value of a line that may stand there once.
    fn one(&self, wanted: &str) -> Result<Option<&'a [u8]>, Status> {
        let mut values = self.all(wanted);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Status(400)),
            (value, None) => Ok(value),
        }
    }

    fn framing(&self, is_old: bool) -> Result<Framing, Status> {
        match (self.one("content-length")?, self.one("transfer-encoding")?) {
            (None, None) => Ok(Framing::Nothing),
            (Some(length), None) => number(length).map(Framing::Length).ok_or(Status(400)),
            (None, Some(coding)) if !is_old && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Framing::Chunked)
            }
            _ => Err(Status(400)),
        }
    }

    fn bearer(&self) -> Result<Option<Secret>, Status> {
        let Some(value) = self.one("authorization")? else {
            return Ok(None);
        };
        let scheme = value.get(..7).unwrap_or_default();
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
        let token = value.get(7..).unwrap_or_default();
        Ok(is_bearer.then(|| Secret::new(token.trim_ascii().to_vec())))
    }

    fn upgrade(&self) -> Result<Option<String>, Status> {
        let Some(value) = self.one("upgrade")? else {
            return Ok(None);
        };
        let value = core::str::from_utf8(value).map_err(|_| Status(400))?;
        // Anything else, such as h2c, would be another protocol on the device's identity.
        let is_websocket = value.trim().eq_ignore_ascii_case("websocket");
        let is_wanted = self.nominated().any(|word| word == "upgrade");
        Ok((is_websocket && is_wanted).then(|| "websocket".to_owned()))
    }

    fn expects(&self) -> Result<bool, Status> {
        match self.one("expect")? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(Status(417)),
        }
    }

    /// The words of `Connection`, which name lines that are not passed on either.
    fn nominated(&self) -> impl Iterator<Item = String> {
        self.all("connection").flat_map(words)
    }

    fn passed_on(&self) -> Vec<u8> {
        let nominated: Vec<String> = self.nominated().collect();
        let mut out = Vec::new();
        for ((name, value), written) in self.lines.iter().zip(&self.names) {
            if NOT_PASSED_ON.contains(&name.as_str()) || nominated.contains(name) {
                continue;
            }
            write_line(written, value, &mut out);
        }
        out
    }
}

/// Writes `name: value`.
pub(super) fn write_line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A list of words, in lower case.
pub(super) fn words(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    text.split(',').map(|word| word.trim().to_owned()).collect()
}

/// Digits and nothing else.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = core::str::from_utf8(value).ok().filter(|_| is_number)?;
    text.parse().ok()
}

/// An answer of the forwarder itself, without a body: one with 401 ends mender-update 5.1.0.
pub(super) fn refusal(status: u16) -> Vec<u8> {
    let reason = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        408 => "Request Timeout",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let more = match status {
        503 => format!("Retry-After: {FORWARDER_RETRY_S}\r\n"),
        _ => String::new(),
    };
    format!("HTTP/1.1 {status} {reason}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// What is answered when the server cannot be.
pub(super) fn bad_gateway(why: &str) -> Vec<u8> {
    let body = serde_json::json!({ "error": why }).to_string();
    format!(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn has_bare_line_end(head: &[u8]) -> bool {
    let mut before = b' ';
    head.iter().any(|&octet| {
        let is_bare = (octet == b'\n' && before != b'\r') || (before == b'\r' && octet != b'\n');
        before = octet;
        is_bare
    })
}
