//! Decides: what the worker does next, and when it is given up.

use super::{Action, Actions, Identity, Job, Kind, Life, Mender, Report};
use crate::agent::ExchangeId;
use crate::agent::failure::no_answer;
use crate::agent::waiting::EXCHANGE_PATIENCE;

impl Mender {
    pub(super) fn awaits(&self, kind: Kind, id: ExchangeId) -> bool {
        self.job.is_some_and(|job| job.kind == kind && job.id == id)
    }

    pub(super) fn be_on_time(&mut self, out: &mut Actions) {
        match self.job {
            Some(job) if job.until <= self.now => match job.kind {
                Kind::Authenticate => self.refused(no_answer(), out),
                Kind::Inventory => self.inventory_failed(no_answer(), out),
                Kind::Updates => self.poll_failed(no_answer(), out),
            },
            _ => {}
        }
        if self.token.is_some_and(|token| token.is_over(self.now)) {
            self.token = None;
            out.push(Action::Withdraw);
            out.report(Report::Expired);
        }
        if self.identity != Identity::Loaded && self.recheck <= self.now {
            self.reload_identity(out);
        }
    }

    /// One job at a time: first the token, then what needs one.
    pub(super) fn begin_what_is_due(&mut self, out: &mut Actions) {
        let may = self.life == Life::Live && self.identity == Identity::Loaded;
        if !may || self.job.is_some() {
            return;
        }
        if self.auth.is_due(self.now) {
            let id = self.begin(Kind::Authenticate);
            self.auth.tries = self.auth.tries.saturating_add(1);
            self.last_attempt = Some(self.now);
            out.push(Action::Authenticate { id });
        } else if self.wants_inventory() && self.inventory.is_due(self.now) {
            let id = self.begin(Kind::Inventory);
            let even_if_unchanged = self.is_inventory_forced;
            out.push(Action::SendInventory {
                id,
                even_if_unchanged,
            });
        } else if self.wants_polls() && self.polls.is_due(self.now) {
            let id = self.begin(Kind::Updates);
            out.push(Action::PollUpdates { id });
        }
    }

    fn begin(&mut self, kind: Kind) -> ExchangeId {
        let id = ExchangeId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let until = self.now.plus(EXCHANGE_PATIENCE);
        self.job = Some(Job { id, kind, until });
        id
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some_and(|token| !token.is_over(self.now))
    }

    pub(super) fn wants_inventory(&self) -> bool {
        self.settings.inventory_poll.is_some() && self.has_token()
    }

    pub(super) fn wants_polls(&self) -> bool {
        self.settings.update_poll.is_some() && self.has_token()
    }
}
