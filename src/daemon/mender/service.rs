//! Acts: carries out what the Mender machine decides, and tells it what came of it.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tracing::{debug, warn};

use super::attempt::{Accepted, Refused};
use super::consumers::Consumers;
use super::gathering::GatherError;
use super::jobs::{Done, Job};
use super::orders::settings;
use super::standing::Standing;
use crate::agent::failure::{Class, Failure};
use crate::agent::mender::{Action, Deadline, Event, Mender, Report, Status};
use crate::agent::{ExchangeId, Moment};
use crate::config;
use crate::daemon::clock;
use crate::daemon::telling::say;
use crate::daemon::worker::Worker;
use crate::wire::mender::deployments::Deployment;
use crate::wire::mender::server::ServerUrl;
use crate::wire::mender::token::{Claims, Token};

/// Calls that a 403 is remembered of.
const INVENTORY: &str = "inventory";
const UPDATES: &str = "updates";

/// A token in use.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) token: Token,
    /// The server that gave it: nobody else is shown it, whatever the configuration says later.
    pub(super) server: ServerUrl,
    /// Whether that server asked for the client certificate.
    pub(super) certificate_requested: bool,
}

/// The parts that act, and the machine that decides.
pub(super) struct Service {
    pub(super) machine: Mender,
    pub(super) config: config::Mender,
    worker: Worker<Job, Done>,
    pub(super) consumers: Consumers,
    pub(super) standing: Option<Arc<Standing>>,
    /// A token that the machine has not seen yet.
    accepted: Option<(ExchangeId, Box<Accepted>)>,
    pub(super) current: Option<Current>,
    /// Who we said we are.
    pub(super) id_data: Option<String>,
    /// `sub` of the last token: the device's id at the server.
    pub(super) device_id: Option<String>,
    /// The server that served last; a renewal goes back to the first.
    pub(super) last_server: Option<ServerUrl>,
    pub(super) silent_closes: u32,
    pub(super) sent: Option<[u8; 32]>,
    /// Calls to which 403 was the answer to a fresh token too.
    forbidden: BTreeSet<&'static str>,
    pub(super) update: Option<Deployment>,
    reports: Vec<Report>,
    last_told: Option<String>,
    is_over: bool,
}

impl Service {
    /// Loads the identity and tells the machine. `is_boot`: the first contact must be spread.
    pub(super) fn start(
        config: config::Mender,
        worker: Worker<Job, Done>,
        consumers: Consumers,
        seed: u64,
        is_boot: bool,
    ) -> Self {
        for note in &config.notes {
            warn!(code = "mender_conf", "{note}");
        }
        let mut service = Self {
            machine: Mender::new(settings(&config), seed),
            config,
            worker,
            consumers,
            standing: None,
            accepted: None,
            current: None,
            id_data: None,
            device_id: None,
            last_server: None,
            silent_closes: 0,
            sent: None,
            forbidden: BTreeSet::new(),
            update: None,
            reports: Vec::new(),
            last_told: None,
            is_over: false,
        };
        let loaded = service.load_identity();
        service.tell(loaded);
        service.tell(Event::Started {
            boot_delay_wanted: is_boot,
        });
        service
    }

    /// Lets the machine decide about an event, and about everything that follows at once.
    pub(super) fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Moment::from_boot(clock::since_boot());
            debug!(?event, "told");
            for action in self.machine.step(event, now) {
                events.extend(self.carry_out(action));
            }
        }
    }

    /// Tells the machine what the worker did and what the other programs want.
    pub(super) fn woken(&mut self) {
        while let Some(done) = self.worker.take() {
            self.tell_done(done);
        }
        if self.consumers.take_refusal() {
            self.tell(Event::TokenRefused);
        }
        if self.consumers.take_wish() {
            self.tell(Event::FetchRequested);
        }
    }

    /// Waits for the worker, or for the machine's next deadline, and tells the machine.
    pub(super) fn wait(&mut self, patience: Duration) -> Result<(), Failure> {
        match self.worker.wait(patience)? {
            Some(done) => self.tell_done(done),
            None => self.tell(Event::DeadlinePassed),
        }
        Ok(())
    }

    /// Whether inventory follows a token.
    pub(super) fn sends_inventory(&self) -> bool {
        settings(&self.config).inventory_poll.is_some()
    }

    fn tell_done(&mut self, done: Done) {
        match done {
            Done::Authenticated(id, Ok(accepted)) => self.authenticated(id, accepted),
            Done::Authenticated(id, Err(refused)) => self.refused(id, refused),
            Done::Gathered(id, Ok(None)) => self.tell(Event::InventoryUnchanged { id }),
            Done::Gathered(id, Ok(sent)) => {
                self.sent = sent;
                self.forbidden.remove(INVENTORY);
                self.tell(Event::InventorySent { id });
            }
            Done::Gathered(id, Err(error)) => {
                let event = |failure| Event::InventoryFailed { id, failure };
                self.gathering_failed(error, INVENTORY, event);
            }
            Done::Asked(id, Ok(deployment)) => {
                self.forbidden.remove(UPDATES);
                self.update = deployment;
                let update = self.update.is_some();
                self.tell(Event::Polled { id, update });
            }
            Done::Asked(id, Err(error)) => {
                let event = |failure| Event::PollFailed { id, failure };
                self.gathering_failed(error, UPDATES, event);
            }
        }
    }

    /// When the machine wants to be told that time has passed.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.machine.deadline()
    }

    /// What the machine knows.
    pub(super) fn status(&self) -> Status {
        self.machine.status()
    }

    /// Reports since the last call, oldest first.
    pub(super) fn take_reports(&mut self) -> Vec<Report> {
        core::mem::take(&mut self.reports)
    }

    /// Whether the machine has ended.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Authenticate { id } => {
                let attempt = self.attempt();
                let failed = |failure| Event::Refused { id, failure };
                return self.send(attempt.map(|job| Job::Authenticate(id, job)), failed);
            }
            Action::SendInventory {
                id,
                even_if_unchanged,
            } => {
                if even_if_unchanged {
                    self.sent = None;
                }
                let gathering = self.gathering();
                let failed = |failure| Event::InventoryFailed { id, failure };
                return self.send(gathering.map(|job| Job::Inventory(id, job)), failed);
            }
            Action::PollUpdates { id } => {
                let asking = self.asking();
                let failed = |failure| Event::PollFailed { id, failure };
                return self.send(asking.map(|job| Job::Updates(id, job)), failed);
            }
            Action::Publish => self.publish(),
            Action::Withdraw => {
                self.current = None;
                self.consumers.withdraw();
            }
            Action::Announce => self.consumers.announce(),
            Action::ReloadIdentity => return Some(self.load_identity()),
            Action::Report(report) => self.report(report),
            Action::Quit => self.is_over = true,
        }
        None
    }

    fn send(
        &self,
        job: Result<Job, Failure>,
        failed: impl FnOnce(Failure) -> Event,
    ) -> Option<Event> {
        let sent = job.and_then(|job| {
            let text = "the worker thread has ended; restart the agent";
            let ended = || Failure::new(Class::Storage, "worker", text);
            self.worker.send(job).then_some(()).ok_or_else(ended)
        });
        sent.err().map(failed)
    }

    fn authenticated(&mut self, id: ExchangeId, accepted: Box<Accepted>) {
        self.silent_closes = 0;
        let claims = accepted.token.claims();
        let lifetime = claims.as_ref().and_then(Claims::lifetime_s);
        let device_id = claims.and_then(|claims| claims.subject);
        let is_new_device = self.device_id.is_some() && device_id != self.device_id;
        self.id_data = Some(accepted.id_data.clone());
        self.device_id = device_id;
        self.accepted = Some((id, accepted));
        self.tell(Event::Accepted {
            id,
            lifetime: lifetime.map(Duration::from_secs),
            is_new_device,
        });
        // An attempt that had been given up: its token is of no use to anybody.
        self.accepted = None;
    }

    fn refused(&mut self, id: ExchangeId, refused: Refused) {
        self.silent_closes = if refused.is_silent_close {
            self.silent_closes.saturating_add(1)
        } else {
            0
        };
        self.id_data = refused.id_data.or(self.id_data.take());
        let failure = refused.failure;
        self.tell(Event::Refused { id, failure });
    }

    fn gathering_failed(
        &mut self,
        error: GatherError,
        call: &'static str,
        event: impl FnOnce(Failure) -> Event,
    ) {
        let is_refused = match error.status {
            Some(401) => true,
            // The answer to one call: a new token is tried once, then it is believed.
            Some(403) => self.forbidden.insert(call),
            _ => false,
        };
        self.tell(event(error.failure));
        if is_refused {
            self.tell(Event::TokenRefused);
        }
    }

    fn publish(&mut self) {
        let Some((_, accepted)) = self.accepted.take() else {
            return;
        };
        let accepted = *accepted;
        let is_known = self.mutual_tls() == "not_requested";
        if !accepted.certificate_requested && self.config.identity.is_some() && !is_known {
            warn!(
                code = "mtls_not_requested",
                "the server did not ask for the client certificate; is this the mTLS ambassador?"
            );
        }
        self.last_server = Some(accepted.server.clone());
        self.current = Some(Current {
            token: accepted.token,
            server: accepted.server,
            certificate_requested: accepted.certificate_requested,
        });
        if let (Ok(authorised), Some(_)) = (self.authorised(), &self.standing) {
            self.consumers.publish(&authorised);
        }
    }

    fn report(&mut self, report: Report) {
        let failure = report.failure();
        let told = failure.map_or_else(
            || format!("{} {report}", report.name()),
            |failure| {
                format!(
                    "{} {} {}",
                    report.name(),
                    failure.class.name(),
                    failure.code
                )
            },
        );
        let is_end = report.ends_attempt() || matches!(report, Report::IdentityUnusable { .. });
        let is_again = (is_end && self.last_told.as_deref() == Some(&*told))
            || matches!(report, Report::UpdateWaits { is_news: false });
        if is_again {
            debug!("again: {report}");
        } else {
            say(&report, failure);
        }
        if is_end {
            self.last_told = Some(told);
        }
        self.reports.push(report);
    }
}
