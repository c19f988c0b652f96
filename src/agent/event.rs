//! Decides: what can have happened, as the machine is told of it.

use super::failure::Failure;
use super::memory::Memory;
use super::waiting::Settings;

/// One exchange with a server, by number. A late answer to an exchange that was given up
/// carries an old number and is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExchangeId(pub u32);

/// One credential set, by the store's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetId(pub u64);

/// Who asked for a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The LNS link, because its credentials were refused: at most one ask in five minutes.
    Link,
    /// A person: always done.
    Operator,
}

/// What happened. Any event may come in any phase; one that does not fit is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The store is open. Sent once. Without an earlier [`Event::IdentityLoaded`] or
    /// [`Event::IdentityUnusable`] the machine answers with [`super::Action::ReloadIdentity`].
    Started {
        /// What CURRENT names.
        current: Option<SetId>,
        /// Whether CURRENT is GOOD.
        proven: bool,
        /// The set that waits for its proof since before the start.
        staged: Option<SetId>,
        /// Whether the first contact must be spread, as after a boot of the whole fleet.
        boot_delay_wanted: bool,
    },
    /// What the process before this one left, in the same boot. Counts before the start only.
    Remembered {
        /// What [`super::Agent::memory`] gave.
        memory: Memory,
    },
    /// The moment of [`super::Agent::deadline`] has come. Too early is harmless.
    DeadlinePassed,
    /// CUPS answered: nothing new, or only segments that are ignored.
    Unchanged {
        /// The exchange answered.
        id: ExchangeId,
    },
    /// CUPS answered with a valid new set, which the shell holds under this number.
    Offered {
        /// The exchange answered.
        id: ExchangeId,
    },
    /// The exchange with CUPS failed.
    Failed {
        /// The exchange that failed.
        id: ExchangeId,
        /// Why.
        failure: Failure,
    },
    /// The offered set is durable on disk. The same octets give the same number.
    Staged {
        /// The set.
        set: SetId,
    },
    /// The offered set is in quarantine and was not staged.
    Held {
        /// Why it was refused before.
        failure: Failure,
    },
    /// The server took the set.
    Proved {
        /// The proof's exchange.
        id: ExchangeId,
    },
    /// The proof failed; the class says whether that speaks against the set.
    Disproved {
        /// The proof's exchange.
        id: ExchangeId,
        /// Why.
        failure: Failure,
    },
    /// CURRENT names this set, durably.
    Committed {
        /// The set.
        set: SetId,
    },
    /// GOOD names this set, durably.
    Confirmed {
        /// The set.
        set: SetId,
    },
    /// CURRENT names GOOD again. `None`: there is no GOOD, CURRENT is as it was.
    Reverted {
        /// What CURRENT names now.
        set: Option<SetId>,
    },
    /// The set is gone.
    Discarded {
        /// The set.
        set: SetId,
    },
    /// The last action for the store could not be done.
    StoreFailed {
        /// Why.
        failure: Failure,
    },
    /// The identity was loaded, first or anew.
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
    /// Whether CURRENT says where the LNS is; it does unless this was told. A set of CUPS
    /// credentials alone does not.
    LnsNamed {
        /// It does.
        is_named: bool,
    },
    /// How the CUPS of CURRENT stands to others; alone, unless this was told.
    CupsMoved {
        /// It is another than GOOD's.
        is_on_trial: bool,
        /// There is another that may be asked: GOOD's, or the configured one.
        has_former: bool,
    },
    /// How the link's last attempt or connection ended.
    LinkJudged {
        /// The set that the LNS refused; `None`: it did not end by a refusal.
        refused: Option<SetId>,
    },
    /// The configuration names another CUPS.
    CupsRenamed,
    /// The settings changed.
    Reconfigured {
        /// All of them.
        settings: Settings,
    },
    /// An interface or a default route came up.
    NetworkChanged,
    /// CUPS shall be asked now.
    RefreshRequested {
        /// Who wants it.
        by: By,
    },
    /// The process was told to stop.
    Stopping,
}
