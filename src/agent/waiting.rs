//! Decides: how long to wait, by what happened.
//!
//! `reference/perf.md` section 5 shows why the first retry must be spread: after a short
//! outage it is the first retry of the whole fleet that keeps a proxy down, not the cap.

use core::time::Duration;

use super::event::By;
use super::failure::{Failure, Waiting};
use super::moment::Moment;
use super::random::Random;

/// How long the worker may take for one exchange: longer than all its own limits together.
pub(super) const EXCHANGE_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How long the store may take; it answers at once unless the shell is broken.
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(60);
/// How often an unusable identity is looked at again when nothing else says so.
pub(super) const IDENTITY_RECHECK: Duration = Duration::from_secs(60 * 60);
/// How often one is looked at that is expired by a clock which may be wrong.
pub(super) const EXPIRED_RECHECK: Duration = Duration::from_secs(60);
/// Spread of the first ask after the identity was mended or the network came up.
pub(super) const SOON: Duration = Duration::from_secs(5);
/// Least distance between asks that a network causes which came up.
pub(super) const NETWORK_PAUSE: Duration = Duration::from_secs(60);
/// Least distance between asks that the LNS link causes.
pub(super) const LINK_REFRESH: Duration = Duration::from_secs(5 * 60);
/// No refusal is tried again sooner: 15 min less 20 %.
pub(super) const REFUSAL_FLOOR: Duration = Duration::from_secs(12 * 60);

pub(super) const REFUSAL_FIRST: Duration = Duration::from_secs(15 * 60);
pub(super) const REFUSAL_LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
const TRANSPORT_FIRST: Duration = Duration::from_secs(60);
const TRANSPORT_LONGEST: Duration = Duration::from_secs(300);
const CLOCK_FIRST: Duration = Duration::from_secs(30);
const CLOCK_SPREAD: Duration = Duration::from_secs(3);
/// A server's word on when to come back counts from here ...
const RETRY_AFTER_LEAST: Duration = Duration::from_secs(1);
/// ... to here: nobody silences a device for a day.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(60 * 60);
/// A poll of zero would spin.
const POLL_LEAST: Duration = Duration::from_secs(1);
/// One hour by a server's word or for the identity, and its 10 %.
const SILENCE_LEAST: Duration = Duration::from_secs(66 * 60);

/// What the operator may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Between two polls of CUPS, +-10 %.
    pub poll: Duration,
    /// The same while there is no LNS set, +-20 %; 15 min by default.
    pub poll_unconfigured: Duration,
    /// Whether a set must prove itself to the LNS before it is committed.
    pub prove: bool,
    /// The first retry after a transport failure falls anywhere in here; 120 s by default.
    pub first_retry_spread: Duration,
    /// Longest delay of the first contact after boot; 30 s by default.
    pub boot_delay_max: Duration,
}

impl Settings {
    /// The refresh interval bound: no live agent is silent for longer.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        let poll = (self.poll / 10).saturating_mul(11);
        let unconfigured = (self.poll_unconfigured / 10).saturating_mul(12);
        poll.max(unconfigured).max(SILENCE_LEAST)
    }

    pub(super) fn poll_wait(&self, configured: bool, random: &mut Random) -> Duration {
        let wait = if configured {
            random.around(self.poll, 10)
        } else {
            random.around(self.poll_unconfigured, 20)
        };
        wait.max(POLL_LEAST)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(24 * 60 * 60),
            poll_unconfigured: Duration::from_secs(15 * 60),
            prove: true,
            first_retry_spread: Duration::from_secs(120),
            boot_delay_max: Duration::from_secs(30),
        }
    }
}

/// When to call [`super::Agent::step`] with `DeadlinePassed`, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Moment,
    /// What is due then.
    pub reason: Reason,
}

/// Why a deadline is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// First contact, spread after boot.
    BootDelay,
    /// The clock was not set yet.
    Clock,
    /// The worker should have answered by then.
    ExchangePatience,
    /// First contact, at once.
    FirstContact,
    /// The identity was mended.
    IdentityChanged,
    /// The identity is looked at again.
    IdentityRecheck,
    /// The network came up after a failure.
    Network,
    /// The usual poll.
    Poll,
    /// A staged set is proved again.
    ProveAgain,
    /// A refusal is tried again.
    Refusal,
    /// Somebody wants to know now.
    Refresh(By),
    /// A failed exchange is tried again.
    Retry,
    /// The store should have answered by then.
    StorePatience,
    /// CURRENT is tried before it counts as good.
    Trial,
}

impl Reason {
    /// The stable name in JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BootDelay => "boot_delay",
            Self::Clock => "clock",
            Self::ExchangePatience => "exchange_patience",
            Self::FirstContact => "first_contact",
            Self::IdentityChanged => "identity_changed",
            Self::IdentityRecheck => "identity_recheck",
            Self::Network => "network",
            Self::Poll => "poll",
            Self::ProveAgain => "prove_again",
            Self::Refusal => "refusal",
            Self::Refresh(By::Link) => "refresh_by_link",
            Self::Refresh(By::Operator) => "refresh_by_operator",
            Self::Retry => "retry",
            Self::StorePatience => "store_patience",
            Self::Trial => "trial",
        }
    }
}

/// Failures in a row, and the wait that follows from them.
///
/// Each way of waiting counts for itself, so a day of outages does not stretch the wait
/// after the first refusal. Both counts go back to zero only when a whole cycle succeeded;
/// a mere answer (an offer that is refused afterwards) is not a success that stays.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    transport: u32,
    refusal: u32,
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn refusals(&self) -> u32 {
        self.refusal
    }

    /// Refusals from before a restart.
    pub(super) fn recall(&mut self, refusals: u32) {
        self.refusal = refusals;
    }

    /// The wait after one more `failure`.
    pub(super) fn wait(
        &mut self,
        failure: &Failure,
        settings: &Settings,
        random: &mut Random,
    ) -> Duration {
        let own = match failure.class.waiting() {
            Waiting::Transport => self.transport_wait(settings.first_retry_spread, random),
            Waiting::Refusal => self.refusal_wait(random),
            Waiting::Clock => random.between(CLOCK_FIRST, CLOCK_FIRST.saturating_add(CLOCK_SPREAD)),
        };
        let wait = match failure.retry_after {
            None => own,
            Some(told) => {
                let told = told.clamp(RETRY_AFTER_LEAST, RETRY_AFTER_MOST).max(own);
                told.saturating_add(random.between(Duration::ZERO, told / 10))
            }
        };
        wait.min(settings.silence_max())
    }

    fn transport_wait(&mut self, spread: Duration, random: &mut Random) -> Duration {
        let before = self.transport;
        self.transport = before.saturating_add(1);
        if before == 0 {
            return random.between(Duration::ZERO, spread);
        }
        let cap = doubled(TRANSPORT_FIRST, before.saturating_sub(1), TRANSPORT_LONGEST);
        random.between(cap / 2, cap)
    }

    fn refusal_wait(&mut self, random: &mut Random) -> Duration {
        let before = self.refusal;
        self.refusal = before.saturating_add(1);
        random.around(doubled(REFUSAL_FIRST, before, REFUSAL_LONGEST), 20)
    }
}

pub(super) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}
