//! Decides: what a network that came up changes: a failed ask is tried again soon.

use core::time::Duration;

use super::failure::Failure;
use super::waiting::{Deadline, NETWORK_PAUSE, Reason, SOON};
use super::{Agent, Moment, Phase};

/// What keeps an ask from being hurried.
#[derive(Debug, Clone, Default)]
pub(super) struct Hurry {
    /// The last ask that was hurried is due then.
    last: Option<Moment>,
    /// The server's own word on when to come back.
    told_until: Moment,
    /// The network came up during the last ask, or since.
    pub(super) has_news: bool,
}

impl Hurry {
    /// Remembers the server's own word, if it gave one: the network does not change that.
    pub(super) fn heed(&mut self, failure: &Failure, ask: Moment) {
        if failure.retry_after.is_some() {
            self.told_until = ask;
        }
    }
}

impl Agent {
    /// Only a failure of the way there hopes for the network; a refusal does not change by it.
    /// A network that comes and goes hurries one ask a minute.
    pub(super) fn network_changed(&mut self) {
        self.hurry.has_news = true;
        if self.phase == Phase::Waiting {
            self.hurry_ask();
        }
    }

    pub(super) fn hurry_ask(&mut self) {
        if self.ask.reason != Reason::Retry || self.now < self.hurry.told_until {
            return;
        }
        let soon = self.random.between(Duration::ZERO, SOON);
        let allowed = self.hurry.last.map(|last| last.plus(NETWORK_PAUSE));
        let at = self.now.plus(soon).max(allowed.unwrap_or_default());
        if at < self.ask.at {
            self.hurry.last = Some(at);
            self.ask = Deadline {
                at,
                reason: Reason::Network,
            };
        }
    }
}
