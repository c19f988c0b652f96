//! Speaks: the addresses of CUPS and LNS, in the narrow form that Basic Station reads back.
//!
//! ```text
//! https://host:port        CUPS      wss://host:port        LNS (tc.uri)
//! http://host:port         plain     wss://host:port/path   LNS traffic, from discovery
//! ```
//! The port is mandatory, at most 127 octets count. `reference/cups-lns.md` sections 1.1, 3, 4.1.

use core::fmt;

use super::error::{Code, DecodeError};

/// Longest address that Basic Station can read back from a file, in octets.
pub const URI_OCTETS_MAX: usize = 127;

/// Which server an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `https` or `http`, no path.
    Cups,
    /// `wss` or `ws`, no path.
    Lns,
    /// `wss` or `ws`, with a path: what discovery answers.
    Traffic,
}

/// An address that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUri {
    service: Service,
    is_secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl ServerUri {
    /// Reads an address; surrounding blanks and line ends are trimmed as station does.
    pub fn parse(text: &str, service: Service) -> Result<Self, DecodeError> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        if let Some(offset) = text
            .bytes()
            .position(|octet| !(0x21..=0x7E).contains(&octet))
        {
            let what = "uri: a blank, a control character or a non-ASCII octet inside";
            return Err(DecodeError::at(Code::UriControl, offset, what));
        }
        if text.len() > URI_OCTETS_MAX {
            let what = format!(
                "uri: {} octets, Basic Station reads at most {URI_OCTETS_MAX}",
                text.len()
            );
            return Err(DecodeError::of(Code::UriTooLong, what));
        }
        let shown = &shown(text);
        let (is_secure, rest) = scheme(text, service).map_err(|expected| {
            let what = format!("uri: {shown:?} must begin with {expected}");
            DecodeError::of(Code::UriScheme, what)
        })?;
        let (authority, path) = rest
            .find('/')
            .map_or((rest, ""), |slash| rest.split_at(slash));
        let (host, port) = host_and_port(authority, shown)?;
        match service {
            Service::Traffic if path.is_empty() => {
                let what =
                    format!("uri: {shown:?} has no path, the LNS must name the traffic path");
                return Err(DecodeError::of(Code::UriPath, what));
            }
            Service::Cups | Service::Lns if !path.is_empty() => {
                let what = format!("uri: {shown:?} has a path, only scheme://host:port is allowed");
                return Err(DecodeError::of(Code::UriPath, what));
            }
            Service::Cups | Service::Lns | Service::Traffic => {}
        }
        Ok(Self {
            service,
            is_secure,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }

    /// Whether the connection is TLS (`https`, `wss`).
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` as it stands in the address.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path with its leading slash; empty for CUPS and LNS addresses.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same address with another path.
    #[must_use]
    pub fn with_path(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme(), self.authority())
    }

    const fn scheme(&self) -> &'static str {
        match (self.service, self.is_secure) {
            (Service::Cups, true) => "https",
            (Service::Cups, false) => "http",
            (_, true) => "wss",
            (_, false) => "ws",
        }
    }
}

impl fmt::Display for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_path(&self.path))
    }
}

/// The address for an error's text. What stands before an `@` is a password more often than
/// not.
fn shown(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at.saturating_add(3));
    let (scheme, rest) = text.split_at(start);
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}...@{host}"),
        None => text.to_owned(),
    }
}

/// Whether the scheme is the one with TLS, and what follows it; or what it must be.
fn scheme(text: &str, service: Service) -> Result<(bool, &str), &'static str> {
    let (secure, plain, expected) = match service {
        Service::Cups => (
            "https://",
            "http://",
            "https:// (or http:// where plain is allowed)",
        ),
        Service::Lns | Service::Traffic => (
            "wss://",
            "ws://",
            "wss:// (or ws:// where plain is allowed)",
        ),
    };
    if let Some(rest) = text.strip_prefix(secure) {
        return Ok((true, rest));
    }
    if let Some(rest) = text.strip_prefix(plain) {
        return Ok((false, rest));
    }
    Err(expected)
}

fn host_and_port<'a>(authority: &'a str, shown: &str) -> Result<(&'a str, u16), DecodeError> {
    let no_port = || {
        let what = format!("uri: {shown:?} has no port, Basic Station needs host:port");
        DecodeError::of(Code::UriPort, what)
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']').ok_or_else(|| bad_host(shown))?;
            let (host, after) = authority.split_at(end.saturating_add(2));
            (host, after.strip_prefix(':').ok_or_else(no_port)?)
        }
        None => authority.rsplit_once(':').ok_or_else(no_port)?,
    };
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
    let is_host = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<core::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    if !is_host {
        return Err(bad_host(shown));
    }
    let is_number = !port.is_empty() && port.len() <= 5 && port.bytes().all(|c| c.is_ascii_digit());
    let port = port
        .parse::<u16>()
        .ok()
        .filter(|&port| is_number && port != 0);
    Ok((host, port.ok_or_else(no_port)?))
}

fn bad_host(shown: &str) -> DecodeError {
    DecodeError::of(
        Code::UriHost,
        format!("uri: {shown:?} has no usable host name"),
    )
}

#[cfg(test)]
mod tests {
    use super::{Code, ServerUri, Service};

    fn code(text: &str, service: Service) -> Code {
        ServerUri::parse(text, service).unwrap_err().code
    }

    #[test]
    fn usual_addresses_read_and_print_back() {
        for (text, service) in [
            ("https://cups.example.com:8987", Service::Cups),
            ("http://10.0.0.1:80", Service::Cups),
            ("wss://lns.example.com:8887", Service::Lns),
            ("ws://[fe80::1]:1887", Service::Lns),
            (
                "wss://lns:8887/traffic/eui-0123456789ABCDEF",
                Service::Traffic,
            ),
        ] {
            assert_eq!(ServerUri::parse(text, service).unwrap().to_string(), text);
        }
        assert_eq!(
            ServerUri::parse("ws://[::1]:1\r\n", Service::Lns)
                .unwrap()
                .host(),
            "::1"
        );
    }

    #[test]
    fn each_defect_has_its_code() {
        assert_eq!(
            code("https://lns.example.com:8887", Service::Lns),
            Code::UriScheme
        );
        assert_eq!(code("wss://lns.example.com", Service::Lns), Code::UriPort);
        assert_eq!(code("wss://lns.example.com:", Service::Lns), Code::UriPort);
        assert_eq!(
            code("wss://lns.example.com:70000", Service::Lns),
            Code::UriPort
        );
        assert_eq!(
            code("wss://lns.example.com:+1", Service::Lns),
            Code::UriPort
        );
        assert_eq!(
            code("wss://lns.example.com:8887/x", Service::Lns),
            Code::UriPath
        );
        assert_eq!(code("wss://lns:8887", Service::Traffic), Code::UriPath);
        assert_eq!(code("wss://user@lns:8887", Service::Lns), Code::UriHost);
        assert_eq!(code("wss://:8887", Service::Lns), Code::UriHost);
        assert_eq!(code("wss://[::1:8887", Service::Lns), Code::UriHost);
        assert_eq!(code("wss://l\u{7}ns:8887", Service::Lns), Code::UriControl);
        assert_eq!(
            code(&format!("wss://{}:8887", "a".repeat(130)), Service::Lns),
            Code::UriTooLong
        );
    }
}
