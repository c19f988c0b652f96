//! Acts: one log line for each change of state; the same end of a cycle again is for debugging.

use core::fmt;

use tracing::{debug, info, warn};

use super::service::Service;
use crate::agent::Report;
use crate::agent::failure::{Class, Failure};

/// How the last cycle ended, as far as the log tells ends apart. Texts do not count: servers
/// put another number into each.
pub(super) type End = (&'static str, Option<(Class, &'static str)>);

impl Service {
    pub(super) fn report(&mut self, report: Report) {
        let failure = report.failure();
        if self.is_told(&report) {
            debug!("again: {report}");
        } else {
            say(&report, failure);
        }
        self.reports.push(report);
    }

    /// Whether the log's last word on how cycles end says this already. A change of the set
    /// in use is always news.
    fn is_told(&mut self, report: &Report) -> bool {
        if !report.ends_cycle() {
            return false;
        }
        let failure = report.failure();
        let end: End = (
            report.name(),
            failure.map(|failure| (failure.class, failure.code)),
        );
        let is_news = matches!(
            report,
            Report::Confirmed { .. }
                | Report::Expired { .. }
                | Report::RolledBack { .. }
                | Report::Rotated { .. }
        );
        self.last_end.replace(end) == Some(end) && !is_news
    }
}

/// One line for people: with its class, code and advice where something failed.
pub(super) fn say(report: &dyn fmt::Display, failure: Option<&Failure>) {
    let Some(failure) = failure else {
        info!("{report}");
        return;
    };
    let hint = failure.hint.unwrap_or_default();
    warn!(
        class = failure.class.name(),
        code = failure.code,
        hint,
        "{report}"
    );
}
