//! Speaks: the HTTP heads the relay reads and writes.
//!
//! ```text
//! GET /router-info HTTP/1.1     answered here
//! GET /traffic/... HTTP/1.1     written anew for the LNS; of the client's lines only Sec-WebSocket-* go on
//! ```

use core::fmt::Write as _;
use core::net::IpAddr;

use tungstenite::handshake::derive_accept_key;

use crate::limits::{RELAY_HEAD_OCTETS_MAX, RELAY_LINE_OCTETS_MAX, RELAY_RETRY_S};
use crate::wire::lns::DISCOVERY_PATH;
use crate::wire::uri::ServerUri;

/// More lines than any WebSocket client sends.
const LINES_MAX: usize = 48;

/// What is passed on of the client's head.
const PASSED_ON: [&str; 4] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

/// Of these, what stands once in a head.
const ONCE: [&str; 2] = ["sec-websocket-key", "sec-websocket-version"];

/// Lines passed on. The LNS might answer more than any client needs by hanging up, which
/// would look like an outage.
const PASSED_ON_MAX: usize = 8;

/// A client's request for a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    /// The path with its query.
    pub(super) target: String,
    /// The `Host` line, if it could stand in an address.
    pub(super) host: Option<String>,
    /// The `Sec-WebSocket-*` lines.
    lines: Vec<(String, String)>,
    /// Octets of the head.
    pub(super) octets: usize,
}

/// Why a head is not taken: an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16);

impl Opening {
    /// Reads a head; `None` while it is not whole.
    pub(super) fn read(octets: &[u8]) -> Result<Option<Self>, Status> {
        let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
        let mut request = httparse::Request::new(&mut lines);
        let length = match request.parse(octets) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if octets.len() < RELAY_HEAD_OCTETS_MAX => {
                return Ok(None);
            }
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Status(431));
            }
            Err(_) => return Err(Status(400)),
        };
        if request.method != Some("GET") || request.version != Some(1) {
            return Err(Status(400));
        }
        let mut opening = Self {
            target: request.path.unwrap_or_default().to_owned(),
            host: None,
            lines: Vec::new(),
            octets: length,
        };
        let (mut is_upgrade, mut is_connection) = (false, false);
        let mut origin = None;
        for line in request.headers.iter() {
            let name = line.name.to_ascii_lowercase();
            let value = core::str::from_utf8(line.value).map_err(|_| Status(400))?;
            match name.as_str() {
                "upgrade" => is_upgrade |= has_word(value, "websocket"),
                "connection" => is_connection |= has_word(value, "upgrade"),
                "host" => opening.host = Some(value.to_owned()).filter(|host| is_authority(host)),
                "origin" => origin = Some(value),
                "content-length" | "transfer-encoding" => return Err(Status(400)),
                _ if PASSED_ON.contains(&name.as_str()) => {
                    let is_again = ONCE.contains(&name.as_str()) && opening.line(&name).is_some();
                    if is_again
                        || value.len() > RELAY_LINE_OCTETS_MAX
                        || opening.lines.len() >= PASSED_ON_MAX
                    {
                        return Err(Status(400));
                    }
                    opening.lines.push((line.name.to_owned(), value.to_owned()));
                }
                _ => {}
            }
        }
        // A browser says where the page came from that wants to use this key. Libraries name
        // the server itself, which has no pages.
        if origin.is_some_and(|origin| !opening.is_own_page(origin)) {
            return Err(Status(403));
        }
        let is_version = opening.line("sec-websocket-version") == Some("13");
        if is_upgrade && is_connection && is_version && opening.has_key() {
            Ok(Some(opening))
        } else {
            Err(Status(426))
        }
    }

    /// Whether it asks for discovery.
    pub(super) fn is_discovery(&self) -> bool {
        self.target.split('?').next() == Some(DISCOVERY_PATH)
    }

    /// The head that takes the upgrade.
    pub(super) fn accepted(&self) -> Vec<u8> {
        let key = derive_accept_key(
            self.line("sec-websocket-key")
                .unwrap_or_default()
                .as_bytes(),
        );
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
        )
        .into_bytes()
    }

    /// The head for the LNS, with the lines of the set's token.
    pub(super) fn forwarded(&self, uri: &ServerUri, token: &[(&str, &str)]) -> Vec<u8> {
        let mut head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
            uri.path(),
            uri.authority()
        );
        let own = self
            .lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(token.iter().copied()) {
            // Writing to a text cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Whether this origin is the relay itself, by a name that no foreign DNS could give it.
    fn is_own_page(&self, origin: &str) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        origin.strip_prefix("http://") == Some(host)
            && (name == "localhost" || address.is_ok_and(|address| address.is_loopback()))
    }

    /// Whether it has a key of 16 octets. The LNS might answer another one by hanging up,
    /// which would look like an outage.
    fn has_key(&self) -> bool {
        let key = self.line("sec-websocket-key").unwrap_or_default();
        let is_base64 = |octet: u8| octet.is_ascii_alphanumeric() || b"+/".contains(&octet);
        key.len() == 24
            && key
                .strip_suffix("==")
                .is_some_and(|digits| digits.bytes().all(is_base64))
    }

    fn line(&self, wanted: &str) -> Option<&str> {
        let is_it = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(wanted);
        self.lines
            .iter()
            .find(is_it)
            .map(|(_, value)| value.as_str())
    }
}

/// An answer other than 101, after which the connection ends.
pub(super) fn refusal(status: u16) -> Vec<u8> {
    let (reason, more) = match status {
        400 => ("Bad Request", String::new()),
        401 => ("Unauthorized", String::new()),
        403 => ("Forbidden", String::new()),
        404 => ("Not Found", String::new()),
        408 => ("Request Timeout", String::new()),
        426 => (
            "Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        ),
        431 => ("Request Header Fields Too Large", String::new()),
        503 => (
            "Service Unavailable",
            format!("Retry-After: {RELAY_RETRY_S}\r\n"),
        ),
        _ => ("Refused", String::new()),
    };
    format!("HTTP/1.1 {status} {reason}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

fn has_word(value: &str, word: &str) -> bool {
    value
        .split(',')
        .any(|part| part.trim().eq_ignore_ascii_case(word))
}

fn is_authority(host: &str) -> bool {
    let is_fit = |octet: u8| octet.is_ascii_alphanumeric() || b".-_:[]".contains(&octet);
    !host.is_empty() && host.len() <= 64 && host.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::{Opening, Status};
    use crate::limits::RELAY_HEAD_OCTETS_MAX;
    use crate::wire::uri::{ServerUri, Service};

    const GOOD: &str = "GET /traffic/x?y HTTP/1.1\r\nHost: 127.0.0.1:1887\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nAuthorization: Bearer own\r\nCookie: a=b\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    #[test]
    fn only_websocket_lines_and_the_set_s_token_reach_the_lns() {
        let opening = Opening::read(GOOD.as_bytes()).unwrap().unwrap();
        assert_eq!(opening.target, "/traffic/x?y");
        assert_eq!(opening.octets, GOOD.len());
        let uri = ServerUri::parse("wss://lns:8887/traffic/eui-1", Service::Traffic).unwrap();
        let head = opening.forwarded(&uri, &[("Authorization", "token")]);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "GET /traffic/eui-1 HTTP/1.1\r\nHost: lns:8887\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: token\r\n\r\n"
        );
    }

    #[test]
    fn the_accept_line_is_that_of_the_standard() {
        let opening = Opening::read(GOOD.as_bytes()).unwrap().unwrap();
        let text = String::from_utf8(opening.accepted()).unwrap();
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    }

    #[test]
    fn every_prefix_of_a_head_waits_for_more() {
        for end in 0..GOOD.len() {
            assert_eq!(Opening::read(&GOOD.as_bytes()[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn heads_that_are_no_local_station_s_are_refused() {
        let changed = |from: &str, to: &str| Opening::read(GOOD.replace(from, to).as_bytes());
        assert_eq!(changed("GET", "POST"), Err(Status(400)));
        assert_eq!(changed("HTTP/1.1", "HTTP/1.0"), Err(Status(400)));
        assert_eq!(changed("WebSocket\r", "h2c\r"), Err(Status(426)));
        assert_eq!(changed("-Key", "-Kex"), Err(Status(426)));
        assert_eq!(changed(": 13", ": 12"), Err(Status(426)));
        assert_eq!(changed("==\r", "\r"), Err(Status(426)));
        assert_eq!(changed("Cookie: a=b", "Origin: http://x"), Err(Status(403)));
        assert_eq!(
            changed("Cookie: a=b", "Sec-WebSocket-Version: 13"),
            Err(Status(400))
        );
        let wide = format!("Sec-WebSocket-Protocol: {}", "x".repeat(300));
        assert_eq!(changed("Cookie: a=b", &wide), Err(Status(400)));
        assert_eq!(
            changed("Cookie: a=b", "Content-Length: 3"),
            Err(Status(400))
        );
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(RELAY_HEAD_OCTETS_MAX));
        assert_eq!(Opening::read(long.as_bytes()), Err(Status(431)));
    }

    #[test]
    fn of_all_origins_only_the_relay_itself_is_taken() {
        let status = |host: &str, origin: &str| {
            let origin = format!("Origin: {origin}");
            let head = GOOD.replace("Cookie: a=b", &origin);
            Opening::read(head.replace("127.0.0.1:1887", host).as_bytes())
                .err()
                .map(|status| status.0)
        };
        for own in [
            "127.0.0.1:1887",
            "localhost:1887",
            "localhost",
            "[::1]:1887",
        ] {
            assert_eq!(status(own, &format!("http://{own}")), None, "{own}");
            for origin in [
                "null",
                "",
                "http://",
                "http://localhost:8080",
                "https://localhost",
            ] {
                assert_eq!(status(own, origin), Some(403), "{own} {origin}");
            }
        }
        for rebound in [
            "page:1887",
            "127.0.0.1.page:1887",
            "192.168.1.5:1887",
            "a/b",
            "",
        ] {
            let origin = format!("http://{rebound}");
            assert_eq!(status(rebound, &origin), Some(403), "{rebound}");
        }
    }

    #[test]
    fn a_host_that_could_break_out_of_an_address_is_dropped() {
        let odd = GOOD.replace("127.0.0.1:1887", "a/b\"c");
        assert_eq!(Opening::read(odd.as_bytes()).unwrap().unwrap().host, None);
    }
}
