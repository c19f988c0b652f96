//! Decides: when one thing that is done again and again is due: attempts, inventory, polls.

use super::waiting::{Backoff, Deadline, Pace, Reason, Settings};
use crate::agent::failure::Failure;
use crate::agent::moment::Moment;
use crate::agent::random::Random;

/// One thing that is done again and again.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    /// When it is due; in the past while something else is in the way.
    pub(super) due: Deadline,
    /// The server's own word on when to come back: only a person overrules it.
    told_until: Moment,
    backoff: Backoff,
    /// Tries since it last went well.
    pub(super) tries: u32,
    pub(super) last_good: Option<Moment>,
    /// Why it last went wrong, if it has not gone well since.
    pub(super) why: Option<Failure>,
}

impl Errand {
    pub(super) fn new() -> Self {
        Self {
            due: Deadline {
                at: Moment::default(),
                reason: Reason::FirstContact,
            },
            told_until: Moment::default(),
            backoff: Backoff::default(),
            tries: 0,
            last_good: None,
            why: None,
        }
    }

    /// Due then, or as soon as the server's own word allows.
    pub(super) fn plan(&mut self, at: Moment, reason: Reason) {
        self.due = Deadline {
            at: at.max(self.told_until),
            reason,
        };
    }

    /// Due then, if that is sooner than planned or what was planned is over.
    pub(super) fn hasten(&mut self, at: Moment, reason: Reason, now: Moment) {
        let at = at.max(self.told_until);
        if at < self.due.at || self.due.at <= now {
            self.due = Deadline { at, reason };
        }
    }

    /// A person may overrule a server's word.
    pub(super) fn overrule(&mut self, at: Moment) {
        self.told_until = Moment::default();
        self.plan(at, Reason::Refresh);
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.due.at <= now
    }

    /// Only a failure of the way there hopes for the network; a server's word is not changed
    /// by it.
    pub(super) fn hopes_for_network(&self, now: Moment) -> bool {
        self.due.reason == Reason::Retry && self.told_until <= now
    }

    pub(super) fn succeeded(&mut self, now: Moment) {
        self.backoff = Backoff::default();
        self.told_until = Moment::default();
        self.tries = 0;
        self.last_good = Some(now);
        self.why = None;
    }

    pub(super) fn failed(
        &mut self,
        failure: &Failure,
        now: Moment,
        settings: &Settings,
        random: &mut Random,
    ) {
        let at = now.plus(self.backoff.wait(failure, settings, random));
        self.told_until = Moment::default();
        self.plan(at, Pace::of(failure.class).reason());
        if failure.retry_after.is_some() {
            self.told_until = at;
        }
        self.why = Some(failure.clone());
    }
}
