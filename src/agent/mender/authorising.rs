//! Decides: how an attempt to authenticate ends, and what else brings the next one.

use core::time::Duration;

use super::waiting::{Reason, Settings, YOUNG, pending_wait, renewal_wait};
use super::{
    Action, Actions, FLOOR, Identity, Kind, Life, Mender, Report, SILENCE_MAX, Standing, Token,
};
use crate::agent::failure::{Class, Failure};
use crate::agent::moment::Moment;
use crate::agent::waiting::{NETWORK_PAUSE, SOON};

const DECOMMISSIONED_HINT: &str = "it was decommissioned or rejected: accept it in the Mender UI, or preauthorise its identity and key again";

impl Mender {
    pub(super) fn started(&mut self, boot_delay_wanted: bool, out: &mut Actions) {
        self.life = Life::Live;
        let (longest, reason) = if boot_delay_wanted {
            (
                self.settings.boot_delay_max.min(SILENCE_MAX),
                Reason::BootDelay,
            )
        } else {
            (SOON, Reason::FirstContact)
        };
        let delay = self.random.between(Duration::ZERO, longest);
        self.auth.plan(self.now.plus(delay), reason);
        match self.identity.clone() {
            Identity::Loaded => {}
            Identity::Unknown => self.reload_identity(out),
            Identity::Unusable(failure) => self.rest(failure, out),
        }
    }

    pub(super) fn stop(&mut self, out: &mut Actions) {
        self.life = Life::Stopped;
        self.job = None;
        out.push(Action::Quit);
    }

    pub(super) fn accepted(
        &mut self,
        lifetime: Option<Duration>,
        is_new_device: bool,
        out: &mut Actions,
    ) {
        self.job = None;
        let is_renewal = self.has_token();
        self.token = Some(Token {
            received: self.now,
            expires: lifetime.map(|lifetime| self.now.plus(lifetime)),
        });
        self.auth.succeeded(self.now);
        let renewal = renewal_wait(lifetime, &mut self.random);
        self.auth.plan(self.now.plus(renewal), Reason::Renewal);
        self.is_inventory_forced |= is_new_device || self.standing.is_no();
        self.standing = Standing::Accepted;
        self.inventory.plan(self.now, Reason::Accepted);
        out.push(Action::Publish);
        out.report(if is_renewal && !is_new_device {
            Report::Renewed { lifetime }
        } else {
            Report::Accepted {
                lifetime,
                is_new_device,
            }
        });
        if self.is_mended {
            self.plan_soon();
        }
    }

    /// A token stays in use until its end, unless the server itself says no to the device.
    pub(super) fn refused(&mut self, failure: Failure, out: &mut Actions) {
        self.job = None;
        let failure = self.told_apart(failure);
        let (now, settings) = (self.now, self.settings);
        self.auth.failed(&failure, now, &settings, &mut self.random);
        let is_no = is_of_the_server(&failure);
        if is_no {
            self.standing = self.standing.after_a_no();
        }
        self.end_attempt(is_no, out);
        out.report(match failure.class {
            Class::Pending if self.standing.was_accepted() => Report::NoLongerAccepted { failure },
            Class::Pending => Report::Pending { failure },
            _ if self.token.is_some() => Report::RenewalFailed { failure },
            _ => Report::Failed { failure },
        });
        if self.is_mended {
            self.mended();
        }
    }

    /// The one signal of an attempt that gave no token.
    pub(super) fn end_attempt(&mut self, drop: bool, out: &mut Actions) {
        let drop = drop || !self.has_token();
        let dropped = if drop { self.token.take() } else { None };
        out.push(match dropped {
            Some(_) => Action::Withdraw,
            None => Action::Announce,
        });
    }

    /// The server's words are the same for a device that is new and for one that is gone.
    fn told_apart(&self, failure: Failure) -> Failure {
        if failure.class != Class::Pending {
            return failure;
        }
        let lead = if self.standing.was_accepted() {
            "no longer accepted, decommissioned or rejected"
        } else {
            "waiting for acceptance"
        };
        let mut failure = Failure {
            message: format!("{lead}: {}", failure.message),
            ..failure
        };
        if self.standing.was_accepted() && failure.code == "pending" {
            failure.code = "decommissioned";
            failure.hint = Some(DECOMMISSIONED_HINT);
        }
        failure
    }

    /// At once for the first; a server that gives tokens and refuses them must not spin.
    pub(super) fn token_refused(&mut self, out: &mut Actions) {
        let Some(token) = self.token.take() else {
            return;
        };
        out.push(Action::Withdraw);
        out.report(Report::TokenRefused);
        self.standing = self.standing.after_a_no();
        let is_young = self.now.since(token.received) < YOUNG;
        let before = if is_young { self.refused_tokens } else { 0 };
        self.refused_tokens = before.saturating_add(1);
        // What is under way, or wanted by a person, is not put off by it.
        if self.is_authenticating() || self.auth.due.reason == Reason::Refresh {
            return;
        }
        let at = match before.checked_sub(1) {
            Some(others) => {
                let wait = pending_wait(others, &self.settings, &mut self.random);
                self.now.plus(wait)
            }
            None if self.allowed() <= self.now => self.now,
            None => {
                let spread = self.random.between(Duration::ZERO, FLOOR);
                self.allowed().plus(spread)
            }
        };
        self.auth.plan(at, Reason::TokenRefused);
    }

    /// Lets one attempt through a wait. Where none may begin yet, the planned one answers;
    /// beside a good token none is planned soon, so it gets one.
    pub(super) fn fetch_requested(&mut self) {
        let spins = self.refused_tokens > 1 && self.auth.due.reason == Reason::TokenRefused;
        // After a boot of the whole fleet every device's other programs want a token at once.
        let starts = matches!(
            self.auth.due.reason,
            Reason::BootDelay | Reason::FirstContact
        );
        let idle = self.identity == Identity::Loaded && !self.is_authenticating();
        if !idle || spins || starts {
            return;
        }
        let allowed = self.allowed();
        if allowed <= self.now || self.auth.due.reason == Reason::Renewal {
            self.auth
                .hasten(allowed.max(self.now), Reason::Fetch, self.now);
        }
    }

    /// A person may overrule every wait but the floor.
    pub(super) fn refresh_requested(&mut self, out: &mut Actions) {
        if self.identity != Identity::Loaded {
            self.reload_identity(out);
            return;
        }
        self.is_inventory_forced = true;
        self.inventory.overrule(self.now);
        self.polls.overrule(self.now);
        if !self.is_authenticating() {
            self.auth.overrule(self.allowed().max(self.now));
        }
    }

    /// A network that comes and goes hurries what failed for want of one, once a minute.
    pub(super) fn network_changed(&mut self) {
        let soon = self.random.between(Duration::ZERO, SOON);
        let next = self.hurried.map(|last| last.plus(NETWORK_PAUSE));
        let at = self.now.plus(soon).max(next.unwrap_or_default());
        let allowed = self.allowed();
        let errands = [
            (&mut self.auth, at.max(allowed)),
            (&mut self.inventory, at),
            (&mut self.polls, at),
        ];
        for (errand, at) in errands {
            if errand.hopes_for_network(self.now) && at < errand.due.at {
                errand.plan(at, Reason::Network);
                self.hurried = Some(at);
            }
        }
    }

    pub(super) fn reconfigured(&mut self, settings: Settings) {
        self.settings = settings;
        self.polls_reconfigured();
        // What was refused may be what has been mended.
        if self.is_authenticating() {
            self.is_mended = true;
        } else if self.life == Life::Live {
            self.mended();
        }
    }

    /// A fresh start for what was refused. Other waits do not change by it.
    pub(super) fn mended(&mut self) {
        let was_refused = matches!(self.auth.due.reason, Reason::Pending | Reason::Refusal);
        if was_refused {
            self.plan_soon();
        }
        self.is_mended = false;
    }

    /// A little spread, because one hand mends many devices.
    pub(super) fn plan_soon(&mut self) {
        self.is_mended = false;
        let spread = self.random.between(Duration::ZERO, SOON);
        let soon = self.now.plus(spread).max(self.allowed());
        self.auth.hasten(soon, Reason::IdentityChanged, self.now);
    }

    pub(super) fn is_authenticating(&self) -> bool {
        self.job.is_some_and(|job| job.kind == Kind::Authenticate)
    }

    /// The soonest beginning of the next attempt.
    pub(super) fn allowed(&self) -> Moment {
        self.last_attempt
            .map_or(Moment::default(), |last| last.plus(FLOOR))
    }
}

/// Whether it is the server's own no to the device, a 401. A 403 to an auth request comes from
/// what stands before the server, and says nothing of the token in use.
fn is_of_the_server(failure: &Failure) -> bool {
    match failure.class {
        Class::Pending => true,
        Class::NotAuthorised => failure.code != "http_status",
        _ => false,
    }
}
