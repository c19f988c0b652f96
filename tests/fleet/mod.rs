//! Simulates: a fleet that comes back to one proxy after an outage, event by event.
//!
//! ```text
//! outage begins at 0: every connection is lost within one second
//!   client waits -> tries -> half a round trip -> proxy: down, refuses, or queues it
//!       ^-------- Failed, Connected <- half a round trip <----------'
//! ```
//! Time is simulated, chance is a seed: the same numbers on every machine.

mod client;

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use client::Client;
pub(crate) use client::Schedule;

/// Longest simulated time after the outage.
pub(crate) const HORIZON: Duration = Duration::from_secs(4 * 3600);

/// What the proxy does with more than it can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// Refuses while more than two seconds of work are queued.
    Shed,
    /// Queues everything, and pays for handshakes whose client has given up.
    Waste,
}

impl Model {
    pub(crate) const ALL: [Self; 2] = [Self::Shed, Self::Waste];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Shed => "shed",
            Self::Waste => "waste",
        }
    }
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) devices: u32,
    /// Handshakes per second.
    pub(crate) capacity: u32,
    pub(crate) outage: Duration,
    pub(crate) model: Model,
    pub(crate) schedule: Schedule,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Connections that reached the proxy, in each second since the outage began.
    pub(crate) arrivals: Vec<u32>,
    /// From the end of the outage until 99 % were back; `None`: not within [`HORIZON`].
    pub(crate) t99: Option<Duration>,
    /// Tries per device.
    pub(crate) attempts: f64,
    outage: Duration,
}

impl Outcome {
    /// The most connections in one second after the end of the outage.
    pub(crate) fn peak(&self) -> u32 {
        let from = usize::try_from(self.outage.as_secs()).unwrap_or(usize::MAX);
        self.arrivals.iter().skip(from).copied().max().unwrap_or(0)
    }
}

/// A `SplitMix64` sequence, apart from those of the agents.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let micros = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX);
        low + Duration::from_micros(self.next() % micros.max(1))
    }
}

struct Device {
    client: Client,
    round_trip: Duration,
}

/// The proxy: one queue, one handshake after the other.
struct Proxy {
    back_at: Duration,
    model: Model,
    handshake: Duration,
    busy_until: Duration,
}

impl Proxy {
    /// When the handshake of a connection that arrives now is done; `None`: refused.
    fn take(&mut self, now: Duration) -> Option<Duration> {
        let queued = self.busy_until.saturating_sub(now);
        if now < self.back_at || (self.model == Model::Shed && queued > Duration::from_secs(2)) {
            return None;
        }
        self.busy_until = self.busy_until.max(now) + self.handshake;
        Some(self.busy_until)
    }
}

/// Runs one plan to its end: everybody is back, or the horizon.
pub(crate) fn run(plan: &Plan) -> Outcome {
    let mut chance = Chance(plan.seed);
    let mut fleet = Vec::new();
    let mut queue = BinaryHeap::new();
    for number in 0..plan.devices {
        let mut device = Device {
            client: Client::new(plan.schedule, chance.next()),
            round_trip: chance.between(Duration::from_millis(30), Duration::from_millis(300)),
        };
        let lost_at = chance.between(Duration::ZERO, Duration::from_secs(1));
        let tries_at = device.client.lost(lost_at);
        queue.push(Reverse((tries_at + device.round_trip / 2, number)));
        fleet.push(device);
    }
    let mut proxy = Proxy {
        back_at: plan.outage,
        model: plan.model,
        handshake: Duration::from_secs(1) / plan.capacity,
        busy_until: Duration::ZERO,
    };
    let mut arrivals = Vec::new();
    let mut returns = Vec::new();
    let mut attempts: u32 = 0;
    while let Some(Reverse((now, number))) = queue.pop() {
        if now > plan.outage + HORIZON {
            break;
        }
        let Some(device) = usize::try_from(number)
            .ok()
            .and_then(|at| fleet.get_mut(at))
        else {
            continue;
        };
        attempts += 1;
        count(&mut arrivals, now);
        match device.meet(&mut proxy, now) {
            Ok(back_at) => returns.push(back_at),
            Err(again_at) => queue.push(Reverse((again_at, number))),
        }
    }
    returns.sort_unstable();
    let wanted = usize::try_from(plan.devices - plan.devices / 100).unwrap_or(usize::MAX);
    Outcome {
        arrivals,
        t99: returns
            .get(wanted - 1)
            .map(|at| at.saturating_sub(plan.outage)),
        attempts: f64::from(attempts) / f64::from(plan.devices),
        outage: plan.outage,
    }
}

impl Device {
    /// One try, which arrives at the proxy now: when it is connected, or when its next try
    /// arrives.
    fn meet(&mut self, proxy: &mut Proxy, now: Duration) -> Result<Duration, Duration> {
        let half = self.round_trip / 2;
        let tried_at = now.saturating_sub(half);
        let patience_ends = tried_at + self.client.patience();
        self.client.tries(tried_at);
        let failed_at = match proxy.take(now) {
            Some(done_at) if done_at + half <= patience_ends => {
                self.client.connected(done_at + half);
                return Ok(done_at + half);
            }
            Some(_) => patience_ends,
            None => now + half,
        };
        Err(self.client.failed(failed_at) + half)
    }
}

fn count(arrivals: &mut Vec<u32>, now: Duration) {
    let second = usize::try_from(now.as_secs()).unwrap_or(usize::MAX);
    if arrivals.len() <= second {
        arrivals.resize(second + 1, 0);
    }
    if let Some(bin) = arrivals.get_mut(second) {
        *bin += 1;
    }
}
