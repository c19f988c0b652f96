//! Watches the machine from outside: what it does against what it was told.

use core::time::Duration;
use std::collections::VecDeque;

use mtls_agent::agent::failure::Waiting;
use mtls_agent::agent::{
    Action, Actions, Agent, By, Event, ExchangeId, Moment, Reason, Report, SetId, Settings,
};

const PATIENCE: Duration = Duration::from_secs(300);
const REFUSAL_LEAST: Duration = Duration::from_secs(12 * 60);
const HURRY_LEAST: Duration = Duration::from_secs(60);
const SHOWN: usize = 30;

/// The machine with a model of its duties beside it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each flag is one fact that is watched"
)]
pub(crate) struct Watched {
    pub(crate) agent: Agent,
    pub(crate) now: Moment,
    pub(crate) steps: u64,
    seed: u64,
    settings: Settings,
    in_flight: Option<(ExchangeId, Option<SetId>, Moment)>,
    proved: Option<SetId>,
    commanded: Option<Action>,
    current: Option<SetId>,
    good: Option<SetId>,
    pub(crate) refused_at: Option<Moment>,
    hurried: Option<Moment>,
    pub(crate) waived: bool,
    started: bool,
    identity: bool,
    cycle_open: bool,
    quit: bool,
    history: VecDeque<(Moment, Event, Actions)>,
}

impl Watched {
    pub(crate) fn new(settings: Settings, seed: u64, now: Moment) -> Self {
        Self {
            agent: Agent::new(settings, seed),
            now,
            steps: 0,
            seed,
            settings,
            in_flight: None,
            proved: None,
            commanded: None,
            current: None,
            good: None,
            refused_at: None,
            hurried: None,
            waived: false,
            started: false,
            identity: false,
            cycle_open: false,
            quit: false,
            history: VecDeque::with_capacity(SHOWN + 1),
        }
    }

    /// One step, checked.
    pub(crate) fn step(&mut self, event: Event, now: Moment) -> Actions {
        self.now = self.now.max(now);
        self.steps += 1;
        if self.history.len() >= SHOWN {
            self.history.pop_front();
        }
        self.history
            .push_back((now, event.clone(), Actions::default()));
        self.take_in(&event);
        let actions = self.agent.step(event, now);
        if let Some(last) = self.history.back_mut() {
            last.2 = actions.clone();
        }
        for action in actions.iter() {
            self.look_at(action);
        }
        self.look_at_rest();
        self.look_at_hurry();
        if !self.cycle_open {
            // Given up; a late echo of the store is ignored.
            self.commanded = None;
        }
        self.proved = None;
        actions
    }

    fn take_in(&mut self, event: &Event) {
        match event {
            Event::Started {
                current, proven, ..
            } if !self.started => {
                self.started = true;
                self.current = *current;
                self.good = current.filter(|_| *proven);
            }
            Event::Reconfigured { settings } if !self.quit => {
                self.settings = *settings;
                self.waived = true;
            }
            Event::IdentityLoaded => {
                self.identity = true;
                self.waived |= self.started;
            }
            Event::IdentityUnusable { .. } => self.lose_identity(),
            Event::IdentityLoadFailed { .. } if !self.identity => self.lose_identity(),
            Event::CupsRenamed | Event::RefreshRequested { by: By::Operator } => self.waived = true,
            Event::DeadlinePassed => {
                if self
                    .in_flight
                    .is_some_and(|(_, _, at)| self.now >= at.plus(PATIENCE))
                {
                    self.in_flight = None;
                }
            }
            Event::Unchanged { id } | Event::Offered { id } => {
                self.answered(*id, false);
            }
            Event::Failed { id, failure } => {
                if self.answered(*id, false) && failure.class.waiting() == Waiting::Refusal {
                    self.refused_at = Some(self.now);
                }
            }
            Event::Proved { id } => {
                let set = self.in_flight.and_then(|(_, set, _)| set);
                if self.answered(*id, true) {
                    self.proved = set;
                }
            }
            Event::Disproved { id, .. } => {
                self.answered(*id, true);
            }
            _ => self.take_in_store(event),
        }
    }

    fn take_in_store(&mut self, event: &Event) {
        match (event, self.commanded.take()) {
            (Event::Committed { set }, Some(Action::Commit { set: wanted })) if *set == wanted => {
                self.current = Some(*set);
            }
            (Event::Confirmed { set }, Some(Action::Confirm { set: wanted })) if *set == wanted => {
                self.good = Some(*set);
            }
            (Event::Reverted { set: Some(set) }, Some(Action::Revert)) => {
                if self.current != Some(*set) {
                    self.good = Some(*set);
                }
                self.current = Some(*set);
            }
            (Event::StoreFailed { .. }, _) => {}
            (_, commanded) => self.commanded = commanded,
        }
    }

    fn lose_identity(&mut self) {
        self.identity = false;
        self.in_flight = None;
    }

    fn answered(&mut self, id: ExchangeId, proof: bool) -> bool {
        let fits = self
            .in_flight
            .is_some_and(|(asked, set, _)| asked == id && set.is_some() == proof);
        if fits {
            self.in_flight = None;
        }
        fits
    }

    fn look_at(&mut self, action: &Action) {
        assert!(!self.quit, "after Quit nothing");
        match action {
            Action::Exchange { id } | Action::ExchangeFormer { id } => {
                let early = self
                    .refused_at
                    .is_some_and(|at| self.now < at.plus(REFUSAL_LEAST));
                assert!(!early || self.waived, "a refusal retried too soon");
                self.refused_at = None;
                self.waived = false;
                self.send(*id, None);
            }
            Action::Prove { id, set } => self.send(*id, Some(*set)),
            Action::Commit { set } => {
                let proved = !self.settings.prove || self.proved == Some(*set);
                assert!(proved, "committed without proof: {set:?}");
                self.commanded = Some(action.clone());
                self.cycle_open = true;
            }
            Action::Confirm { .. } | Action::Revert => {
                self.commanded = Some(action.clone());
                self.cycle_open = true;
            }
            Action::Discard { set, .. } => {
                assert_ne!(Some(*set), self.current, "discarded CURRENT");
                assert_ne!(Some(*set), self.good, "discarded GOOD");
            }
            Action::Export { set } => assert_eq!(Some(*set), self.current, "exported another set"),
            Action::Quit => self.quit = true,
            Action::Report(report) if report.ends_cycle() => {
                let alone = match report {
                    Report::IdentityUnusable { .. } | Report::Expired { .. } => true,
                    // Where nothing is proved, a trial fails by the link's word alone.
                    Report::TrialFailed { .. } => !self.settings.prove,
                    _ => false,
                };
                assert!(self.cycle_open || alone, "a cycle ended twice: {report:?}");
                self.cycle_open = false;
            }
            Action::Stage { .. } | Action::ReloadIdentity | Action::Report(_) => {}
        }
    }

    fn send(&mut self, id: ExchangeId, set: Option<SetId>) {
        assert!(self.identity, "spoke without an identity");
        assert_eq!(self.in_flight, None, "two exchanges in flight");
        self.in_flight = Some((id, set, self.now));
        self.cycle_open = true;
    }

    /// A network that came up hurries one ask a minute.
    fn look_at_hurry(&mut self) {
        let next = self.agent.deadline();
        let hurried = next.filter(|next| next.reason == Reason::Network);
        let Some(at) = hurried.map(|next| next.at) else {
            return;
        };
        if let Some(before) = self.hurried.replace(at).filter(|before| *before != at) {
            assert!(at >= before.plus(HURRY_LEAST), "hurried twice in a minute");
        }
    }

    fn look_at_rest(&self) {
        let status = self.agent.status();
        let resting = matches!(status.phase, "waiting" | "unusable");
        assert!(
            self.quit || !resting || !self.cycle_open,
            "a cycle ended without a word"
        );
        assert_eq!(self.quit, status.phase == "stopped");
        match status.deadline {
            None => assert!(self.quit || !self.started, "alive without a deadline"),
            Some(deadline) => {
                assert!(self.started && !self.quit, "a deadline without life");
                let furthest = self.now.plus(bound(&self.settings));
                assert!(deadline.at <= furthest, "silent for too long: {deadline:?}");
            }
        }
        if self.started {
            assert_eq!(status.current, self.current, "CURRENT is another");
            assert_eq!(status.proven, self.good, "GOOD is another");
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "MTLS_SIM_SEED={} after {} steps; the last:",
                self.seed, self.steps
            );
            for (at, event, actions) in &self.history {
                eprintln!("  {:?} {event:?} -> {actions:?}", at.since_boot());
            }
        }
    }
}

/// The poll with its spread, and never less than an hour and a tenth.
fn bound(settings: &Settings) -> Duration {
    let hour = Duration::from_secs(3960);
    hour.max(settings.poll.mul_f64(1.1))
        .max(settings.poll_unconfigured.mul_f64(1.2))
        + Duration::from_millis(1)
}
