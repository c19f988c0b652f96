//! Acts: Basic Station beside the agent, as a child or as a systemd unit, and watched.
//!
//! ```text
//! main: Holder --orders--> thread "station": keeper -- child's pipes, systemd, /proc
//!         ^------ Held, one octet on wake -----'
//! ```
//! Station opens the link; we see that it stands. It reads its credentials each time it
//! connects, so that a connection that lives is left alone when they change.

mod child;
mod ground;
mod journal;
mod keeper;
mod listening;
mod living;
mod log;
mod obeying;
mod rules;
mod sight;
#[cfg(test)]
mod sight_tests;
mod unit;
#[cfg(feature = "dbus")]
mod unit_by_bus;
mod watch;

use core::time::Duration;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use self::keeper::Keeper;
pub use self::unit::Control;
use super::super::clock;
use super::super::discovery::Proof;
use super::super::linking::{Held, Holder};
use crate::agent::ExchangeId;
use crate::config::{Lns, Mode};

/// How station is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// Program and arguments of a child.
    Command(Vec<String>),
    /// A systemd unit.
    Unit {
        /// Its name.
        name: String,
        /// The way to systemd.
        control: Control,
        /// The program that reads its log, if that is to be read.
        journalctl: Option<PathBuf>,
    },
}

/// Which station it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// How it is run.
    pub means: Means,
    /// Where its files are.
    pub home: PathBuf,
}

impl Setup {
    /// What a configuration says; `None` in another mode.
    #[must_use]
    pub fn of(lns: &Lns) -> Option<Self> {
        let Mode::Station {
            command,
            unit,
            control,
            journal,
        } = &lns.mode
        else {
            return None;
        };
        let means = if command.is_empty() {
            Means::Unit {
                name: unit.clone(),
                control: Control::of(*control),
                journalctl: journal.then(|| PathBuf::from("journalctl")),
            }
        } else {
            Means::Command(command.clone())
        };
        let home = lns.station_home.clone().unwrap_or_default();
        Some(Self { means, home })
    }
}

/// How time passes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Waits and patience are divided by this.
    pub faster: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { faster: 1 }
    }
}

impl Pace {
    fn now(self) -> Duration {
        clock::since_boot().saturating_mul(self.faster)
    }

    fn real(self, wait: Duration) -> Duration {
        wait / self.faster.max(1)
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    /// See to it that station connects.
    Open(ExchangeId, Box<Proof>),
    /// This connection is no longer wanted.
    Close(ExchangeId),
    /// From now on it is this station.
    Change(Setup),
    /// The agent ends.
    Stop,
}

/// What there is to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shown {
    pid: Option<u32>,
    state: &'static str,
    is_connected: bool,
    has_newer: bool,
    restarts: u64,
    last_exit: Option<String>,
    since: Duration,
}

/// The near end of the thread that keeps station.
#[derive(Debug)]
pub struct Station {
    orders: Sender<Order>,
    bell: UnixStream,
    held: Receiver<Held>,
    shown: Arc<Mutex<Shown>>,
    thread: Option<JoinHandle<()>>,
    pace: Pace,
}

impl Station {
    /// Starts the thread; station itself is started when there is a set. Each thing to tell
    /// is announced by one octet on `wake`.
    pub fn start(setup: Setup, pace: Pace, wake: UnixStream) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let (outbox, held) = mpsc::channel();
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let shown = Arc::new(Mutex::new(Shown::default()));
        let keeper = Keeper::new(setup, pace, (outbox, wake), Arc::clone(&shown));
        let thread = thread::Builder::new()
            .name("station".to_owned())
            .spawn(move || keeper.run(&inbox, &rung))?;
        Ok(Self {
            orders,
            bell,
            held,
            shown,
            thread: Some(thread),
            pace,
        })
    }

    fn tell(&mut self, order: Order) {
        // A thread that is gone has left its reason in the log; a full pipe wakes as well.
        let _ = self.orders.send(order);
        let _ = self.bell.write(&[1]);
    }
}

impl Holder for Station {
    fn open(&mut self, id: ExchangeId, access: Proof) {
        self.tell(Order::Open(id, Box::new(access)));
    }

    fn close(&mut self, id: ExchangeId) {
        self.tell(Order::Close(id));
    }

    fn reconfigure(&mut self, lns: &Lns) -> bool {
        let Some(setup) = Setup::of(lns) else {
            return false;
        };
        self.tell(Order::Change(setup));
        true
    }

    fn take(&mut self) -> Vec<Held> {
        self.held.try_iter().collect()
    }

    fn status(&self) -> Value {
        let shown = self
            .shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        json!({
            "mode": "station",
            "pid": shown.pid,
            "state": shown.state,
            "connected": shown.is_connected,
            "newer_credentials_wait": shown.has_newer,
            "restarts": shown.restarts,
            "last_exit": shown.last_exit,
            "since_s": self.pace.real(self.pace.now().saturating_sub(shown.since)).as_secs(),
        })
    }
}

impl Drop for Station {
    /// A child ends with the agent: it has ten seconds. A unit goes on.
    fn drop(&mut self) {
        self.tell(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
