//! Decides: whether station is connected, from what is seen of it outside and in its log.
//!
//! ```text
//!  sample: the established connections of its processes, each 5 s, or 30 s once connected
//!
//!  connecting -- one has lived 10 s --> connected -- none for more than 20 s --> lost
//!      |  the LNS says no                                 refused
//!      |  discovery is not answered for 3 min             stuck
//!      '- six refused or short traffic connections        refused
//! ```
//! A reconnection within 20 s is no loss: station reads its files anew and nobody need know.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::log::Said;
use crate::agent::failure::{Class, Failure};

/// Between two samples while station is not connected.
pub(super) const SAMPLE_SOON: Duration = Duration::from_secs(5);

/// Between two samples while it is: an idle gateway is to sleep.
pub(super) const SAMPLE_CALM: Duration = Duration::from_secs(30);

/// Discovery takes a second or two; what lives longer is the traffic connection.
const SETTLED: Duration = Duration::from_secs(10);

/// Longest gap that counts as the same connection.
const GAP_MAX: Duration = Duration::from_secs(20);

/// A discovery that takes longer than this is not answered at all.
const DISCOVERY_MAX: Duration = Duration::from_secs(180);

/// A connection that lived less was turned away.
const SHORT: Duration = Duration::from_secs(5);

/// So many in a row are no accident.
const REFUSALS_MAX: u32 = 6;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The traffic connection stands, for the first time or another one.
    Connected,
    /// It is gone.
    Lost(Failure),
    /// The LNS said no while nothing was connected.
    Refused(Failure),
    /// Station does not get out of this by itself: it has to be started again.
    Stuck(Failure),
}

/// What is known of the connection of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    // First sample each connection was in, and the last.
    live: BTreeMap<u64, (Duration, Duration)>,
    is_connected: bool,
    traffic: Option<u64>,
    gone_since: Option<Duration>,
    // Its log is ours and shows discovery's answer, so that silence means something.
    is_telling: bool,
    has_discovered: bool,
    turns: u32,
    refusals: u32,
    short: u32,
    refusal: Option<String>,
    trouble: Option<String>,
}

impl Sight {
    /// Whether the traffic connection stands, or has just gone.
    #[must_use]
    pub(super) const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Time to the next sample.
    #[must_use]
    pub(super) fn pause(&self) -> Duration {
        if self.is_connected && self.gone_since.is_none() && self.stands() {
            SAMPLE_CALM
        } else {
            SAMPLE_SOON
        }
    }

    /// The process ended: its connections are gone, what it said is no longer true.
    pub(super) fn ended(&mut self, now: Duration, why: &str) {
        *self = Self {
            is_connected: self.is_connected,
            gone_since: self.gone_since.or(self.is_connected.then_some(now)),
            trouble: Some(why.to_owned()),
            ..Self::default()
        };
    }

    /// The log told that it can tell.
    pub(super) fn tells(&mut self) {
        if !self.is_telling && (self.is_connected || !self.live.is_empty()) {
            self.met();
        }
        self.is_telling = true;
    }

    /// It was running before its log was read: its discovery may have been answered.
    pub(super) fn met(&mut self) {
        self.has_discovered = true;
    }

    /// Takes in a line of the log.
    pub(super) fn said(&mut self, said: Said, line: &str) -> Option<Finding> {
        match said {
            Said::Nothing | Said::Reconnecting => return None,
            Said::Discovering => {
                self.has_discovered = false;
                return None;
            }
            Said::Discovered => {
                self.has_discovered = true;
                self.turns = self.turns.saturating_add(1);
            }
            Said::Unreachable | Said::Untrusted => {
                // An LNS that is away is not one that says no.
                self.turns = 0;
                self.refusal = None;
                self.trouble = Some(line.to_owned());
            }
            Said::Refused => {
                self.refusals = self.refusals.saturating_add(1);
                self.refusal = Some(line.to_owned());
            }
        }
        if self.is_connected && self.gone_since.is_none() {
            return None;
        }
        // The discovery after the sixth is the proof that six have failed.
        if self.turns > REFUSALS_MAX || self.refusals >= REFUSALS_MAX {
            return Some(self.turned_away());
        }
        let failure = match said {
            Said::Refused => refused(line),
            Said::Untrusted => untrusted(line),
            _ => return None,
        };
        // Refused is not connected, however short ago it was.
        self.disconnected();
        Some(Finding::Refused(failure))
    }

    /// Takes in the connections there are now.
    pub(super) fn sample(&mut self, now: Duration, found: &BTreeSet<u64>) -> Option<Finding> {
        self.follow(now, found);
        if self.is_connected && !self.stands() {
            self.gone_since.get_or_insert(now);
        }
        let oldest = self.live.iter().map(|(inode, (first, _))| (*first, *inode));
        let oldest = oldest.min();
        let age = oldest.map(|(first, _)| now.saturating_sub(first));
        if age.is_none() {
            return self.without(now);
        }
        let is_traffic = !self.is_telling || self.has_discovered;
        if age >= Some(SETTLED) && is_traffic {
            let inode = oldest.map(|(_, inode)| inode);
            let is_new = !self.is_connected || self.traffic != inode;
            self.traffic = inode;
            self.connected();
            return is_new.then_some(Finding::Connected);
        }
        if age >= Some(DISCOVERY_MAX) {
            self.live.clear();
            let text = "the LNS takes station's connection and does not answer its discovery";
            let failure = Failure::new(Class::NotAuthorised, "discovery_silent", text)
                .guessed()
                .with_hint("ask the LNS's operator; station is started again, and CUPS is asked");
            return Some(Finding::Stuck(failure));
        }
        if age < Some(SETTLED) {
            // It may become the next one, unless that goes on and on.
            let gone = self.gone_since.map(|since| now.saturating_sub(since));
            let is_over = gone.is_some_and(|gone| gone > GAP_MAX.saturating_add(SETTLED));
            return if is_over {
                self.without(now)
            } else {
                self.often_short()
            };
        }
        self.without(now)
    }

    /// Why there is no connection after all this time.
    #[must_use]
    pub(super) fn why_not(&self) -> Failure {
        if let Some(line) = &self.refusal {
            return refused(line);
        }
        let text = match &self.trouble {
            Some(trouble) => format!("station does not reach the LNS: {trouble}"),
            None => "station does not reach the LNS".to_owned(),
        };
        Failure::new(Class::Network, "station_not_connected", text)
            .with_hint("see station's lines in the journal")
    }

    fn follow(&mut self, now: Duration, found: &BTreeSet<u64>) {
        let gone = self.live.iter().filter(|(inode, _)| !found.contains(inode));
        let short = gone.filter(|(_, (first, last))| last.saturating_sub(*first) < SHORT);
        let short = u32::try_from(short.count()).unwrap_or(u32::MAX);
        self.short = self.short.saturating_add(short);
        self.live.retain(|inode, _| found.contains(inode));
        for inode in found {
            self.live.entry(*inode).or_insert((now, now)).1 = now;
        }
    }

    fn stands(&self) -> bool {
        self.traffic
            .is_some_and(|inode| self.live.contains_key(&inode))
    }

    fn disconnected(&mut self) {
        self.is_connected = false;
        self.gone_since = None;
    }

    fn connected(&mut self) {
        self.is_connected = true;
        self.gone_since = None;
        (self.turns, self.refusals, self.short) = (0, 0, 0);
        (self.refusal, self.trouble) = (None, None);
    }

    fn without(&mut self, now: Duration) -> Option<Finding> {
        if self.is_connected {
            let gone_since = *self.gone_since.get_or_insert(now);
            if now.saturating_sub(gone_since) <= GAP_MAX {
                return None;
            }
            self.disconnected();
            let failure = match (&self.refusal, &self.trouble) {
                (Some(line), _) => refused(line),
                (None, Some(why)) => lost(&format!("station's connection to the LNS ended: {why}")),
                (None, None) => lost("station's connection to the LNS ended"),
            };
            return Some(Finding::Lost(failure));
        }
        self.often_short()
    }

    /// A log that tells counts the turns itself, and knows an LNS that is only away.
    fn often_short(&mut self) -> Option<Finding> {
        let is_often = self.short >= REFUSALS_MAX && !self.is_telling && !self.is_connected;
        is_often.then(|| self.turned_away())
    }

    fn turned_away(&mut self) -> Finding {
        self.disconnected();
        (self.turns, self.refusals, self.short) = (0, 0, 0);
        let again = |line| format!("the LNS refuses station again and again: {line}");
        let said = self.refusal.as_ref().map(again);
        let is_guess = said.is_none();
        let text =
            said.unwrap_or_else(|| "the LNS ends each of station's connections at once".to_owned());
        let failure = Failure::new(Class::NotAuthorised, "traffic_refused", text).with_hint(
            "check that the LNS key still exists and has the right to link; CUPS is asked",
        );
        Finding::Refused(if is_guess { failure.guessed() } else { failure })
    }
}

fn refused(line: &str) -> Failure {
    let text = format!("the LNS refuses station: {line}");
    Failure::new(Class::NotAuthorised, "station_refused", text)
        .with_hint("check that the LNS key still exists and has the right to link; CUPS is asked")
}

fn untrusted(line: &str) -> Failure {
    let text = format!("station does not trust the LNS: {line}");
    Failure::new(Class::ServerUntrusted, "station_untrusted", text)
        .with_hint("check tc.trust against the LNS's certificate; CUPS is asked for another")
}

fn lost(text: &str) -> Failure {
    Failure::new(Class::Network, "station_lost", text)
}
