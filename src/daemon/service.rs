//! Acts: carries out what the machine decides, and tells it what came of it.
//!
//! ```text
//! event -> agent.step(event, now) -> actions, in order -> store at once, network by the worker
//!            ^-------------------------- events ----------------'
//! ```
//! Nothing is decided here.

use std::collections::VecDeque;
use std::path::PathBuf;

use tracing::{debug, warn};

use super::clock;
use super::compose;
use super::cups::{Answered, AskError};
use super::former::cups_part;
use super::handover::Handover;
use super::jobs::{Done, Job};
use super::keeping::{store_failed, store_failure};
use super::standing::Standing;
use super::telling::End;
use super::waits::Waits;
use super::worker::Worker;
use crate::agent::failure::{Class, Failure};
use crate::agent::memory::Memory;
use crate::agent::{Action, Agent, Deadline, Event, ExchangeId, Moment, Report, SetId, Status};
use crate::config::Config;
use crate::store::{Set, SetContents, SetNumber, Store, StoreError};

/// The parts that act, and the machine that decides.
pub struct Service {
    agent: Agent,
    pub(super) config: Config,
    pub(super) store: Store,
    worker: Worker<Job, Done>,
    pub(super) standing: Option<Standing>,
    pub(super) offer: Option<(ExchangeId, SetContents)>,
    /// The question that went to the CUPS before the last move, and what an answer changes.
    pub(super) to_former: Option<(ExchangeId, SetContents)>,
    pub(super) former_turn: usize,
    link_refused: Option<SetId>,
    update: Option<PathBuf>,
    pub(super) silent_closes: u32,
    pub(super) handover: Handover,
    pub(super) reports: Vec<Report>,
    pub(super) last_end: Option<End>,
    pub(super) waits: Waits,
    notes: Vec<&'static str>,
    is_over: bool,
}

impl Service {
    /// Opens the store, adopts an existing Basic Station home, loads the identity and tells
    /// the machine. `boot_delay_wanted`: whether the first contact must be spread. `recalls`:
    /// whether waits from before a restart count.
    pub fn start(
        config: Config,
        worker: Worker<Job, Done>,
        seed: u64,
        boot_delay_wanted: bool,
        recalls: bool,
    ) -> Result<Self, StoreError> {
        let (store, recovery) = Store::open(&config.data_dir)?;
        for note in &recovery.notes {
            warn!("{note}");
        }
        let agent = Agent::new(compose::settings(&config), seed);
        let mut service = Self {
            agent,
            config,
            store,
            worker,
            standing: None,
            offer: None,
            to_former: None,
            former_turn: 0,
            link_refused: None,
            update: None,
            silent_closes: 0,
            handover: Handover::default(),
            reports: Vec::new(),
            last_end: None,
            waits: Waits::default(),
            notes: Vec::new(),
            is_over: false,
        };
        service.adopt();
        service.handover.plan();
        service.export();
        let loaded = service.load_identity();
        service.tell(loaded);
        let current = service.store.current().map(|set| SetId(set.number.0));
        service.tell_current();
        let proven = current.is_some_and(|set| service.store.good() == Some(SetNumber(set.0)));
        if recalls {
            service.recall();
        }
        service.tell(Event::Started {
            current,
            proven,
            staged: service.waiting_set(),
            boot_delay_wanted,
        });
        Ok(service)
    }

    /// Lets the machine decide about an event, and about everything that follows at once.
    pub fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Moment::from_boot(clock::since_boot());
            debug!(?event, "told");
            for action in self.agent.step(event, now) {
                events.extend(self.carry_out(action));
            }
        }
    }

    /// Tells the machine what the LNS refuses to the link, if that is new. A set that could not
    /// be handed over is not what was refused.
    pub fn judge(&mut self, refused: Option<SetId>) {
        let refused = refused.filter(|_| self.export_failure().is_none());
        if self.link_refused != refused {
            self.link_refused = refused;
            self.tell(Event::LinkJudged { refused });
        }
    }

    /// Tells the machine what the worker did.
    pub fn tell_done(&mut self, done: Done) {
        let event = match done {
            Done::Asked(id, Ok(answered)) => self.answered(id, answered),
            Done::Asked(
                id,
                Err(AskError {
                    failure,
                    is_silent_close,
                }),
            ) => {
                let is_former = self.to_former.take_if(|(asked, _)| *asked == id);
                self.silent_closes = match (is_former, is_silent_close) {
                    (Some(_), _) => self.silent_closes,
                    (None, true) => self.silent_closes.saturating_add(1),
                    (None, false) => 0,
                };
                Event::Failed { id, failure }
            }
            Done::Tried(id, Ok(traffic)) => {
                if let Some(traffic) = traffic {
                    // Not the path: it is the LNS' own, and may hold anything.
                    debug!(traffic = traffic.authority(), "the LNS takes this set");
                }
                Event::Proved { id }
            }
            Done::Tried(id, Err(failure)) => Event::Disproved { id, failure },
        };
        self.tell(event);
    }

    /// The answers of the worker.
    #[must_use]
    pub const fn worker(&self) -> &Worker<Job, Done> {
        &self.worker
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// When the machine wants to be told that time has passed.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.agent.deadline()
    }

    /// What the machine knows.
    #[must_use]
    pub fn status(&self) -> Status {
        self.agent.status()
    }

    /// What a restarted agent should know.
    pub(super) fn memory(&self) -> Memory {
        self.agent.memory()
    }

    /// The set in use.
    #[must_use]
    pub fn current(&self) -> Option<&Set> {
        self.store.current()
    }

    /// Who we are, as loaded last.
    #[must_use]
    pub const fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// Reports since the last call, oldest first.
    pub fn take_reports(&mut self) -> Vec<Report> {
        core::mem::take(&mut self.reports)
    }

    /// Names of what the last answer contained and was ignored.
    #[must_use]
    pub fn notes(&self) -> &[&'static str] {
        &self.notes
    }

    /// A verified update that waits to be run.
    pub fn take_update(&mut self) -> Option<PathBuf> {
        self.update.take()
    }

    /// Whether the machine has ended.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Exchange { id } => self.exchange(id),
            Action::ExchangeFormer { id } => self.exchange_former(id),
            Action::Stage { id } => Some(self.stage(id)),
            Action::Prove { id, set } => self.prove(id, set),
            Action::Commit { set } => {
                let done = self.store.commit(SetNumber(set.0));
                self.tell_current();
                self.handover.plan();
                Some(done.map_or_else(|error| store_failed(&error), |()| Event::Committed { set }))
            }
            Action::Confirm { set } => Some(self.confirm(set)),
            Action::Revert => {
                self.handover.plan();
                let done = self.store.revert();
                self.tell_current();
                Some(match done {
                    Ok(number) => Event::Reverted {
                        set: number.map(|number| SetId(number.0)),
                    },
                    Err(error) => store_failed(&error),
                })
            }
            Action::Discard { set, quarantine } => Some(self.discard(set, quarantine)),
            Action::Export { .. } => {
                self.handover.plan();
                self.export();
                None
            }
            Action::ReloadIdentity => Some(self.load_identity()),
            Action::Report(report) => {
                self.report(report);
                None
            }
            Action::Quit => {
                self.is_over = true;
                None
            }
        }
    }

    fn exchange(&mut self, id: ExchangeId) -> Option<Event> {
        self.notes.clear();
        // A home that could not be written last time is written before anything else.
        self.export();
        let set = self.store.current().map(|set| &set.contents);
        let ask = self
            .standing
            .as_ref()
            .ok_or_else(no_identity)
            .and_then(|standing| compose::ask(&self.config, standing, set, self.silent_closes));
        match ask {
            Ok(ask) => self.send(id, Job::Ask(id, Box::new(ask))),
            Err(failure) => Some(Event::Failed { id, failure }),
        }
    }

    fn answered(&mut self, id: ExchangeId, answered: Answered) -> Event {
        self.silent_closes = 0;
        for note in &answered.offer.notes {
            warn!(code = note.code.name(), "{}", note.text);
            self.notes.push(note.code.name());
        }
        self.update = answered.update.or(self.update.take());
        let current = self.store.current().map(|set| &set.contents);
        let former = self.to_former.take_if(|(asked, _)| *asked == id);
        let base = former.as_ref().map(|(_, contents)| contents).or(current);
        let contents = compose::contents(base, &answered.offer);
        // Servers resend what is there already when a CRC cannot be equal.
        let is_nothing = answered.offer.is_empty() && former.is_none();
        if is_nothing || current == Some(&contents) {
            return Event::Unchanged { id };
        }
        self.offer = Some((id, contents));
        Event::Offered { id }
    }

    fn prove(&mut self, id: ExchangeId, set: SetId) -> Option<Event> {
        let fail = |failure| Some(Event::Disproved { id, failure });
        let contents = match self.store.load(SetNumber(set.0)) {
            Ok(set) => set.contents,
            Err(error) => return fail(store_failure(&error)),
        };
        let Some(standing) = &self.standing else {
            return fail(no_identity());
        };
        let current = self.store.current().map(|set| &set.contents);
        let is_cups_new = cups_part(current) != cups_part(Some(&contents));
        let ask = is_cups_new
            .then(|| compose::rehearsal(&self.config, standing, &contents).map(Box::new))
            .transpose();
        match ask {
            Ok(ask) => {
                let proof = compose::proof(&self.config, standing, &contents).map(Box::new);
                self.send(id, Job::Prove(id, ask, proof))
            }
            Err(failure) => fail(failure),
        }
    }

    pub(super) fn send(&self, id: ExchangeId, job: Job) -> Option<Event> {
        if self.worker.send(job) {
            return None;
        }
        let text = "the worker thread has ended; restart the agent";
        Some(Event::Failed {
            id,
            failure: Failure::new(Class::Storage, "worker", text),
        })
    }

    pub(super) fn now_s(&self) -> u64 {
        self.standing
            .as_ref()
            .map_or_else(clock::wall_s, |standing| standing.time.now_s())
    }
}

pub(super) fn no_identity() -> Failure {
    Failure::new(
        Class::IdentityInvalid,
        "missing",
        "no device identity is loaded",
    )
}
