//! Decides: which class a failure belongs to, and how long such a failure waits.
//!
//! The class is the only thing that anything else may decide by; everything finer is for
//! the person who reads it. `reference/proxies.md` section 3.7, `DESIGN.md` ("Waiting").

use core::fmt;
use core::time::Duration;

use serde_json::{Value, json};

/// What kind of thing went wrong. `name()` is stable: scripts and monitoring match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Busy by the server's own word (429, or 503 with a time).
    Busy,
    /// The TLS server refused our certificate, or asked for one we could not give.
    ClientCertRefused,
    /// A certificate looks outside its validity while the clock cannot be trusted.
    ClockSuspect,
    /// The configuration or the address is wrong; no retry will mend it.
    Configuration,
    /// Our own certificate or key cannot be used; no traffic is sent.
    IdentityInvalid,
    /// Name lookup, connection, reset, time-out.
    Network,
    /// The far side knows who we are and says no (401, 403, a refused token).
    NotAuthorised,
    /// The far side does not know this gateway (404 and kin).
    NotRegistered,
    /// Something that is not TLS answers at this port.
    NotTls,
    /// The far side knows the device and waits for a person to accept it. Only Mender says so,
    /// and its machine waits less long than for a refusal.
    Pending,
    /// The answer was understood and our policy forbids it.
    Policy,
    /// The answer is malformed.
    Protocol,
    /// The far side failed by its own word (5xx).
    ServerFault,
    /// We do not trust the TLS server.
    ServerUntrusted,
    /// The store could not be written or read.
    Storage,
    /// No common TLS version, cipher or name.
    TlsNegotiation,
}

/// How a class of failure waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// First U(0, 120 s), then equal jitter doubling from 60 s to 300 s.
    Transport,
    /// 15 min doubling to 6 h, +-20 %.
    Refusal,
    /// 30 s: until the clock has been set.
    Clock,
}

impl Class {
    /// Every class, for tables and tests.
    pub const ALL: [Self; 16] = [
        Self::Busy,
        Self::ClientCertRefused,
        Self::ClockSuspect,
        Self::Configuration,
        Self::IdentityInvalid,
        Self::Network,
        Self::NotAuthorised,
        Self::NotRegistered,
        Self::NotTls,
        Self::Pending,
        Self::Policy,
        Self::Protocol,
        Self::ServerFault,
        Self::ServerUntrusted,
        Self::Storage,
        Self::TlsNegotiation,
    ];

    /// The name in JSON, logs and the field guide.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::ClientCertRefused => "client_cert_refused",
            Self::ClockSuspect => "clock_suspect",
            Self::Configuration => "configuration",
            Self::IdentityInvalid => "identity_invalid",
            Self::Network => "network",
            Self::NotAuthorised => "not_authorised",
            Self::NotRegistered => "not_registered",
            Self::NotTls => "not_tls",
            Self::Pending => "pending",
            Self::Policy => "policy",
            Self::Protocol => "protocol",
            Self::ServerFault => "server_fault",
            Self::ServerUntrusted => "server_untrusted",
            Self::Storage => "storage",
            Self::TlsNegotiation => "tls_negotiation",
        }
    }

    /// How a failure of this class waits before the next try.
    #[must_use]
    pub const fn waiting(self) -> Waiting {
        match self {
            Self::Busy | Self::Network | Self::ServerFault | Self::Storage | Self::NotTls => {
                Waiting::Transport
            }
            Self::ClockSuspect => Waiting::Clock,
            Self::ClientCertRefused
            | Self::Configuration
            | Self::IdentityInvalid
            | Self::NotAuthorised
            | Self::NotRegistered
            | Self::Pending
            | Self::Policy
            | Self::Protocol
            | Self::ServerUntrusted
            | Self::TlsNegotiation => Waiting::Refusal,
        }
    }

    /// Whether a failure of this class says that a credential set is bad. All others only
    /// delay: a network fault or a wrong clock never condemns credentials
    /// (`reference/reliability.md` rule R2).
    #[must_use]
    pub const fn condemns_credentials(self) -> bool {
        matches!(self, Self::ClientCertRefused | Self::NotAuthorised)
    }
}

/// One failure, classed and worded for the person on the mast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of thing went wrong.
    pub class: Class,
    /// A finer stable name: an alert, a [`crate::wire::error::Code`], an HTTP status's error name.
    pub code: &'static str,
    /// What happened, to which file or host. No secret, no line break.
    pub message: String,
    /// What to do about it, where there is something to do.
    pub hint: Option<&'static str>,
    /// The server's own word on when to come back.
    pub retry_after: Option<Duration>,
    /// Nobody has said so: it is what it looks like from outside.
    pub is_guess: bool,
}

impl Failure {
    /// A failure without hint or time.
    #[must_use]
    pub fn new(class: Class, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            class,
            code,
            message: message.into(),
            hint: None,
            retry_after: None,
            is_guess: false,
        }
    }

    /// Whether credentials are refused in so many words.
    #[must_use]
    pub const fn condemns_credentials(&self) -> bool {
        self.class.condemns_credentials() && !self.is_guess
    }

    /// The object in statuses.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "class": self.class.name(),
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        })
    }

    /// The same failure with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// The same failure, which nobody has said: help is fetched for it, nothing is condemned.
    #[must_use]
    pub const fn guessed(mut self) -> Self {
        self.is_guess = true;
        self
    }

    /// The same failure with the server's own word on when to come back.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Failure {}

/// The worker did not come back.
pub(super) fn no_answer() -> Failure {
    Failure::new(
        Class::Network,
        "no_answer",
        "no answer from the server within 5 minutes, gave up on it",
    )
}

/// The store did not come back.
pub(super) fn store_silent() -> Failure {
    Failure::new(
        Class::Storage,
        "store_silent",
        "the store did not answer within a minute",
    )
}
