//! Decides: how long Mender mode waits, by what happened.
//!
//! | pace | classes | wait |
//! |---|---|---|
//! | network | all that wait as transport, `identity_invalid` | full jitter; the first spread doubling to 300 s |
//! | pending | `pending` | equal jitter, 60 s doubling to 300 s or the retry setting |
//! | permanent | all that wait as a refusal | 15 min doubling to 6 h, +-20 % |
//! | clock | `clock_suspect` | 10 s, never more |
//!
//! Never less than 5 s. `reference/mender.md` section 5.3 would begin the network's retries at
//! 5 s; a whole fleet behind one ambassador must not, so their first spread is the house's.

use core::time::Duration;

use crate::agent::failure::{Class, Failure, Waiting};
use crate::agent::moment::Moment;
use crate::agent::random::Random;
use crate::agent::waiting::{REFUSAL_FIRST, REFUSAL_LONGEST, doubled};

/// Least distance between the beginnings of two attempts, whatever anybody wants.
pub const FLOOR: Duration = Duration::from_secs(5);
/// No live machine is silent for longer; a token that counts for longer is renewed all the same.
pub const SILENCE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A token refused sooner than this after it was given was never any good.
pub(super) const YOUNG: Duration = Duration::from_secs(60);

const PENDING_FIRST: Duration = Duration::from_secs(60);
const PENDING_LONGEST: Duration = Duration::from_secs(300);
const NETWORK_LONGEST: Duration = Duration::from_secs(300);
const CLOCK: Duration = Duration::from_secs(10);
const CLOCK_SPREAD: Duration = Duration::from_secs(1);
/// A server's word on when to come back counts up to here, plus a tenth.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// Renewal when the token does not tell how long it counts.
const RENEWAL_UNKNOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// No token is renewed sooner after its receipt, however short it counts.
const RENEWAL_LEAST: Duration = Duration::from_secs(30);

/// What the owner may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Longest wait for acceptance, if more than 300 s (`RetryPollIntervalSeconds`).
    pub retry: Duration,
    /// The first retry after a transport failure falls anywhere in here; 120 s by default.
    pub first_retry_spread: Duration,
    /// Longest delay of the first contact after boot; 30 s by default.
    pub boot_delay_max: Duration,
    /// Between two inventories, +-10 %. `None`: another program sends them.
    pub inventory_poll: Option<Duration>,
    /// Between two questions for an update, +-10 %. `None`: never asked.
    pub update_poll: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(300),
            first_retry_spread: Duration::from_secs(120),
            boot_delay_max: Duration::from_secs(30),
            inventory_poll: Some(Duration::from_secs(28_800)),
            update_poll: None,
        }
    }
}

/// When to call [`super::Mender::step`] with `DeadlinePassed`, and why.
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
    /// The device was accepted: its inventory follows.
    Accepted,
    /// First contact, spread after boot.
    BootDelay,
    /// The clock was not set yet.
    Clock,
    /// Another program wants a token.
    Fetch,
    /// First contact.
    FirstContact,
    /// Identity or settings were mended.
    IdentityChanged,
    /// The identity is looked at again.
    IdentityRecheck,
    /// The network came up after a failure.
    Network,
    /// The worker should have answered by then.
    Patience,
    /// Whether the device has been accepted by now.
    Pending,
    /// The usual poll.
    Poll,
    /// A person wants to know now.
    Refresh,
    /// A refusal is tried again.
    Refusal,
    /// The token is renewed in time.
    Renewal,
    /// A failed exchange is tried again.
    Retry,
    /// The token ends.
    TokenExpiry,
    /// The server refused the token.
    TokenRefused,
}

impl Reason {
    /// The stable name in JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::BootDelay => "boot_delay",
            Self::Clock => "clock",
            Self::Fetch => "fetch",
            Self::FirstContact => "first_contact",
            Self::IdentityChanged => "identity_changed",
            Self::IdentityRecheck => "identity_recheck",
            Self::Network => "network",
            Self::Patience => "exchange_patience",
            Self::Pending => "pending",
            Self::Poll => "poll",
            Self::Refresh => "refresh_by_operator",
            Self::Refusal => "refusal",
            Self::Renewal => "renewal",
            Self::Retry => "retry",
            Self::TokenExpiry => "token_expiry",
            Self::TokenRefused => "token_refused",
        }
    }
}

/// How a failure waits here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Clock,
    Network,
    Pending,
    Permanent,
}

impl Pace {
    pub(super) const fn of(class: Class) -> Self {
        match (class, class.waiting()) {
            (Class::Pending, _) => Self::Pending,
            // The identity script failed. Nothing was sent; an interface may come up late.
            (Class::IdentityInvalid, _) => Self::Network,
            (_, Waiting::Clock) => Self::Clock,
            (_, Waiting::Refusal) => Self::Permanent,
            (_, Waiting::Transport) => Self::Network,
        }
    }

    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Clock => Reason::Clock,
            Self::Network => Reason::Retry,
            Self::Pending => Reason::Pending,
            Self::Permanent => Reason::Refusal,
        }
    }
}

/// Failures in a row, each pace for itself; a success forgets them all.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    network: u32,
    pending: u32,
    permanent: u32,
}

impl Backoff {
    /// The wait after one more `failure`.
    pub(super) fn wait(
        &mut self,
        failure: &Failure,
        settings: &Settings,
        random: &mut Random,
    ) -> Duration {
        let own = match Pace::of(failure.class) {
            Pace::Clock => random.between(CLOCK, CLOCK.saturating_add(CLOCK_SPREAD)),
            Pace::Network => {
                let first = settings.first_retry_spread.max(FLOOR);
                let step = doubled(
                    first,
                    counted(&mut self.network),
                    NETWORK_LONGEST.max(first),
                );
                random.between(Duration::ZERO, step)
            }
            Pace::Pending => pending_wait(counted(&mut self.pending), settings, random),
            Pace::Permanent => {
                let step = doubled(REFUSAL_FIRST, counted(&mut self.permanent), REFUSAL_LONGEST);
                random.around(step, 20)
            }
        };
        let own = own.max(FLOOR);
        let wait = match failure.retry_after {
            None => own,
            Some(told) => {
                let told = told.min(RETRY_AFTER_MOST).max(own);
                told.saturating_add(random.between(Duration::ZERO, told / 10))
            }
        };
        wait.min(SILENCE_MAX)
    }
}

/// The wait for acceptance after `before` others, also for tokens that are no good.
pub(super) fn pending_wait(before: u32, settings: &Settings, random: &mut Random) -> Duration {
    let longest = settings.retry.clamp(PENDING_LONGEST, SILENCE_MAX);
    let step = doubled(PENDING_FIRST, before, longest);
    random.between(step / 2, step)
}

/// From the receipt of a token to its renewal: 80 % of its lifetime, +-5 % of it.
pub(super) fn renewal_wait(lifetime: Option<Duration>, random: &mut Random) -> Duration {
    let wait = match lifetime {
        None => random.around(RENEWAL_UNKNOWN, 10),
        Some(lifetime) => {
            let part = lifetime / 100;
            random.between(part.saturating_mul(75), part.saturating_mul(85))
        }
    };
    // The cap is spread as well: a fleet with long tokens must not come in one second.
    let most = random.between(SILENCE_MAX / 10 * 8, SILENCE_MAX);
    wait.min(most).max(RENEWAL_LEAST)
}

pub(super) fn poll_wait(poll: Duration, random: &mut Random) -> Duration {
    random.around(poll, 10).clamp(FLOOR, SILENCE_MAX)
}

fn counted(count: &mut u32) -> u32 {
    let before = *count;
    *count = before.saturating_add(1);
    before
}
