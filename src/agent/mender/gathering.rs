//! Decides: when the inventory is sent and an update asked for; both need a token.

use super::waiting::{Deadline, Reason, poll_wait};
use super::{Action, Actions, Mender, Report};
use crate::agent::failure::Failure;

impl Mender {
    pub(super) fn inventory_sent(&mut self, out: &mut Actions) {
        self.inventory_sent = Some(self.now);
        out.report(Report::InventorySent);
        self.inventory_known();
    }

    /// The server has what there is.
    pub(super) fn inventory_known(&mut self) {
        self.job = None;
        self.is_inventory_forced = false;
        self.inventory.succeeded(self.now);
        if let Some(poll) = self.settings.inventory_poll {
            let wait = poll_wait(poll, &mut self.random);
            self.inventory.plan(self.now.plus(wait), Reason::Poll);
        }
    }

    pub(super) fn inventory_failed(&mut self, failure: Failure, out: &mut Actions) {
        self.job = None;
        let (now, settings) = (self.now, self.settings);
        self.inventory.tries = self.inventory.tries.saturating_add(1);
        self.inventory
            .failed(&failure, now, &settings, &mut self.random);
        out.report(Report::InventoryFailed { failure });
    }

    pub(super) fn polled(&mut self, update: bool, out: &mut Actions) {
        self.job = None;
        self.polls.succeeded(self.now);
        if let Some(poll) = self.settings.update_poll {
            let wait = poll_wait(poll, &mut self.random);
            self.polls.plan(self.now.plus(wait), Reason::Poll);
        }
        if update {
            let is_news = self.update_waits != Some(true);
            out.push(Action::Report(Report::UpdateWaits { is_news }));
        }
        self.update_waits = Some(update);
    }

    pub(super) fn poll_failed(&mut self, failure: Failure, out: &mut Actions) {
        self.job = None;
        let (now, settings) = (self.now, self.settings);
        self.polls.tries = self.polls.tries.saturating_add(1);
        self.polls
            .failed(&failure, now, &settings, &mut self.random);
        out.report(Report::PollFailed { failure });
    }

    /// A shorter interval counts at once, a longer one from the next time on.
    pub(super) fn polls_reconfigured(&mut self) {
        let pairs = [
            (&mut self.inventory, self.settings.inventory_poll),
            (&mut self.polls, self.settings.update_poll),
        ];
        for (errand, poll) in pairs {
            if errand.due.reason != Reason::Poll {
                continue;
            }
            if let Some(poll) = poll {
                let at = self.now.plus(poll_wait(poll, &mut self.random));
                errand.due = Deadline {
                    at: errand.due.at.min(at),
                    reason: Reason::Poll,
                };
            }
        }
        if self.settings.update_poll.is_none() {
            self.update_waits = None;
        }
    }
}
