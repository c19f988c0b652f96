//! Acts: the only clock. Monotonic time for waiting, wall time for certificates.

use core::time::Duration;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::limits::BUILD_EPOCH_S;

/// Time since boot, suspend included, so that a deadline is kept over a sleep.
#[must_use]
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// The system's wall clock, seconds since 1970.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the wall clock"
)]
pub fn wall_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// Wall time that cannot lie further back than what the device has already seen: the build,
/// its newest credential set, its own certificate. `reference/reliability.md` T1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    floor_s: u64,
    /// Since boot, when the floor was taken.
    taken: Duration,
}

impl Effective {
    /// Takes times that are known to have passed.
    #[must_use]
    pub fn from_passed(times_s: &[u64]) -> Self {
        Self {
            floor_s: times_s.iter().copied().fold(BUILD_EPOCH_S, u64::max),
            taken: since_boot(),
        }
    }

    /// Seconds since 1970, at least the floor and what has passed since it was taken: with a
    /// clock that nobody sets, what is held back for an hour must not be held for ever.
    #[must_use]
    pub fn now_s(self) -> u64 {
        let passed = since_boot().saturating_sub(self.taken);
        wall_s().max(self.floor_s.saturating_add(passed.as_secs()))
    }

    /// Whether the system clock is not behind the floor.
    #[must_use]
    pub fn is_sane(self) -> bool {
        wall_s() >= self.floor_s
    }
}

impl TimeProvider for Effective {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.now_s(),
        )))
    }
}

/// A point in time that blocking calls must not outlast.
#[derive(Debug, Clone, Copy)]
pub struct Cutoff(Instant);

impl Cutoff {
    /// That far from now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the clock"
    )]
    pub fn after(wait: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(wait).unwrap_or(now))
    }

    /// Time left; `None` when it has passed.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the clock"
    )]
    pub fn left(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// The earlier of two.
    #[must_use]
    pub fn or_earlier(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Effective, since_boot, wall_s};
    use core::time::Duration;

    #[test]
    fn time_goes_on_while_the_clock_is_not_set() {
        let floor_s = wall_s() + 1_000_000;
        let mut time = Effective::from_passed(&[floor_s]);
        time.taken = since_boot().saturating_sub(Duration::from_secs(60));
        assert!((floor_s + 60..floor_s + 90).contains(&time.now_s()));
        assert!(!time.is_sane());
    }

    #[test]
    fn a_clock_that_is_ahead_of_the_floor_is_the_time() {
        let mut time = Effective::from_passed(&[]);
        time.taken = Duration::ZERO;
        let before_s = wall_s();
        assert!((before_s..=wall_s()).contains(&time.now_s()));
        assert!(time.is_sane());
    }
}
