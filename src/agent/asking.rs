//! Decides: the first half of a cycle: ask CUPS, stage what it offers.

use super::event::{ExchangeId, SetId};
use super::failure::Failure;
use super::proving::Staged;
use super::{Action, Actions, Agent, Identity, Phase, Report};

impl Agent {
    pub(super) fn ask_now(&mut self, out: &mut Actions) {
        assert!(
            self.now >= self.refused_until,
            "a refusal waits as long as its class demands"
        );
        let id = self.new_exchange();
        self.asked = true;
        self.is_mended = false;
        self.hurry.has_news = false;
        self.last_ask = Some(self.now);
        self.attempts = self.attempts.saturating_add(1);
        self.enter(Phase::Asking { id });
        out.push(if self.former.choose(self.now) {
            Action::ExchangeFormer { id }
        } else {
            Action::Exchange { id }
        });
    }

    /// CUPS has nothing newer. A set that waits for its proof stays: some servers hand out
    /// credentials only once. Its proof, or a trial that is due, belongs to this cycle.
    pub(super) fn unchanged(&mut self, out: &mut Actions) {
        if self.former.is_asked {
            return self.former_had_nothing(out);
        }
        self.cups_spoke();
        self.succeeded();
        if self.identity == Identity::Loaded && self.may_prove_again() {
            return self.prove_again(out);
        }
        let is_due = |trial: &super::trying::Trial| trial.allows(self.now) && !trial.awaits_cups;
        let trial_due = self.trial.as_ref().is_some_and(is_due);
        if trial_due && self.identity == Identity::Loaded {
            self.try_current(out);
        } else {
            self.conclude(Report::Unchanged, out);
        }
    }

    pub(super) fn offered(&mut self, id: ExchangeId, out: &mut Actions) {
        self.cups_spoke();
        self.enter(Phase::Staging { id });
        out.push(Action::Stage { id });
    }

    /// Durable on disk: only now may it be shown to a server.
    pub(super) fn staged(&mut self, set: SetId, out: &mut Actions) {
        if Some(set) == self.current {
            return self.unchanged(out);
        }
        self.withdraw(set, out);
        if self.staged.is_none() {
            self.staged = Some(Staged::new(set, self.now));
        }
        self.prove_or_commit(set, out);
    }

    pub(super) fn refused(&mut self, failure: Failure, out: &mut Actions) {
        self.plan_retry(&failure);
        self.conclude(Report::Refused { failure }, out);
    }

    /// A newer set takes the place of the staged one. One that a failed commit may have made
    /// CURRENT is not deleted.
    fn withdraw(&mut self, offered: SetId, out: &mut Actions) {
        if let Some(staged) = self.staged.take_if(|staged| staged.set != offered) {
            if !staged.commit_tried {
                self.discard(staged.set, false, out);
            }
        }
    }
}
