//! Decides: what is worth a line about the link, and the names of its waits.

use core::fmt;

use crate::agent::event::SetId;
use crate::agent::failure::Failure;

/// One change of the link worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkReport {
    /// The connection ended.
    Lost {
        /// Why.
        failure: Failure,
    },
    /// It could not be opened.
    Refused {
        /// Why.
        failure: Failure,
    },
    /// It is open.
    Up {
        /// The set that is used.
        set: SetId,
    },
}

impl LinkReport {
    /// The stable name in JSON and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Refused { .. } => "refused",
            Self::Up { .. } => "up",
        }
    }

    /// The failure behind it, where there is one.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Lost { failure } | Self::Refused { failure } => Some(failure),
            Self::Up { .. } => None,
        }
    }
}

impl fmt::Display for LinkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { failure } => write!(f, "the LNS link is lost: {failure}"),
            Self::Refused { failure } => write!(f, "no LNS link: {failure}"),
            Self::Up { set } => write!(f, "the LNS link is up with set {}", set.0),
        }
    }
}

/// Why the link's next try is when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkReason {
    /// First try, spread after boot.
    Start,
    /// New credentials.
    NewSet,
    /// The network came back.
    Network,
    /// After a failure of the connection.
    Retry,
    /// After a refusal.
    Refusal,
    /// The clock was not set.
    Clock,
    /// The attempt should have ended by then.
    Patience,
    /// From then on the connection counts as good.
    Steady,
}

impl LinkReason {
    /// The stable name in JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::NewSet => "new_set",
            Self::Network => "network",
            Self::Retry => "retry",
            Self::Refusal => "refusal",
            Self::Clock => "clock",
            Self::Patience => "patience",
            Self::Steady => "steady",
        }
    }
}
