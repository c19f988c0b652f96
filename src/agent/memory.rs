//! Decides: which waits a restart of the process must not cut short, and takes them up again.
//!
//! Only refusals count: an agent that crashes, or is started again every minute, must not
//! hurry a server that said no. Moments are readings of the boot clock, so a memory is worth
//! nothing after a reboot; the shell sees to that.

use core::fmt::Write as _;
use core::time::Duration;

use super::event::SetId;
use super::trying::Trial;
use super::waiting::{Deadline, REFUSAL_FLOOR, Reason};
use super::{Agent, Moment};

/// Refusals, and the waits that follow from them. Empty after a success.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Refusals of CUPS in a row, when CUPS may be asked at the soonest, and when it will be.
    ask: Option<(u32, Moment, Moment)>,
    /// The set on trial, its refusals, the first of them, when it may be tried at the soonest,
    /// and when it will be.
    trial: Option<(SetId, u32, [Moment; 3])>,
    /// Since when CUPS has not answered.
    silent_since: Option<Moment>,
    /// When the former CUPS was asked.
    former_asked_at: Option<Moment>,
}

impl Memory {
    /// Lines of words and whole seconds since boot.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Rounded up: a wait may become longer, not shorter.
        let up = Duration::from_nanos(999_999_999);
        let seconds = |moment: Moment| moment.plus(up).since_boot().as_secs();
        if let Some((count, soonest, at)) = self.ask {
            let _ = writeln!(text, "ask {count} {} {}", seconds(soonest), seconds(at));
        }
        if let Some((set, count, moments)) = self.trial {
            let [first, soonest, at] = moments.map(seconds);
            let _ = writeln!(text, "trial {} {count} {first} {soonest} {at}", set.0);
        }
        if let Some(since) = self.silent_since {
            let _ = writeln!(text, "silent {}", seconds(since));
        }
        if let Some(at) = self.former_asked_at {
            let _ = writeln!(text, "former {}", seconds(at));
        }
        text
    }

    /// Reads the lines; one that does not make sense is left out.
    #[must_use]
    pub fn decode(text: &str) -> Self {
        let mut memory = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default();
            let numbers: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
            let moment = |seconds: u64| Moment::from_boot(Duration::from_secs(seconds));
            let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            match (name, numbers.as_deref()) {
                ("ask", Some(&[number, soonest, at])) => {
                    memory.ask = Some((count(number), moment(soonest), moment(at)));
                }
                ("trial", Some(&[set, number, first, soonest, at])) => {
                    let moments = [first, soonest, at].map(moment);
                    memory.trial = Some((SetId(set), count(number), moments));
                }
                ("silent", Some(&[since])) => memory.silent_since = Some(moment(since)),
                ("former", Some(&[at])) => memory.former_asked_at = Some(moment(at)),
                _ => {}
            }
        }
        memory
    }
}

impl Agent {
    /// What a restarted agent should be told before its start.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let is_refused = self.ask.reason == Reason::Refusal;
        let ask = (self.asks.refusals(), self.refused_until, self.ask.at);
        Memory {
            ask: is_refused.then_some(ask),
            trial: self.trial.as_ref().and_then(Trial::memory),
            silent_since: self.former.silent_since(),
            former_asked_at: self.former.asked_at,
        }
    }

    /// Takes up the waits of the process before. No wait becomes longer than it may be.
    pub(super) fn recall(&mut self) {
        let memory = core::mem::take(&mut self.remembered);
        let now = self.now;
        let (floor, latest) = (
            now.plus(REFUSAL_FLOOR),
            now.plus(self.settings.silence_max()),
        );
        if let Some((count, soonest, at)) = memory.ask {
            self.asks.recall(count);
            if at > self.ask.at {
                self.refused_until = soonest.min(floor);
                self.ask = Deadline {
                    at: at.max(self.refused_until).min(latest),
                    reason: Reason::Refusal,
                };
            }
        }
        if let Some((set, count, [first, soonest, at])) = memory.trial {
            if let Some(trial) = self.trial.as_mut().filter(|trial| trial.is_of(set)) {
                let soonest = soonest.min(floor);
                trial.recall(
                    count,
                    [first.min(now), soonest, at.max(soonest).min(latest)],
                );
            }
        }
        if let Some(since) = memory.silent_since {
            self.former.recall(since.min(now), memory.former_asked_at);
        }
    }
}
