//! Decides: what an HTTP answer other than success means.
//!
//! Three different 404s exist and nginx refuses certificates by a 400, so the error's name
//! and the body count, not the status alone. `reference/cups-lns.md` section 2.6,
//! `reference/proxies.md` section 3.7 rule 7.

use core::fmt::Write as _;
use core::time::Duration;

use super::evidence::REFUSED_HINT;
use super::failure::{Class, Failure};
use crate::wire::cups::stack_error::{StackError, printable};

/// An HTTP answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// `host:port`.
    pub peer: &'a str,
    /// The status.
    pub status: u16,
    /// The first octets of the body.
    pub body: &'a [u8],
    /// What the server says about coming back.
    pub retry_after: Option<Duration>,
    /// Where a redirect wants to go.
    pub location: Option<&'a str>,
    /// Whether the server asked for a client certificate in a full handshake; `None` if
    /// that cannot be known (resumed, or plain).
    pub certificate_requested: Option<bool>,
}

impl Refusal<'_> {
    /// Decides what it means.
    #[must_use]
    pub fn classify(&self) -> Failure {
        let error = StackError::parse(self.body).unwrap_or_default();
        let failure = match self.status {
            300..=399 => self.redirect(),
            400 if self.body_says("SSL certificate") => self.certificate(),
            495 | 496 => self.certificate(),
            400 if self.body_says("HTTPS port") => self.plain(Class::Configuration, "plain_http"),
            401 | 403 => self.not_authorised(&error),
            404 => self.not_found(&error),
            429 => self.plain(Class::Busy, "http_status"),
            503 if self.retry_after.is_some() => self.plain(Class::Busy, "http_status"),
            408 | 425 | 500..=599 => self.plain(Class::ServerFault, "http_status"),
            421 => self.plain(Class::Configuration, "http_status").with_hint(
                "the proxy has no service for this host name: use the name, not an address",
            ),
            413 | 414 | 431 => self.plain(Class::Configuration, "http_status").with_hint(
                "the certificate chain is too large for the proxy's header buffer: send fewer intermediates",
            ),
            409 => self.plain(Class::Protocol, "http_status"),
            400 if error.text.contains("attributes") || error.name.contains("attributes") => {
                self.plain(Class::Configuration, "http_status").with_hint(
                    "the gateway has too many attributes on the server (10 at most): remove some",
                )
            }
            _ => self.plain(Class::Protocol, "http_status"),
        };
        Failure {
            message: self.with_server_words(failure.message, &error),
            retry_after: self.retry_after,
            ..failure
        }
    }

    fn body_says(&self, words: &str) -> bool {
        let head = self
            .body
            .get(..self.body.len().min(1024))
            .unwrap_or_default();
        head.windows(words.len())
            .any(|window| window == words.as_bytes())
    }

    fn plain(&self, class: Class, code: &'static str) -> Failure {
        Failure::new(
            class,
            code,
            format!("{} answered HTTP {}", self.peer, self.status),
        )
    }

    fn certificate(&self) -> Failure {
        let message = format!(
            "{} refused the device certificate by HTTP {}",
            self.peer, self.status
        );
        Failure::new(Class::ClientCertRefused, "http_certificate", message).with_hint(REFUSED_HINT)
    }

    fn redirect(&self) -> Failure {
        let target = self
            .location
            .map_or_else(|| "elsewhere".to_owned(), |to| printable(to, 100));
        let message = format!(
            "{} answered HTTP {} and points to {target}; redirects are never followed",
            self.peer, self.status
        );
        Failure::new(Class::Configuration, "http_status", message)
            .with_hint("set the address that the redirect names, if it is yours")
    }

    fn not_authorised(&self, error: &StackError) -> Failure {
        let failure = self.plain(Class::NotAuthorised, "http_status");
        if self.certificate_requested == Some(false) {
            return failure.with_hint(
                "the proxy never asked for a certificate: check its client authentication and the port",
            );
        }
        if self.certificate_requested == Some(true) && error.name.is_empty() {
            return failure
                .with_hint("the proxy took the certificate, the service behind it says no");
        }
        failure
            .with_hint("check that the gateway's CA is in the server's store and the CN is its EUI")
    }

    fn not_found(&self, error: &StackError) -> Failure {
        match error.short_name() {
            "lns_credentials_not_found" => self
                .plain(Class::NotRegistered, "lns_credentials_not_found")
                .with_hint("set an LNS key for this gateway on the server"),
            "target_cups_credentials_not_found" => self
                .plain(Class::NotRegistered, "target_cups_credentials_not_found")
                .with_hint("the server has a target CUPS address without key: set or remove it"),
            "server_trust" => self
                .plain(Class::ServerFault, "server_trust")
                .with_hint("the server could not reach its own LNS address; it usually passes"),
            "route_not_found" => self
                .plain(Class::Configuration, "route_not_found")
                .with_hint("this is not a CUPS address: check host and port"),
            _ => self
                .plain(Class::NotRegistered, "http_status")
                .with_hint("register this gateway's EUI on the server"),
        }
    }

    fn with_server_words(&self, message: String, error: &StackError) -> String {
        let mut message = message;
        if !error.name.is_empty() || !error.text.is_empty() {
            let _ = write!(
                message,
                ": {}",
                format!("{} {}", error.name, error.text).trim()
            );
        } else if !self.body.is_empty() && self.status >= 400 {
            let text = printable(
                &String::from_utf8_lossy(self.body.get(..200).unwrap_or(self.body)),
                80,
            );
            let _ = write!(message, ": {text:?}");
        }
        if let Some(id) = &error.correlation_id {
            let _ = write!(message, " [{id}]");
        }
        message
    }
}

/// What an error text inside discovery means. The texts are The Things Stack's; an unknown
/// one only delays, because it need not speak about the credentials.
#[must_use]
pub fn discovery_refused(peer: &str, text: &str) -> Failure {
    let lower = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let message = format!("the LNS {peer} answers: {text}");
    if says(&[
        "unauthorized",
        "unauthenticated",
        "forbidden",
        "permission",
        "denied",
        "api key",
    ]) {
        return Failure::new(Class::NotAuthorised, "lns_error", message)
            .with_hint("the LNS does not accept the key in this set: check its rights");
    }
    if says(&[
        "not provisioned",
        "not found",
        "not registered",
        "empty router",
    ]) {
        return Failure::new(Class::NotRegistered, "lns_error", message)
            .with_hint("register this gateway's EUI on the LNS");
    }
    Failure::new(Class::ServerFault, "lns_error", message)
}

#[cfg(test)]
mod tests {
    use super::{Class, Refusal};

    fn class_of(status: u16, body: &str) -> (Class, &'static str) {
        let failure = Refusal {
            peer: "cups:8987",
            status,
            body: body.as_bytes(),
            retry_after: None,
            location: None,
            certificate_requested: Some(true),
        }
        .classify();
        (failure.class, failure.code)
    }

    #[test]
    fn each_answer_has_its_class() {
        let stack = |name: &str| format!("{{\"message\":\"error:pkg/cups:{name} (x)\"}}");
        let nginx = "<html>400 The SSL certificate error</html>";
        let missing = "<html>400 No required SSL certificate was sent</html>";
        let plain = "<html>400 The plain HTTP request was sent to HTTPS port</html>";
        for (status, body, class, code) in [
            (400, nginx, Class::ClientCertRefused, "http_certificate"),
            (400, missing, Class::ClientCertRefused, "http_certificate"),
            (495, "", Class::ClientCertRefused, "http_certificate"),
            (496, "", Class::ClientCertRefused, "http_certificate"),
            (400, plain, Class::Configuration, "plain_http"),
            (400, "", Class::Protocol, "http_status"),
            (301, "", Class::Configuration, "http_status"),
            (401, "", Class::NotAuthorised, "http_status"),
            (403, "", Class::NotAuthorised, "http_status"),
            (404, "", Class::NotRegistered, "http_status"),
            (
                404,
                &stack("server_trust"),
                Class::ServerFault,
                "server_trust",
            ),
            (
                404,
                &stack("route_not_found"),
                Class::Configuration,
                "route_not_found",
            ),
            (
                404,
                &stack("lns_credentials_not_found"),
                Class::NotRegistered,
                "lns_credentials_not_found",
            ),
            (409, "", Class::Protocol, "http_status"),
            (421, "", Class::Configuration, "http_status"),
            (429, "", Class::Busy, "http_status"),
            (431, "", Class::Configuration, "http_status"),
            (500, "", Class::ServerFault, "http_status"),
            (503, "", Class::ServerFault, "http_status"),
        ] {
            assert_eq!(class_of(status, body), (class, code), "{status} {body}");
        }
    }

    #[test]
    fn the_servers_words_and_correlation_are_told() {
        let body = br#"{"message":"error:a:b (why)","details":[{"correlation_id":"c-1"}]}"#;
        let failure = Refusal {
            peer: "cups:8987",
            status: 401,
            body,
            retry_after: None,
            location: None,
            certificate_requested: Some(false),
        }
        .classify();
        assert_eq!(
            failure.message,
            "cups:8987 answered HTTP 401: a:b why [c-1]"
        );
        assert!(failure.hint.unwrap().contains("never asked"));
    }

    #[test]
    fn control_octets_of_a_body_do_not_reach_the_message() {
        let failure = Refusal {
            peer: "c:1",
            status: 500,
            body: b"\x1b[31m\r\nboom",
            retry_after: None,
            location: None,
            certificate_requested: None,
        }
        .classify();
        assert!(
            failure
                .message
                .bytes()
                .all(|octet| (0x20..0x7F).contains(&octet))
        );
    }
}
