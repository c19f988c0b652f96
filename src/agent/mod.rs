//! Decides: what to do next, as a pure function of events and time.
//!
//! ```text
//!                        Started, identity loaded
//!  Starting ------------------------------------> Waiting <----------------- every end of
//!     |  identity unusable                        |  |  |                    a cycle
//!     '------------> Unusable <--- from any ------'  |  |
//!                        '---- identity loaded --->  |  |
//!            ask is due                              |  | a staged set is to be proved again
//!   .------------------------------------------------'  |
//!   v                                                   v
//!  Asking --Offered--> Staging --Staged--> Proving --Proved--> Committing --Committed--> Waiting
//!   |  |                  | Held              | Disproved                    (trial begins)
//!   |  '--Failed--> wait  '--> wait           '--> discard, or keep and prove again
//!   |
//!   '--Unchanged--> wait, or prove a set that is staged still, or when a trial is due:
//!                   Trying --Proved--> Confirming --Confirmed--> Waiting
//!                      '--Disproved--> wait; after three refusals: Reverting --Reverted--> Waiting
//! ```
//! One cycle leads from Waiting back to Waiting and ends with exactly one [`Report`] whose
//! [`Report::ends_cycle`] is true. The machine names credential sets by number; it sees no
//! file, socket, clock or randomness, only events, a [`Moment`] and a seed.

mod action;
mod asking;
pub mod commands;
mod event;
pub mod evidence;
pub mod failure;
mod former;
mod identity;
pub mod link;
pub mod memory;
pub mod mender;
mod moment;
mod network;
mod proving;
mod random;
pub mod refusal;
mod resting;
mod status;
#[cfg(test)]
mod tests;
mod trying;
mod waiting;

pub use action::{Action, Actions, Report};
pub use event::{By, Event, ExchangeId, SetId};
pub use moment::Moment;
pub use status::{IdentityState, Outcome, Status};
pub use waiting::{Deadline, Reason, Settings};

use failure::{Failure, no_answer, store_silent};
use proving::Staged;
use random::Random;
use trying::Trial;
use waiting::{Backoff, EXCHANGE_PATIENCE, STORE_PATIENCE};

/// The service cycle: asks CUPS, proves what it offers, commits what was proved.
///
/// # Panics
/// [`Agent::step`] panics when one of the machine's own invariants is broken: a mistake in
/// this folder, never a matter of input.
#[derive(Debug, Clone)]
pub struct Agent {
    settings: Settings,
    random: Random,
    now: Moment,
    phase: Phase,
    since: Moment,
    /// When a phase other than Waiting has lasted long enough.
    patience: Moment,
    next_id: u32,
    identity: Identity,
    /// Identity or settings came anew while an exchange with the old ones was under way.
    is_mended: bool,
    current: Option<SetId>,
    /// CURRENT, if there is one, says where the LNS is.
    is_lns_named: bool,
    good: Option<SetId>,
    staged: Option<Staged>,
    trial: Option<Trial>,
    /// The set that was proved and may be committed.
    proof: Option<SetId>,
    /// When to ask CUPS next.
    ask: Deadline,
    asks: Backoff,
    hurry: network::Hurry,
    former: former::Former,
    remembered: memory::Memory,
    /// Whether the running cycle asked CUPS; otherwise its outcome says nothing about CUPS.
    asked: bool,
    last_ask: Option<Moment>,
    refused_until: Moment,
    refresh: Option<By>,
    attempts: u32,
    last: Option<Outcome>,
    last_success: Option<Moment>,
}

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asking { id: ExchangeId },
    Committing { set: SetId },
    Confirming { set: SetId, rotated: bool },
    Proving { id: ExchangeId, set: SetId },
    Reverting { set: SetId },
    Staging { id: ExchangeId },
    Starting,
    Stopped,
    Trying { id: ExchangeId, set: SetId },
    Unusable,
    Waiting,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    Loaded,
    Unknown,
    Unusable(Failure),
}

impl Agent {
    /// A machine that waits for [`Event::Started`]. The seed spreads its waits: take it
    /// from the system's randomness, not from the clock or the EUI.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            now: Moment::default(),
            phase: Phase::Starting,
            since: Moment::default(),
            patience: Moment::default(),
            next_id: 1,
            identity: Identity::Unknown,
            is_mended: false,
            current: None,
            is_lns_named: true,
            good: None,
            staged: None,
            trial: None,
            proof: None,
            ask: Deadline {
                at: Moment::default(),
                reason: Reason::FirstContact,
            },
            asks: Backoff::default(),
            hurry: network::Hurry::default(),
            former: former::Former::default(),
            remembered: memory::Memory::default(),
            asked: false,
            last_ask: None,
            refused_until: Moment::default(),
            refresh: None,
            attempts: 0,
            last: None,
            last_success: None,
        }
    }

    /// Takes in what happened and gives back what to do, in order.
    ///
    /// Total: every event may come in every phase. Time never goes backwards in here; an
    /// earlier `now` counts as the latest one seen.
    pub fn step(&mut self, event: Event, now: Moment) -> Actions {
        self.now = self.now.max(now);
        let mut actions = Actions::default();
        self.decide(event, &mut actions);
        self.check(&actions);
        actions
    }

    /// When to come back without another event, and why. May change with every step.
    /// `None` only before the start and after the stop.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let reason = match self.phase {
            Phase::Starting | Phase::Stopped => return None,
            Phase::Waiting => return Some(self.next_due()),
            Phase::Asking { .. } | Phase::Proving { .. } | Phase::Trying { .. } => {
                Reason::ExchangePatience
            }
            Phase::Committing { .. }
            | Phase::Confirming { .. }
            | Phase::Reverting { .. }
            | Phase::Staging { .. } => Reason::StorePatience,
            Phase::Unusable => Reason::IdentityRecheck,
        };
        Some(Deadline {
            at: self.patience,
            reason,
        })
    }

    /// What the machine knows, as a value to show.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            phase: self.phase.name(),
            since: self.since,
            identity: match &self.identity {
                Identity::Loaded => IdentityState::Loaded,
                Identity::Unknown => IdentityState::Unknown,
                Identity::Unusable(failure) => IdentityState::Unusable(failure.clone()),
            },
            current: self.current,
            proven: self.good,
            staged: self.staged.as_ref().map(|staged| staged.set),
            on_trial: self.trial.is_some(),
            last: self.last.clone(),
            last_success: self.last_success,
            attempts: self.attempts,
            deadline: self.deadline(),
        }
    }

    /// The table. Each arm is one call; what does not fit is answered by nothing.
    #[expect(
        clippy::too_many_lines,
        reason = "the one transition table, to be read as a whole"
    )]
    fn decide(&mut self, event: Event, out: &mut Actions) {
        match (self.phase, event) {
            (Phase::Stopped, _) => {}
            (_, Event::Stopping) => self.stop(out),
            (_, Event::Reconfigured { settings }) => self.reconfigured(settings),
            (_, Event::LnsNamed { is_named }) => self.is_lns_named = is_named,
            (_, Event::LinkJudged { refused }) => self.link_judged(refused),
            (_, Event::CupsRenamed) => self.cups_renamed(),
            #[rustfmt::skip]
            (_, Event::CupsMoved { is_on_trial, has_former }) => self.cups_moved(is_on_trial, has_former),
            (_, Event::RefreshRequested { by }) => self.refresh_requested(by, out),
            (_, Event::NetworkChanged) => self.network_changed(),
            (_, Event::IdentityLoaded) => self.identity_loaded(out),
            (_, Event::IdentityUnusable { failure }) => self.identity_unusable(failure, out),
            (_, Event::IdentityLoadFailed { failure }) => self.identity_kept(failure, out),

            (
                Phase::Starting,
                Event::Started {
                    current,
                    proven,
                    staged,
                    boot_delay_wanted,
                },
            ) => {
                self.started(current, proven, staged, boot_delay_wanted, out);
            }
            (Phase::Starting, Event::Remembered { memory }) => self.remembered = memory,
            (Phase::Starting, _) | (_, Event::Started { .. }) => {}

            (_, Event::DeadlinePassed) if !self.is_due() => {}
            (Phase::Waiting, Event::DeadlinePassed) => self.wake(out),
            (Phase::Unusable, Event::DeadlinePassed) => self.reload_identity(out),
            (Phase::Asking { .. }, Event::DeadlinePassed) => self.ask_failed(no_answer(), out),
            (Phase::Proving { set, .. }, Event::DeadlinePassed) => {
                self.disproved(set, no_answer(), out);
            }
            (Phase::Trying { set, .. }, Event::DeadlinePassed) => {
                self.trial_failed(set, no_answer(), out);
            }
            (_, Event::DeadlinePassed) => self.store_failed(store_silent(), out),

            (Phase::Asking { id: asked }, Event::Unchanged { id }) if id == asked => {
                self.unchanged(out);
            }
            (Phase::Asking { id: asked }, Event::Offered { id }) if id == asked => {
                self.offered(id, out);
            }
            (Phase::Asking { id: asked }, Event::Failed { id, failure }) if id == asked => {
                self.ask_failed(failure, out);
            }
            (Phase::Staging { .. }, Event::Staged { set }) => self.staged(set, out),
            (Phase::Staging { .. }, Event::Held { failure }) => self.refused(failure, out),
            (Phase::Proving { id: asked, set }, Event::Proved { id }) if id == asked => {
                self.proved(set, out);
            }
            (Phase::Proving { id: asked, set }, Event::Disproved { id, failure })
                if id == asked =>
            {
                self.disproved(set, failure, out);
            }
            (Phase::Committing { set: wanted }, Event::Committed { set }) if set == wanted => {
                self.committed(set, out);
            }
            (Phase::Trying { id: asked, set }, Event::Proved { id }) if id == asked => {
                self.trial_passed(set, out);
            }
            (Phase::Trying { id: asked, set }, Event::Disproved { id, failure }) if id == asked => {
                self.trial_failed(set, failure, out);
            }
            (
                Phase::Confirming {
                    set: wanted,
                    rotated,
                },
                Event::Confirmed { set },
            ) if set == wanted => {
                self.confirmed(set, rotated, out);
            }
            (Phase::Reverting { set }, Event::Reverted { set: to }) => self.reverted(set, to, out),
            (_, Event::StoreFailed { failure }) => self.store_failed(failure, out),

            // Answers to what was given up, and echoes of what nobody waits for.
            (
                _,
                Event::Unchanged { .. }
                | Event::Offered { .. }
                | Event::Failed { .. }
                | Event::Staged { .. }
                | Event::Held { .. }
                | Event::Proved { .. }
                | Event::Disproved { .. }
                | Event::Committed { .. }
                | Event::Confirmed { .. }
                | Event::Reverted { .. }
                | Event::Discarded { .. }
                | Event::Remembered { .. },
            ) => {}
        }
    }

    /// What must hold after every step, whatever came in.
    fn check(&self, actions: &Actions) {
        let exchanges = actions.iter().filter(|action| action.is_exchange()).count();
        assert!(exchanges <= 1, "one exchange in flight: {actions:?}");
        let talks = matches!(
            self.phase,
            Phase::Asking { .. } | Phase::Proving { .. } | Phase::Trying { .. }
        );
        assert!(
            exchanges == 0 || talks,
            "an exchange is waited for: {:?}",
            self.phase
        );
        assert!(
            !talks || self.identity == Identity::Loaded,
            "nothing is sent without an identity: {:?}",
            self.phase
        );
        let live = !matches!(self.phase, Phase::Starting | Phase::Stopped);
        match self.deadline() {
            None => assert!(!live, "a live agent has a deadline: {:?}", self.phase),
            Some(deadline) => assert!(
                deadline.at <= self.now.plus(self.settings.silence_max()),
                "no deadline is further away than the refresh interval: {deadline:?}"
            ),
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = self.now;
        self.patience = self.now.plus(match phase {
            Phase::Asking { .. } | Phase::Proving { .. } | Phase::Trying { .. } => {
                EXCHANGE_PATIENCE
            }
            Phase::Unusable => self.recheck(),
            _ => STORE_PATIENCE,
        });
    }

    fn new_exchange(&mut self) -> ExchangeId {
        let id = ExchangeId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }

    /// Removes a set, unless CURRENT or GOOD may name it.
    fn discard(&self, set: SetId, quarantine: bool, out: &mut Actions) {
        if Some(set) != self.current && Some(set) != self.good {
            out.push(Action::Discard { set, quarantine });
        }
    }

    fn is_due(&self) -> bool {
        self.deadline()
            .is_some_and(|deadline| deadline.at <= self.now)
    }
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Asking { .. } => "asking",
            Self::Committing { .. } => "committing",
            Self::Confirming { .. } => "confirming",
            Self::Proving { .. } => "proving",
            Self::Reverting { .. } => "reverting",
            Self::Staging { .. } => "staging",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Trying { .. } => "trying",
            Self::Unusable => "unusable",
            Self::Waiting => "waiting",
        }
    }
}
