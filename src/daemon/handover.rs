//! Acts: hands the set in use over to Basic Station's home, and tries again until it is there.

use core::time::Duration;

use tracing::{error, info};

use super::clock;
use super::service::Service;
use crate::agent::failure::{Class, Failure};
use crate::limits::{HANDOVER_RETRY_FIRST, HANDOVER_RETRY_LONGEST};
use crate::report::chain;
use crate::store::station;

/// What is still to be handed over.
#[derive(Debug, Default)]
pub(super) struct Handover {
    is_due: bool,
    failure: Option<Failure>,
    failures: u32,
    again_at: Option<Duration>,
}

impl Handover {
    /// Another set is in use, or the home may be another.
    pub(super) fn plan(&mut self) {
        self.is_due = true;
        self.failures = 0;
    }

    fn failed(&mut self, text: String, now: Duration) {
        let doubled = HANDOVER_RETRY_FIRST.saturating_mul(1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        self.again_at = Some(now.saturating_add(doubled.min(HANDOVER_RETRY_LONGEST)));
        let is_told = self
            .failure
            .as_ref()
            .is_some_and(|told| told.message == text);
        if !is_told {
            error!("{text}");
        }
        let failure = Failure::new(Class::Storage, "station_home", text)
            .with_hint("mend lns.station_home; the set is safe and is handed over then");
        self.failure = Some(failure);
    }
}

impl Service {
    /// Hands the current set over, if that is due.
    pub(super) fn export(&mut self) {
        let home = self.config.lns.station_home.clone();
        let Some((home, set)) = home
            .zip(self.store.current())
            .filter(|_| self.handover.is_due)
        else {
            self.handover.failure = None;
            self.handover.again_at = None;
            return;
        };
        match station::render(&home, &set.contents) {
            Ok(is_changed) => {
                let set = set.number.0;
                self.handover = Handover::default();
                if is_changed {
                    info!(set, "{} holds this set now", home.display());
                }
            }
            Err(error) => {
                let text = format!(
                    "set {} cannot be handed over: {}",
                    set.number,
                    chain(&error)
                );
                self.handover.failed(text, clock::since_boot());
            }
        }
    }

    /// Tries again what could not be handed over, once its time has come.
    pub fn export_again(&mut self, now: Duration) {
        if self.handover.again_at.is_some_and(|at| at <= now) {
            self.export();
        }
    }

    /// When that time comes.
    #[must_use]
    pub const fn export_again_at(&self) -> Option<Duration> {
        self.handover.again_at
    }

    /// Why the set in use could not be handed over, if it could not.
    #[must_use]
    pub const fn export_failure(&self) -> Option<&Failure> {
        self.handover.failure.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Handover};

    #[test]
    fn the_wait_doubles_from_a_minute_to_a_quarter_of_an_hour() {
        let mut handover = Handover::default();
        let now = Duration::from_secs(1000);
        let waits = [0; 6].map(|_| {
            handover.failed("no".to_owned(), now);
            handover.again_at.map(|at| at.saturating_sub(now).as_secs())
        });
        assert_eq!(waits, [60, 120, 240, 480, 900, 900].map(Some));
        handover.plan();
        handover.failed("no".to_owned(), now);
        assert_eq!(handover.again_at, Some(now + Duration::from_secs(60)));
    }
}
