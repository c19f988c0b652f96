//! Keeps: one attempt to open the link, and how far it has come.

use core::time::Duration;

use super::line::Line;
use crate::agent::ExchangeId;
use crate::daemon::discovery::Proof;
use crate::wire::uri::ServerUri;

/// One attempt.
pub(super) struct Opening {
    pub(super) id: ExchangeId,
    pub(super) access: Box<Proof>,
    pub(super) step: Step,
}

/// How far it has come.
pub(super) enum Step {
    /// A thread asks where traffic goes.
    Discovering,
    /// Uplinks pause; the LNS has until then to read the old socket empty.
    Draining(ServerUri, Duration),
    /// A thread opens the traffic socket.
    Upgrading(ServerUri),
    /// The socket is open and `router_config` has not come.
    Waiting(Box<Line>),
}

impl Opening {
    /// The socket that waits for `router_config`.
    pub(super) fn line(&self) -> Option<&Line> {
        match &self.step {
            Step::Waiting(line) => Some(line),
            _ => None,
        }
    }

    /// The same, to be served.
    pub(super) fn line_mut(&mut self) -> Option<&mut Line> {
        match &mut self.step {
            Step::Waiting(line) => Some(line),
            _ => None,
        }
    }

    /// Where traffic will go and by when, while the old socket is read empty.
    pub(super) fn draining(&self) -> Option<(ServerUri, Duration)> {
        match &self.step {
            Step::Draining(uri, by) => Some((uri.clone(), *by)),
            _ => None,
        }
    }

    /// Whether the LNS may have the new socket already, and so may have cut the old one.
    pub(super) fn may_replace(&self) -> bool {
        matches!(self.step, Step::Upgrading(_) | Step::Waiting(_))
    }

    /// Whether uplinks must not go to the old socket.
    pub(super) fn pauses(&self) -> bool {
        !matches!(self.step, Step::Discovering)
    }
}
