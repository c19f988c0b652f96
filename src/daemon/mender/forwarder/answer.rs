//! Speaks: the heads of the server's answers, read strictly and written for the program.

use super::body::Framing;
use super::head::{Request, number, words, write_line};
use crate::limits::FORWARDER_HEAD_OCTETS_MAX;

const LINES_MAX: usize = 64;

/// Lines that concern one connection, or are written anew.
const NOT_PASSED_ON: [&str; 9] = [
    "alt-svc",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// How its body ends.
    pub(super) framing: Framing,
    /// Octets of the head.
    pub(super) octets: usize,
    reason: String,
    /// What stands in `Content-Length`, should there be a body or not.
    length: Option<u64>,
    upgrade: Option<String>,
    lines: Vec<u8>,
}

impl Answer {
    /// Reads a head; `None` while it is not whole. The error says what it is.
    pub(super) fn read(octets: &[u8], request: &Request) -> Result<Option<Self>, &'static str> {
        let mut room = [httparse::EMPTY_HEADER; LINES_MAX];
        let mut parsed = httparse::Response::new(&mut room);
        let length = match parsed.parse(octets) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if octets.len() < FORWARDER_HEAD_OCTETS_MAX => {
                return Ok(None);
            }
            Ok(httparse::Status::Partial) => return Err("an answer whose head never ends"),
            Err(_) => return Err("an answer that is no HTTP"),
        };
        let status = parsed.code.unwrap_or_default();
        if !(100..600).contains(&status) {
            return Err("an answer with a status that does not exist");
        }
        let mut answer = Self {
            status,
            framing: Framing::UntilClose,
            octets: length,
            reason: parsed.reason.unwrap_or_default().to_owned(),
            length: None,
            upgrade: None,
            lines: Vec::new(),
        };
        let is_chunked = answer.take_lines(parsed.headers)?;
        answer.framing = match (answer.length, is_chunked) {
            _ if request.method == "HEAD" || status < 200 || [204, 304].contains(&status) => {
                Framing::Nothing
            }
            (Some(_), true) => return Err("an answer with both a length and chunks"),
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::UntilClose,
        };
        Ok(Some(answer))
    }

    /// How the body goes on to this client.
    pub(super) fn framing_for(&self, request: &Request) -> Framing {
        match self.framing {
            Framing::Chunked if request.is_old => Framing::UntilClose,
            framing => framing,
        }
    }

    /// Whether another head follows.
    pub(super) const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The head for the client.
    pub(super) fn forwarded(&self, request: &Request) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes();
        head.extend_from_slice(&self.lines);
        let mut line = |name: &str, value: &str| write_line(name, value.as_bytes(), &mut head);
        match (&self.upgrade, self.status) {
            (Some(upgrade), 101) => {
                line("Connection", "Upgrade");
                line("Upgrade", upgrade);
            }
            _ if self.is_interim() => {}
            _ => line("Connection", "close"),
        }
        match (self.framing_for(request), self.length) {
            (Framing::Chunked, _) => line("Transfer-Encoding", "chunked"),
            (_, Some(length)) if self.status >= 200 && self.status != 204 => {
                line("Content-Length", &length.to_string());
            }
            _ => {}
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Whether the body is chunked.
    fn take_lines(&mut self, headers: &[httparse::Header<'_>]) -> Result<bool, &'static str> {
        let mut is_chunked = false;
        let named = |line: &&httparse::Header<'_>| line.name.eq_ignore_ascii_case("connection");
        let nominated: Vec<String> = headers
            .iter()
            .filter(named)
            .flat_map(|line| words(line.value))
            .collect();
        for line in headers {
            let name = line.name.to_ascii_lowercase();
            match name.as_str() {
                "content-length" => {
                    let length = number(line.value).ok_or("an answer with an odd length")?;
                    if self.length.is_some_and(|before| before != length) {
                        return Err("an answer with two lengths");
                    }
                    self.length = Some(length);
                }
                "transfer-encoding" if is_chunked => return Err("an answer with two codings"),
                "transfer-encoding" if line.value.eq_ignore_ascii_case(b"chunked") => {
                    is_chunked = true;
                }
                "transfer-encoding" => return Err("an answer in an unknown coding"),
                "upgrade" => {
                    self.upgrade = core::str::from_utf8(line.value).ok().map(str::to_owned);
                }
                _ => {}
            }
            if !NOT_PASSED_ON.contains(&name.as_str()) && !nominated.contains(&name) {
                write_line(line.name, line.value, &mut self.lines);
            }
        }
        Ok(is_chunked)
    }
}
