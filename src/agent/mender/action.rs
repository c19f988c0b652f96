//! Decides: what can be wanted of the shell in Mender mode, and what is reported of it.

use core::fmt;
use core::time::Duration;

use crate::agent::ExchangeId;
use crate::agent::commands::Commands;
use crate::agent::failure::Failure;

/// One command to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// One pass over the servers with an auth request; answered by `Accepted` or `Refused`.
    Authenticate {
        /// Number of the job.
        id: ExchangeId,
    },
    /// Gather the inventory and send it; answered by `InventorySent`, `InventoryUnchanged`
    /// or `InventoryFailed`.
    SendInventory {
        /// Number of the job.
        id: ExchangeId,
        /// Forget what was sent before: the server may have forgotten it too.
        even_if_unchanged: bool,
    },
    /// Ask whether an update waits; answered by `Polled` or `PollFailed`.
    PollUpdates {
        /// Number of the job.
        id: ExchangeId,
    },
    /// The token just accepted is the current one: write its file, tell the forwarder, emit
    /// the D-Bus signal with it.
    Publish,
    /// There is no token any more: remove its file, tell the forwarder, emit the signal with
    /// two empty texts.
    Withdraw,
    /// An attempt ended and changed nothing: emit the signal with what is current.
    Announce,
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
    /// The number of the job for the worker, if it is one.
    #[must_use]
    pub const fn job(&self) -> Option<ExchangeId> {
        match self {
            Self::Authenticate { id }
            | Self::SendInventory { id, .. }
            | Self::PollUpdates { id } => Some(*id),
            _ => None,
        }
    }

    /// Whether the D-Bus signal is emitted with it.
    #[must_use]
    pub const fn is_signal(&self) -> bool {
        matches!(self, Self::Publish | Self::Withdraw | Self::Announce)
    }
}

impl Actions {
    pub(super) fn report(&mut self, report: Report) {
        self.push(Action::Report(report));
    }
}

/// One change of state worth a log line. Display is that line, without the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The server accepted the device and gave a token.
    Accepted {
        /// How long it counts, where that is known.
        lifetime: Option<Duration>,
        /// The server keeps the device under another number than before.
        is_new_device: bool,
    },
    /// The token could not be renewed before its end.
    Expired,
    /// No token, and there was none.
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
    /// The inventory could not be sent.
    InventoryFailed {
        /// Why.
        failure: Failure,
    },
    /// The server has the inventory.
    InventorySent,
    /// The device was accepted once and is not any more.
    NoLongerAccepted {
        /// The server's words.
        failure: Failure,
    },
    /// The device waits for its first acceptance.
    Pending {
        /// The server's words.
        failure: Failure,
    },
    /// The server could not be asked for an update.
    PollFailed {
        /// Why.
        failure: Failure,
    },
    /// The token was renewed in time.
    Renewed {
        /// How long it counts, where that is known.
        lifetime: Option<Duration>,
    },
    /// The token could not be renewed this time; it stays in use until its end.
    RenewalFailed {
        /// Why.
        failure: Failure,
    },
    /// The server refused the token in use.
    TokenRefused,
    /// An update waits on the server.
    UpdateWaits {
        /// It did not at the poll before.
        is_news: bool,
    },
}

impl Report {
    /// The stable name in JSON and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Expired => "token_expired",
            Self::Failed { .. } => "failed",
            Self::IdentityKept { .. } => "identity_kept",
            Self::IdentityReady => "identity_ready",
            Self::IdentityUnusable { .. } => "identity_unusable",
            Self::InventoryFailed { .. } => "inventory_failed",
            Self::InventorySent => "inventory_sent",
            Self::NoLongerAccepted { .. } => "no_longer_accepted",
            Self::Pending { .. } => "pending",
            Self::PollFailed { .. } => "poll_failed",
            Self::Renewed { .. } => "renewed",
            Self::RenewalFailed { .. } => "renewal_failed",
            Self::TokenRefused => "token_refused",
            Self::UpdateWaits { .. } => "update_waits",
        }
    }

    /// The failure behind it, where there is one.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed { failure }
            | Self::IdentityKept { failure }
            | Self::IdentityUnusable { failure }
            | Self::InventoryFailed { failure }
            | Self::NoLongerAccepted { failure }
            | Self::Pending { failure }
            | Self::PollFailed { failure }
            | Self::RenewalFailed { failure } => Some(failure),
            Self::Accepted { .. }
            | Self::Expired
            | Self::IdentityReady
            | Self::InventorySent
            | Self::Renewed { .. }
            | Self::TokenRefused
            | Self::UpdateWaits { .. } => None,
        }
    }

    /// Whether an attempt to authenticate ends with this. Every one that its deadline or the
    /// worker ends has exactly one such report.
    #[must_use]
    pub const fn ends_attempt(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. }
                | Self::Failed { .. }
                | Self::NoLongerAccepted { .. }
                | Self::Pending { .. }
                | Self::Renewed { .. }
                | Self::RenewalFailed { .. }
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted {
                lifetime,
                is_new_device,
            } => {
                f.write_str(if *is_new_device {
                    "accepted by the Mender server as a device it did not know under this number"
                } else {
                    "accepted by the Mender server"
                })?;
                write_lifetime(f, *lifetime)
            }
            Self::Expired => {
                f.write_str("the Mender token has expired and could not be renewed in time")
            }
            Self::Failed { failure } => write!(f, "no Mender token: {failure}"),
            Self::IdentityKept { failure } => write!(
                f,
                "kept the identity in use, the new one cannot be loaded: {failure}"
            ),
            Self::IdentityReady => f.write_str("the device identity is loaded"),
            Self::IdentityUnusable { failure } => {
                write!(f, "silent until the device identity is mended: {failure}")
            }
            Self::InventoryFailed { failure } => write!(f, "inventory not sent: {failure}"),
            Self::InventorySent => f.write_str("inventory sent"),
            // The failure begins by saying which of the two it is.
            Self::NoLongerAccepted { failure } | Self::Pending { failure } => failure.fmt(f),
            Self::PollFailed { failure } => write!(f, "could not ask for an update: {failure}"),
            Self::Renewed { lifetime } => {
                f.write_str("the Mender token is renewed")?;
                write_lifetime(f, *lifetime)
            }
            Self::RenewalFailed { failure } => {
                write!(
                    f,
                    "the Mender token is not renewed yet, it stays in use: {failure}"
                )
            }
            Self::TokenRefused => {
                f.write_str("the server refused the Mender token in use, authenticating again")
            }
            Self::UpdateWaits { .. } => f.write_str("an update waits on the Mender server"),
        }
    }
}

fn write_lifetime(f: &mut fmt::Formatter<'_>, lifetime: Option<Duration>) -> fmt::Result {
    match lifetime {
        None => Ok(()),
        Some(time) => write!(f, ", the token counts for {} min", time.as_secs() / 60),
    }
}
