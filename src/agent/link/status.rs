//! Decides: what there is to show of the link.

use serde_json::{Value, json};

use super::{Link, LinkDeadline};
use crate::agent::event::SetId;
use crate::agent::failure::Failure;
use crate::agent::moment::Moment;

/// What is known of the link, as a value to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Off, waiting, opening or up.
    pub state: &'static str,
    /// Since when.
    pub since: Moment,
    /// The set of the connection that is up.
    pub set: Option<SetId>,
    /// Failures since the last good connection.
    pub failures: u32,
    /// When a connection was last good.
    pub last_good: Option<Moment>,
    /// Why it is not up, or was not.
    pub last: Option<Failure>,
    /// What comes next.
    pub next: Option<LinkDeadline>,
}

impl Link {
    /// What is known of the link.
    #[must_use]
    pub fn status(&self) -> LinkStatus {
        LinkStatus {
            state: self.state(),
            since: self.since,
            set: self.up.map(|up| up.set),
            failures: self.failures,
            last_good: self.last_good,
            last: self.last.clone(),
            next: self.deadline(),
        }
    }
}

impl LinkStatus {
    /// The object in the agent's status.
    #[must_use]
    pub fn to_json(&self, now: Moment) -> Value {
        json!({
            "state": self.state,
            "state_s": now.since(self.since).as_secs(),
            "set": self.set.map(|set| set.0),
            "failures": self.failures,
            "last_good_s_ago": self.last_good.map(|at| now.since(at).as_secs()),
            "why": self.last.as_ref().map(Failure::to_json),
            "next": self.next.map(|next| json!({
                "reason": next.reason.name(),
                "in_s": next.at.since(now).as_secs(),
            })),
        })
    }
}
