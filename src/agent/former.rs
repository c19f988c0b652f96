//! Decides: what becomes of a gateway that CUPS moved to another CUPS which then is no good.
//!
//! While the set is on trial, its CUPS has to answer before GOOD moves, and refusals of that
//! CUPS count like those of the LNS. Later, or when nothing is there at all, the CUPS before
//! the move is asked too: once a day, after a day without an answer. Nothing is dropped for
//! that, and what it offers goes the usual way: staged, proved, committed.

use core::time::Duration;

use super::failure::{Class, Failure};
use super::waiting::Deadline;
use super::{Actions, Agent, Moment, Report};

/// How long the CUPS in use is waited for before the former one is asked, and from then on
/// the least distance between two such asks.
const FORMER_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of the CUPS before the last move.
#[derive(Debug, Clone, Default)]
pub(super) struct Former {
    /// The CUPS in use is another than GOOD's.
    pub(super) is_move_on_trial: bool,
    exists: bool,
    /// The running cycle asks it.
    pub(super) is_asked: bool,
    pub(super) asked_at: Option<Moment>,
    /// Since when the CUPS in use gives no answer, and the last reason.
    trouble: Option<(Moment, Failure)>,
}

impl Former {
    /// Decides who is asked now.
    pub(super) fn choose(&mut self, now: Moment) -> bool {
        let is_long = |since: Moment| now.since(since) >= FORMER_EVERY;
        let in_trouble = self.trouble.as_ref().map(|(since, _)| *since);
        self.is_asked =
            self.exists && in_trouble.is_some_and(is_long) && self.asked_at.is_none_or(is_long);
        if self.is_asked {
            self.asked_at = Some(now);
        }
        self.is_asked
    }

    /// Another set is in use, perhaps with another CUPS.
    pub(super) fn forget(&mut self) {
        self.is_asked = false;
        self.asked_at = None;
        self.trouble = None;
    }

    pub(super) fn silent_since(&self) -> Option<Moment> {
        self.trouble.as_ref().map(|(since, _)| *since)
    }

    pub(super) fn recall(&mut self, since: Moment, asked_at: Option<Moment>) {
        self.trouble = Some((since, super::no_answer()));
        self.asked_at = asked_at;
    }

    fn note(&mut self, failure: &Failure, now: Moment) {
        let is_theirs = !matches!(failure.class, Class::Storage | Class::IdentityInvalid);
        if !self.is_asked && is_theirs {
            let since = self.trouble.as_ref().map_or(now, |(since, _)| *since);
            // The server's word on when to come back was for that one time.
            let failure = failure.clone().with_retry_after(None);
            self.trouble = Some((since, failure));
        }
    }
}

impl Agent {
    pub(super) fn cups_moved(&mut self, is_on_trial: bool, has_former: bool) {
        self.former.is_move_on_trial = is_on_trial;
        self.former.exists = has_former;
        if !is_on_trial {
            if let Some(trial) = self.trial.as_mut() {
                trial.awaits_cups = false;
            }
        }
    }

    /// The CUPS in use answered, whatever it said.
    pub(super) fn cups_spoke(&mut self) {
        if self.former.is_asked {
            return;
        }
        self.former.trouble = None;
        let now = self.now;
        if let Some(trial) = self.trial.as_mut().filter(|trial| trial.allows(now)) {
            trial.awaits_cups = false;
        }
    }

    /// The former CUPS wants nothing else than CURRENT: the one in use is waited for on.
    pub(super) fn former_had_nothing(&mut self, out: &mut Actions) {
        let failure = self.trouble();
        self.plan_retry(&failure);
        self.conclude(Report::Failed { failure }, out);
    }

    /// What is the matter with the CUPS in use.
    pub(super) fn trouble(&self) -> Failure {
        let known = self.former.trouble.as_ref();
        known.map_or_else(super::no_answer, |(_, failure)| failure.clone())
    }

    /// Whether the trial waits for an answer of CUPS, not yet of the LNS.
    pub(super) fn is_cups_on_trial(&self) -> bool {
        let trial = self.trial.as_ref();
        trial.is_some_and(|trial| trial.awaits_cups && !trial.is_lost(self.now))
    }

    /// The trial's deadline. An ask for its sake waits like any other.
    pub(super) fn trial_deadline(&self) -> Option<Deadline> {
        let due = self.trial.as_ref()?.deadline();
        let at = if self.is_cups_on_trial() {
            due.at.max(self.refused_until)
        } else {
            due.at
        };
        Some(Deadline { at, ..due })
    }

    pub(super) fn ask_failed(&mut self, failure: Failure, out: &mut Actions) {
        self.plan_retry(&failure);
        self.former.note(&failure, self.now);
        match self.refused_by_new_cups(&failure) {
            Some(set) => self.revert(set, out),
            None => self.conclude(Report::Failed { failure }, out),
        }
    }

    /// Counts a refusal of the CUPS on trial; the set, once there were enough.
    fn refused_by_new_cups(&mut self, failure: &Failure) -> Option<super::SetId> {
        let speaks =
            failure.class.condemns_credentials() || failure.class == Class::ServerUntrusted;
        if self.former.is_asked || !speaks || !self.is_cups_on_trial() {
            return None;
        }
        let now = self.now;
        self.trial
            .as_mut()
            .and_then(|trial| trial.refused(failure, now))
    }
}
