//! Acts: the duty of a device at Mender: token, inventory, and news of updates.

use core::time::Duration;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tracing::{error, info, warn};

use super::consumers::Consumers;
use super::jobs;
use super::overview::overview;
use super::service::Service;
use crate::agent::Moment;
use crate::agent::mender::{Event, Report};
use crate::config::{self, Setup};
use crate::daemon::clock;
use crate::daemon::duty::Duty;
use crate::daemon::run::{BOOT_RECENT, Load, seed};
use crate::daemon::sockets::{Verb, make_runtime_dir};
use crate::daemon::updating::Updating;
use crate::daemon::worker::Worker;

/// The Mender service, and the operator's program for updates.
pub(in crate::daemon) struct Device<'a> {
    service: Service,
    updating: Updating,
    /// The deployment that the operator's program knows of.
    announced: Option<String>,
    line: Option<String>,
    config_path: PathBuf,
    load: &'a Load<'a>,
}

impl<'a> Device<'a> {
    /// Starts the worker and whatever serves other programs. `wake` takes an octet whenever
    /// one of them has something to tell.
    pub(in crate::daemon) fn start(
        config: config::Mender,
        config_path: &Path,
        load: &'a Load<'a>,
        wake: UnixStream,
    ) -> Result<Self, String> {
        make_runtime_dir(&config.runtime_dir)
            .map_err(|error| format!("{}: {error}", config.runtime_dir.display()))?;
        let consumers =
            Consumers::start(&config.runtime_dir, config.forwarder, config.dbus, &wake)?;
        let worker =
            Worker::start(Some(wake), jobs::carry_out).map_err(|error| error.to_string())?;
        let is_boot = clock::since_boot() < BOOT_RECENT;
        Ok(Self {
            service: Service::start(config, worker, consumers, seed(), is_boot),
            updating: Updating::default(),
            announced: None,
            line: None,
            config_path: config_path.to_owned(),
            load,
        })
    }

    /// Looks at what was reported: a line for the service manager, and news of an update.
    fn take_reports(&mut self) {
        for report in self.service.take_reports() {
            if let Report::UpdateWaits { .. } = report {
                self.announce_update();
            }
            self.line = Some(report.to_string());
        }
    }
}

impl Device<'_> {
    /// Once for each deployment; a program that could not be started is tried at the next poll.
    fn announce_update(&mut self) {
        let Some(update) = &self.service.update else {
            return;
        };
        if self.announced.as_ref() == Some(&update.id) {
            return;
        }
        let command = &self.service.config.update_command;
        if self.updating.announce(command, &update.artifact_name) {
            self.announced = Some(update.id.clone());
        }
    }
}

impl Duty for Device<'_> {
    fn woken(&mut self) {
        self.service.woken();
        self.take_reports();
    }

    fn be_on_time(&mut self, now: Duration) {
        let deadline = self.service.deadline();
        if deadline.is_some_and(|deadline| deadline.at <= Moment::from_boot(now)) {
            self.service.tell(Event::DeadlinePassed);
        }
        self.take_reports();
        self.updating.look(now);
    }

    fn due_at(&self) -> Option<Duration> {
        let machine = self.service.deadline();
        let machine = machine.map(|deadline| deadline.at.since_boot());
        [machine, self.updating.look_again_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn network_came_up(&mut self) {
        self.service.tell(Event::NetworkChanged);
    }

    fn stop(&mut self) {
        self.service.tell(Event::Stopping);
    }

    fn is_over(&self) -> bool {
        self.service.is_over()
    }

    fn reload(&mut self) -> bool {
        match (self.load)(&self.config_path) {
            Ok(Setup::Mender(config)) if *config == self.service.config => {
                self.service.reload_identity();
            }
            Ok(Setup::Mender(config)) => {
                info!("the configuration has changed");
                self.service.reconfigure(*config);
                return true;
            }
            Ok(Setup::Cups(_)) => {
                warn!("kept the service in use: another service needs a restart of the agent");
            }
            Err(why) => {
                error!("kept the configuration in use: {why}");
                self.service.reload_identity();
            }
        }
        false
    }

    fn carry_out(&mut self, verb: Verb) -> Result<(), String> {
        match verb {
            Verb::Refresh => self.service.tell(Event::RefreshRequested),
            // The loop's own.
            Verb::Reload => {}
            Verb::Uplink(_) => return Err("a Mender device has no LNS link".to_owned()),
        }
        Ok(())
    }

    fn overview(&self) -> Value {
        overview(&self.service)
    }

    fn announcement(&mut self) -> Option<String> {
        self.line.take()
    }

    fn watched(&self) -> Vec<PathBuf> {
        let config = &self.service.config;
        let mut files = vec![self.config_path.clone(), config.auth_key.clone()];
        files.extend(config.conf_paths.iter().cloned());
        files.extend(config.server_certificate.clone());
        if let Some(identity) = &config.identity {
            files.extend([identity.certificate.clone(), identity.key.clone()]);
        }
        files
    }

    fn runtime_dir(&self) -> &Path {
        &self.service.config.runtime_dir
    }

    fn textfile(&self) -> Option<&Path> {
        self.service.config.textfile.as_deref()
    }
}
