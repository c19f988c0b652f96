//! Acts: takes in what station says and passes it on.

use core::time::Duration;

use tracing::{Level, debug, enabled, error, info, warn};

use super::Means;
use super::keeper::Keeper;
use super::log::{self, Said, Severity};
use super::sight::SAMPLE_SOON;
use crate::wire::credential::Credential;
use crate::wire::token;

/// Lines kept for the day station fails.
const LAST_LINES: usize = 20;

/// So many silent discoveries without one that was ever answered: this station's log does not
/// show the answer, and a station that works must not be started again for that.
const SILENCES_MAX: u32 = 2;

impl Keeper {
    pub(super) fn read(&mut self) {
        let now = self.now();
        let sources = [&mut self.child, &mut self.journal].into_iter().flatten();
        let lines: Vec<String> = sources.flat_map(|source| source.lines(now)).collect();
        for line in lines {
            self.line(&line, now);
        }
    }

    pub(super) fn line(&mut self, line: &str, now: Duration) {
        let mut line = line.to_owned();
        for (_, credential) in &self.credentials {
            let key = credential.as_ref().map(Credential::key);
            line = token::withheld(&line, key.unwrap_or_default());
        }
        let (severity, said) = log::read(&line);
        // The log of a unit is in the journal already.
        if matches!(self.means, Means::Command(_)) {
            self.pass_on(severity, &line, now);
        }
        if said == Said::Discovered {
            self.silences = 0;
        }
        if log::shows_discovery(&line) && self.silences < SILENCES_MAX {
            self.sight.tells();
        }
        if said != Said::Nothing {
            // Something happens to the connection: look soon, however calm it was.
            self.sample_at = self.sample_at.min(now.saturating_add(SAMPLE_SOON));
        }
        if let Some(finding) = self.sight.said(said, log::timeless(&line)) {
            self.found(finding, now);
        }
        if self.last_lines.len() >= LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line);
    }

    pub(super) fn pass_on(&mut self, severity: Severity, line: &str, now: Duration) {
        // What nobody would see uses up no allowance.
        if severity == Severity::Debug && !enabled!(Level::DEBUG) {
            return;
        }
        if !self.allowance.admit(now) {
            return;
        }
        self.tell_dropped();
        match severity {
            Severity::Error => error!("station: {line}"),
            Severity::Warning => warn!("station: {line}"),
            Severity::Info => info!("station: {line}"),
            Severity::Debug => debug!("station: {line}"),
        }
    }

    pub(super) fn tell_dropped(&mut self) {
        let dropped = self.allowance.take_dropped();
        if dropped > 0 {
            warn!("{dropped} lines of station were dropped");
        }
    }
}
