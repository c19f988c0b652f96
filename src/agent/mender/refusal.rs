//! Decides: what a Mender server's or its ambassador's answer other than a token means.
//!
//! `reference/mender.md` section 2.3. The ambassador answers in statuses without a body; the
//! server behind it in JSON, so the body's absence counts as much as the status.

use core::fmt::Write as _;
use core::time::Duration;

use crate::agent::evidence::REFUSED_HINT;
use crate::agent::failure::{Class, Failure};
use crate::wire::cups::stack_error::printable;

const PENDING_HINT: &str = "accept the device in the Mender UI, or preauthorise its identity and key; a wrong tenant token shows the same";
const NOT_REQUESTED_HINT: &str = "the server did not ask for the client certificate: ServerURL does not lead to the mTLS ambassador";
const TOKEN_REFUSED_HINT: &str =
    "nothing needs to be done: the agent asks for another token by itself";

/// An answer to an auth request, or to a call with a token, that is not a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpAnswer<'a> {
    /// `host:port`.
    pub peer: &'a str,
    /// The status.
    pub status: u16,
    /// `error` of the JSON body, if it is one.
    pub error: Option<&'a str>,
    /// The first octets of the body; empty if there was none.
    pub body: &'a [u8],
    /// `request_id` of the body, or `X-MEN-RequestID`.
    pub request_id: Option<&'a str>,
    /// What the server says about coming back.
    pub retry_after: Option<Duration>,
    /// Where a redirect wants to go.
    pub location: Option<&'a str>,
    /// Whether the server asked for a client certificate in a full handshake; `None` if
    /// that cannot be known (resumed, or plain).
    pub certificate_requested: Option<bool>,
    /// Whether a client certificate is configured.
    pub has_certificate: bool,
    /// Whether the call was made with a token: it was no auth request.
    pub has_token: bool,
}

/// Decides what it means. Whether a pending device was accepted before is for the machine.
#[must_use]
pub fn refusal(answer: &HttpAnswer<'_>) -> Failure {
    let failure = match answer.status {
        300..=399 => answer.redirect(),
        400 if answer.says("SSL certificate") => answer.certificate(),
        495 | 496 => answer.certificate(),
        400 if answer.says("HTTPS port") => answer
            .plain(Class::Configuration, "plain_http")
            .with_hint("set https:// in ServerURL"),
        400 if answer.has_token => answer
            .plain(Class::Configuration, "mender_bad_request")
            .with_hint("look at what the inventory scripts print"),
        400 if answer.body.is_empty() && answer.has_certificate => answer.key_mismatch(),
        400 => answer
            .plain(Class::Configuration, "mender_bad_request")
            .with_hint("the server does not understand the auth request: check the identity script's output and the auth key"),
        401 if answer.has_token => answer
            .plain(Class::NotAuthorised, "token_refused")
            .with_hint(TOKEN_REFUSED_HINT),
        401 => answer.not_accepted(),
        403 => answer
            .plain(Class::NotAuthorised, "http_status")
            .with_hint("the tenant's plan may not hold this service"),
        404 => answer
            .plain(Class::Configuration, "http_status")
            .with_hint("this is no Mender server or ambassador: check ServerURL"),
        413 => answer
            .plain(Class::Configuration, "too_large")
            .with_hint("the server takes 1 MiB at most: look at what the identity and inventory scripts print"),
        415 => answer
            .plain(Class::Configuration, "content_type")
            .with_hint("something on the way changes the request: check for a proxy before the ambassador"),
        429 => answer.plain(Class::Busy, "busy"),
        503 if answer.retry_after.is_some() => answer.plain(Class::Busy, "busy"),
        500 if answer.body.is_empty() && answer.has_certificate && !answer.has_token => answer
            .plain(Class::ServerFault, "server_fault")
            .with_hint("the ambassador could not preauthorise the device: check its login to the Mender server"),
        408 | 425 | 500..=599 => answer.plain(Class::ServerFault, "server_fault"),
        _ => answer.plain(Class::Protocol, "http_status"),
    };
    Failure {
        message: answer.with_server_words(failure.message),
        retry_after: answer.retry_after,
        ..failure
    }
}

/// The failure that tells most of what must be done, out of those of a pass: a server's own word
/// before a handshake that failed, and that before a network. The first of equals. While a token
/// is in use only the server that gave it can say that it is no good any more: its failure,
/// marked by `true`, is the one that counts.
#[must_use]
pub fn most_telling(failures: Vec<(bool, Failure)>) -> Option<Failure> {
    let of_giver = failures.iter().find(|(is_giver, _)| *is_giver);
    if let Some((_, failure)) = of_giver {
        return Some(failure.clone());
    }
    let rank = |class: Class| match class {
        Class::Pending | Class::NotAuthorised | Class::ClientCertRefused => 0,
        Class::Configuration | Class::ClockSuspect | Class::ServerUntrusted => 1,
        Class::Busy => 2,
        Class::Network => 4,
        _ => 3,
    };
    let failures = failures.into_iter().map(|(_, failure)| failure);
    failures.min_by_key(|failure| rank(failure.class))
}

impl HttpAnswer<'_> {
    fn plain(&self, class: Class, code: &'static str) -> Failure {
        let text = format!("{} answered HTTP {}", self.peer, self.status);
        Failure::new(class, code, text)
    }

    fn says(&self, words: &str) -> bool {
        self.body
            .windows(words.len())
            .any(|window| window == words.as_bytes())
    }

    fn certificate(&self) -> Failure {
        self.plain(Class::ClientCertRefused, "http_certificate")
            .with_hint(REFUSED_HINT)
    }

    fn key_mismatch(&self) -> Failure {
        self.plain(Class::Configuration, "gateway_key_mismatch")
            .with_hint("the ambassador wants the request signed with the certificate's own key: Security.AuthPrivateKey must be the key of HttpsClient.Certificate")
    }

    fn redirect(&self) -> Failure {
        let target = self
            .location
            .map_or_else(|| "elsewhere".to_owned(), |to| printable(to, 100));
        let message = format!(
            "{} answered HTTP {} and points to {target}; redirects are never followed",
            self.peer, self.status
        );
        Failure::new(Class::Configuration, "redirect", message)
            .with_hint("set ServerURL to the address that the redirect names, if it is yours")
    }

    /// The first contact of every device that is not preauthorised ends here.
    fn not_accepted(&self) -> Failure {
        if self.has_certificate && self.certificate_requested == Some(false) {
            return self
                .plain(Class::Pending, "mtls_not_requested")
                .with_hint(NOT_REQUESTED_HINT);
        }
        match self.error {
            Some("signature verification failed") => self
                .plain(Class::NotAuthorised, "mender_signature")
                .with_hint("the signature does not fit the public key that was sent: check the auth key's file"),
            Some("unauthorized") => self
                .plain(Class::NotAuthorised, "mender_device_limit")
                .with_hint("the plan's number of devices is used up, or another device has this identity"),
            _ => self.plain(Class::Pending, "pending").with_hint(PENDING_HINT),
        }
    }

    fn with_server_words(&self, message: String) -> String {
        let mut message = message;
        match self.error {
            Some(error) => {
                let _ = write!(message, ": {}", printable(error, 200));
            }
            None if !self.body.is_empty() && self.status >= 400 => {
                let head = self.body.get(..200).unwrap_or(self.body);
                let _ = write!(
                    message,
                    ": {:?}",
                    printable(&String::from_utf8_lossy(head), 80)
                );
            }
            None => {}
        }
        if let Some(id) = self.request_id {
            let _ = write!(message, " [{}]", printable(id, 64));
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: HttpAnswer<'static> = HttpAnswer {
        peer: "mtls.example:443",
        status: 401,
        error: None,
        body: b"",
        request_id: None,
        retry_after: None,
        location: None,
        certificate_requested: Some(true),
        has_certificate: true,
        has_token: false,
    };

    fn of(status: u16, error: &'static str, body: &'static str) -> (Class, &'static str) {
        let failure = refusal(&HttpAnswer {
            status,
            error: Some(error).filter(|error| !error.is_empty()),
            body: body.as_bytes(),
            ..PLAIN
        });
        (failure.class, failure.code)
    }

    #[test]
    fn each_answer_has_its_class() {
        use Class::{
            Busy, ClientCertRefused, Configuration, NotAuthorised, Pending, Protocol, ServerFault,
        };
        let html = "<html>";
        let nginx = "<html>400 No required SSL certificate was sent</html>";
        let plain = "<html>The plain HTTP request was sent to HTTPS port</html>";
        for (status, error, body, expected) in [
            (200, "", "x", (Protocol, "http_status")),
            (302, "", "", (Configuration, "redirect")),
            (400, "", "", (Configuration, "gateway_key_mismatch")),
            (400, "missing", "{}", (Configuration, "mender_bad_request")),
            (400, "", html, (Configuration, "mender_bad_request")),
            (400, "", nginx, (ClientCertRefused, "http_certificate")),
            (400, "", plain, (Configuration, "plain_http")),
            (401, "dev auth: unauthorized", "{}", (Pending, "pending")),
            (401, "", "", (Pending, "pending")),
            (
                401,
                "signature verification failed",
                "{}",
                (NotAuthorised, "mender_signature"),
            ),
            (
                401,
                "unauthorized",
                "{}",
                (NotAuthorised, "mender_device_limit"),
            ),
            (403, "", "", (NotAuthorised, "http_status")),
            (404, "", "", (Configuration, "http_status")),
            (413, "", "", (Configuration, "too_large")),
            (415, "", "", (Configuration, "content_type")),
            (429, "", "", (Busy, "busy")),
            (495, "", "", (ClientCertRefused, "http_certificate")),
            (500, "", "", (ServerFault, "server_fault")),
            (500, "internal error", "{}", (ServerFault, "server_fault")),
            (502, "", html, (ServerFault, "server_fault")),
            (503, "", html, (ServerFault, "server_fault")),
        ] {
            assert_eq!(of(status, error, body), expected, "{status} {error} {body}");
        }
    }

    #[test]
    fn of_several_servers_the_one_that_says_most_is_told() {
        let failure = |class| Failure::new(class, "code", "text");
        let pass = [
            Class::Network,
            Class::Busy,
            Class::Pending,
            Class::NotAuthorised,
        ];
        let mut failures = pass.map(|class| (false, failure(class))).to_vec();
        let told = most_telling(failures.clone()).unwrap();
        assert_eq!(told.class, Class::Pending);
        assert_eq!(most_telling(Vec::new()), None);
        failures[0].0 = true;
        let told = most_telling(failures).unwrap();
        assert_eq!(told.class, Class::Network, "its giver is only away");
    }

    #[test]
    fn a_server_that_never_asked_for_the_certificate_is_not_the_ambassador() {
        let unasked = HttpAnswer {
            certificate_requested: Some(false),
            ..PLAIN
        };
        let failure = refusal(&unasked);
        assert_eq!(
            (failure.class, failure.code),
            (Class::Pending, "mtls_not_requested")
        );
        assert!(failure.hint.unwrap().contains("ServerURL does not lead"));
        for usual in [
            HttpAnswer {
                has_certificate: false,
                ..unasked
            },
            HttpAnswer {
                certificate_requested: None,
                ..unasked
            },
        ] {
            assert_eq!(refusal(&usual).code, "pending");
        }
    }

    #[test]
    fn a_refused_token_asks_nothing_of_a_person() {
        let of = |status| {
            refusal(&HttpAnswer {
                status,
                has_token: true,
                certificate_requested: Some(false),
                ..PLAIN
            })
        };
        assert_eq!(
            (of(401).class, of(401).code),
            (Class::NotAuthorised, "token_refused")
        );
        assert!(of(401).hint.unwrap().contains("by itself"));
        assert_eq!(of(400).code, "mender_bad_request");
        assert!(of(500).hint.is_none());
    }

    #[test]
    fn an_empty_400_speaks_of_keys_only_where_there_is_a_certificate() {
        let without = HttpAnswer {
            status: 400,
            has_certificate: false,
            ..PLAIN
        };
        assert_eq!(refusal(&without).code, "mender_bad_request");
    }

    #[test]
    fn the_servers_words_and_its_request_number_are_told() {
        let failure = refusal(&HttpAnswer {
            error: Some("dev auth: unauthorized"),
            body: b"{}",
            request_id: Some("3b2f7e0c"),
            ..PLAIN
        });
        assert_eq!(
            failure.message,
            "mtls.example:443 answered HTTP 401: dev auth: unauthorized [3b2f7e0c]"
        );
    }

    #[test]
    fn a_redirect_is_named_and_not_followed() {
        let failure = refusal(&HttpAnswer {
            status: 307,
            location: Some("https://elsewhere.example/"),
            ..PLAIN
        });
        assert!(failure.message.contains("https://elsewhere.example/"));
        assert!(failure.message.contains("never followed"));
    }

    #[test]
    fn a_servers_word_on_coming_back_is_kept() {
        let told = Some(Duration::from_secs(90));
        for status in [429, 503] {
            let failure = refusal(&HttpAnswer {
                status,
                retry_after: told,
                ..PLAIN
            });
            assert_eq!((failure.class, failure.retry_after), (Class::Busy, told));
        }
    }

    #[test]
    fn control_octets_of_an_answer_do_not_reach_the_message() {
        let failure = refusal(&HttpAnswer {
            status: 502,
            body: b"\x1b[31m\r\nboom",
            request_id: Some("\n\x07"),
            ..PLAIN
        });
        assert!(
            failure
                .message
                .bytes()
                .all(|octet| (0x20..0x7F).contains(&octet))
        );
    }
}
