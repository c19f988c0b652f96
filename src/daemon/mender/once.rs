//! Acts: one attempt to authenticate, then the inventory, and how that went.

use core::time::Duration;
use std::os::unix::net::UnixStream;

use super::consumers::Consumers;
use super::jobs;
use super::service::Service;
use crate::agent::Moment;
use crate::agent::failure::{Class, Failure};
use crate::agent::mender::{Event, Report};
use crate::config;
use crate::daemon::clock;
use crate::daemon::once::Outcome;
use crate::daemon::sockets::make_runtime_dir;
use crate::daemon::worker::Worker;

/// Runs one cycle. The first contact is never delayed.
#[must_use]
pub(in crate::daemon) fn run(config: config::Mender) -> Outcome {
    match start(config) {
        Ok(service) => cycle(service),
        Err(why) => of(Outcome::early(Failure::new(Class::Storage, "start", why))),
    }
}

fn start(config: config::Mender) -> Result<Service, String> {
    make_runtime_dir(&config.runtime_dir)
        .map_err(|error| format!("{}: {error}", config.runtime_dir.display()))?;
    // Whoever starts one cycle by hand does not want it spread.
    let config = config::Mender {
        boot_s_max: 0,
        ..config
    };
    let (_, nobody) = UnixStream::pair().map_err(|error| error.to_string())?;
    let consumers = Consumers::start(&config.runtime_dir, None, false, &nobody)?;
    let worker = Worker::start(None, jobs::carry_out).map_err(|error| error.to_string())?;
    // Nothing of one cycle depends on chance.
    let mut service = Service::start(config, worker, consumers, 1, false);
    // Not after a few seconds either.
    service.tell(Event::RefreshRequested);
    Ok(service)
}

fn cycle(mut service: Service) -> Outcome {
    let mut accepted = None;
    loop {
        for report in service.take_reports() {
            match &report {
                Report::Accepted { .. } | Report::Renewed { .. } => {
                    let message = report.to_string();
                    if !service.sends_inventory() {
                        return done(message);
                    }
                    accepted = Some(message);
                }
                Report::InventorySent => {
                    let message = accepted.take().unwrap_or_default();
                    return done(format!("{message}; {report}"));
                }
                Report::InventoryFailed { failure } | Report::IdentityUnusable { failure } => {
                    return failed(&report, failure);
                }
                report if report.ends_attempt() => {
                    if let Some(failure) = report.failure() {
                        return failed(report, failure);
                    }
                }
                _ => {}
            }
        }
        let now = Moment::from_boot(clock::since_boot());
        let deadline = service.deadline();
        let wait = deadline.map_or(Duration::from_secs(1), |deadline| deadline.at.since(now));
        if let Err(failure) = service.wait(wait) {
            return of(Outcome::early(failure));
        }
    }
}

fn done(message: String) -> Outcome {
    Outcome {
        service: "mender",
        outcome: "accepted",
        failure: None,
        notes: Vec::new(),
        message,
        set: None,
        lns_uri: None,
        is_set_up_wrong: false,
    }
}

fn failed(report: &Report, failure: &Failure) -> Outcome {
    let is_pending = failure.class == Class::Pending;
    of(Outcome {
        outcome: if is_pending { "pending" } else { "failed" },
        message: report.to_string(),
        is_set_up_wrong: matches!(report, Report::IdentityUnusable { .. }),
        ..Outcome::early(failure.clone())
    })
}

fn of(outcome: Outcome) -> Outcome {
    Outcome {
        service: "mender",
        ..outcome
    }
}
