//! Acts: reads the log of a unit, for what cannot be seen of it from outside.

use core::time::Duration;

use tracing::warn;

use super::Means;
use super::child::Running;
use super::keeper::Keeper;

/// Before a reader that has ended is started again.
const PAUSE: Duration = Duration::from_secs(60);

impl Keeper {
    /// Starts the reader, and notes its end.
    pub(super) fn look_after_journal(&mut self, now: Duration) {
        let Means::Unit {
            name,
            journalctl: Some(journalctl),
            ..
        } = &self.means
        else {
            return;
        };
        let why = if let Some(journal) = &mut self.journal {
            let Some(ended) = journal.ended() else {
                return;
            };
            let why = format!("{ended} {}", journal.rest().join("; "));
            self.journal = None;
            why
        } else if now < self.journal_at {
            return;
        } else {
            // Only what comes from now on: an old refusal is not news.
            let mut words = vec![journalctl.to_string_lossy().into_owned()];
            words.extend(["--follow", "--output=cat", "--lines=0"].map(str::to_owned));
            words.push(format!("--unit={name}"));
            match Running::start(&words, &self.home, now) {
                Ok(journal) => {
                    self.journal = Some(journal);
                    return;
                }
                Err(error) => error.to_string(),
            }
        };
        warn!("the log of {name} is not read: journalctl {why}");
        self.journal_at = now.saturating_add(PAUSE);
    }

    pub(super) fn close_journal(&mut self) {
        if let Some(journal) = self.journal.take() {
            journal.finish();
        }
    }
}
