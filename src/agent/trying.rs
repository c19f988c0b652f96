//! Decides: whether CURRENT, proved once before the commit, stays good: the trial.
//!
//! GOOD moves only after a second proof, at the first cycle between ten minutes and one
//! hour after the commit. Three refusals over a quarter of an hour lead back to GOOD. A set
//! with another CUPS is tried there first: see `former`.

use core::time::Duration;

use super::event::SetId;
use super::failure::{Class, Failure, Waiting};
use super::waiting::{Backoff, Deadline, REFUSAL_FLOOR, Reason};
use super::{Action, Actions, Agent, Moment, Phase, Report};

const TRIAL_EARLIEST: Duration = Duration::from_secs(10 * 60);
const TRIAL_LATEST: Duration = Duration::from_secs(60 * 60);
const REFUSALS_TO_REVERT: u32 = 3;
const REFUSALS_SPREAD: Duration = Duration::from_secs(15 * 60);

/// CURRENT while it is not GOOD.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    set: SetId,
    not_before: Moment,
    due: Moment,
    proofs: Backoff,
    refusals: u32,
    first_refusal: Moment,
    last_failure: Option<Failure>,
    /// The LNS refuses it to the link.
    is_refused: bool,
    /// Its CUPS is a new one and has not answered yet.
    pub(super) awaits_cups: bool,
}

impl Trial {
    pub(super) fn after_commit(set: SetId, awaits_cups: bool, now: Moment) -> Self {
        let earliest = now.plus(TRIAL_EARLIEST);
        Self::new(set, awaits_cups, earliest, now.plus(TRIAL_LATEST))
    }

    /// When the commit was is forgotten: the first cycle may try it.
    pub(super) fn at_start(set: SetId, awaits_cups: bool, now: Moment) -> Self {
        Self::new(set, awaits_cups, now, now.plus(TRIAL_LATEST))
    }

    pub(super) fn allows(&self, now: Moment) -> bool {
        now >= self.not_before
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline {
            at: self.due,
            reason: Reason::Trial,
        }
    }

    fn new(set: SetId, awaits_cups: bool, not_before: Moment, due: Moment) -> Self {
        Self {
            set,
            not_before,
            due,
            proofs: Backoff::default(),
            refusals: 0,
            first_refusal: not_before,
            last_failure: None,
            is_refused: false,
            awaits_cups,
        }
    }

    /// Counts a refusal; the set, if it was one too many.
    pub(super) fn refused(&mut self, failure: &Failure, now: Moment) -> Option<SetId> {
        self.last_failure = Some(failure.clone());
        if self.refusals == 0 {
            self.first_refusal = now;
        }
        self.refusals = self.refusals.saturating_add(1);
        self.is_lost(now).then_some(self.set)
    }

    /// What has to outlive a restart: the refusals.
    pub(super) fn memory(&self) -> Option<(SetId, u32, [Moment; 3])> {
        let moments = [self.first_refusal, self.not_before, self.due];
        (self.refusals > 0).then_some((self.set, self.refusals, moments))
    }

    pub(super) fn recall(&mut self, refusals: u32, moments: [Moment; 3]) {
        self.refusals = refusals;
        [self.first_refusal, self.not_before, self.due] = moments;
    }

    pub(super) fn is_of(&self, set: SetId) -> bool {
        self.set == set
    }

    /// Waits together with the next ask.
    pub(super) fn wait_for_cups(&mut self, ask: Moment) {
        if self.awaits_cups {
            self.due = ask.max(self.not_before);
        }
    }

    pub(super) fn is_lost(&self, now: Moment) -> bool {
        self.refusals >= REFUSALS_TO_REVERT && now.since(self.first_refusal) >= REFUSALS_SPREAD
    }
}

impl Agent {
    pub(super) fn try_current(&mut self, out: &mut Actions) {
        let Some(trial) = self.trial.as_ref() else {
            return;
        };
        assert!(
            trial.allows(self.now),
            "a trial waits as long as its class demands"
        );
        let set = trial.set;
        if trial.is_lost(self.now) {
            // The store could not revert the last time.
            return self.revert(set, out);
        }
        if !self.settings.prove {
            return self.trial_passed(set, out);
        }
        let id = self.new_exchange();
        self.enter(Phase::Trying { id, set });
        out.push(Action::Prove { id, set });
    }

    /// A set that the LNS refuses to the link has not passed: some look at the key only when
    /// the traffic socket is opened.
    pub(super) fn trial_passed(&mut self, set: SetId, out: &mut Actions) {
        if self.trial.as_ref().is_none_or(|trial| !trial.is_refused) {
            return self.confirm(set, false, out);
        }
        let text = "the LNS takes this set at discovery and refuses it to the link";
        let failure = Failure::new(Class::NotAuthorised, "lns_error", text);
        self.trial_failed(set, failure, out);
    }

    /// A first refusal is followed by the trial as soon as that may be.
    pub(super) fn link_judged(&mut self, refused: Option<SetId>) {
        if let Some(trial) = self.trial.as_mut() {
            trial.is_refused = refused == Some(trial.set);
            if trial.is_refused && trial.refusals == 0 && !trial.awaits_cups {
                trial.due = trial.due.min(trial.not_before.max(self.now));
            }
        }
    }

    pub(super) fn trial_failed(&mut self, set: SetId, failure: Failure, out: &mut Actions) {
        let now = self.now;
        let mut lost = None;
        if let Some(trial) = self.trial.as_mut() {
            trial.last_failure = Some(failure.clone());
            if failure.class.condemns_credentials() {
                lost = trial.refused(&failure, now);
            }
        }
        if lost.is_some() {
            self.revert(set, out);
        } else {
            self.trial_delayed(set, failure, out);
        }
    }

    pub(super) fn trial_delayed(&mut self, set: SetId, failure: Failure, out: &mut Actions) {
        self.try_later(&failure);
        self.conclude(Report::TrialFailed { set, failure }, out);
    }

    /// `to` is what CURRENT names now. Nothing, or the very set on trial: there was no GOOD,
    /// and a set that may yet work is better than none.
    pub(super) fn reverted(&mut self, from: SetId, to: Option<SetId>, out: &mut Actions) {
        let failure = self
            .trial
            .as_ref()
            .and_then(|trial| trial.last_failure.clone());
        let failure = failure.unwrap_or_else(super::no_answer);
        match to {
            Some(to) if to != from => {
                self.current = Some(to);
                self.good = Some(to);
                self.trial = None;
                self.former.forget();
                self.forget_staged(to);
                self.discard(from, true, out);
                out.push(Action::Export { set: to });
                self.conclude(Report::RolledBack { from, to, failure }, out);
            }
            _ => {
                if let Some(trial) = self.trial.as_mut() {
                    trial.refusals = 0;
                }
                self.trial_delayed(from, failure, out);
            }
        }
    }

    pub(super) fn confirm(&mut self, set: SetId, rotated: bool, out: &mut Actions) {
        self.enter(Phase::Confirming { set, rotated });
        out.push(Action::Confirm { set });
    }

    pub(super) fn confirmed(&mut self, set: SetId, rotated: bool, out: &mut Actions) {
        self.good = Some(set);
        self.trial = None;
        self.last_success = Some(self.now);
        let report = if rotated {
            Report::Rotated { set }
        } else {
            Report::Confirmed { set }
        };
        self.conclude(report, out);
    }

    /// CURRENT works but GOOD did not move: confirm it again later.
    pub(super) fn confirm_failed(
        &mut self,
        set: SetId,
        rotated: bool,
        failure: Failure,
        out: &mut Actions,
    ) {
        if rotated {
            self.trial = Some(Trial::after_commit(set, false, self.now));
            out.push(Action::Report(Report::StoreTroubled { failure }));
            self.conclude(Report::Rotated { set }, out);
        } else {
            self.try_later(&failure);
            self.conclude(Report::Failed { failure }, out);
        }
    }

    pub(super) fn revert(&mut self, set: SetId, out: &mut Actions) {
        self.enter(Phase::Reverting { set });
        out.push(Action::Revert);
    }

    fn try_later(&mut self, failure: &Failure) {
        let now = self.now;
        if let Some(trial) = self.trial.as_mut() {
            let wait = trial.proofs.wait(failure, &self.settings, &mut self.random);
            trial.due = now.plus(wait);
            trial.not_before = match failure.class.waiting() {
                Waiting::Refusal => now.plus(REFUSAL_FLOOR),
                Waiting::Clock | Waiting::Transport => trial.due,
            };
        }
    }

    /// A staged set that turns out to be CURRENT needs no proof any more.
    fn forget_staged(&mut self, current: SetId) {
        if self
            .staged
            .as_ref()
            .is_some_and(|staged| staged.set == current)
        {
            self.staged = None;
        }
    }
}
