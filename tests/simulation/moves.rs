//! Moves from CUPS to CUPS in the world, and the calm in which all must come right.

use core::time::Duration;

use mtls_agent::agent::failure::Class;
use mtls_agent::agent::{Event, SetId};

use crate::world::World;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl World {
    /// CUPS wants something new; a quarter of it is poison. The LNS still takes the old.
    pub(crate) fn rotate(&mut self) {
        self.wanted += 1;
        if !self.chance.percent(25) {
            self.accepted.insert(self.wanted);
        }
        let moves = self.chance.percent(20);
        let cups = if moves {
            self.wanted
        } else {
            self.cups_in_use()
        };
        self.cups_of.insert(self.wanted, cups);
    }

    /// The CUPS in use dies or refuses from now on, unless it is the first one.
    pub(crate) fn spoil_cups(&mut self) {
        let cups = self.cups_in_use();
        let classes = [Class::Network, Class::NotAuthorised, Class::ServerUntrusted];
        if cups != 0 {
            let class = self.chance.pick(&classes);
            self.bad_cups.insert(cups, class);
        }
    }

    pub(crate) fn cups_in_use(&self) -> u64 {
        self.cups_of_set(self.store.current)
    }

    pub(crate) fn cups_of_set(&self, set: Option<SetId>) -> u64 {
        let content = set.map(|set| self.store.sets[&set]);
        let cups = content.and_then(|content| self.cups_of.get(&content));
        cups.copied().unwrap_or_default()
    }

    /// GOOD's CUPS and the very first, where they are others than CURRENT's.
    pub(crate) fn former_cups(&self) -> Vec<u64> {
        let good = self.store.good.map(|good| self.cups_of_set(Some(good)));
        let now = self.cups_in_use();
        let mut formers: Vec<_> = good.into_iter().chain([0]).collect();
        formers.retain(|cups| *cups != now);
        formers.dedup();
        formers
    }

    pub(crate) fn tell_cups(&mut self) {
        let good = self.store.good;
        let is_on_trial = good.is_some() && self.cups_of_set(good) != self.cups_in_use();
        let has_former = !self.former_cups().is_empty();
        self.feed(Event::CupsMoved {
            is_on_trial,
            has_former,
        });
    }

    /// With all faults gone, the device has what CUPS wants, and has it as GOOD, in time: the
    /// LNS stays away for the first days, in which the device starts once more.
    pub(crate) fn calm_down(&mut self) {
        self.network_faults = 0;
        self.store_faults = 0;
        self.wanted += 1;
        self.accepted.insert(self.wanted);
        self.cups_of.insert(self.wanted, 0);
        self.is_lns_away = self.offers_once;
        self.boot(true);
        self.feed(Event::IdentityLoaded);
        if self.is_lns_away {
            self.pass(2 * DAY);
            self.boot(true);
            self.feed(Event::IdentityLoaded);
            self.pass(2 * DAY);
            self.is_lns_away = false;
        }
        // After a day of silence the CUPS before the last move is asked, once a day.
        self.pass(if self.bad_cups.is_empty() {
            2 * DAY
        } else {
            5 * DAY
        });
        let current = self.store.current.map(|set| self.store.sets[&set]);
        assert_eq!(current, Some(self.wanted), "a calm world and no rotation");
        assert_eq!(
            self.store.good, self.store.current,
            "a calm world and no proof"
        );
    }

    /// Nothing happens but time.
    fn pass(&mut self, span: Duration) {
        let end = self.watched.now.plus(span);
        while self.watched.now < end {
            let deadline = self.watched.agent.deadline().map(|deadline| deadline.at);
            let reply = self
                .reply
                .take_if(|(at, _)| deadline.is_none_or(|due| *at <= due));
            let due = deadline.unwrap_or(end);
            let (at, event) = reply.unwrap_or((due, Event::DeadlinePassed));
            self.watched.now = self.watched.now.max(at);
            self.feed(event);
            self.check();
        }
    }
}
