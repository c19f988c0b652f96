//! Decides: when a device behind Mender's ambassador authenticates, sends its inventory and
//! asks for updates; when its token counts.
//!
//! ```text
//!              identity loaded            due                     Accepted: Publish
//!  no_identity ---------------> waiting -------> authenticating -------------------.
//!       ^                         ^ ^                  |                           v
//!       |                         | '-- Refused -------'      .--> authorised ----------.
//!       |                         |   pending, refused,       |     | inventory, polls  |
//!       |                         |   or waiting, by class    |     | renewal at 80 %   |
//!       |                         |                           '-----'                   |
//!       |                         '------ Withdraw: token refused, expired, or a 401 ---'
//!       '---- from any: identity unusable                          on its renewal
//! ```
//! A renewal goes on beside the token: it changes hands only when the new one is there. One
//! job at a time is with the worker. Each attempt ends with exactly one of [`Action::Publish`],
//! [`Action::Withdraw`] and [`Action::Announce`], because other programs wait for the signal.
//! The token itself is never in here. `reference/mender.md` sections 2.3, 2.4 and 5.3.

mod action;
mod authorising;
mod errand;
mod event;
mod gathering;
mod identity;
pub mod refusal;
mod status;
#[cfg(test)]
mod tests;
mod waiting;
mod working;

pub use action::{Action, Actions, Report};
pub use event::Event;
pub use status::{InventoryState, Status, TokenStatus};
pub use waiting::{Deadline, FLOOR, Reason, SILENCE_MAX, Settings};

use errand::Errand;

use super::event::ExchangeId;
use super::failure::Failure;
use super::moment::Moment;
use super::random::Random;

/// The machine of Mender mode.
///
/// # Panics
///
/// [`Mender::step`] panics when one of the machine's own invariants is broken: a mistake in
/// this folder, never a matter of input.
#[derive(Debug, Clone)]
pub struct Mender {
    settings: Settings,
    random: Random,
    now: Moment,
    life: Life,
    /// When the name of the state last changed.
    since: Moment,
    identity: Identity,
    /// When an unusable identity is looked at again.
    recheck: Moment,
    /// Identity or settings came anew while an attempt with the old ones was under way.
    is_mended: bool,
    job: Option<Job>,
    next_id: u32,
    token: Option<Token>,
    auth: Errand,
    inventory: Errand,
    polls: Errand,
    last_attempt: Option<Moment>,
    /// Tokens in a row that were refused; only the first of them is replaced at once.
    refused_tokens: u32,
    /// The last errand that a network hurried is due then.
    hurried: Option<Moment>,
    standing: Standing,
    /// The server may have forgotten the inventory.
    is_inventory_forced: bool,
    inventory_sent: Option<Moment>,
    /// What the last poll said.
    update_waits: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Starting,
    Live,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    Loaded,
    Unknown,
    Unusable(Failure),
}

/// What the server last said about this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing yet.
    New,
    Accepted,
    /// No, and never yes.
    Refused,
    /// No, after a yes.
    Dropped,
}

/// What is with the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    id: ExchangeId,
    kind: Kind,
    /// Given up then.
    until: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Authenticate,
    Inventory,
    Updates,
}

/// What is known of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    received: Moment,
    expires: Option<Moment>,
}

impl Mender {
    /// A machine that waits for [`Event::Started`]. The seed spreads its waits: take it
    /// from the system's randomness, not from the clock or the MAC.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            now: Moment::default(),
            life: Life::Starting,
            since: Moment::default(),
            identity: Identity::Unknown,
            recheck: Moment::default(),
            is_mended: false,
            job: None,
            next_id: 1,
            token: None,
            auth: Errand::new(),
            inventory: Errand::new(),
            polls: Errand::new(),
            last_attempt: None,
            refused_tokens: 0,
            hurried: None,
            standing: Standing::New,
            is_inventory_forced: false,
            inventory_sent: None,
            update_waits: None,
        }
    }

    /// Takes in what happened and gives back what to do, in order.
    ///
    /// Total: every event may come at any time. Time never goes backwards in here; an
    /// earlier `now` counts as the latest one seen.
    pub fn step(&mut self, event: Event, now: Moment) -> Actions {
        self.now = self.now.max(now);
        let before = self.state();
        let mut actions = Actions::default();
        self.decide(event, &mut actions);
        self.begin_what_is_due(&mut actions);
        if self.state() != before {
            self.since = self.now;
        }
        self.check(&actions);
        actions
    }

    /// When to come back without another event, and why. May change with every step.
    /// `None` only before the start and after the stop.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        if self.life != Life::Live {
            return None;
        }
        let next = self.next_errand();
        let expiry = self.token.and_then(|token| token.expires);
        Some(match expiry {
            Some(at) if at < next.at => Deadline {
                at,
                reason: Reason::TokenExpiry,
            },
            _ => next,
        })
    }

    /// What is waited for, apart from the end of the token.
    fn next_errand(&self) -> Deadline {
        if let Some(job) = self.job {
            return Deadline {
                at: job.until,
                reason: Reason::Patience,
            };
        }
        if self.identity != Identity::Loaded {
            return Deadline {
                at: self.recheck,
                reason: Reason::IdentityRecheck,
            };
        }
        let inventory = self.wants_inventory().then_some(self.inventory.due);
        let polls = self.wants_polls().then_some(self.polls.due);
        [inventory, polls]
            .into_iter()
            .flatten()
            .fold(self.auth.due, |first, other| {
                if other.at < first.at { other } else { first }
            })
    }

    /// The table. Each arm is one call; what does not fit is answered by nothing.
    fn decide(&mut self, event: Event, out: &mut Actions) {
        match (self.life, event) {
            (Life::Stopped, _) => {}
            (_, Event::Stopping) => self.stop(out),
            (_, Event::Reconfigured { settings }) => self.reconfigured(settings),
            (_, Event::IdentityLoaded) => self.identity_loaded(out),
            (_, Event::IdentityUnusable { failure }) => self.identity_unusable(failure, out),
            (_, Event::IdentityLoadFailed { failure }) => self.identity_kept(failure, out),

            (Life::Starting, Event::Started { boot_delay_wanted }) => {
                self.started(boot_delay_wanted, out);
            }
            (Life::Starting, _) | (_, Event::Started { .. }) => {}

            (_, Event::DeadlinePassed) => self.be_on_time(out),
            (_, Event::NetworkChanged) => self.network_changed(),
            (_, Event::FetchRequested) => self.fetch_requested(),
            (_, Event::RefreshRequested) => self.refresh_requested(out),
            (_, Event::TokenRefused) => self.token_refused(out),

            (
                _,
                Event::Accepted {
                    id,
                    lifetime,
                    is_new_device,
                },
            ) if self.awaits(Kind::Authenticate, id) => self.accepted(lifetime, is_new_device, out),
            (_, Event::Refused { id, failure }) if self.awaits(Kind::Authenticate, id) => {
                self.refused(failure, out);
            }
            (_, Event::InventorySent { id }) if self.awaits(Kind::Inventory, id) => {
                self.inventory_sent(out);
            }
            (_, Event::InventoryUnchanged { id }) if self.awaits(Kind::Inventory, id) => {
                self.inventory_known();
            }
            (_, Event::InventoryFailed { id, failure }) if self.awaits(Kind::Inventory, id) => {
                self.inventory_failed(failure, out);
            }
            (_, Event::Polled { id, update }) if self.awaits(Kind::Updates, id) => {
                self.polled(update, out);
            }
            (_, Event::PollFailed { id, failure }) if self.awaits(Kind::Updates, id) => {
                self.poll_failed(failure, out);
            }

            // Answers to what was given up.
            (
                _,
                Event::Accepted { .. }
                | Event::Refused { .. }
                | Event::InventorySent { .. }
                | Event::InventoryUnchanged { .. }
                | Event::InventoryFailed { .. }
                | Event::Polled { .. }
                | Event::PollFailed { .. },
            ) => {}
        }
    }

    /// What must hold after every step, whatever came in.
    fn check(&self, actions: &Actions) {
        let jobs: Vec<ExchangeId> = actions.iter().filter_map(Action::job).collect();
        let own = self.job.map(|job| job.id);
        assert!(
            jobs.is_empty() || (jobs.len() == 1 && jobs.first().copied() == own),
            "one job at a time, and it is waited for: {actions:?}"
        );
        assert!(
            self.job.is_none() || self.identity == Identity::Loaded,
            "nothing is sent without an identity: {:?}",
            self.job
        );
        let signals = actions.iter().filter(|action| action.is_signal()).count();
        assert!(signals <= 1, "one signal a step: {actions:?}");
        match self.deadline() {
            None => assert!(self.life != Life::Live, "a live machine has a deadline"),
            Some(deadline) => assert!(
                deadline.at <= self.now.plus(SILENCE_MAX),
                "no deadline is further away than a week: {deadline:?}"
            ),
        }
    }
}

impl Token {
    fn is_over(&self, now: Moment) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

impl Standing {
    const fn after_a_no(self) -> Self {
        match self {
            Self::New | Self::Refused => Self::Refused,
            Self::Accepted | Self::Dropped => Self::Dropped,
        }
    }

    const fn is_no(self) -> bool {
        matches!(self, Self::Refused | Self::Dropped)
    }

    const fn was_accepted(self) -> bool {
        matches!(self, Self::Accepted | Self::Dropped)
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Inventory => "inventory",
            Self::Updates => "updates",
        }
    }
}
