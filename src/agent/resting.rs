//! Decides: how the machine starts, waits, wakes and stops; what it remembers of a cycle.

use core::time::Duration;

use super::event::{By, SetId};
use super::failure::{Failure, Waiting};
use super::proving::Staged;
use super::trying::Trial;
use super::waiting::{Deadline, LINK_REFRESH, REFUSAL_FLOOR, Reason, Settings};
use super::{Action, Actions, Agent, Identity, Moment, Outcome, Phase, Report};

impl Agent {
    pub(super) fn started(
        &mut self,
        current: Option<SetId>,
        proven: bool,
        staged: Option<SetId>,
        boot_delay_wanted: bool,
        out: &mut Actions,
    ) {
        self.current = current;
        self.good = current.filter(|_| proven);
        if !proven {
            let awaits_cups = self.former.is_move_on_trial;
            self.trial = current.map(|set| Trial::at_start(set, awaits_cups, self.now));
        }
        self.ask = self.first_contact(boot_delay_wanted);
        self.staged = staged
            .filter(|set| Some(*set) != current)
            .map(|set| Staged::at_start(set, self.now, self.ask.at));
        self.recall();
        self.rest(out);
    }

    /// At once without a set; spread over the first seconds after boot otherwise, or from
    /// now on when the shell says that the fleet may be starting together.
    fn first_contact(&mut self, boot_delay_wanted: bool) -> Deadline {
        if self.current.is_none() && !boot_delay_wanted {
            return Deadline {
                at: self.now,
                reason: Reason::FirstContact,
            };
        }
        let longest = self
            .settings
            .boot_delay_max
            .min(self.settings.silence_max());
        let delay = self.random.between(Duration::ZERO, longest);
        let from = if boot_delay_wanted {
            self.now
        } else {
            Moment::default()
        };
        Deadline {
            at: from.plus(delay).max(self.now),
            reason: Reason::BootDelay,
        }
    }

    /// The end of every cycle: says how it went and waits.
    pub(super) fn conclude(&mut self, report: Report, out: &mut Actions) {
        assert!(
            report.ends_cycle(),
            "a cycle ends with its result: {report:?}"
        );
        self.remember(&report);
        out.push(Action::Report(report));
        self.rest(out);
    }

    fn remember(&mut self, report: &Report) {
        self.last = Some(Outcome {
            report: report.name(),
            failure: report.failure().cloned(),
            at: self.now,
        });
    }

    pub(super) fn rest(&mut self, out: &mut Actions) {
        self.asked = false;
        match self.identity.clone() {
            Identity::Loaded => self.enter(Phase::Waiting),
            Identity::Unknown => {
                self.enter(Phase::Unusable);
                out.push(Action::ReloadIdentity);
            }
            Identity::Unusable(failure) => {
                self.enter(Phase::Unusable);
                let report = Report::IdentityUnusable { failure };
                self.remember(&report);
                out.push(Action::Report(report));
            }
        }
        if let Some(by) = self.refresh.take() {
            self.plan_refresh(by);
        }
    }

    pub(super) fn next_due(&self) -> Deadline {
        let again = self.staged.as_ref().and_then(|staged| staged.again);
        let again = again.map(|at| Deadline {
            at,
            reason: Reason::ProveAgain,
        });
        [again, self.trial_deadline()]
            .into_iter()
            .flatten()
            .fold(
                self.ask,
                |first, other| {
                    if other.at < first.at { other } else { first }
                },
            )
    }

    /// One thing a time: CUPS first, because it may know better credentials.
    pub(super) fn wake(&mut self, out: &mut Actions) {
        match self.next_due().reason {
            _ if self.ask.at <= self.now => self.ask_now(out),
            Reason::ProveAgain => self.prove_again(out),
            Reason::Trial if self.is_cups_on_trial() => self.ask_now(out),
            Reason::Trial => self.try_current(out),
            _ => {}
        }
    }

    pub(super) fn refresh_requested(&mut self, by: By, out: &mut Actions) {
        match (self.phase, by) {
            (Phase::Starting, _) | (Phase::Unusable, By::Link) => {}
            (Phase::Unusable, By::Operator) => self.reload_identity(out),
            (Phase::Waiting, _) => {
                self.plan_refresh(by);
                if self.ask.at <= self.now {
                    self.ask_now(out);
                }
            }
            // One exchange in flight: this one waits for its end.
            (_, _) => self.refresh = self.refresh.max(Some(by)),
        }
    }

    fn plan_refresh(&mut self, by: By) {
        let at = match by {
            // A person may overrule every wait.
            By::Operator => {
                self.refused_until = self.now;
                self.now
            }
            // After a failure the retry is planned already, and no link may hurry it.
            By::Link
                if matches!(
                    self.ask.reason,
                    Reason::Clock | Reason::Network | Reason::Refusal | Reason::Retry
                ) =>
            {
                return;
            }
            By::Link => match self.last_ask {
                Some(last) => last.plus(LINK_REFRESH).max(self.now),
                None => self.now,
            },
        };
        if at <= self.ask.at {
            self.ask = Deadline {
                at,
                reason: Reason::Refresh(by),
            };
        }
    }

    pub(super) fn reconfigured(&mut self, settings: Settings) {
        self.settings = settings;
        let latest = self.now.plus(settings.silence_max());
        if self.ask.reason == Reason::Poll {
            let wait = settings.poll_wait(self.has_lns(), &mut self.random);
            self.ask.at = self.ask.at.min(self.now.plus(wait));
        }
        self.ask.at = self.ask.at.min(latest);
        // What was refused may be what has been mended.
        match self.phase {
            Phase::Starting | Phase::Stopped | Phase::Unusable => {}
            Phase::Waiting if self.ask.reason == Reason::Refusal => self.plan_soon(),
            Phase::Waiting => {}
            _ => self.is_mended = true,
        }
    }

    /// What the CUPS before said counts no more.
    pub(super) fn cups_renamed(&mut self) {
        match self.phase {
            Phase::Starting | Phase::Stopped | Phase::Unusable => {}
            Phase::Waiting => self.plan_soon(),
            // The exchange under way may still be with the one before.
            _ => self.refresh = Some(By::Operator),
        }
    }

    pub(super) fn stop(&mut self, out: &mut Actions) {
        self.enter(Phase::Stopped);
        out.push(Action::Quit);
    }

    /// The cycle went well.
    pub(super) fn succeeded(&mut self) {
        self.last_success = Some(self.now);
        self.cups_answered();
    }

    /// Nothing is wrong between CUPS and us, if it was asked at all in this cycle.
    pub(super) fn cups_answered(&mut self) {
        if self.asked && self.former.is_asked {
            self.plan_retry(&self.trouble());
        } else if self.asked {
            self.attempts = 0;
            self.asks.reset();
            self.plan_poll();
        }
    }

    const fn has_lns(&self) -> bool {
        self.current.is_some() && self.is_lns_named
    }

    fn plan_poll(&mut self) {
        let has_lns = self.has_lns();
        let wait = self.settings.poll_wait(has_lns, &mut self.random);
        self.ask = Deadline {
            at: self.now.plus(wait),
            reason: Reason::Poll,
        };
    }

    /// The cycle failed: ask again when the class allows.
    pub(super) fn plan_retry(&mut self, failure: &Failure) {
        if !self.asked {
            return;
        }
        let wait = self.asks.wait(failure, &self.settings, &mut self.random);
        let reason = match failure.class.waiting() {
            Waiting::Clock => Reason::Clock,
            Waiting::Refusal => {
                self.refused_until = self.now.plus(REFUSAL_FLOOR);
                Reason::Refusal
            }
            Waiting::Transport => Reason::Retry,
        };
        self.ask = Deadline {
            at: self.now.plus(wait),
            reason,
        };
        self.hurry.heed(failure, self.ask.at);
        // What came up meanwhile may be what this ask had lacked.
        if self.hurry.has_news {
            self.hurry_ask();
        }
        if let Some(trial) = self.trial.as_mut() {
            trial.wait_for_cups(self.ask.at);
        }
        if self.is_mended && reason == Reason::Refusal {
            self.plan_soon();
        }
    }
}
