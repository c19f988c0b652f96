//! Decides: what Mender mode shows of itself; never the token.

use serde_json::{Value, json};

use super::waiting::{Deadline, Pace};
use super::{Identity, Job, Kind, Life, Mender};
use crate::agent::failure::Failure;
use crate::agent::moment::Moment;

/// What the machine knows, as a plain value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `starting`, `no_identity`, `waiting`, `authenticating`, `pending`, `refused`, `clock`,
    /// `authorised` or `stopped`.
    pub state: &'static str,
    /// Since when.
    pub since: Moment,
    /// Why there is no token, or why it is not renewed yet.
    pub why: Option<Failure>,
    /// What is with the worker: `authenticate`, `inventory` or `updates`.
    pub job: Option<&'static str>,
    /// What comes next.
    pub next: Option<Deadline>,
    /// Attempts since the last token.
    pub attempts: u32,
    /// When a token was last given.
    pub last_good: Option<Moment>,
    /// The token, if there is one.
    pub token: Option<TokenStatus>,
    /// How the inventory stands.
    pub inventory: InventoryState,
    /// Whether an update waits; `None`: not asked, or never answered.
    pub update_waiting: Option<bool>,
}

/// What may be told of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenStatus {
    /// When the next attempt is due.
    pub renewed_at: Moment,
    /// When it ends, where that is known.
    pub expires_at: Option<Moment>,
}

/// How the inventory stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryState {
    /// `off`, `waiting`, `sending`, `failed` or `up_to_date`.
    pub state: &'static str,
    /// When it was last sent.
    pub last_sent: Option<Moment>,
    /// Why it could not be sent the last time.
    pub why: Option<Failure>,
}

impl Mender {
    /// What the machine knows, as a value to show.
    #[must_use]
    pub fn status(&self) -> Status {
        let identity_fault = match &self.identity {
            Identity::Unusable(failure) => Some(failure.clone()),
            Identity::Loaded | Identity::Unknown => None,
        };
        Status {
            state: self.state(),
            since: self.since,
            why: identity_fault.or_else(|| self.auth.why.clone()),
            job: self.job.map(|job| job.kind.name()),
            next: self.deadline(),
            attempts: self.auth.tries,
            last_good: self.auth.last_good,
            token: self.token.map(|token| TokenStatus {
                renewed_at: self.auth.due.at,
                expires_at: token.expires,
            }),
            inventory: self.inventory_state(),
            update_waiting: self.update_waits,
        }
    }

    pub(super) const fn state(&self) -> &'static str {
        match (self.life, &self.identity) {
            (Life::Starting, _) => return "starting",
            (Life::Stopped, _) => return "stopped",
            (Life::Live, Identity::Loaded) => {}
            (Life::Live, _) => return "no_identity",
        }
        if self.token.is_some() {
            return "authorised";
        }
        let is_at_work = matches!(
            self.job,
            Some(Job {
                kind: Kind::Authenticate,
                ..
            })
        );
        // A device that is refused stays so while it asks again.
        match &self.auth.why {
            Some(failure) => match Pace::of(failure.class) {
                Pace::Pending => "pending",
                Pace::Permanent => "refused",
                Pace::Clock => "clock",
                Pace::Network if is_at_work => "authenticating",
                Pace::Network => "waiting",
            },
            None if is_at_work => "authenticating",
            None => "waiting",
        }
    }

    fn inventory_state(&self) -> InventoryState {
        let is_sending = self.job.is_some_and(|job| job.kind == Kind::Inventory);
        let state = if self.settings.inventory_poll.is_none() {
            "off"
        } else if is_sending {
            "sending"
        } else if self.inventory.why.is_some() {
            "failed"
        } else if self.inventory.last_good.is_some() {
            "up_to_date"
        } else {
            "waiting"
        };
        InventoryState {
            state,
            last_sent: self.inventory_sent,
            why: self.inventory.why.clone(),
        }
    }
}

impl Status {
    /// The status as JSON. Times are seconds before or after `now`.
    #[must_use]
    pub fn to_json(&self, now: Moment) -> Value {
        json!({
            "state": self.state,
            "state_s": now.since(self.since).as_secs(),
            "why": self.why.as_ref().map(Failure::to_json),
            "job": self.job,
            "next": self.next.map(|next| json!({
                "reason": next.reason.name(),
                "in_s": next.at.since(now).as_secs(),
            })),
            "attempts": self.attempts,
            "last_good_s_ago": ago(self.last_good, now),
            "token": self.token.map(|token| json!({
                "renew_in_s": token.renewed_at.since(now).as_secs(),
                "expires_in_s": token.expires_at.map(|at| at.since(now).as_secs()),
            })),
            "inventory": {
                "state": self.inventory.state,
                "last_sent_s_ago": ago(self.inventory.last_sent, now),
                "why": self.inventory.why.as_ref().map(Failure::to_json),
            },
            "update_waiting": self.update_waiting,
        })
    }
}

fn ago(moment: Option<Moment>, now: Moment) -> Option<u64> {
    moment.map(|moment| now.since(moment).as_secs())
}
