//! Acts: carries out what the link machine decides, by whoever holds the link.
//!
//! ```text
//! LinkEvent -> link.step(event, now) -> LinkAction -> Holder::open / close
//!    ^------------------- Held -------------------------- Holder::take
//! ```
//! The three ways of holding the link are three [`Holder`]s; nothing is decided here.

use serde_json::{Value, json};

use super::clock;
use super::discovery::Proof;
use super::telling::say;
use crate::agent::failure::Failure;
use crate::agent::link::{Link, LinkAction, LinkDeadline, LinkEvent};
use crate::agent::{ExchangeId, Moment, SetId, Settings};
use crate::config::Lns;
use crate::wire::uplink::Frame;

/// Somebody who holds the link. No method blocks; work goes to threads of the holder's own,
/// which announce by one octet on the wake socket that [`Holder::take`] has something.
pub trait Holder {
    /// Opens the link with a set; answered by `Connected` or `Failed` with this number.
    fn open(&mut self, id: ExchangeId, access: Proof);

    /// Closes what this attempt has opened, and tries no longer. Nothing answers.
    fn close(&mut self, id: ExchangeId);

    /// What happened since the last call.
    fn take(&mut self) -> Vec<Held>;

    /// Takes what a changed configuration says of this way of holding the link. `false`: the
    /// agent has to be started again for what has changed.
    fn reconfigure(&mut self, _lns: &Lns) -> bool {
        false
    }

    /// An object for `status`, with at least `mode`.
    fn status(&self) -> Value;

    /// Takes a frame to send to the LNS as if it had been received by radio. The error is a
    /// sentence for the operator.
    fn uplink(&mut self, frame: Frame) -> Result<(), String> {
        drop(frame);
        Err("lns.mode session is needed for that".to_owned())
    }
}

/// What a holder tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// The attempt succeeded.
    Connected {
        /// Its number.
        id: ExchangeId,
    },
    /// The last attempt had failed, or its link had ended, and the holder has connected by
    /// itself. [`Holder::open`] that crosses this is answered with the same link.
    Resumed {
        /// The number of that attempt.
        id: ExchangeId,
    },
    /// The attempt failed.
    Failed {
        /// Its number.
        id: ExchangeId,
        /// Why.
        failure: Failure,
    },
    /// A link that was up has ended.
    Closed {
        /// The number of the attempt that had opened it.
        id: ExchangeId,
        /// Why.
        failure: Failure,
    },
}

/// The link machine and whoever holds the link.
pub struct Linking {
    link: Link,
    holder: Box<dyn Holder>,
    wants_cups: bool,
}

impl Linking {
    /// A link that is off until a set is known.
    #[must_use]
    pub fn new(settings: Settings, seed: u64, holder: Box<dyn Holder>) -> Self {
        let now = Moment::from_boot(clock::since_boot());
        Self {
            link: Link::new(settings, seed).off_since(now),
            holder,
            wants_cups: false,
        }
    }

    /// Tells the machine. `access` gives the means to use a set, or why not.
    pub fn tell(&mut self, event: LinkEvent, access: &dyn Fn(SetId) -> Result<Proof, Failure>) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = Moment::from_boot(clock::since_boot());
            for action in self.link.step(event, now) {
                events.extend(self.carry_out(action, access));
            }
        }
    }

    /// Tells the machine what the holder has to say.
    pub fn tell_held(&mut self, access: &dyn Fn(SetId) -> Result<Proof, Failure>) {
        for held in self.holder.take() {
            let event = match held {
                Held::Connected { id } => LinkEvent::Connected { id },
                Held::Resumed { id } => LinkEvent::Resumed { id },
                Held::Failed { id, failure } => LinkEvent::Failed { id, failure },
                Held::Closed { id, failure } => LinkEvent::Closed { id, failure },
            };
            self.tell(event, access);
        }
    }

    /// Lets the holder take changed settings; `false`: it cannot, while the agent runs.
    pub fn reconfigure(&mut self, lns: &Lns) -> bool {
        self.holder.reconfigure(lns)
    }

    /// When the machine wants to be told that time has passed.
    #[must_use]
    pub fn deadline(&self) -> Option<LinkDeadline> {
        self.link.deadline()
    }

    /// Whether CUPS is to be asked, because the LNS refused the credentials. Asked once.
    pub fn take_cups_wish(&mut self) -> bool {
        core::mem::take(&mut self.wants_cups)
    }

    /// The set that the LNS refuses to the link.
    #[must_use]
    pub const fn refused(&self) -> Option<SetId> {
        self.link.refused()
    }

    /// Gives the holder a frame to send.
    pub fn uplink(&mut self, frame: Frame) -> Result<(), String> {
        self.holder.uplink(frame)
    }

    /// The link's part of the status.
    #[must_use]
    pub fn status(&self) -> Value {
        let now = Moment::from_boot(clock::since_boot());
        json!({ "link": self.link.status().to_json(now), "holder": self.holder.status() })
    }

    fn carry_out(
        &mut self,
        action: LinkAction,
        access: &dyn Fn(SetId) -> Result<Proof, Failure>,
    ) -> Option<LinkEvent> {
        match action {
            LinkAction::Open { id, set } => match access(set) {
                Ok(access) => self.holder.open(id, access),
                Err(failure) => return Some(LinkEvent::Failed { id, failure }),
            },
            LinkAction::Close { id } => self.holder.close(id),
            LinkAction::AskCups => self.wants_cups = true,
            LinkAction::Report(report) => say(&report, report.failure()),
        }
        None
    }
}
