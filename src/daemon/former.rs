//! Acts: what the service says of the CUPS of a set, and asks of the one before a move.

use tracing::info;

use super::compose;
use super::jobs::Job;
use super::service::{Service, no_identity};
use crate::agent::{Event, ExchangeId};
use crate::store::SetContents;
use crate::wire::credential::Credential;

/// Address and credentials of CUPS; without them the configured ones count.
type CupsPart = (Option<String>, Option<Credential>);

/// The CUPS part of a set.
pub(super) fn cups_part(set: Option<&SetContents>) -> CupsPart {
    set.map(|set| (set.cups_uri.clone(), set.cups.clone()))
        .unwrap_or_default()
}

impl Service {
    /// Tells the machine whether the set in use names an LNS, and how its CUPS stands to others.
    pub(super) fn tell_current(&mut self) {
        let set = self.store.current();
        let is_named = set.is_none_or(|set| !set.contents.tc_uri.is_empty());
        let current = cups_part(set.map(|set| &set.contents));
        let is_allowed = self.config.cups.policy.allow_cups_changes;
        let good = self.good_cups();
        let is_on_trial = is_allowed && good.is_some_and(|good| good != current);
        let has_former = !self.former_cups().is_empty();
        self.tell(Event::LnsNamed { is_named });
        self.tell(Event::CupsMoved {
            is_on_trial,
            has_former,
        });
    }

    /// Asks the CUPS before the last move, as if the gateway had never left it.
    pub(super) fn exchange_former(&mut self, id: ExchangeId) -> Option<Event> {
        let mut formers = self.former_cups();
        // Where there are two, by turns.
        let turn = self
            .former_turn
            .checked_rem(formers.len())
            .unwrap_or_default();
        self.former_turn = self.former_turn.wrapping_add(1);
        let former = (turn < formers.len()).then(|| formers.swap_remove(turn));
        let contents = former
            .zip(self.store.current())
            .map(|((uri, credential), set)| SetContents {
                cups_uri: uri,
                cups: credential,
                ..set.contents.clone()
            });
        let set = contents.as_ref();
        let ask = self
            .standing()
            .ok_or_else(no_identity)
            .and_then(|standing| compose::ask(&self.config, standing, set, 0));
        match ask {
            Ok(ask) => {
                info!("CUPS has not answered for a day: asks {} as well", ask.uri);
                self.to_former = contents.map(|contents| (id, contents));
                self.send(id, Job::Ask(id, Box::new(ask)))
            }
            Err(failure) => Some(Event::Failed { id, failure }),
        }
    }

    /// GOOD's CUPS and the configured one, where they are others than CURRENT's.
    fn former_cups(&self) -> Vec<CupsPart> {
        if !self.config.cups.policy.allow_cups_changes {
            return Vec::new();
        }
        let current = cups_part(self.store.current().map(|set| &set.contents));
        let mut parts: Vec<_> = self.good_cups().into_iter().collect();
        parts.push(CupsPart::default());
        parts.retain(|part| *part != current);
        parts.dedup();
        parts
    }

    fn good_cups(&self) -> Option<CupsPart> {
        let good = self.store.load(self.store.good()?).ok()?;
        Some(cups_part(Some(&good.contents)))
    }
}
