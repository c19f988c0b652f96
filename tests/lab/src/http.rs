//! Speaks: the server's side of HTTP/1.1 over any stream, and answers that are broken on purpose.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

/// Most octets of request line and headers together.
const HEAD_LIMIT: usize = 128 * 1024;
/// Most octets of a body; above what any server here takes, so that it can say so itself.
const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The target of the request line, query included.
    pub path: String,
    /// Names as written, values without surrounding blanks, in order.
    pub headers: Vec<(String, String)>,
    /// As many octets as `Content-Length` said, or the joined chunks.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .find(same)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the client wants the connection closed after the answer.
    #[must_use]
    pub fn wants_close(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// How the end of a body is shown, or what goes wrong with the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`, as written.
    #[default]
    ContentLength,
    /// Chunked transfer coding, in pieces of 512 octets.
    Chunked,
    /// No length: the body ends with the connection.
    UntilClose,
    /// An answer of HTTP/1.0: no length, and the body ends with the connection.
    Http10,
    /// Fault: `Content-Length` of the whole body, then only so many octets and the end.
    CutAfter(usize),
    /// Fault: chunked, but the connection ends after so many octets and without a last chunk.
    ChunkedCutAfter(usize),
    /// Fault: `Content-Length`, then one octet every so often.
    Slow(Duration),
    /// Fault: nothing for so long, then the end.
    Silent(Duration),
    /// Fault: the connection ends at once, without an answer.
    Hangup,
}

/// An answer, given word for word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// All headers but those that frame the body.
    pub headers: Vec<(String, String)>,
    /// The body before framing.
    pub body: Vec<u8>,
    /// How, and how far, it is sent.
    pub framing: Framing,
}

impl RawAnswer {
    /// A 200 with `application/octet-stream`.
    #[must_use]
    pub fn octets(body: Vec<u8>) -> Self {
        Self::typed(200, "application/octet-stream", body)
    }

    /// An answer with a content type.
    #[must_use]
    pub fn typed(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self {
            status,
            headers,
            body,
            framing: Framing::ContentLength,
        }
    }

    /// The same answer in another framing.
    #[must_use]
    pub fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct Conn<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: Read + Write> Conn<S> {
    /// Begins on a fresh stream.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The stream below, for what HTTP does not say.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Reads one request; `None` if the client has ended the connection between requests.
    ///
    /// # Errors
    /// The stream fails or ends early, a bound is passed, or it is not HTTP.
    pub fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.head()? else {
            return Ok(None);
        };
        let mut request = parse_head(&head)?;
        let coding = request.header("transfer-encoding");
        if coding.is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            request.body = self.joined_chunks()?;
            return Ok(Some(request));
        }
        let length = match request.header("content-length") {
            None => 0,
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| bad("content-length is no number"))?,
        };
        request.body = self.exactly(length)?;
        Ok(Some(request))
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_LIMIT {
            return Err(bad("body too large"));
        }
        while self.buffer.len() < length {
            if !self.fill()? {
                return Err(ended_early());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn joined_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length =
                usize::from_str_radix(digits, 16).map_err(|_| bad("chunk without a length"))?;
            if length == 0 {
                break;
            }
            body.extend(self.exactly(length)?);
            if body.len() > BODY_LIMIT {
                return Err(bad("body too large"));
            }
            if !self.line()?.is_empty() {
                return Err(bad("chunk of another length than told"));
            }
        }
        // Trailers, up to the empty line.
        while !self.line()?.is_empty() {}
        Ok(body)
    }

    /// One line without its end.
    fn line(&mut self) -> io::Result<String> {
        loop {
            let end = self.buffer.windows(2).position(|two| two == b"\r\n");
            if let Some(end) = end {
                let line: Vec<u8> = self.buffer.drain(..end.saturating_add(2)).collect();
                let line = line.get(..end).unwrap_or_default();
                return String::from_utf8(line.to_vec()).map_err(|_| bad("line is not text"));
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(bad("line too long"));
            }
            if !self.fill()? {
                return Err(ended_early());
            }
        }
    }

    /// Reads up to and including the empty line; what follows stays buffered.
    ///
    /// # Errors
    /// As for [`Conn::request`].
    pub fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                return Ok(Some(self.buffer.drain(..end.saturating_add(4)).collect()));
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(bad("headers too large"));
            }
            if !self.fill()? {
                let between_requests = self.buffer.is_empty();
                return if between_requests {
                    Ok(None)
                } else {
                    Err(ended_early())
                };
            }
        }
    }

    /// The stream and the octets read beyond what was asked for, to speak something else.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Octets read beyond what was asked for.
    pub fn take_buffered(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.buffer)
    }

    /// Writes an answer; true if the connection can carry another request.
    ///
    /// # Errors
    /// The stream fails.
    pub fn answer(&mut self, answer: &RawAnswer, keep: bool) -> io::Result<bool> {
        let keep = keep && matches!(answer.framing, Framing::ContentLength | Framing::Chunked);
        match answer.framing {
            Framing::Silent(pause) => {
                thread::sleep(pause);
                return Ok(false);
            }
            Framing::Hangup => return Ok(false),
            _ => self.stream.write_all(head_of(answer, keep).as_bytes())?,
        }
        self.body(answer)?;
        self.stream.flush()?;
        Ok(keep)
    }

    fn body(&mut self, answer: &RawAnswer) -> io::Result<()> {
        let upto = |count: usize| answer.body.get(..count).unwrap_or(&answer.body);
        match answer.framing {
            Framing::ContentLength | Framing::UntilClose | Framing::Http10 => {
                self.stream.write_all(&answer.body)
            }
            Framing::CutAfter(count) => self.stream.write_all(upto(count)),
            Framing::Chunked => {
                self.chunks(&answer.body)?;
                self.stream.write_all(b"0\r\n\r\n")
            }
            Framing::ChunkedCutAfter(count) => self.chunks(upto(count)),
            Framing::Slow(pause) => answer.body.iter().try_for_each(|octet| {
                thread::sleep(pause);
                self.stream.write_all(&[*octet])?;
                self.stream.flush()
            }),
            Framing::Silent(_) | Framing::Hangup => Ok(()),
        }
    }

    fn chunks(&mut self, body: &[u8]) -> io::Result<()> {
        for piece in body.chunks(512) {
            write!(self.stream, "{:x}\r\n", piece.len())?;
            self.stream.write_all(piece)?;
            self.stream.write_all(b"\r\n")?;
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0_u8; 4096];
        let count = self.stream.read(&mut piece)?;
        self.buffer.extend(piece.iter().take(count));
        Ok(count > 0)
    }
}

/// The standard phrase of a status.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

fn head_of(answer: &RawAnswer, keep: bool) -> String {
    let version = if answer.framing == Framing::Http10 {
        "1.0"
    } else {
        "1.1"
    };
    let mut lines = vec![format!(
        "HTTP/{version} {} {}",
        answer.status,
        reason(answer.status)
    )];
    lines.extend(
        answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    match answer.framing {
        Framing::Chunked | Framing::ChunkedCutAfter(_) => {
            lines.push("Transfer-Encoding: chunked".to_owned());
        }
        Framing::UntilClose | Framing::Http10 => {}
        // Nothing can follow, and the real servers say no length.
        _ if answer.status == 204 => {}
        _ => lines.push(format!("Content-Length: {}", answer.body.len())),
    }
    if !keep && answer.framing != Framing::Http10 {
        lines.push("Connection: close".to_owned());
    }
    lines.join("\r\n") + "\r\n\r\n"
}

fn parse_head(head: &[u8]) -> io::Result<Request> {
    let text = core::str::from_utf8(head).map_err(|_| bad("headers are not text"))?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(bad("no request line"));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(bad("not HTTP/1"));
    }
    let mut headers = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| bad("header without a colon"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body: Vec::new(),
    })
}

fn ended_early() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
