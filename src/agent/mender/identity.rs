//! Decides: when there is an identity to authenticate with, and what its changes mean.

use super::{Action, Actions, Identity, Life, Mender, Report};
use crate::agent::failure::Failure;
use crate::agent::waiting::{EXPIRED_RECHECK, IDENTITY_RECHECK};

impl Mender {
    pub(super) fn identity_loaded(&mut self, out: &mut Actions) {
        let before = core::mem::replace(&mut self.identity, Identity::Loaded);
        if self.life == Life::Starting {
            return;
        }
        out.report(Report::IdentityReady);
        match before {
            // Unknown until now: the first contact is planned already.
            Identity::Unknown => {}
            _ if self.is_authenticating() => self.is_mended = true,
            // A new key or certificate has to be shown to the server, also beside a token.
            _ => self.plan_soon(),
        }
    }

    pub(super) fn identity_unusable(&mut self, failure: Failure, out: &mut Actions) {
        self.identity = Identity::Unusable(failure.clone());
        if self.life == Life::Live {
            self.rest(failure, out);
        }
    }

    pub(super) fn identity_kept(&mut self, failure: Failure, out: &mut Actions) {
        if self.identity == Identity::Loaded {
            out.report(Report::IdentityKept { failure });
        } else {
            self.identity_unusable(failure, out);
        }
    }

    /// Ends what is under way. Nobody may use a token that cannot be carried to the server.
    pub(super) fn rest(&mut self, failure: Failure, out: &mut Actions) {
        if self.is_authenticating() {
            self.end_attempt(true, out);
        } else if self.token.take().is_some() {
            out.push(Action::Withdraw);
        }
        self.job = None;
        self.is_mended = false;
        self.recheck = self.now.plus(self.recheck_wait());
        out.report(Report::IdentityUnusable { failure });
    }

    pub(super) fn reload_identity(&mut self, out: &mut Actions) {
        if self.life == Life::Live {
            self.recheck = self.now.plus(self.recheck_wait());
            out.push(Action::ReloadIdentity);
        }
    }

    /// One that looks expired may only look so by a clock that is about to be set; what is
    /// missing may be on a partition that is mounted late, which nobody is told of.
    fn recheck_wait(&self) -> core::time::Duration {
        match &self.identity {
            Identity::Unusable(failure)
                if matches!(failure.code, "expired" | "key_not_made" | "missing") =>
            {
                EXPIRED_RECHECK
            }
            _ => IDENTITY_RECHECK,
        }
    }
}
