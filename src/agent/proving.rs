//! Decides: the second half of a cycle: prove the staged set, then flip CURRENT to it.

use core::time::Duration;

use super::event::SetId;
use super::failure::{Class, Failure, Waiting};
use super::trying::Trial;
use super::waiting::{Backoff, REFUSAL_FLOOR};
use super::{Action, Actions, Agent, Identity, Moment, Phase, Report};

/// A set that cannot be proved for so long is dropped; CUPS may offer it again.
const STAGED_LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The set that waits on disk for its proof.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    pub(super) set: SetId,
    since: Moment,
    /// When to prove it again; `None` while that is under way.
    pub(super) again: Option<Moment>,
    not_before: Moment,
    proofs: Backoff,
    /// CURRENT may name it already, should the store have failed half-way.
    pub(super) commit_tried: bool,
}

impl Staged {
    pub(super) fn new(set: SetId, now: Moment) -> Self {
        Self {
            set,
            since: now,
            again: None,
            not_before: now,
            proofs: Backoff::default(),
            commit_tried: false,
        }
    }

    /// Found on the disk at a start: it is proved together with the first contact.
    pub(super) fn at_start(set: SetId, now: Moment, first_contact: Moment) -> Self {
        Self {
            again: Some(first_contact),
            ..Self::new(set, now)
        }
    }
}

impl Agent {
    pub(super) fn prove_or_commit(&mut self, set: SetId, out: &mut Actions) {
        if let Some(staged) = self.staged.as_mut() {
            staged.again = None;
        }
        if let Identity::Unusable(failure) = self.identity.clone() {
            // Lost while the store was at work.
            self.abandon_proof();
            self.cups_answered();
            return self.conclude(Report::Delayed { set, failure }, out);
        }
        if self.settings.prove {
            let id = self.new_exchange();
            self.enter(Phase::Proving { id, set });
            out.push(Action::Prove { id, set });
        } else {
            self.commit(set, out);
        }
    }

    /// Whether a staged set waits whose proof may be tried again now.
    pub(super) fn may_prove_again(&self) -> bool {
        self.staged
            .as_ref()
            .is_some_and(|staged| staged.again.is_some() && staged.not_before <= self.now)
    }

    pub(super) fn prove_again(&mut self, out: &mut Actions) {
        let Some(staged) = self.staged.as_ref() else {
            return;
        };
        let set = staged.set;
        assert!(
            self.now >= staged.not_before,
            "a proof waits as long as its class demands"
        );
        if self.now.since(staged.since) < STAGED_LONGEST {
            return self.prove_or_commit(set, out);
        }
        if !staged.commit_tried {
            self.discard(set, false, out);
        }
        self.staged = None;
        self.conclude(Report::Expired { set }, out);
    }

    pub(super) fn proved(&mut self, set: SetId, out: &mut Actions) {
        self.proof = Some(set);
        self.commit(set, out);
    }

    /// What speaks against the set condemns it; everything else only delays.
    pub(super) fn disproved(&mut self, set: SetId, failure: Failure, out: &mut Actions) {
        let perhaps_current = self
            .staged
            .as_ref()
            .is_some_and(|staged| staged.commit_tried);
        if !speaks_against_set(failure.class) {
            self.prove_later(&failure);
            self.cups_answered();
            return self.conclude(Report::Delayed { set, failure }, out);
        }
        if !perhaps_current {
            self.discard(set, true, out);
        }
        self.staged = None;
        self.refused(failure, out);
    }

    /// The exchange was given up with the identity; prove again when there is one.
    pub(super) fn abandon_proof(&mut self) {
        let now = self.now;
        if let Some(staged) = self.staged.as_mut() {
            staged.again = Some(now.max(staged.not_before));
        }
    }

    pub(super) fn committed(&mut self, set: SetId, out: &mut Actions) {
        self.current = Some(set);
        self.staged = None;
        self.proof = None;
        self.trial = None;
        self.former.forget();
        out.push(Action::Export { set });
        self.succeeded();
        if self.good == Some(set) {
            self.conclude(Report::Rotated { set }, out);
        } else if self.settings.prove {
            self.trial = Some(Trial::after_commit(
                set,
                self.former.is_move_on_trial,
                self.now,
            ));
            self.conclude(Report::Rotated { set }, out);
        } else {
            self.confirm(set, true, out);
        }
    }

    /// Whatever the store could not do: CURRENT is what it was, or may be done again.
    pub(super) fn store_failed(&mut self, failure: Failure, out: &mut Actions) {
        match self.phase {
            Phase::Staging { .. } => self.ask_failed(failure, out),
            Phase::Committing { .. } => {
                self.proof = None;
                self.prove_later(&failure);
                self.cups_answered();
                self.conclude(Report::Failed { failure }, out);
            }
            Phase::Confirming { set, rotated } => {
                self.confirm_failed(set, rotated, failure, out);
            }
            Phase::Reverting { set } => self.trial_delayed(set, failure, out),
            _ => out.push(Action::Report(Report::StoreTroubled { failure })),
        }
    }

    fn commit(&mut self, set: SetId, out: &mut Actions) {
        assert!(
            self.proof == Some(set) || !self.settings.prove,
            "commit only after proof of that very set: {set:?}, proved {:?}",
            self.proof
        );
        if let Some(staged) = self.staged.as_mut() {
            staged.commit_tried = true;
        }
        self.enter(Phase::Committing { set });
        out.push(Action::Commit { set });
    }

    fn prove_later(&mut self, failure: &Failure) {
        let now = self.now;
        if let Some(staged) = self.staged.as_mut() {
            let wait = staged
                .proofs
                .wait(failure, &self.settings, &mut self.random);
            staged.again = Some(now.plus(wait));
            staged.not_before = match failure.class.waiting() {
                Waiting::Refusal => now.plus(REFUSAL_FLOOR),
                Waiting::Clock | Waiting::Transport => now,
            };
        }
    }
}

/// Whether a failed proof says that the new set is no good: refused, or of no use at the
/// address it names. A fault of the network, the clock or our own identity says nothing.
fn speaks_against_set(class: Class) -> bool {
    class.waiting() == Waiting::Refusal && class != Class::IdentityInvalid
}
