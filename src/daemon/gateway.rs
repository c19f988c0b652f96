//! Acts: the duty of a gateway: the CUPS cycle, the LNS link, and updates that CUPS sends.

use core::time::Duration;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tracing::{error, info, warn};

use super::clock;
use super::compose;
use super::duty::Duty;
use super::holders;
use super::jobs;
use super::keeping::prepare_data_dir;
use super::linking::Linking;
use super::overview::overview;
use super::run::{BOOT_RECENT, Load, seed};
use super::service::Service;
use super::sockets::Verb;
use super::updating::Updating;
use super::worker::Worker;
use crate::agent::link::LinkEvent;
use crate::agent::{By, Event, Moment, SetId};
use crate::config::{Config, Lns, Mode, Setup};
use crate::report::chain;

/// Service and link of one gateway.
pub(super) struct Gateway<'a> {
    service: Service,
    linking: Option<Linking>,
    updating: Updating,
    config_path: PathBuf,
    /// As the file says; of what is in force some changes at a start only.
    read: Config,
    load: &'a Load<'a>,
}

impl<'a> Gateway<'a> {
    /// Opens the store and makes whoever holds the link. `wake` takes an octet whenever the
    /// worker or the holder has something to tell.
    pub(super) fn start(
        config: Config,
        config_path: &Path,
        load: &'a Load<'a>,
        wake: UnixStream,
    ) -> Result<Self, String> {
        prepare_data_dir(&config).map_err(|failure| failure.message)?;
        let wake_holder = wake.try_clone().map_err(|error| error.to_string())?;
        let worker =
            Worker::start(Some(wake), jobs::carry_out).map_err(|error| error.to_string())?;
        let is_boot = clock::since_boot() < BOOT_RECENT;
        let read = config.clone();
        let service =
            Service::start(config, worker, seed(), is_boot, true).map_err(|error| chain(&error))?;
        let settings = compose::settings(service.config());
        let linking = holders::make(service.config(), wake_holder)?
            .map(|holder| Linking::new(settings, seed(), holder));
        Ok(Self {
            service,
            linking,
            updating: Updating::default(),
            config_path: config_path.to_owned(),
            read,
            load,
        })
    }

    /// Tells the link what happened, or lets its holder tell. What it wants is done.
    fn tell_link(&mut self, event: Option<LinkEvent>) {
        let Some(linking) = &mut self.linking else {
            return;
        };
        let service = &self.service;
        let access = |set| service.access(set);
        match event {
            Some(event) => linking.tell(event, &access),
            None => linking.tell_held(&access),
        }
        self.service.judge(linking.refused());
        if linking.take_cups_wish() {
            self.service.tell(Event::RefreshRequested { by: By::Link });
        }
    }

    /// Lets the holder of the link take what has changed, where it can while we run.
    fn reconfigure_link(&mut self, mode: Mode) {
        let settings = compose::settings(self.service.config());
        self.tell_link(Some(LinkEvent::Reconfigured { settings }));
        let lns = Lns {
            mode,
            ..self.service.config().lns.clone()
        };
        let linking = self.linking.as_mut();
        if linking.is_some_and(|linking| linking.reconfigure(&lns)) {
            self.service.set_mode(lns.mode);
        } else if lns.mode != self.service.config().lns.mode {
            warn!("lns.mode and the settings of that mode change at the next start only");
        }
    }
}

impl Duty for Gateway<'_> {
    fn woken(&mut self) {
        while let Some(done) = self.service.worker().take() {
            self.service.tell_done(done);
        }
        self.tell_link(None);
        // Before anybody is shown it.
        self.service.remember();
    }

    fn be_on_time(&mut self, now: Duration) {
        let is_past = |at: Moment| at <= Moment::from_boot(now);
        if self
            .service
            .deadline()
            .is_some_and(|deadline| is_past(deadline.at))
        {
            self.service.tell(Event::DeadlinePassed);
        }
        let set = self.service.current().map(|set| SetId(set.number.0));
        self.tell_link(Some(LinkEvent::SetChanged { set }));
        let link = self.linking.as_ref().and_then(Linking::deadline);
        if link.is_some_and(|deadline| is_past(deadline.at)) {
            self.tell_link(Some(LinkEvent::DeadlinePassed));
        }
        if let Some(update) = self.service.take_update() {
            self.updating
                .start(&self.service.config().cups.update_command, &update);
        }
        self.service.export_again(now);
        self.updating.look(now);
        self.service.remember();
    }

    fn due_at(&self) -> Option<Duration> {
        let machine = self.service.deadline();
        let machine = machine.map(|deadline| deadline.at.since_boot());
        let link = self.linking.as_ref().and_then(Linking::deadline);
        let link = link.map(|deadline| deadline.at.since_boot());
        let export = self.service.export_again_at();
        [machine, link, export, self.updating.look_again_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn network_came_up(&mut self) {
        self.service.tell(Event::NetworkChanged);
        self.tell_link(Some(LinkEvent::NetworkChanged));
    }

    fn stop(&mut self) {
        self.service.tell(Event::Stopping);
    }

    fn is_over(&self) -> bool {
        self.service.is_over()
    }

    fn reload(&mut self) -> bool {
        match (self.load)(&self.config_path) {
            Ok(Setup::Cups(config)) if *config == self.read => self.service.reload_identity(),
            #[cfg(feature = "mender")]
            Ok(Setup::Mender(_)) => {
                warn!("kept the service in use: another service needs a restart of the agent");
            }
            Ok(Setup::Cups(config)) => {
                let config = *config;
                info!("the configuration has changed");
                self.read = config.clone();
                let mode = config.lns.mode.clone();
                if self.service.reconfigure(config) {
                    self.reconfigure_link(mode);
                }
                return true;
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
            Verb::Refresh => self
                .service
                .tell(Event::RefreshRequested { by: By::Operator }),
            // The loop's own.
            Verb::Reload => {}
            Verb::Uplink(frame) => {
                let linking = self.linking.as_mut();
                return linking
                    .ok_or("the agent does not hold the LNS link: lns.mode is none")?
                    .uplink(frame);
            }
        }
        Ok(())
    }

    fn overview(&self) -> Value {
        overview(&self.service, self.linking.as_ref())
    }

    fn announcement(&mut self) -> Option<String> {
        let reports = self.service.take_reports();
        reports.last().map(ToString::to_string)
    }

    fn watched(&self) -> Vec<PathBuf> {
        let config = self.service.config();
        let mut files = vec![
            config.identity.certificate.clone(),
            config.identity.key.clone(),
            self.config_path.clone(),
        ];
        files.extend(config.trust_anchors.iter().cloned());
        files
    }

    fn runtime_dir(&self) -> &Path {
        &self.service.config().runtime_dir
    }

    fn textfile(&self) -> Option<&Path> {
        self.service.config().textfile.as_deref()
    }
}
