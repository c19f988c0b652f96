//! Acts: one cycle and its result, for people, scripts and tests.

use core::time::Duration;

use serde_json::{Value, json};

use super::clock;
use super::jobs;
use super::keeping::prepare_data_dir;
use super::service::Service;
use super::updating::Updating;
use super::worker::Worker;
use crate::agent::failure::{Class, Failure};
use crate::agent::{Moment, Report};
use crate::config::{Config, Setup};
use crate::report::chain;

/// How one cycle ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `cups` or `mender`.
    pub service: &'static str,
    /// `unchanged`, `rotated`, `accepted`, `pending` or `failed`.
    pub outcome: &'static str,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// What was ignored in the answer.
    pub notes: Vec<&'static str>,
    /// One sentence.
    pub message: String,
    /// The set in use afterwards.
    pub set: Option<u64>,
    /// Its LNS address.
    pub lns_uri: Option<String>,
    /// Whether configuration or identity must be mended before anything can be sent.
    pub is_set_up_wrong: bool,
}

impl Outcome {
    /// 0 done, 1 failed, 78 configuration or identity.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (&self.failure, self.is_set_up_wrong) {
            (None, _) => 0,
            (Some(_), true) => 78,
            (Some(_), false) => 1,
        }
    }

    /// The object that `once --json` prints.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let failure = self.failure.as_ref();
        json!({
            "service": self.service,
            "outcome": self.outcome,
            "class": failure.map(|failure| failure.class.name()),
            "code": failure.map(|failure| failure.code).or(self.notes.first().copied()),
            "message": self.message,
            "hint": failure.and_then(|failure| failure.hint),
            "set": self.set,
            "lns_uri": self.lns_uri,
        })
    }

    /// A failure before anything could be done.
    #[must_use]
    pub fn early(failure: Failure) -> Self {
        Self {
            service: "cups",
            outcome: "failed",
            message: failure.message.clone(),
            failure: Some(failure),
            notes: Vec::new(),
            set: None,
            lns_uri: None,
            is_set_up_wrong: false,
        }
    }
}

impl Outcome {
    /// A configuration that cannot be used.
    #[must_use]
    pub fn wrong_configuration(why: String) -> Self {
        let failure = Failure::new(Class::Configuration, "configuration", why);
        Self {
            is_set_up_wrong: true,
            ..Self::early(failure)
        }
    }
}

/// Runs one cycle of the configured service. The first contact is never delayed.
#[must_use]
pub fn run(setup: Setup) -> Outcome {
    match setup {
        Setup::Cups(config) => run_cups(*config),
        #[cfg(feature = "mender")]
        Setup::Mender(config) => super::mender::once::run(*config),
    }
}

fn run_cups(config: Config) -> Outcome {
    let storage = |text: String| Outcome::early(Failure::new(Class::Storage, "store", text));
    if let Err(failure) = prepare_data_dir(&config) {
        let is_set_up_wrong =
            failure.class == Class::IdentityInvalid || failure.class == Class::Configuration;
        return Outcome {
            is_set_up_wrong,
            ..Outcome::early(failure)
        };
    }
    // Whoever starts one cycle by hand does not want it spread.
    let config = Config {
        boot_s_max: 0,
        ..config
    };
    let worker = match Worker::start(None, jobs::carry_out) {
        Ok(worker) => worker,
        Err(error) => return storage(format!("no thread can be started: {error}")),
    };
    // Nothing of one cycle depends on chance.
    let mut service = match Service::start(config, worker, 1, false, false) {
        Ok(service) => service,
        Err(error) => return storage(chain(&error)),
    };
    let mut end = None;
    while end.is_none() && !service.is_over() {
        end = service.take_reports().into_iter().find(Report::ends_cycle);
        if end.is_some() {
            break;
        }
        if let Err(failure) = next(&mut service) {
            return Outcome::early(failure);
        }
    }
    if let Some(update) = service.take_update() {
        Updating::run(&service.config().cups.update_command, &update);
    }
    outcome(&service, end)
}

/// Waits for the worker or for the machine's next deadline, whichever is first.
fn next(service: &mut Service) -> Result<(), Failure> {
    let now = Moment::from_boot(clock::since_boot());
    let deadline = service.deadline();
    let wait = deadline.map_or(Duration::from_secs(1), |deadline| deadline.at.since(now));
    match service.worker().wait(wait)? {
        Some(done) => service.tell_done(done),
        None => service.tell(crate::agent::Event::DeadlinePassed),
    }
    Ok(())
}

fn outcome(service: &Service, end: Option<Report>) -> Outcome {
    let current = service.current();
    let failure = end.as_ref().and_then(Report::failure).cloned();
    let is_set_up_wrong = matches!(end, Some(Report::IdentityUnusable { .. }));
    // A set that is kept but reached nobody has not done its work.
    let handed_over = service.export_failure().cloned();
    let outcome = match &end {
        _ if handed_over.is_some() => "failed",
        Some(Report::Unchanged | Report::Confirmed { .. }) => "unchanged",
        Some(Report::Rotated { .. }) => "rotated",
        _ => "failed",
    };
    Outcome {
        service: "cups",
        outcome,
        message: match (&handed_over, end) {
            (Some(failure), _) => failure.message.clone(),
            (None, Some(report)) => report.to_string(),
            (None, None) => "stopped".to_owned(),
        },
        failure: failure.or(handed_over),
        notes: service.notes().to_vec(),
        set: current.map(|set| set.number.0),
        lns_uri: current
            .map(|set| set.contents.tc_uri.clone())
            .filter(|uri| !uri.is_empty()),
        is_set_up_wrong,
    }
}
