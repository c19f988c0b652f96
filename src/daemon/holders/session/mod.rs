//! Acts: holds the LNS link by the agent itself, as a gateway without a radio.
//!
//! ```text
//! open -> discovery -> drain the old socket -> upgrade -> version -> router_config = Connected
//!         (a thread)   (ping, wait for pong)   (a thread)  `------ the keeper's poll loop ----'
//! ```
//! One thread, the keeper, polls at most two sockets: while credentials change, the old one
//! stays until the new one is proved. An LNS cuts the old one by itself as soon as the new one
//! is upgraded, so uplinks pause before that until the LNS has read all that was sent.

mod dialling;
mod ending;
mod keeper;
mod line;
mod opening;
mod uplinks;

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};
use tracing::warn;

use self::keeper::{Keeper, Order};
use crate::agent::ExchangeId;
use crate::config::{Lns, Mode};
use crate::daemon::clock;
use crate::daemon::discovery::Proof;
use crate::daemon::linking::{Held, Holder};
use crate::daemon::session::Session;
use crate::wire::traffic::About;
use crate::wire::uplink::Frame;

/// Uplinks that may wait while the socket is full or being replaced.
const UPLINKS_MAX: usize = 1024;

/// TCP: a dead far side is noticed even while nothing is sent, but no octets are spent more
/// often than by our own pings.
const KEEPALIVE_EVERY_S: u32 = 10;
const KEEPALIVE_COUNT: u32 = 3;

/// How long the far side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two pings, 10 % more or less. Nothing heard since two pings is the end.
    pub ping: Duration,
    /// From the upgrade to `router_config`.
    pub configured: Duration,
    /// For the pong that says that everything sent was read.
    pub drained: Duration,
    /// To acknowledge what was sent, and to take more of it when there is no room.
    pub unacknowledged: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(30),
            configured: Duration::from_secs(60),
            drained: Duration::from_secs(5),
            unacknowledged: Duration::from_secs(30),
        }
    }
}

impl Pace {
    /// Without these options the pings still find a dead far side, only later.
    fn keep_alive(self, session: &Session) {
        let wait_ms = u32::try_from(self.unacknowledged.as_millis()).unwrap_or(u32::MAX);
        let idle_s = u32::try_from(self.ping.as_secs().max(1)).unwrap_or(u32::MAX);
        let set = || {
            setsockopt(session, sockopt::KeepAlive, &true)?;
            setsockopt(session, sockopt::TcpKeepIdle, &idle_s)?;
            setsockopt(session, sockopt::TcpKeepInterval, &KEEPALIVE_EVERY_S)?;
            setsockopt(session, sockopt::TcpKeepCount, &KEEPALIVE_COUNT)?;
            setsockopt(session, sockopt::TcpUserTimeout, &wait_ms)
        };
        if let Err(error) = set() {
            warn!("the traffic socket has no TCP keepalive: {error}");
        }
    }
}

/// The holder; its sockets are closed when it is dropped.
pub struct SessionHolder {
    orders: Sender<Order>,
    bell: Bell,
    shared: Arc<Mutex<Shared>>,
    keeper: Option<JoinHandle<()>>,
}

/// What the keeper and the agent's thread both look at.
#[derive(Debug, Default)]
struct Shared {
    held: Vec<Held>,
    uplinks: VecDeque<Frame>,
    is_up: bool,
    uri: Option<String>,
    region: Option<String>,
    config_octets: usize,
    since: Duration,
    frames_up: u64,
    frames_down: u64,
    frames_lost: u64,
    frames_unread: u64,
    frames_unsure: u64,
    pings: u64,
}

/// Wakes a poll loop.
#[derive(Debug)]
struct Bell(UnixStream);

impl SessionHolder {
    /// Starts the keeper. One octet on `wake` says that [`Holder::take`] has something.
    pub fn start(about: &About, pace: Pace, wake: UnixStream) -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let (orders, inbox) = mpsc::channel();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let keeper = Keeper::new(
            (about.version(), pace),
            (inbox, orders.clone()),
            (far, Bell(near.try_clone()?)),
            (Arc::clone(&shared), Bell(wake)),
        );
        let keeper = thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || keeper.keep())?;
        Ok(Self {
            orders,
            bell: Bell(near),
            shared,
            keeper: Some(keeper),
        })
    }

    fn order(&self, order: Order) {
        // A keeper that is gone has told nothing; the machine's patience finds that out.
        let _ = self.orders.send(order);
        self.bell.ring();
    }
}

impl Holder for SessionHolder {
    fn open(&mut self, id: ExchangeId, access: Proof) {
        self.order(Order::Open(id, Box::new(access)));
    }

    fn close(&mut self, id: ExchangeId) {
        self.order(Order::Close(id));
    }

    fn take(&mut self) -> Vec<Held> {
        core::mem::take(&mut lock(&self.shared).held)
    }

    fn reconfigure(&mut self, lns: &Lns) -> bool {
        self.order(Order::Ping(Duration::from_secs(lns.ping_s)));
        lns.mode == Mode::Session
    }

    fn status(&self) -> Value {
        let shared = lock(&self.shared);
        let since = clock::since_boot().saturating_sub(shared.since);
        json!({
            "mode": "session",
            "uri": shared.uri,
            "region": shared.region,
            "router_config": shared.is_up,
            "router_config_octets": shared.config_octets,
            "since_s": shared.is_up.then_some(since.as_secs()),
            "frames_up": shared.frames_up,
            "frames_down": shared.frames_down,
            "frames_lost": shared.frames_lost,
            "frames_unread": shared.frames_unread,
            "frames_unsure": shared.frames_unsure,
            "frames_waiting": shared.uplinks.len(),
            "pings": shared.pings,
        })
    }

    fn uplink(&mut self, frame: Frame) -> Result<(), String> {
        {
            let mut shared = lock(&self.shared);
            if !shared.is_up {
                return Err("the LNS link is not up".to_owned());
            }
            if shared.uplinks.len() >= UPLINKS_MAX {
                return Err("busy: the LNS takes uplinks more slowly than they come".to_owned());
            }
            shared.uplinks.push_back(frame);
        }
        self.bell.ring();
        Ok(())
    }
}

impl Drop for SessionHolder {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(keeper) = self.keeper.take() {
            // It never blocks, so it ends at once.
            let _ = keeper.join();
        }
    }
}

impl fmt::Debug for SessionHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHolder").finish_non_exhaustive()
    }
}

impl Bell {
    fn ring(&self) {
        // A full pipe wakes as well as one octet more.
        let _ = (&self.0).write(&[1]);
    }

    fn again(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

/// Takes the lock. Nobody stops half-way while holding it, so a poisoned one is as good.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
