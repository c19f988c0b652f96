//! Decides: what can be wanted of the shell, and what is reported of it.

use core::fmt;

use super::commands::Commands;
use super::event::{ExchangeId, SetId};
use super::failure::Failure;

/// One command to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask CUPS; answered by `Unchanged`, `Offered` or `Failed`.
    Exchange {
        /// Number of the exchange.
        id: ExchangeId,
    },
    /// Ask the CUPS before the last move instead; answered the same. Whatever it does not
    /// change itself leads back to it: its own address and credentials.
    ExchangeFormer {
        /// Number of the exchange.
        id: ExchangeId,
    },
    /// Make what was offered durable; answered by `Staged`, `Held` or `StoreFailed`.
    Stage {
        /// The exchange that offered it.
        id: ExchangeId,
    },
    /// Talk to the LNS with that very set; answered by `Proved` or `Disproved`.
    Prove {
        /// Number of the exchange.
        id: ExchangeId,
        /// The set to use.
        set: SetId,
    },
    /// CURRENT := set; answered by `Committed` or `StoreFailed`. Doing it twice is harmless.
    Commit {
        /// The set.
        set: SetId,
    },
    /// GOOD := set; answered by `Confirmed` or `StoreFailed`.
    Confirm {
        /// The set.
        set: SetId,
    },
    /// CURRENT := GOOD; answered by `Reverted` or `StoreFailed`.
    Revert,
    /// Remove a set that is neither CURRENT nor GOOD. The store must look for itself: after
    /// a restart amid a trial the machine does not know what GOOD names.
    Discard {
        /// The set.
        set: SetId,
        /// Whether to remember it as refused.
        quarantine: bool,
    },
    /// Render the set for the consumer and tell it.
    Export {
        /// The set.
        set: SetId,
    },
    /// Load the identity again; answered by one of the `Identity` events.
    ReloadIdentity,
    /// Log and keep this.
    Report(Report),
    /// Leave the loop. Nothing follows.
    Quit,
}

/// The commands of one step.
pub type Actions = Commands<Action>;

impl Action {
    /// Whether the worker is to talk to a server.
    pub(super) const fn is_exchange(&self) -> bool {
        matches!(
            self,
            Self::Exchange { .. } | Self::ExchangeFormer { .. } | Self::Prove { .. }
        )
    }
}

/// One change of state worth a log line. Display is that line, without the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The trial of CURRENT succeeded: it is GOOD now.
    Confirmed {
        /// The set.
        set: SetId,
    },
    /// A staged set could not be proved yet, through no fault of its own.
    Delayed {
        /// The set.
        set: SetId,
        /// What was in the way.
        failure: Failure,
    },
    /// A staged set could not be proved for seven days and was dropped.
    Expired {
        /// The set.
        set: SetId,
    },
    /// The cycle failed; CURRENT stays in use.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// A reload of the identity failed; the one in use stays.
    IdentityKept {
        /// Why.
        failure: Failure,
    },
    /// The identity was loaded.
    IdentityReady,
    /// There is no usable identity; nothing is sent.
    IdentityUnusable {
        /// Why.
        failure: Failure,
    },
    /// A new set was refused; CURRENT stays in use.
    Refused {
        /// Why.
        failure: Failure,
    },
    /// CURRENT failed its trial; GOOD is in use again.
    RolledBack {
        /// The set that failed.
        from: SetId,
        /// The set in use again.
        to: SetId,
        /// The last refusal.
        failure: Failure,
    },
    /// A new set is in use.
    Rotated {
        /// The set.
        set: SetId,
    },
    /// The store could not do a thing that the cycle does not hang on.
    StoreTroubled {
        /// Why.
        failure: Failure,
    },
    /// CURRENT did not pass its trial this time; it stays in use and is tried again.
    TrialFailed {
        /// The set.
        set: SetId,
        /// Why.
        failure: Failure,
    },
    /// CUPS has nothing new.
    Unchanged,
}

impl Report {
    /// The stable name in JSON and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Confirmed { .. } => "confirmed",
            Self::Delayed { .. } => "delayed",
            Self::Expired { .. } => "expired",
            Self::Failed { .. } => "failed",
            Self::IdentityKept { .. } => "identity_kept",
            Self::IdentityReady => "identity_ready",
            Self::IdentityUnusable { .. } => "identity_unusable",
            Self::Refused { .. } => "refused",
            Self::RolledBack { .. } => "rolled_back",
            Self::Rotated { .. } => "rotated",
            Self::StoreTroubled { .. } => "store_troubled",
            Self::TrialFailed { .. } => "trial_failed",
            Self::Unchanged => "unchanged",
        }
    }

    /// The failure behind it, where there is one.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Delayed { failure, .. }
            | Self::Failed { failure }
            | Self::IdentityKept { failure }
            | Self::IdentityUnusable { failure }
            | Self::Refused { failure }
            | Self::RolledBack { failure, .. }
            | Self::StoreTroubled { failure }
            | Self::TrialFailed { failure, .. } => Some(failure),
            Self::Confirmed { .. }
            | Self::Expired { .. }
            | Self::IdentityReady
            | Self::Rotated { .. }
            | Self::Unchanged => None,
        }
    }

    /// Whether a cycle ends with this. Every cycle ends with exactly one such report.
    #[must_use]
    pub const fn ends_cycle(&self) -> bool {
        !matches!(
            self,
            Self::IdentityKept { .. } | Self::IdentityReady | Self::StoreTroubled { .. }
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { set } => write!(f, "set {} passed its trial and is good", set.0),
            Self::Delayed { set, failure } => {
                write!(f, "set {} waits to be proved: {failure}", set.0)
            }
            Self::Expired { set } => {
                write!(
                    f,
                    "set {} could not be proved for 7 days, dropped it",
                    set.0
                )
            }
            Self::Failed { failure } => write!(f, "the cycle failed: {failure}"),
            Self::IdentityKept { failure } => {
                write!(
                    f,
                    "kept the identity in use, the new one cannot be loaded: {failure}"
                )
            }
            Self::IdentityReady => f.write_str("the device identity is loaded"),
            Self::IdentityUnusable { failure } => {
                write!(f, "silent until the device identity is mended: {failure}")
            }
            Self::Refused { failure } => {
                write!(
                    f,
                    "refused the new credentials, the old ones stay: {failure}"
                )
            }
            Self::RolledBack { from, to, failure } => {
                write!(
                    f,
                    "set {} stopped working, back on set {}: {failure}",
                    from.0, to.0
                )
            }
            Self::Rotated { set } => write!(f, "new credentials in use: set {}", set.0),
            Self::StoreTroubled { failure } => write!(f, "the store has trouble: {failure}"),
            Self::TrialFailed { set, failure } => {
                write!(f, "set {} is still on trial: {failure}", set.0)
            }
            Self::Unchanged => f.write_str("credentials are up to date"),
        }
    }
}
