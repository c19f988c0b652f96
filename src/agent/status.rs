//! Decides: what the machine shows of itself.

use serde_json::{Value, json};

use super::event::SetId;
use super::failure::Failure;
use super::moment::Moment;
use super::waiting::Deadline;

/// What the machine knows, as a plain value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The phase's stable name.
    pub phase: &'static str,
    /// When the phase began.
    pub since: Moment,
    /// Whether there is an identity to speak with.
    pub identity: IdentityState,
    /// What CURRENT names.
    pub current: Option<SetId>,
    /// The last set that is known to be GOOD.
    pub proven: Option<SetId>,
    /// The set that waits for its proof.
    pub staged: Option<SetId>,
    /// Whether CURRENT has still to show that it lasts.
    pub on_trial: bool,
    /// How the last cycle ended.
    pub last: Option<Outcome>,
    /// When a cycle last went well.
    pub last_success: Option<Moment>,
    /// Asks since CUPS last answered well.
    pub attempts: u32,
    /// What comes next.
    pub deadline: Option<Deadline>,
}

/// The identity, as far as the machine knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityState {
    /// In use.
    Loaded,
    /// Nobody said yet.
    Unknown,
    /// Not usable; nothing is sent.
    Unusable(Failure),
}

/// How a cycle ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The report's stable name.
    pub report: &'static str,
    /// Why, where it did not go well.
    pub failure: Option<Failure>,
    /// When.
    pub at: Moment,
}

impl Status {
    /// The status as JSON. Times are seconds before or after `now`.
    #[must_use]
    pub fn to_json(&self, now: Moment) -> Value {
        json!({
            "phase": self.phase,
            "phase_s": now.since(self.since).as_secs(),
            "identity": self.identity.to_json(),
            "current": self.current.map(|set| set.0),
            "proven": self.proven.map(|set| set.0),
            "staged": self.staged.map(|set| set.0),
            "on_trial": self.on_trial,
            "last": self.last.as_ref().map(|last| last.to_json(now)),
            "last_success_s_ago": self.last_success.map(|at| now.since(at).as_secs()),
            "attempts_since_success": self.attempts,
            "next": self.deadline.map(|next| json!({
                "reason": next.reason.name(),
                "in_s": next.at.since(now).as_secs(),
            })),
        })
    }
}

impl IdentityState {
    fn to_json(&self) -> Value {
        match self {
            Self::Loaded => json!({ "state": "loaded" }),
            Self::Unknown => json!({ "state": "unknown" }),
            Self::Unusable(failure) => {
                json!({ "state": "unusable", "failure": failure.to_json() })
            }
        }
    }
}

impl Outcome {
    fn to_json(&self, now: Moment) -> Value {
        json!({
            "result": self.report,
            "s_ago": now.since(self.at).as_secs(),
            "failure": self.failure.as_ref().map(Failure::to_json),
        })
    }
}
