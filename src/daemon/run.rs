//! Acts: the service, one poll loop over signals, worker, sockets, file changes and time.

use core::time::Duration;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::crypto::ring::default_provider;
use tracing::{error, info, warn};

use super::clock;
use super::compose;
use super::holders;
use super::keeping::prepare_data_dir;
use super::linking::Linking;
use super::metrics;
use super::netlink::Network;
use super::notify::Notifier;
use super::overview::overview;
use super::service::Service;
use super::signals::Signals;
use super::sockets::{Sockets, Verb};
use super::textfile::Textfile;
use super::updating::Updating;
use super::watch::Watch;
use super::worker::Worker;
use crate::agent::link::LinkEvent;
use crate::agent::{By, Event, Moment, SetId};
use crate::config::Config;
use crate::limits::RELOAD_PAUSE;
use crate::report::chain;

/// A machine that has been up for less than this has just booted, with its whole fleet.
const BOOT_RECENT: Duration = Duration::from_secs(10 * 60);

/// Runs until SIGTERM or SIGINT. `load` reads the configuration again.
pub fn run(
    config: Config,
    config_path: &Path,
    load: &dyn Fn(&Path) -> Result<Config, String>,
) -> Result<(), String> {
    prepare_data_dir(&config).map_err(|failure| failure.message)?;
    let (wake_in, wake_out) = UnixStream::pair().map_err(|error| error.to_string())?;
    wake_in
        .set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    wake_out
        .set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    let signals = Signals::start().map_err(|error| format!("signals: {error}"))?;
    let wake_holder = wake_out.try_clone().map_err(|error| error.to_string())?;
    let worker = Worker::start(Some(wake_out)).map_err(|error| error.to_string())?;
    let is_boot = clock::since_boot() < BOOT_RECENT;
    let read = config.clone();
    let service =
        Service::start(config, worker, seed(), is_boot, true).map_err(|error| chain(&error))?;
    let sockets = Sockets::bind(&service.config().runtime_dir)
        .inspect_err(|error| {
            let folder = service.config().runtime_dir.display();
            warn!("no status and control sockets in {folder}: {error}");
        })
        .ok();
    let settings = compose::settings(service.config());
    let linking = holders::make(service.config(), wake_holder)?
        .map(|holder| Linking::new(settings, seed(), holder));
    let notifier = Notifier::from_environment();
    let mut runner = Runner {
        linking,
        watch: watch(service.config(), config_path),
        service,
        sockets,
        network: Network::start(),
        reload_at: None,
        // At once: the first thing that is due may be an hour away.
        alive_at: notifier.alive_every().map(|_| Duration::ZERO),
        notifier,
        updating: Updating::default(),
        textfile: Textfile::default(),
        config_path: config_path.to_owned(),
        read,
    };
    runner.notifier.ready();
    info!("mtls-agent {} is running", env!("CARGO_PKG_VERSION"));
    runner.serve(&wake_in, &signals, load);
    runner.notifier.stopping();
    Ok(())
}

struct Runner {
    service: Service,
    linking: Option<Linking>,
    sockets: Option<Sockets>,
    watch: Option<Watch>,
    notifier: Notifier,
    network: Option<Network>,
    reload_at: Option<Duration>,
    alive_at: Option<Duration>,
    updating: Updating,
    textfile: Textfile,
    config_path: PathBuf,
    /// As the file says; of what is in force some changes at a start only.
    read: Config,
}

/// What a round of polling found.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one descriptor that is ready"
)]
struct Ready {
    stop: bool,
    hangup: bool,
    worker: bool,
    status: bool,
    control: bool,
    files: bool,
    network: bool,
}

impl Runner {
    fn serve(
        &mut self,
        wake: &UnixStream,
        signals: &Signals,
        load: &dyn Fn(&Path) -> Result<Config, String>,
    ) {
        while !self.service.is_over() {
            self.announce();
            self.service.remember();
            let ready = self.wait(wake, signals);
            if ready.stop {
                self.service.tell(Event::Stopping);
                return;
            }
            if ready.hangup {
                signals.drain();
                self.reload_at = Some(clock::since_boot());
            }
            if ready.files && self.watch.as_ref().is_some_and(Watch::has_changed) {
                self.reload_at
                    .get_or_insert(clock::since_boot().saturating_add(RELOAD_PAUSE));
            }
            if ready.network {
                if let Some(network) = &mut self.network {
                    network.listen(clock::since_boot());
                }
            }
            if ready.worker {
                drain(wake);
                while let Some(done) = self.service.worker().take() {
                    self.service.tell_done(done);
                }
                self.tell_link(None);
            }
            if ready.status {
                self.serve_status();
            }
            if ready.control {
                self.serve_control();
            }
            self.be_on_time(load);
        }
    }

    /// Waits for the first descriptor or the first deadline.
    fn wait(&self, wake: &UnixStream, signals: &Signals) -> Ready {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(7);
        fds.push(readable(signals.stop.as_fd()));
        fds.push(readable(signals.hangup.as_fd()));
        fds.push(readable(wake.as_fd()));
        let sockets_at = fds.len();
        let open = self.sockets.as_ref();
        let open = open.filter(|sockets| sockets.paused_until().is_none());
        if let Some(sockets) = open {
            fds.push(readable(sockets.status.as_fd()));
            fds.push(readable(sockets.control.as_fd()));
        }
        let watch_at = fds.len();
        if let Some(watch) = &self.watch {
            fds.push(readable(watch.as_fd()));
        }
        let network_at = fds.len();
        if let Some(network) = &self.network {
            fds.push(readable(network.as_fd()));
        }
        if poll(&mut fds, self.patience()).is_err() {
            return Ready::default();
        }
        let is_ready = |index: usize| {
            fds.get(index)
                .and_then(PollFd::revents)
                .is_some_and(|events| !events.is_empty())
        };
        Ready {
            stop: is_ready(0),
            hangup: is_ready(1),
            worker: is_ready(2),
            status: open.is_some() && is_ready(sockets_at),
            control: open.is_some() && is_ready(sockets_at.saturating_add(1)),
            files: self.watch.is_some() && is_ready(watch_at),
            network: self.network.is_some() && is_ready(network_at),
        }
    }

    /// Time until the next thing is due; nothing wakes us before.
    fn patience(&self) -> PollTimeout {
        let machine = self
            .service
            .deadline()
            .map(|deadline| deadline.at.since_boot());
        let update = self.updating.look_again_at();
        let network = self.network.as_ref().and_then(Network::due_at);
        let textfile = self.textfile.look_again_at();
        let link = self.linking.as_ref().and_then(Linking::deadline);
        let link = link.map(|deadline| deadline.at.since_boot());
        let sockets = self.sockets.as_ref().and_then(Sockets::paused_until);
        let due = [
            machine,
            sockets,
            link,
            self.reload_at,
            self.alive_at,
            self.service.export_again_at(),
            update,
            textfile,
            network,
        ]
        .into_iter()
        .flatten()
        .min();
        let Some(due) = due else {
            return PollTimeout::NONE;
        };
        let wait = due.saturating_sub(clock::since_boot());
        // Rounded up: waking a moment early would only go round once more.
        PollTimeout::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
    }

    /// Does everything whose time has come.
    fn be_on_time(&mut self, load: &dyn Fn(&Path) -> Result<Config, String>) {
        let now = clock::since_boot();
        if self.reload_at.is_some_and(|at| at <= now) {
            self.reload_at = None;
            self.reload(load);
        }
        if self
            .service
            .deadline()
            .is_some_and(|deadline| deadline.at <= Moment::from_boot(now))
        {
            self.service.tell(Event::DeadlinePassed);
        }
        if let Some(every) = self.notifier.alive_every() {
            if self.alive_at.is_none_or(|at| at <= now) {
                self.notifier.alive();
                self.alive_at = Some(now.saturating_add(every));
            }
        }
        let network = self.network.as_mut();
        if network.is_some_and(|network| network.take_due(now)) {
            self.service.tell(Event::NetworkChanged);
            self.tell_link(Some(LinkEvent::NetworkChanged));
        }
        let set = self.service.current().map(|set| SetId(set.number.0));
        self.tell_link(Some(LinkEvent::SetChanged { set }));
        let is_due = |linking: &Linking| {
            linking
                .deadline()
                .is_some_and(|deadline| deadline.at <= Moment::from_boot(now))
        };
        if self.linking.as_ref().is_some_and(is_due) {
            self.tell_link(Some(LinkEvent::DeadlinePassed));
        }
        if let Some(update) = self.service.take_update() {
            self.updating
                .start(&self.service.config().cups.update_command, &update);
        }
        self.service.export_again(now);
        self.updating.look(now);
        let (service, linking) = (&self.service, self.linking.as_ref());
        self.textfile
            .look(service.config().textfile.as_deref(), now, || {
                metrics::render(&overview(service, linking))
            });
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
        if linking.take_cups_wish() {
            self.service.tell(Event::RefreshRequested { by: By::Link });
        }
    }

    fn reload(&mut self, load: &dyn Fn(&Path) -> Result<Config, String>) {
        match load(&self.config_path) {
            Ok(config) if config == self.read => self.service.reload_identity(),
            Ok(config) => {
                info!("the configuration has changed");
                self.read = config.clone();
                self.service.reconfigure(config);
                self.watch = watch(self.service.config(), &self.config_path);
            }
            Err(why) => {
                error!("kept the configuration in use: {why}");
                self.service.reload_identity();
            }
        }
    }

    fn announce(&mut self) {
        if let Some(report) = self.service.take_reports().last() {
            self.notifier.status(&report.to_string());
        }
    }

    fn serve_status(&self) {
        if let Some(sockets) = &self.sockets {
            let object = overview(&self.service, self.linking.as_ref());
            sockets.serve_status(&format!("{object}\n"));
        }
    }

    fn serve_control(&mut self) {
        // Taken out, because what is asked for changes the rest.
        if let Some(sockets) = self.sockets.take() {
            sockets.serve_control(&mut |verb| self.carry_out(verb));
            self.sockets = Some(sockets);
        }
    }

    fn carry_out(&mut self, verb: Verb) -> Result<(), String> {
        match verb {
            Verb::Refresh => self
                .service
                .tell(Event::RefreshRequested { by: By::Operator }),
            Verb::Reload => self.reload_at = Some(clock::since_boot()),
            Verb::Uplink(frame) => {
                let linking = self.linking.as_mut();
                return linking
                    .ok_or("the agent does not hold the LNS link: lns.mode is none")?
                    .uplink(frame);
            }
        }
        Ok(())
    }
}

fn watch(config: &Config, config_path: &Path) -> Option<Watch> {
    let mut files = vec![
        config.identity.certificate.clone(),
        config.identity.key.clone(),
        config_path.to_owned(),
    ];
    files.extend(config.trust_anchors.iter().cloned());
    Watch::start(&files)
        .inspect_err(|error| warn!("changed files are noticed by SIGHUP only: {error}"))
        .ok()
}

/// A seed from the system's randomness, so that no two gateways wait alike.
fn seed() -> u64 {
    let mut octets = [0; 8];
    match default_provider().secure_random.fill(&mut octets) {
        Ok(()) => u64::from_le_bytes(octets),
        Err(_) => u64::from(std::process::id()),
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

pub(super) fn drain(mut wake: &UnixStream) {
    let mut buffer = [0; 64];
    while matches!(wake.read(&mut buffer), Ok(amount) if amount > 0) {}
}
