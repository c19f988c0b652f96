//! Decides: what a broken connection means, from the evidence it left behind.
//!
//! A pure table, so that it can be tested row by row: `reference/proxies.md` sections 3.1 to
//! 3.7. The evidence comes from `daemon`, which is the only one to see rustls and sockets.

use super::failure::{Class, Failure};
use crate::wire::cups::stack_error::printable;

/// How far an exchange came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Name lookup.
    Resolve,
    /// TCP connection.
    Connect,
    /// TLS handshake.
    Handshake,
    /// Request written, nothing received yet.
    Response,
    /// Part of the answer received.
    Body,
}

impl Stage {
    /// Words for a message: "while ...".
    const fn doing(self) -> &'static str {
        match self {
            Self::Resolve => "looking up its name",
            Self::Connect => "connecting",
            Self::Handshake => "setting up TLS",
            Self::Response => "waiting for the answer",
            Self::Body => "reading the answer",
        }
    }
}

/// Why a TLS connection ended, in our words instead of rustls'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// The server sent this fatal alert (RFC 8446 section 6).
    Alert(u8),
    /// The server's certificate is not valid any more, by our clock.
    Expired,
    /// The server's certificate is not valid yet, by our clock.
    NotYetValid,
    /// No chain to one of our trust anchors (or the server omits its intermediate).
    UnknownIssuer,
    /// The certificate is for these names, not for ours.
    WrongName(Vec<String>),
    /// The server's certificate could not be accepted from anybody.
    Unusable(Defect),
    /// The server's public key has this SHA-256, which is none of the configured pins.
    WrongPin(String),
    /// What came is not TLS.
    NotTls,
    /// Any other TLS error.
    Other(String),
}

/// What makes a server's certificate unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// It is X.509 version 1, which can name no host.
    VersionOne,
    /// It is that of a CA.
    Authority,
    /// It is for other uses than being a server.
    NotForServers,
    /// Any other, in the words of the TLS library.
    Other(String),
}

/// Why a socket failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketFault {
    /// A deadline passed.
    TimedOut,
    /// Nothing listens there.
    Refused,
    /// Reset, broken pipe.
    Reset,
    /// The far side closed.
    Closed,
    /// No route, network down.
    Unreachable,
    /// The name does not resolve.
    NoSuchName,
    /// Anything else.
    Other,
}

/// What is known about a connection that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent observation"
)]
pub struct Evidence {
    /// `host:port`.
    pub peer: String,
    /// How far it came.
    pub stage: Stage,
    /// Whether the handshake was finished and full (a resumed one asks for no certificate).
    pub is_full_handshake: bool,
    /// Whether TLS 1.3 was negotiated.
    pub is_tls13: bool,
    /// Whether the server asked for a client certificate.
    pub certificate_requested: bool,
    /// Whether the server's list of signature schemes had none for our key.
    pub scheme_mismatch: bool,
    /// What rustls said, after the read side was drained.
    pub tls: Option<TlsFault>,
    /// What the socket said.
    pub socket: SocketFault,
    /// Whether our own certificate is within its validity, by the effective time.
    pub own_certificate_valid: bool,
    /// Whether the clock is known to be sane.
    pub clock_sane: bool,
    /// How many fresh connections in a row have ended like this without a word.
    pub silent_closes: u32,
}

/// How many silent closes in a row count as a refusal (`reference/proxies.md` 3.7 rule 6).
pub const SILENT_CLOSES_MIN: u32 = 3;

pub(super) const REFUSED_HINT: &str =
    "check that the proxy's client CA store holds the CA that issued this device's certificate";
const REISSUE_HINT: &str = "reissue it as X.509 v3: openssl x509 -req -in REQUEST -CA ... -extfile FILE, with subjectAltName=DNS:HOST in FILE; or pin its key with tls.server_pin";
const AUTHORITY_HINT: &str = "let that CA issue a certificate for the server: openssl x509 -req -in REQUEST -CA ... -extfile FILE, with subjectAltName=DNS:HOST in FILE; or pin its key with tls.server_pin";
const PROXY_SIDE_HINT: &str =
    "the certificate is valid here: check the proxy's clock and whether its CRL is out of date";

impl Evidence {
    /// Decides what it means.
    #[must_use]
    pub fn classify(&self) -> Failure {
        match &self.tls {
            Some(TlsFault::Alert(alert)) => self.alert(*alert),
            Some(TlsFault::NotTls) => Failure::new(
                Class::NotTls,
                "not_tls",
                format!("{} does not speak TLS", self.peer),
            )
            .with_hint("wrong port, or a captive portal answers: check the address and the link"),
            Some(TlsFault::Expired | TlsFault::NotYetValid) if !self.clock_sane => Failure::new(
                Class::ClockSuspect,
                "clock",
                format!(
                    "the certificate of {} cannot be judged: this clock is not set",
                    self.peer
                ),
            )
            .with_hint("set the clock (NTP, GPS); the agent tries again by itself"),
            Some(fault) => self.untrusted(fault),
            None if self.is_silent_refusal() => self.silent(),
            None => self.network(),
        }
    }

    /// Whether this failure counts as one more connection closed without a word after the
    /// server asked for our certificate.
    #[must_use]
    pub fn is_silent_close(&self) -> bool {
        self.tls.is_none()
            && self.stage == Stage::Response
            && self.is_full_handshake
            && self.certificate_requested
            && matches!(self.socket, SocketFault::Reset | SocketFault::Closed)
    }

    fn is_silent_refusal(&self) -> bool {
        self.is_silent_close() && self.silent_closes.saturating_add(1) >= SILENT_CLOSES_MIN
    }

    fn alert(&self, alert: u8) -> Failure {
        let name = alert_name(alert);
        let peer = &self.peer;
        let refused = |message: String, hint| {
            Failure::new(Class::ClientCertRefused, name, message).with_hint(hint)
        };
        match alert {
            41 | 116 if self.scheme_mismatch => refused(
                format!("{peer} does not accept this device's type of key ({name})"),
                "issue the device certificate with a P-256 key",
            ),
            41 | 116 => refused(
                format!("{peer} got no client certificate ({name})"),
                REFUSED_HINT,
            ),
            45 if self.own_certificate_valid && self.clock_sane => refused(
                format!("{peer} calls the device certificate expired, but it is not ({name})"),
                PROXY_SIDE_HINT,
            ),
            42..=46 | 48 | 49 => refused(
                format!("{peer} refused the device certificate ({name})"),
                REFUSED_HINT,
            ),
            // BoringSSL sends 47 for a chain in the wrong order.
            51 => self.wrong_pair(name),
            47 if self.certificate_requested => self.wrong_pair(name),
            40 if !self.is_tls13 && self.certificate_requested => refused(
                format!("{peer} refused the client in the handshake ({name})"),
                REFUSED_HINT,
            ),
            80 => Failure::new(
                Class::ServerFault,
                name,
                format!("{peer} had an internal error during TLS ({name})"),
            ),
            _ => Failure::new(
                Class::TlsNegotiation,
                name,
                format!("{peer} and this device found no common TLS parameters ({name})"),
            )
            .with_hint("check the proxy's TLS versions, its key type and the host name (SNI)"),
        }
    }

    fn wrong_pair(&self, name: &'static str) -> Failure {
        let message = format!(
            "{} says that key and certificate do not belong together ({name})",
            self.peer
        );
        Failure::new(Class::ClientCertRefused, name, message)
            .with_hint("check that key and certificate are a pair and that the leaf comes first")
    }

    fn untrusted(&self, fault: &TlsFault) -> Failure {
        let peer = &self.peer;
        let (code, message, hint) = match fault {
            TlsFault::Expired => (
                "server_expired",
                format!("the certificate of {peer} has expired"),
                "renew the server's certificate, or set this clock if it is wrong",
            ),
            TlsFault::NotYetValid => (
                "server_not_yet_valid",
                format!("the certificate of {peer} is not valid yet"),
                "check the clocks of both sides",
            ),
            TlsFault::UnknownIssuer => (
                "server_unknown_issuer",
                format!("the certificate of {peer} leads to none of the trust anchors"),
                "add the server's root to trust_anchors (for Mender: to ServerCertificate), or let the server send its intermediate",
            ),
            TlsFault::WrongName(names) if names.is_empty() => (
                "server_name",
                format!(
                    "the certificate of {peer} names its host only in the common name, if at all, not in subjectAltName"
                ),
                REISSUE_HINT,
            ),
            TlsFault::WrongName(names) => (
                "server_name",
                format!(
                    "the certificate of {peer} is for {}, not for this host",
                    first_of(names)
                ),
                "use the name in the certificate, or reissue it with a subjectAltName",
            ),
            TlsFault::Unusable(defect) => return self.unusable(defect),
            TlsFault::WrongPin(pin) => (
                "server_pin",
                format!("the public key of {peer} is {pin}, none of the pinned ones"),
                "if the server was given a new key, add it to server_pin; otherwise somebody is in between",
            ),
            TlsFault::Alert(_) | TlsFault::NotTls | TlsFault::Other(_) => {
                let what = if let TlsFault::Other(what) = fault {
                    what.as_str()
                } else {
                    ""
                };
                let message = format!("TLS with {peer} failed: {what}");
                return Failure::new(Class::TlsNegotiation, "tls", message);
            }
        };
        Failure::new(Class::ServerUntrusted, code, message).with_hint(hint)
    }

    fn unusable(&self, defect: &Defect) -> Failure {
        let (what, hint) = match defect {
            Defect::VersionOne => ("is X.509 version 1".to_owned(), REISSUE_HINT),
            Defect::Authority => (
                "is a CA certificate used as a server certificate".to_owned(),
                AUTHORITY_HINT,
            ),
            Defect::NotForServers => (
                "is not for servers: its extendedKeyUsage lacks serverAuth".to_owned(),
                "reissue the server's certificate with extendedKeyUsage=serverAuth, or without that extension",
            ),
            Defect::Other(what) => (format!("is unusable: {what}"), REISSUE_HINT),
        };
        let message = format!("the certificate of {} {what}", self.peer);
        Failure::new(Class::ServerUntrusted, "server_certificate", message).with_hint(hint)
    }

    fn silent(&self) -> Failure {
        let message = format!(
            "{} closes the connection without a word after the client certificate, {} times in a row",
            self.peer, SILENT_CLOSES_MIN
        );
        Failure::new(Class::ClientCertRefused, "silent_close", message).with_hint(REFUSED_HINT)
    }

    fn network(&self) -> Failure {
        let doing = self.stage.doing();
        let peer = &self.peer;
        let (code, message) = match self.socket {
            SocketFault::TimedOut => (
                "timeout",
                format!("{peer}: no answer in time while {doing}"),
            ),
            SocketFault::Refused => ("refused", format!("{peer}: nothing listens there")),
            SocketFault::Reset => ("reset", format!("{peer}: connection reset while {doing}")),
            SocketFault::Closed => ("closed", format!("{peer}: connection closed while {doing}")),
            SocketFault::Unreachable => ("unreachable", format!("{peer}: no route to it")),
            SocketFault::NoSuchName => ("dns", format!("{peer}: its name cannot be resolved")),
            SocketFault::Other => ("io", format!("{peer}: connection failed while {doing}")),
        };
        Failure::new(Class::Network, code, message)
    }
}

/// The registered name of a TLS alert in snake case.
#[must_use]
pub const fn alert_name(alert: u8) -> &'static str {
    match alert {
        20 => "bad_record_mac",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        112 => "unrecognised_name",
        113 => "bad_certificate_status_response",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "alert",
    }
}

fn first_of(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(3)
        .map(|name| printable(name, 60))
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests;
