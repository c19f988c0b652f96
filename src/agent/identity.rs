//! Decides: when there is an identity to speak with, and what its changes mean.

use super::failure::Failure;
use super::waiting::{Deadline, EXPIRED_RECHECK, IDENTITY_RECHECK, Reason, SOON};
use super::{Action, Actions, Agent, Identity, Phase, Report};

impl Agent {
    pub(super) fn identity_loaded(&mut self, out: &mut Actions) {
        let before = core::mem::replace(&mut self.identity, Identity::Loaded);
        if self.phase != Phase::Starting {
            out.push(Action::Report(Report::IdentityReady));
        }
        match self.phase {
            Phase::Starting => {}
            Phase::Unusable => {
                // Unknown until now: the first contact is planned already.
                if before != Identity::Unknown {
                    self.plan_soon();
                }
                self.enter(Phase::Waiting);
            }
            Phase::Waiting => {
                if self.ask.reason == Reason::Refusal {
                    self.plan_soon();
                }
            }
            _ => self.is_mended = true,
        }
    }

    /// Ends what is under way with the old identity. The store may finish its work.
    pub(super) fn identity_unusable(&mut self, failure: Failure, out: &mut Actions) {
        self.identity = Identity::Unusable(failure);
        match self.phase {
            Phase::Asking { .. } | Phase::Trying { .. } | Phase::Unusable | Phase::Waiting => {
                self.rest(out);
            }
            Phase::Proving { .. } => {
                self.abandon_proof();
                self.rest(out);
            }
            _ => {}
        }
    }

    pub(super) fn identity_kept(&mut self, failure: Failure, out: &mut Actions) {
        if self.identity == Identity::Loaded {
            out.push(Action::Report(Report::IdentityKept { failure }));
        } else {
            self.identity_unusable(failure, out);
        }
    }

    pub(super) fn reload_identity(&mut self, out: &mut Actions) {
        self.patience = self.now.plus(self.recheck());
        out.push(Action::ReloadIdentity);
    }

    /// How long an unusable identity is left alone. One that looks expired may only look so
    /// by a clock that NTP is about to correct.
    pub(super) fn recheck(&self) -> core::time::Duration {
        match &self.identity {
            Identity::Unusable(failure) if failure.code == "expired" => EXPIRED_RECHECK,
            _ => IDENTITY_RECHECK,
        }
    }

    /// A mended identity deserves a fresh start, a little spread.
    pub(super) fn plan_soon(&mut self) {
        self.is_mended = false;
        self.refused_until = self.now;
        let wait = self.random.between(core::time::Duration::ZERO, SOON);
        let soon = self.now.plus(wait);
        if soon <= self.ask.at || self.ask.at <= self.now {
            self.ask = Deadline {
                at: soon,
                reason: Reason::IdentityChanged,
            };
        }
    }
}
