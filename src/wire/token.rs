//! Speaks: token credentials, header lines that go verbatim into HTTP and WebSocket requests.
//!
//! ```text
//! Authorization: NNSXS.ABC\r\n        one or more lines, CRLF, LF or nothing at the end
//! ```
//! A hostile CUPS could smuggle headers through them, so the grammar is strict and the
//! headers that frame a request are refused. `reference/cups-lns.md` section 2.2.

use super::error::{Code, DecodeError};

/// Headers that would change the framing or the target of a request.
const FORBIDDEN: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
];

/// Shorter words of a token are no secrets: `Bearer`.
const SECRET_OCTETS_MIN: usize = 8;

/// Checks the grammar of token lines; offsets in errors count from their start.
pub fn check(octets: &[u8]) -> Result<(), DecodeError> {
    lines(octets).map(|_| ())
}

/// Splits token lines into header names and values.
pub fn lines(octets: &[u8]) -> Result<Vec<(&str, &str)>, DecodeError> {
    let refused =
        |offset: usize, what: &'static str| DecodeError::at(Code::CredToken, offset, what);
    let is_text = |octet: &u8| (0x20..=0x7E).contains(octet) || matches!(octet, b'\r' | b'\n');
    if let Some(offset) = octets.iter().position(|octet| !is_text(octet)) {
        return Err(refused(
            offset,
            "credential: the token holds an octet that is not printable",
        ));
    }
    let text = core::str::from_utf8(octets)
        .map_err(|_| refused(0, "credential: the token is not text"))?;
    let mut offset = 0_usize;
    let mut headers = Vec::new();
    for piece in text.split_inclusive('\n') {
        let line = piece.strip_suffix('\n').unwrap_or(piece);
        let line = line.strip_suffix('\r').unwrap_or(line);
        headers.push(header(line).map_err(|what| refused(offset, what))?);
        offset = offset.saturating_add(piece.len());
    }
    if headers.is_empty() {
        return Err(refused(0, "credential: the token is empty"));
    }
    Ok(headers)
}

/// A server's words without the token it was shown, should it repeat it. `octets` are token
/// lines; `Bearer NNSXS...` is found with and without its first word. So is the beginning of a
/// secret, because the words may have been cut off for the log before they come here.
#[must_use]
pub fn withheld(text: &str, octets: &[u8]) -> String {
    let values = lines(octets).unwrap_or_default();
    let words = values.iter().flat_map(|(_, value)| value.split(' '));
    let is_secret = |word: &&str| word.len() >= SECRET_OCTETS_MIN;
    words
        .filter(is_secret)
        .fold(text.to_owned(), |text, word| without(&text, word))
}

/// The text with every beginning of the secret in it replaced, as far as it agrees.
fn without(text: &str, secret: &str) -> String {
    let start = secret.get(..SECRET_OCTETS_MIN).unwrap_or(secret);
    let mut pieces = text.split(start);
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    let rest = secret.strip_prefix(start).unwrap_or_default();
    for piece in pieces {
        let pairs = piece.chars().zip(rest.chars());
        let agreed: usize = pairs
            .take_while(|(one, other)| one == other)
            .map(|(letter, _)| letter.len_utf8())
            .sum();
        kept.push_str("(token)");
        kept.push_str(piece.get(agreed..).unwrap_or_default());
    }
    kept
}

fn header(line: &str) -> Result<(&str, &str), &'static str> {
    if line.is_empty() {
        return Err("credential: the token holds a blank line, which would end the request's head");
    }
    if line.contains('\r') {
        return Err("credential: the token holds a carriage return inside a line");
    }
    let (name, value) = line
        .split_once(": ")
        .ok_or("credential: the token is not a header line (Name: value)")?;
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("credential: the token's header name is not a name");
    }
    if value.trim().is_empty() {
        return Err("credential: the token's header has no value");
    }
    let lower = name.to_ascii_lowercase();
    if FORBIDDEN.contains(&lower.as_str()) || lower.starts_with("sec-websocket-") {
        return Err("credential: the token sets a header that frames the request");
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::{lines, withheld};

    #[test]
    fn a_token_that_is_repeated_is_withheld() {
        let text = withheld(
            "no key NNSXS.A.B, Bearer NNSXS.A.B",
            b"X: Bearer NNSXS.A.B\r\n",
        );
        assert_eq!(text, "no key (token), Bearer (token)");
        assert_eq!(withheld("unchanged", b"not a token"), "unchanged");
    }

    #[test]
    fn a_token_that_is_cut_off_is_withheld_too() {
        let token = b"Authorization: Bearer NNSXS.ABCDEFGH.IJKLMNOP\r\n";
        for (said, expected) in [
            ("key NNSXS.ABCDEFGH.IJK", "key (token)"),
            ("key NNSXS.ABCDEFGH.IJK...", "key (token)..."),
            ("NNSXS.ABC, NNSXS.ABCDEFGH.IJKLMNOP", "(token), (token)"),
            ("NNSXS.A", "NNSXS.A"),
        ] {
            assert_eq!(withheld(said, token), expected);
        }
    }

    #[test]
    fn one_line_with_any_ending_is_a_header() {
        for ending in ["\r\n", "\n", ""] {
            let token = format!("Authorization: NNSXS.A.B{ending}");
            assert_eq!(
                lines(token.as_bytes()),
                Ok(vec![("Authorization", "NNSXS.A.B")])
            );
        }
    }

    #[test]
    fn anything_that_could_smuggle_is_refused() {
        for token in [
            &b""[..],
            b"NNSXS.A.B",
            b"Authorization:A",
            b"Authorization: ",
            b"A: b\r\n\r\n",
            b"A: b\r\n\r\nGET / HTTP/1.1",
            b"A: b\rB: c",
            b"Host: evil",
            b"content-length: 0",
            b"Sec-WebSocket-Key: x",
            b"Transfer-Encoding: chunked\r\nA: b",
            b"A: b\0c",
            b"A b: c",
            b": c",
            "A: \u{e9}".as_bytes(),
        ] {
            assert!(lines(token).is_err(), "{}", String::from_utf8_lossy(token));
        }
    }
}
