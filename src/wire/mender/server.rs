//! Speaks: the address of a Mender server or ambassador, as `ServerURL` gives it.
//!
//! ```text
//! https://my-server.com:8443     https://hosted.mender.io     https://host/below/this
//! ```
//! Without a port it is 443. What stands behind the host goes before every path.

use core::fmt;

use crate::wire::error::Code;
use crate::wire::uri::{ServerUri, Service, URI_OCTETS_MAX};

/// An address that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    uri: ServerUri,
    base: String,
}

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlFault {
    /// A blank, a control character or something that is not ASCII.
    Characters,
    /// No usable host name.
    Host,
    /// A port that is not a number from 1 to 65535.
    Port,
    /// `?` or `#`.
    Query,
    /// No `://`, or neither `https` nor `http` before it.
    Scheme,
    /// `http`: token and tenant token would be sent unprotected, and no certificate could be.
    Plain,
    /// Longer than an address may be.
    TooLong,
    /// A user before `@`.
    User,
}

impl ServerUrl {
    /// Reads an address; white space around it and slashes at its end are left out.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let text = text.trim();
        if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(UrlFault::Characters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlFault::Scheme)?;
        if scheme.eq_ignore_ascii_case("http") {
            return Err(UrlFault::Plain);
        }
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(UrlFault::Scheme);
        }
        if rest.contains(['?', '#']) {
            return Err(UrlFault::Query);
        }
        let (authority, base) = rest
            .find('/')
            .map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return Err(UrlFault::User);
        }
        // The last colon of an IPv6 address stands inside the brackets.
        let after_host = authority.rsplit(']').next().unwrap_or_default();
        let port = if after_host.contains(':') { "" } else { ":443" };
        let authority = format!("https://{authority}{port}");
        let uri =
            ServerUri::parse(&authority, Service::Cups).map_err(|error| match error.code {
                Code::UriPort => UrlFault::Port,
                Code::UriTooLong => UrlFault::TooLong,
                _ => UrlFault::Host,
            })?;
        let base = base.trim_end_matches('/').to_owned();
        let url = Self { uri, base };
        // Counted as it is written again, with its port.
        if url.to_string().len() > URI_OCTETS_MAX {
            return Err(UrlFault::TooLong);
        }
        Ok(url)
    }

    /// Host and port.
    #[must_use]
    pub const fn uri(&self) -> &ServerUri {
        &self.uri
    }

    /// What goes into the request line for a path of the API.
    #[must_use]
    pub fn target(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The whole address of a path of the API.
    #[must_use]
    pub fn with_path(&self, path: &str) -> String {
        self.uri.with_path(&self.target(path))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_path(""))
    }
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Characters => "has a blank or a character that is not ASCII inside",
            Self::Host => "has no usable host name",
            Self::Port => "has a port that is not a number from 1 to 65535",
            Self::Query => "has a ? or #, which an address of a server cannot have",
            Self::Scheme => "must begin with https://",
            Self::Plain => {
                "begins with http://, which would send tokens unprotected and no certificate at all; use https://"
            }
            Self::TooLong => "is longer than 127 octets",
            Self::User => "has a user before an @; the device is known by its certificate and token",
        })
    }
}

impl core::error::Error for UrlFault {}

#[cfg(test)]
mod tests {
    use super::{ServerUrl, UrlFault};

    #[test]
    fn port_base_and_slashes_are_put_in_order() {
        for (text, shown, path) in [
            ("https://h:8443", "https://h:8443", "https://h:8443/x"),
            (" HTTPS://h/ \n", "https://h:443", "https://h:443/x"),
            (
                "https://h/a/b//",
                "https://h:443/a/b",
                "https://h:443/a/b/x",
            ),
            ("https://[::1]", "https://[::1]:443", "https://[::1]:443/x"),
            (
                "https://[::1]:8/a",
                "https://[::1]:8/a",
                "https://[::1]:8/a/x",
            ),
        ] {
            let url = ServerUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.with_path("/x"), path);
        }
        let url = ServerUrl::parse("https://h/a").unwrap();
        assert_eq!((url.uri().host(), url.target("/x").as_str()), ("h", "/a/x"));
    }

    #[test]
    fn other_addresses_are_refused() {
        for (text, fault) in [
            ("", UrlFault::Scheme),
            ("my-server.com", UrlFault::Scheme),
            ("ftp://h", UrlFault::Scheme),
            ("http://h", UrlFault::Plain),
            ("https://", UrlFault::Host),
            ("https://:8443", UrlFault::Host),
            ("https://h:0", UrlFault::Port),
            ("https://h:", UrlFault::Port),
            ("https://h:99999", UrlFault::Port),
            ("https://user:word@h", UrlFault::User),
            ("https://h?x", UrlFault::Query),
            ("https://h /x", UrlFault::Characters),
            ("https://h\u{e9}", UrlFault::Characters),
        ] {
            assert_eq!(ServerUrl::parse(text), Err(fault), "{text}");
        }
        for (host, base) in [(130, 1), (1, 130), (60, 56)] {
            let long = format!("https://{}/{}", "h".repeat(host), "b".repeat(base));
            assert_eq!(ServerUrl::parse(&long), Err(UrlFault::TooLong));
        }
    }
}
