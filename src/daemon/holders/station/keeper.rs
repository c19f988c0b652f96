//! Acts: the thread that starts, watches and ends station.

use core::time::Duration;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{info, warn};

use super::child::Running;
use super::log::Allowance;
use super::rules::{Ended, HELP_PAUSE, Restarts};
use super::sight::{Finding, Sight};
use super::{Means, Order, Shown, unit, watch};
use crate::agent::ExchangeId;
use crate::agent::failure::Failure;
use crate::daemon::clock;
use crate::daemon::discovery::Proof;
use crate::daemon::linking::Held;
use crate::wire::credential::Credential;
use crate::wire::uri::{ServerUri, Service};

/// How long an attempt may take: less than the link's machine waits, so that it hears why.
const ATTEMPT_MAX: Duration = Duration::from_secs(240);

/// The attempt of the link's machine that is being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    None,
    Open { id: ExchangeId, until: Duration },
    Up { id: ExchangeId },
}

/// Everything about one station.
pub(super) struct Keeper {
    pub(super) means: Means,
    pub(super) home: PathBuf,
    pub(super) outbox: Sender<Held>,
    pub(super) wake: UnixStream,
    pub(super) shown: Arc<Mutex<Shown>>,
    attempt: Attempt,
    pub(super) is_wanted: bool,
    // What it may be using: the newest last.
    pub(super) credentials: Vec<(String, Option<Credential>)>,
    pub(super) has_newer: bool,
    pub(super) port: u16,
    pub(super) child: Option<Running>,
    // Of a unit: its process, and since when it is there.
    pub(super) unit: Option<(u32, Duration)>,
    // It was asked to start then, and its process has not been seen yet.
    pub(super) asked_at: Option<Duration>,
    pub(super) state: &'static str,
    pub(super) state_since: Duration,
    pub(super) start_at: Duration,
    pub(super) sample_at: Duration,
    pub(super) helped_at: Option<Duration>,
    // Discoveries called silent since one was seen answered.
    pub(super) silences: u32,
    pub(super) restarts: Restarts,
    pub(super) last_exit: Option<Ended>,
    pub(super) sight: Sight,
    pub(super) allowance: Allowance,
    pub(super) last_lines: VecDeque<String>,
}

impl Keeper {
    pub(super) fn new(
        means: Means,
        home: PathBuf,
        outbox: Sender<Held>,
        wake: UnixStream,
        shown: Arc<Mutex<Shown>>,
    ) -> Self {
        let now = clock::since_boot();
        Self {
            means,
            home,
            outbox,
            wake,
            shown,
            attempt: Attempt::None,
            is_wanted: false,
            credentials: Vec::new(),
            has_newer: false,
            port: 0,
            child: None,
            unit: None,
            asked_at: None,
            state: "off",
            state_since: now,
            start_at: now,
            sample_at: now,
            helped_at: None,
            silences: 0,
            restarts: Restarts::default(),
            last_exit: None,
            sight: Sight::default(),
            allowance: Allowance::new(now),
            last_lines: VecDeque::new(),
        }
    }

    /// Until told to stop.
    pub(super) fn run(mut self, inbox: &Receiver<Order>, rung: &UnixStream) {
        loop {
            self.publish();
            self.wait(rung);
            drain(rung);
            for order in inbox.try_iter() {
                match order {
                    Order::Open(id, access) => self.open(id, *access),
                    Order::Close(id) => self.close(id),
                    Order::Stop => return self.stop(),
                }
            }
            self.read();
            self.be_on_time();
        }
    }

    fn open(&mut self, id: ExchangeId, access: Proof) {
        let now = clock::since_boot();
        self.is_wanted = true;
        self.port = ServerUri::parse(&access.tc_uri, Service::Lns).map_or(0, |uri| uri.port());
        let set = (access.tc_uri, access.credential);
        let is_new = self.credentials.last() != Some(&set);
        if is_new {
            if self.credentials.len() > 1 {
                self.credentials.remove(0);
            }
            self.credentials.push(set);
            // It may have ended over the old ones.
            self.restarts.reset();
            self.start_at = now;
        }
        if self.sight.is_connected() {
            if is_new {
                self.has_newer = true;
                info!("station keeps its connection and reads the new credentials at its next");
            }
            self.attempt = Attempt::Up { id };
            self.tell(Held::Connected { id });
            return;
        }
        let until = now.saturating_add(ATTEMPT_MAX);
        self.attempt = Attempt::Open { id, until };
        self.sample_at = now;
    }

    /// The set is gone: without one, station would only fail.
    fn close(&mut self, id: ExchangeId) {
        if self.attempt != (Attempt::Up { id }) {
            return;
        }
        self.attempt = Attempt::None;
        self.is_wanted = false;
        let now = clock::since_boot();
        match &self.means {
            Means::Command(_) => {
                if let Some(child) = &mut self.child {
                    child.end(now);
                }
            }
            Means::Unit(unit) => {
                if let Err(why) = unit::act("stop", unit) {
                    warn!("{why}");
                }
                self.unit = None;
            }
        }
        self.sight = Sight::default();
        self.set_state("off", now);
    }

    /// The agent ends, and its child with it.
    fn stop(mut self) {
        self.is_wanted = false;
        if let Some(child) = &mut self.child {
            child.end(clock::since_boot());
        }
        while let Some(child) = &mut self.child {
            let now = clock::since_boot();
            if child.kill_at.is_some_and(|at| at <= now) {
                warn!("station does not end within 10 seconds of SIGTERM and is killed");
                child.kill();
                child.kill_at = None;
            }
            if child.ended().is_some() {
                // What it may have started.
                child.kill();
                self.child = None;
            } else {
                // Its end is not announced by any descriptor for sure.
                let _ = poll(&mut [], PollTimeout::from(20_u8));
                self.read();
            }
        }
    }

    /// Waits for an order, a line, or the first moment something is due.
    fn wait(&self, rung: &UnixStream) {
        let mut fds = vec![PollFd::new(rung.as_fd(), PollFlags::POLLIN)];
        if let Some(child) = &self.child {
            fds.extend(
                child
                    .pipes()
                    .map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)),
            );
        }
        let timeout = self.due().map_or(PollTimeout::NONE, |due| {
            let wait = due.saturating_sub(clock::since_boot());
            PollTimeout::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
        });
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout);
    }

    fn due(&self) -> Option<Duration> {
        let now = clock::since_boot();
        let kill = self.child.as_ref().and_then(|child| child.look_at(now));
        if !self.is_wanted {
            return kill;
        }
        let is_running = self.child.is_some() || self.unit.is_some();
        let next = if is_running {
            self.sample_at
        } else {
            self.start_at
        };
        let patience = match self.attempt {
            Attempt::Open { until, .. } => Some(until),
            Attempt::None | Attempt::Up { .. } => None,
        };
        // A connection that died with its process is told when the gap is over.
        let gap = (!is_running && self.sight.is_connected()).then_some(self.sample_at);
        [kill, Some(next), patience, gap]
            .into_iter()
            .flatten()
            .min()
    }

    fn be_on_time(&mut self) {
        let now = clock::since_boot();
        self.look_after_child(now);
        if !self.is_wanted {
            return;
        }
        let is_running = self.child.is_some() || self.unit.is_some();
        if !is_running && self.start_at <= now {
            self.start(now);
        }
        if self.sample_at <= now {
            self.sample(now);
        }
        if let Attempt::Open { until, .. } = self.attempt {
            if until <= now {
                self.fail(self.sight.why_not());
            }
        }
    }

    /// Looks at the process and its connections.
    fn sample(&mut self, now: Duration) {
        self.tell_dropped();
        self.look_after_unit(now);
        let pid = self.pid();
        let found = pid.map(|pid| watch::connections(pid, self.port));
        let finding = self.sight.sample(now, &found.unwrap_or_default());
        self.sample_at = now.saturating_add(self.sight.pause());
        if let Some(finding) = finding {
            self.found(finding, now);
        }
    }

    pub(super) fn found(&mut self, finding: Finding, now: Duration) {
        match finding {
            Finding::Connected => {
                self.has_newer = false;
                self.set_state("running", now);
                if let Attempt::Open { id, .. } = self.attempt {
                    self.attempt = Attempt::Up { id };
                    self.tell(Held::Connected { id });
                }
            }
            Finding::Lost(failure) | Finding::Refused(failure) => self.fail(failure),
            Finding::Stuck(failure) => {
                if failure.code == "discovery_silent" {
                    self.silences = self.silences.saturating_add(1);
                }
                let is_due = |at: Duration| now.saturating_sub(at) >= HELP_PAUSE;
                if self.helped_at.is_none_or(is_due) {
                    self.helped_at = Some(now);
                    warn!("station is started again: {failure}");
                    self.restart(now);
                }
                self.fail(failure);
            }
        }
    }

    /// Answers the attempt, or ends the link that was up.
    pub(super) fn fail(&mut self, failure: Failure) {
        match self.attempt {
            Attempt::None => {}
            Attempt::Open { id, .. } => self.tell(Held::Failed { id, failure }),
            Attempt::Up { id } => self.tell(Held::Closed { id, failure }),
        }
        self.attempt = Attempt::None;
    }

    pub(super) fn pid(&self) -> Option<u32> {
        let child = self.child.as_ref().map(Running::pid);
        child.or(self.unit.map(|(pid, _)| pid))
    }

    pub(super) fn set_state(&mut self, state: &'static str, now: Duration) {
        if self.state != state {
            self.state = state;
            self.state_since = now;
        }
    }

    fn tell(&mut self, held: Held) {
        // Nobody listens any more when the agent ends; a full pipe wakes as well.
        let _ = self.outbox.send(held);
        let _ = self.wake.write(&[1]);
    }

    fn publish(&self) {
        let shown = Shown {
            pid: self.pid(),
            state: self.state,
            is_connected: self.sight.is_connected(),
            has_newer: self.has_newer,
            restarts: self.restarts.total(),
            last_exit: self.last_exit.map(|ended| ended.to_string()),
            since: self.state_since,
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

fn drain(mut rung: &UnixStream) {
    let mut buffer = [0; 64];
    while matches!(rung.read(&mut buffer), Ok(amount) if amount > 0) {}
}
