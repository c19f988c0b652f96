//! Names: what happens to the link, what is wanted of the shell, and when.

use super::LinkReason;
use super::report::LinkReport;
use crate::agent::event::{ExchangeId, SetId};
use crate::agent::failure::Failure;
use crate::agent::moment::Moment;
use crate::agent::waiting::Settings;

/// What happened to the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// This set is in use from now on; `None`: there is no set.
    SetChanged {
        /// What CURRENT names.
        set: Option<SetId>,
    },
    /// The moment of [`super::Link::deadline`] has come. Too early is harmless.
    DeadlinePassed,
    /// An interface or a route came up.
    NetworkChanged,
    /// Discovery and traffic socket succeeded.
    Connected {
        /// Number of the attempt.
        id: ExchangeId,
    },
    /// The last attempt had failed, or its connection had ended, and whoever holds the link
    /// has connected all the same, by itself. Such a holder answers an `Open` that crosses
    /// this with the same connection.
    Resumed {
        /// Number of that attempt.
        id: ExchangeId,
    },
    /// The attempt failed.
    Failed {
        /// Number of the attempt.
        id: ExchangeId,
        /// Why.
        failure: Failure,
    },
    /// A connection that was up has ended.
    Closed {
        /// Number of the attempt that had opened it.
        id: ExchangeId,
        /// Why.
        failure: Failure,
    },
    /// The settings changed.
    Reconfigured {
        /// All of them.
        settings: Settings,
    },
    /// The process was told to stop.
    Stopping,
}

/// What is wanted of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkAction {
    /// Do discovery and open the traffic socket with that very set; answered by `Connected`
    /// or `Failed`.
    Open {
        /// Number of the attempt.
        id: ExchangeId,
        /// The set to use.
        set: SetId,
    },
    /// Close what this attempt has opened, and try no longer. Nothing answers.
    Close {
        /// Number of the attempt.
        id: ExchangeId,
    },
    /// The LNS refused the credentials: let CUPS be asked.
    AskCups,
    /// Log and keep this.
    Report(LinkReport),
}

/// When to come back, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkDeadline {
    /// The moment.
    pub at: Moment,
    /// What is due then.
    pub reason: LinkReason,
}
