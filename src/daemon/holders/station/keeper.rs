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
use tracing::warn;

use super::child::Running;
use super::log::Allowance;
use super::rules::{Ended, HELP_PAUSE, Restarts};
use super::sight::{Finding, Sight};
use super::{Means, Order, Pace, Setup, Shown, watch};
use crate::agent::ExchangeId;
use crate::agent::failure::Failure;
use crate::daemon::clock::Effective;
use crate::daemon::linking::Held;
use crate::wire::credential::Credential;

/// The attempt of the link's machine that is being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    None,
    Open { id: ExchangeId, until: Duration },
    Up { id: ExchangeId },
    // Failed, or its connection ended; station goes on by itself.
    Over { id: ExchangeId },
}

impl Attempt {
    pub(super) const fn id(self) -> Option<ExchangeId> {
        match self {
            Self::None => None,
            Self::Open { id, .. } | Self::Up { id } | Self::Over { id } => Some(id),
        }
    }
}

/// Everything about one station.
pub(super) struct Keeper {
    pub(super) means: Means,
    pub(super) home: PathBuf,
    pace: Pace,
    pub(super) outbox: Sender<Held>,
    pub(super) wake: UnixStream,
    pub(super) shown: Arc<Mutex<Shown>>,
    pub(super) attempt: Attempt,
    pub(super) is_wanted: bool,
    // What it may be using: the newest last.
    pub(super) credentials: Vec<(String, Option<Credential>)>,
    pub(super) has_newer: bool,
    // Of the certificate that the live connection was opened with: its end, seconds since 1970.
    pub(super) dies: Option<(Effective, u64)>,
    pub(super) port: u16,
    pub(super) child: Option<Running>,
    // Of a unit: its process, and since when it is there.
    pub(super) unit: Option<(u32, Duration)>,
    // What reads the log of the unit, and when it is started again.
    pub(super) journal: Option<Running>,
    pub(super) journal_at: Duration,
    // It was asked to start then, and its process has not been seen yet.
    pub(super) asked_at: Option<Duration>,
    pub(super) state: &'static str,
    pub(super) state_since: Duration,
    pub(super) start_at: Duration,
    pub(super) sample_at: Duration,
    pub(super) helped_at: Option<Duration>,
    // Since when the station of an earlier agent is being ended.
    pub(super) orphan_since: Option<Duration>,
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
        setup: Setup,
        pace: Pace,
        (outbox, wake): (Sender<Held>, UnixStream),
        shown: Arc<Mutex<Shown>>,
    ) -> Self {
        let now = pace.now();
        Self {
            means: setup.means,
            home: setup.home,
            pace,
            outbox,
            wake,
            shown,
            attempt: Attempt::None,
            is_wanted: false,
            credentials: Vec::new(),
            has_newer: false,
            dies: None,
            port: 0,
            child: None,
            unit: None,
            journal: None,
            journal_at: now,
            asked_at: None,
            state: "off",
            state_since: now,
            start_at: now,
            sample_at: now,
            helped_at: None,
            orphan_since: None,
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
                    Order::Change(setup) => self.change(setup),
                    Order::Stop => return self.stop(),
                }
            }
            self.read();
            self.be_on_time();
        }
    }

    /// The time, as it passes here.
    pub(super) fn now(&self) -> Duration {
        self.pace.now()
    }

    /// Waits for an order, a line, or the first moment something is due.
    fn wait(&self, rung: &UnixStream) {
        let mut fds = vec![PollFd::new(rung.as_fd(), PollFlags::POLLIN)];
        for child in [&self.child, &self.journal].into_iter().flatten() {
            fds.extend(
                child
                    .pipes()
                    .map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)),
            );
        }
        let timeout = self.due().map_or(PollTimeout::NONE, |due| {
            let wait = self.pace.real(due.saturating_sub(self.now()));
            PollTimeout::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
        });
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout);
    }

    fn due(&self) -> Option<Duration> {
        let now = self.now();
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
            _ => None,
        };
        // A connection that died with its process is told when the gap is over.
        let gap = (!is_running && self.sight.is_connected()).then_some(self.sample_at);
        [kill, Some(next), patience, gap]
            .into_iter()
            .flatten()
            .min()
    }

    fn be_on_time(&mut self) {
        let now = self.now();
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
        self.look_after_journal(now);
        let pid = self.pid();
        let found = pid.map(|pid| watch::connections(pid, self.port));
        let finding = self.sight.sample(now, &found.unwrap_or_default());
        self.sample_at = now.saturating_add(self.sight.pause());
        self.look_after_old(now);
        if let Some(finding) = finding {
            self.found(finding, now);
        }
    }

    pub(super) fn found(&mut self, finding: Finding, now: Duration) {
        match finding {
            Finding::Connected => {
                (self.has_newer, self.dies) = (false, None);
                self.set_state("running", now);
                match self.attempt {
                    Attempt::Open { id, .. } => {
                        self.attempt = Attempt::Up { id };
                        self.tell(Held::Connected { id });
                    }
                    Attempt::Over { id } => {
                        self.attempt = Attempt::Up { id };
                        self.tell(Held::Resumed { id });
                    }
                    Attempt::None | Attempt::Up { .. } => {}
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
            Attempt::None | Attempt::Over { .. } => {}
            Attempt::Open { id, .. } => {
                self.attempt = Attempt::Over { id };
                self.tell(Held::Failed { id, failure });
            }
            Attempt::Up { id } => {
                self.attempt = Attempt::Over { id };
                self.tell(Held::Closed { id, failure });
            }
        }
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

    pub(super) fn tell(&mut self, held: Held) {
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
