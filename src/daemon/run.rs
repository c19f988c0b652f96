//! Acts: the service, one poll loop over signals, worker, sockets, file changes and time.

use core::time::Duration;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::crypto::ring::default_provider;
use serde_json::Value;
use tracing::{info, warn};

use super::clock;
use super::duty::Duty;
use super::gateway::Gateway;
#[cfg(feature = "mender")]
use super::mender::duty::Device;
use super::metrics;
use super::netlink::Network;
use super::notify::Notifier;
use super::sandbox::Sandbox;
use super::signals::Signals;
use super::sockets::{Sockets, Verb};
use super::textfile::Textfile;
use super::watch::Watch;
use crate::config::Setup;
use crate::limits::RELOAD_PAUSE;

/// A machine that has been up for less than this has just booted, with its whole fleet.
pub(super) const BOOT_RECENT: Duration = Duration::from_secs(10 * 60);

/// Reads the configuration file again. The error is a sentence for the operator.
pub type Load<'a> = dyn Fn(&Path) -> Result<Setup, String> + 'a;

/// Runs the configured service until SIGTERM or SIGINT. `load` reads the configuration again.
pub fn run(setup: Setup, config_path: &Path, load: &Load<'_>) -> Result<(), String> {
    let sandbox = Sandbox::enter(&setup, config_path);
    let load = |path: &Path| {
        let setup = load(path)?;
        sandbox.admits(&setup).map(|()| setup)
    };
    let shown = sandbox.to_json();
    match setup {
        Setup::Cups(config) => serve(shown, |wake| {
            Gateway::start(*config, config_path, &load, wake)
        }),
        #[cfg(feature = "mender")]
        Setup::Mender(config) => serve(shown, |wake| {
            Device::start(*config, config_path, &load, wake)
        }),
    }
}

/// Runs a service until SIGTERM or SIGINT. `start` gets the end of the wake socket that its
/// threads write to; `sandbox` is what the status shows of that.
fn serve<D: Duty>(
    sandbox: Value,
    start: impl FnOnce(UnixStream) -> Result<D, String>,
) -> Result<(), String> {
    let plain = |error: std::io::Error| error.to_string();
    let (wake_in, wake_out) = UnixStream::pair().map_err(plain)?;
    wake_in.set_nonblocking(true).map_err(plain)?;
    wake_out.set_nonblocking(true).map_err(plain)?;
    let signals = Signals::start().map_err(|error| format!("signals: {error}"))?;
    let duty = start(wake_out)?;
    let sockets = Sockets::bind(duty.runtime_dir())
        .inspect_err(|error| {
            let folder = duty.runtime_dir().display();
            warn!("no status and control sockets in {folder}: {error}");
        })
        .ok();
    let notifier = Notifier::from_environment();
    let mut runner = Runner {
        watch: watch(&duty),
        duty,
        sockets,
        network: Network::start(),
        reload_at: None,
        // At once: the first thing that is due may be an hour away.
        alive_at: notifier.alive_every().map(|_| Duration::ZERO),
        notifier,
        textfile: Textfile::default(),
        sandbox,
    };
    runner.notifier.ready();
    info!("mtls-agent {} is running", env!("CARGO_PKG_VERSION"));
    runner.serve(&wake_in, &signals);
    runner.notifier.stopping();
    Ok(())
}

struct Runner<D> {
    /// Gone before the duty lets go of its lock: the next agent binds its own.
    sockets: Option<Sockets>,
    duty: D,
    watch: Option<Watch>,
    notifier: Notifier,
    network: Option<Network>,
    reload_at: Option<Duration>,
    alive_at: Option<Duration>,
    textfile: Textfile,
    sandbox: Value,
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
    wake: bool,
    status: bool,
    control: bool,
    files: bool,
    network: bool,
}

impl<D: Duty> Runner<D> {
    fn serve(&mut self, wake: &UnixStream, signals: &Signals) {
        while !self.duty.is_over() {
            if let Some(line) = self.duty.announcement() {
                self.notifier.status(&line);
            }
            let ready = self.wait(wake, signals);
            if ready.stop {
                self.duty.stop();
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
            if ready.wake {
                drain(wake);
                self.duty.woken();
            }
            if ready.status {
                self.serve_status();
            }
            if ready.control {
                self.serve_control();
            }
            self.be_on_time();
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
            wake: is_ready(2),
            status: open.is_some() && is_ready(sockets_at),
            control: open.is_some() && is_ready(sockets_at.saturating_add(1)),
            files: self.watch.is_some() && is_ready(watch_at),
            network: self.network.is_some() && is_ready(network_at),
        }
    }

    /// Time until the next thing is due; nothing wakes us before.
    fn patience(&self) -> PollTimeout {
        let network = self.network.as_ref().and_then(Network::due_at);
        let due = [
            self.duty.due_at(),
            self.sockets.as_ref().and_then(Sockets::paused_until),
            self.reload_at,
            self.alive_at,
            self.textfile.look_again_at(),
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
    fn be_on_time(&mut self) {
        let now = clock::since_boot();
        if self.reload_at.is_some_and(|at| at <= now) {
            self.reload_at = None;
            if self.duty.reload() {
                self.watch = watch(&self.duty);
            }
        }
        if let Some(every) = self.notifier.alive_every() {
            if self.alive_at.is_none_or(|at| at <= now) {
                self.notifier.alive();
                self.alive_at = Some(now.saturating_add(every));
            }
        }
        let network = self.network.as_mut();
        if network.is_some_and(|network| network.take_due(now)) {
            self.duty.network_came_up();
        }
        self.duty.be_on_time(now);
        let (duty, sandbox) = (&self.duty, &self.sandbox);
        self.textfile.look(duty.textfile(), now, || {
            metrics::render(&overview(duty, sandbox))
        });
    }

    fn serve_status(&self) {
        if let Some(sockets) = &self.sockets {
            let status = overview(&self.duty, &self.sandbox);
            sockets.serve_status(&format!("{status}\n"));
        }
    }

    fn serve_control(&mut self) {
        let Self {
            duty,
            sockets: Some(sockets),
            reload_at,
            ..
        } = self
        else {
            return;
        };
        sockets.serve_control(&mut |verb| {
            if verb == Verb::Reload {
                *reload_at = Some(clock::since_boot());
                return Ok(());
            }
            duty.carry_out(verb)
        });
    }
}

/// What the service shows of itself, and how the process is confined.
fn overview(duty: &impl Duty, sandbox: &Value) -> Value {
    let mut status = duty.overview();
    if let Some(status) = status.as_object_mut() {
        status.insert("sandbox".to_owned(), sandbox.clone());
    }
    status
}

fn watch(duty: &impl Duty) -> Option<Watch> {
    Watch::start(&duty.watched())
        .inspect_err(|error| warn!("changed files are noticed by SIGHUP only: {error}"))
        .ok()
}

/// A seed from the system's randomness, so that no two gateways wait alike.
pub(super) fn seed() -> u64 {
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
