//! Decides: what can have happened in Mender mode, as the machine is told of it.

use core::time::Duration;

use super::waiting::Settings;
use crate::agent::ExchangeId;
use crate::agent::failure::Failure;

/// What happened. Any event may come at any time; one that does not fit is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The shell is ready. Sent once. Without an earlier [`Event::IdentityLoaded`] or
    /// [`Event::IdentityUnusable`] the machine answers with [`super::Action::ReloadIdentity`].
    Started {
        /// Whether the whole fleet may be starting together, as after a power cut.
        boot_delay_wanted: bool,
    },
    /// The moment of [`super::Mender::deadline`] has come. Too early is harmless.
    DeadlinePassed,
    /// The identity (auth key, certificate, identity data) was loaded, first or anew.
    IdentityLoaded,
    /// There is no usable identity.
    IdentityUnusable {
        /// Why.
        failure: Failure,
    },
    /// A reload failed; the identity loaded before stays in use.
    IdentityLoadFailed {
        /// Why.
        failure: Failure,
    },
    /// A server gave a token, which the shell holds.
    Accepted {
        /// The attempt.
        id: ExchangeId,
        /// From its claims: expiry less time of issue. `None`: not to be known.
        lifetime: Option<Duration>,
        /// Its `sub` is another than that of the token before.
        is_new_device: bool,
    },
    /// A whole pass over all servers gave no token.
    Refused {
        /// The attempt.
        id: ExchangeId,
        /// The most telling of the servers' failures.
        failure: Failure,
    },
    /// A call with the current token was refused (401, or 403 for the first time), the
    /// forwarder's or our own. Comes beside the failure of a job, before or after it.
    TokenRefused,
    /// Another program called `FetchJwtToken`.
    FetchRequested,
    /// A person wants to know now.
    RefreshRequested,
    /// The inventory was sent.
    InventorySent {
        /// The job.
        id: ExchangeId,
    },
    /// The inventory is as it was, and was not sent.
    InventoryUnchanged {
        /// The job.
        id: ExchangeId,
    },
    /// The inventory could not be sent.
    InventoryFailed {
        /// The job.
        id: ExchangeId,
        /// Why.
        failure: Failure,
    },
    /// The server was asked for an update.
    Polled {
        /// The job.
        id: ExchangeId,
        /// Whether one waits.
        update: bool,
    },
    /// The server could not be asked for an update.
    PollFailed {
        /// The job.
        id: ExchangeId,
        /// Why.
        failure: Failure,
    },
    /// An interface or a default route came up.
    NetworkChanged,
    /// The settings changed.
    Reconfigured {
        /// All of them.
        settings: Settings,
    },
    /// The process was told to stop.
    Stopping,
}
