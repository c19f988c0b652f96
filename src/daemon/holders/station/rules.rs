//! Decides: when station is started again, and what its end means.

use core::fmt;
use core::time::Duration;

use crate::agent::failure::Class;

/// A process that lived that long was good: the next end counts from one again.
pub(super) const STEADY: Duration = Duration::from_secs(60);

/// First wait before a start; it doubles.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// Longest wait before a start.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Fast ends in a row that are called a failure.
const FAST_MAX: u32 = 5;

/// At most one restart to help a stuck station in this time.
pub(super) const HELP_PAUSE: Duration = Duration::from_secs(600);

/// How station ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// What kind of trouble it is.
    #[must_use]
    pub(super) const fn class(self) -> Class {
        match self {
            Self::Code(0 | 1 | 6 | 32 | 126 | 127) => Class::Configuration,
            Self::Code(_) | Self::Signal(_) => Class::Network,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Code(0) => {
                "it went to the background or had only to show something: leave -d, -k and -v out of its command"
            }
            Self::Code(1) => {
                "its configuration: station.conf is missing or wrong, or an address is"
            }
            Self::Code(6) => "another station is running already",
            Self::Code(30) => "a fatal error, see its log",
            Self::Code(31) => "it could not start a thread",
            Self::Code(32) => "it cannot write its log",
            Self::Code(130) => "interrupted",
            Self::Code(143) => "terminated",
            Self::Code(_) | Self::Signal(_) => "",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}")?,
            Self::Signal(signal) => write!(f, "was killed by signal {signal}")?,
        }
        match self.meaning() {
            "" => Ok(()),
            meaning => write!(f, " ({meaning})"),
        }
    }
}

/// Counts ends and spaces starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Restarts {
    fast: u32,
    total: u64,
}

impl Restarts {
    /// Takes note of an end after so much life; gives the wait before the next start.
    pub(super) fn ended(&mut self, life: Duration) -> Duration {
        self.total = self.total.saturating_add(1);
        if life >= STEADY {
            self.fast = 0;
            return WAIT_MIN;
        }
        let wait = WAIT_MIN.saturating_mul(1 << self.fast.min(16));
        self.fast = self.fast.saturating_add(1);
        wait.min(WAIT_MAX)
    }

    /// There is reason to hope: new credentials.
    pub(super) fn reset(&mut self) {
        self.fast = 0;
    }

    /// Counts a restart that was wanted.
    pub(super) fn wanted(&mut self) {
        self.total = self.total.saturating_add(1);
    }

    /// Whether this very end made it a failure.
    #[must_use]
    pub(super) const fn has_just_failed(self) -> bool {
        self.fast == FAST_MAX
    }

    /// Whether it only ever ends.
    #[must_use]
    pub(super) const fn is_failing(self) -> bool {
        self.fast >= FAST_MAX
    }

    /// Starts after the first one.
    #[must_use]
    pub(super) const fn total(self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Restarts, STEADY};
    use crate::agent::failure::Class;
    use core::time::Duration;

    #[test]
    fn the_wait_doubles_from_a_second_to_five_minutes() {
        let mut restarts = Restarts::default();
        let waits: Vec<u64> = (0..11)
            .map(|_| restarts.ended(Duration::from_secs(2)).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(restarts.total(), 11);
    }

    #[test]
    fn a_minute_of_life_starts_the_waits_anew() {
        let mut restarts = Restarts::default();
        for _ in 0..6 {
            restarts.ended(Duration::ZERO);
        }
        assert_eq!(restarts.ended(STEADY), Duration::from_secs(1));
        assert!(!restarts.is_failing());
        assert_eq!(restarts.ended(Duration::ZERO), Duration::from_secs(1));
    }

    #[test]
    fn five_fast_ends_are_told_once() {
        let mut restarts = Restarts::default();
        let told: Vec<bool> = (0..8)
            .map(|_| {
                restarts.ended(Duration::ZERO);
                restarts.has_just_failed()
            })
            .collect();
        assert_eq!(told.iter().filter(|told| **told).count(), 1);
        assert!(told[4]);
        assert!(restarts.is_failing());
        restarts.reset();
        assert!(!restarts.is_failing());
    }

    #[test]
    fn each_end_has_a_meaning() {
        for (ended, words) in [
            (Ended::Code(1), "ended with code 1 (its configuration"),
            (Ended::Code(6), "running already"),
            (Ended::Code(30), "fatal"),
            (Ended::Code(31), "thread"),
            (Ended::Code(32), "log"),
            (Ended::Code(130), "interrupted"),
            (Ended::Code(143), "terminated"),
            (Ended::Code(77), "ended with code 77"),
            (Ended::Signal(11), "was killed by signal 11"),
        ] {
            assert!(ended.to_string().contains(words), "{ended}");
        }
        assert_eq!(Ended::Code(1).class(), Class::Configuration);
        assert_eq!(Ended::Signal(9).class(), Class::Network);
    }
}
