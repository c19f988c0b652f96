//! Decides: when to open the connection to the LNS, and what its end means.
//!
//! ```text
//!            a set is known                 due                    Connected
//!  off ---------------------> waiting ----------------> opening ----------------> up
//!   ^                          ^   ^--- Failed: wait by class --'                 |  |
//!   |  no set any more         '------------------- Closed: wait by class --------'  |
//!   '---- from any                                                                   |
//!                               up with another set than the current one: <----------'
//!                               waiting and opening go on beside it (make before break)
//!
//!  waiting -- Resumed: who holds it has connected by itself --> up
//! ```
//! One machine for every way of holding the link; who holds it is the shell's business. The
//! waits are those of the service cycle: the first retry is spread over two minutes, because
//! after a short outage it is the first retry of the whole fleet that keeps a proxy down.

mod event;
mod report;
mod status;
#[cfg(test)]
mod tests;

use core::time::Duration;

use super::event::{ExchangeId, SetId};
use super::failure::{Class, Failure, Waiting};
use super::moment::Moment;
use super::random::Random;
use super::waiting::{Backoff, EXCHANGE_PATIENCE, Settings};

pub use event::{LinkAction, LinkDeadline, LinkEvent};
pub use report::{LinkReason, LinkReport};
pub use status::LinkStatus;

/// A connection that lived that long was good: the next failure counts from one again.
pub const STEADY: Duration = Duration::from_secs(60);

/// Spread of the first try with new credentials, and after the network came back: both are
/// this device's own news, but a site's gateways share their switch.
const SOON: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    None,
    Waiting {
        at: Moment,
        reason: LinkReason,
    },
    Opening {
        id: ExchangeId,
        set: SetId,
        until: Moment,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Up {
    id: ExchangeId,
    set: SetId,
    since: Moment,
    is_steady: bool,
}

/// The machine of one link.
#[derive(Debug, Clone)]
pub struct Link {
    settings: Settings,
    random: Random,
    backoff: Backoff,
    now: Moment,
    wanted: Option<SetId>,
    up: Option<Up>,
    attempt: Attempt,
    // The last one that was opened.
    tried: Option<(ExchangeId, SetId)>,
    next_id: u32,
    failures: u32,
    // A server's own word on when to come back.
    told_until: Moment,
    // The network changed while an attempt was under way.
    has_news: bool,
    since: Moment,
    last_good: Option<Moment>,
    last: Option<Failure>,
    refused: Option<SetId>,
    has_started: bool,
    is_over: bool,
}

impl Link {
    /// A link without a set. `seed` spreads its waits.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            backoff: Backoff::default(),
            now: Moment::default(),
            wanted: None,
            up: None,
            attempt: Attempt::None,
            tried: None,
            next_id: 0,
            failures: 0,
            told_until: Moment::default(),
            has_news: false,
            since: Moment::default(),
            last_good: None,
            last: None,
            refused: None,
            has_started: false,
            is_over: false,
        }
    }

    /// The same link, off since that moment instead of since boot.
    #[must_use]
    pub fn off_since(self, now: Moment) -> Self {
        Self { since: now, ..self }
    }

    /// Takes in what happened and gives back what to do, in order.
    ///
    /// # Panics
    /// If one of the machine's own invariants is broken.
    pub fn step(&mut self, event: LinkEvent, now: Moment) -> Vec<LinkAction> {
        self.now = self.now.max(now);
        let before = self.state();
        let mut out = Vec::new();
        if !self.is_over {
            self.decide(event, &mut out);
        }
        if self.state() != before {
            self.since = self.now;
        }
        self.check(&out);
        out
    }

    /// When to come back without another event. `None` while the link is off, or up and good.
    #[must_use]
    pub fn deadline(&self) -> Option<LinkDeadline> {
        let attempt = match self.attempt {
            Attempt::None => None,
            Attempt::Waiting { at, reason } => Some(LinkDeadline { at, reason }),
            Attempt::Opening { until, .. } => Some(LinkDeadline {
                at: until,
                reason: LinkReason::Patience,
            }),
        };
        let steady = self.up.filter(|up| !up.is_steady);
        let steady = steady.map(|up| LinkDeadline {
            at: up.since.plus(STEADY),
            reason: LinkReason::Steady,
        });
        [attempt, steady]
            .into_iter()
            .flatten()
            .min_by_key(|deadline| deadline.at)
    }

    /// The set that the LNS refused, if the last attempt or connection ended by that.
    #[must_use]
    pub const fn refused(&self) -> Option<SetId> {
        self.refused
    }

    /// Off, waiting, opening or up.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match (self.up, self.attempt) {
            (Some(_), _) => "up",
            (None, Attempt::None) => "off",
            (None, Attempt::Waiting { .. }) => "waiting",
            (None, Attempt::Opening { .. }) => "opening",
        }
    }

    fn decide(&mut self, event: LinkEvent, out: &mut Vec<LinkAction>) {
        match (self.attempt, event) {
            (_, LinkEvent::Stopping) => self.stop(),
            (_, LinkEvent::Reconfigured { settings }) => self.settings = settings,
            (_, LinkEvent::SetChanged { set }) => self.set_changed(set, out),
            (Attempt::Waiting { reason, .. }, LinkEvent::NetworkChanged) => {
                self.network_changed(reason);
            }
            (Attempt::Opening { .. }, LinkEvent::NetworkChanged) => self.has_news = true,
            (_, LinkEvent::DeadlinePassed) => self.be_on_time(out),
            (Attempt::Opening { id: asked, set, .. }, LinkEvent::Connected { id })
                if id == asked =>
            {
                self.connected(id, set, out);
            }
            (Attempt::Opening { id: asked, .. }, LinkEvent::Failed { id, failure })
                if id == asked =>
            {
                self.failed(failure, out);
            }
            (_, LinkEvent::Closed { id, failure }) if self.up.is_some_and(|up| up.id == id) => {
                self.closed(failure, out);
            }
            (_, LinkEvent::Resumed { id }) => self.resumed(id, out),
            // A connection that was given up came about all the same.
            (_, LinkEvent::Connected { id }) if self.up.is_none_or(|up| up.id != id) => {
                self.adopt(id, out);
            }
            (
                _,
                LinkEvent::NetworkChanged
                | LinkEvent::Connected { .. }
                | LinkEvent::Failed { .. }
                | LinkEvent::Closed { .. },
            ) => {}
        }
    }

    fn stop(&mut self) {
        self.is_over = true;
        self.attempt = Attempt::None;
    }

    fn set_changed(&mut self, set: Option<SetId>, out: &mut Vec<LinkAction>) {
        if self.wanted == set {
            return;
        }
        self.wanted = set;
        self.refused = None;
        self.backoff.reset();
        self.failures = 0;
        self.told_until = Moment::default();
        self.has_news = false;
        match set {
            None => {
                // Also what is still tried: a holder may go on trying by itself.
                let up = self.up.take().map(|up| up.id);
                let tried = self.tried.take().map(|(id, _)| id);
                let tried = tried.filter(|tried| up != Some(*tried));
                let ids = [up, tried].into_iter().flatten();
                out.extend(ids.map(|id| LinkAction::Close { id }));
                self.attempt = Attempt::None;
            }
            Some(set) if self.up.is_some_and(|up| up.set == set) => self.attempt = Attempt::None,
            Some(_) if self.has_started => self.wait(SOON, LinkReason::NewSet),
            Some(_) => {
                self.has_started = true;
                self.wait(self.settings.boot_delay_max, LinkReason::Start);
            }
        }
    }

    /// Only a failed connection hopes for the network; a refusal does not change by it, nor
    /// does a server's own word.
    fn network_changed(&mut self, reason: LinkReason) {
        let hopes = matches!(reason, LinkReason::Retry | LinkReason::Start);
        if hopes && self.told_until <= self.now {
            self.wait(SOON, LinkReason::Network);
        }
    }

    fn be_on_time(&mut self, out: &mut Vec<LinkAction>) {
        if let Some(up) = &mut self.up {
            if !up.is_steady && up.since.plus(STEADY) <= self.now {
                up.is_steady = true;
                self.backoff.reset();
                self.failures = 0;
            }
        }
        match (self.attempt, self.wanted) {
            (Attempt::Waiting { at, .. }, Some(set)) if at <= self.now => self.open(set, out),
            (Attempt::Opening { until, .. }, _) if until <= self.now => {
                let text = "the LNS link did not come about within 5 minutes";
                self.failed(Failure::new(Class::Network, "no_answer", text), out);
            }
            _ => {}
        }
    }

    fn open(&mut self, set: SetId, out: &mut Vec<LinkAction>) {
        let id = ExchangeId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.has_news = false;
        let until = self.now.plus(EXCHANGE_PATIENCE);
        self.attempt = Attempt::Opening { id, set, until };
        self.tried = Some((id, set));
        out.push(LinkAction::Open { id, set });
    }

    fn connected(&mut self, id: ExchangeId, set: SetId, out: &mut Vec<LinkAction>) {
        // The new one first, then the old one goes: make before break.
        let old = self.up.replace(Up {
            id,
            set,
            since: self.now,
            is_steady: false,
        });
        out.extend(old.map(|old| LinkAction::Close { id: old.id }));
        self.last_good = Some(self.now);
        self.last = None;
        self.refused = None;
        self.has_news = false;
        out.push(LinkAction::Report(LinkReport::Up { set }));
        self.attempt = Attempt::None;
        if self.wanted.is_some_and(|wanted| wanted != set) {
            self.wait(SOON, LinkReason::NewSet);
        }
    }

    /// Only the last attempt can be resumed, and nothing better may be on its way.
    fn resumed(&mut self, id: ExchangeId, out: &mut Vec<LinkAction>) {
        if self.up.is_some() || matches!(self.attempt, Attempt::Opening { .. }) {
            return;
        }
        self.adopt(id, out);
    }

    /// The last attempt is as good as any until what is wanted takes over: the connection
    /// before it may have gone already.
    fn adopt(&mut self, id: ExchangeId, out: &mut Vec<LinkAction>) {
        match self.tried.filter(|(tried, _)| *tried == id) {
            Some((_, set)) => self.connected(id, set, out),
            None => out.push(LinkAction::Close { id }),
        }
    }

    fn failed(&mut self, failure: Failure, out: &mut Vec<LinkAction>) {
        self.judge(self.tried.map(|(_, set)| set), &failure);
        self.retry(&failure, out);
        self.last = Some(failure.clone());
        out.push(LinkAction::Report(LinkReport::Refused { failure }));
    }

    fn closed(&mut self, failure: Failure, out: &mut Vec<LinkAction>) {
        let up = self.up.take();
        self.judge(up.map(|up| up.set), &failure);
        if up.is_some_and(|up| self.now.since(up.since) >= STEADY) {
            self.backoff.reset();
            self.failures = 0;
            self.last_good = Some(self.now);
        }
        // A new connection that is already on its way is not hurried and not put off.
        if self.attempt == Attempt::None {
            self.retry(&failure, out);
        }
        self.last = Some(failure.clone());
        out.push(LinkAction::Report(LinkReport::Lost { failure }));
    }

    /// How a replaced set's connection ends says nothing about the wanted one.
    fn judge(&mut self, set: Option<SetId>, failure: &Failure) {
        if set == self.wanted {
            self.refused = set.filter(|_| failure.condemns_credentials());
        }
    }

    fn retry(&mut self, failure: &Failure, out: &mut Vec<LinkAction>) {
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff.wait(failure, &self.settings, &mut self.random);
        let reason = match failure.class.waiting() {
            Waiting::Transport => LinkReason::Retry,
            Waiting::Refusal => LinkReason::Refusal,
            Waiting::Clock => LinkReason::Clock,
        };
        let at = self.now.plus(wait);
        self.attempt = Attempt::Waiting { at, reason };
        if failure.retry_after.is_some() {
            self.told_until = at;
        }
        // What came up meanwhile may be what this attempt had lacked.
        if core::mem::take(&mut self.has_news) {
            self.network_changed(reason);
        }
        // Trust that no longer fits is mended by CUPS as well as a key that was revoked.
        if failure.class.condemns_credentials() || failure.class == Class::ServerUntrusted {
            out.push(LinkAction::AskCups);
        }
    }

    fn wait(&mut self, spread: Duration, reason: LinkReason) {
        let at = self.now.plus(self.random.between(Duration::ZERO, spread));
        self.attempt = Attempt::Waiting { at, reason };
    }

    fn check(&self, out: &[LinkAction]) {
        let opened = out
            .iter()
            .filter(|action| matches!(action, LinkAction::Open { .. }))
            .count();
        assert!(opened <= 1, "one attempt at a time: {out:?}");
        let is_content = self.up.map(|up| up.set) == self.wanted;
        assert!(
            self.is_over || is_content || self.attempt != Attempt::None,
            "a link that is not what is wanted is on its way: {self:?}"
        );
        assert!(
            self.wanted.is_some() || self.up.is_none() || self.is_over,
            "no set, no link"
        );
    }
}
