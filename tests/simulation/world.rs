//! A CUPS, an LNS, a store and a shell, with faults.

use std::collections::{BTreeMap, BTreeSet};

use mtls_agent::agent::failure::{Class, Failure};
use mtls_agent::agent::memory::Memory;
use mtls_agent::agent::{Action, By, Event, ExchangeId, Moment, Report, SetId, Settings};

use crate::chance::Chance;
use crate::tally::Tally;
use crate::watch::Watched;

/// The content of a credential set; two sets with the same content are the same octets.
pub(crate) type Content = u64;

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) sets: BTreeMap<SetId, Content>,
    pub(crate) current: Option<SetId>,
    pub(crate) good: Option<SetId>,
    pub(crate) quarantine: BTreeSet<Content>,
    pub(crate) next: u64,
}

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) watched: Watched,
    pub(crate) store: Store,
    /// What CUPS wants the device to have, and what the LNS accepts.
    pub(crate) wanted: Content,
    pub(crate) accepted: BTreeSet<Content>,
    pub(crate) offered: BTreeMap<ExchangeId, Content>,
    /// CUPS offers nothing a second time that the device has on its disk.
    pub(crate) offers_once: bool,
    pub(crate) taken: BTreeSet<Content>,
    pub(crate) is_lns_away: bool,
    /// The CUPS that some contents name, 0 otherwise, and those that are no good any more.
    pub(crate) cups_of: BTreeMap<Content, u64>,
    pub(crate) bad_cups: BTreeMap<u64, Class>,
    pub(crate) reply: Option<(Moment, Event)>,
    pub(crate) clock_set: Moment,
    /// Percent of exchanges that fail, of store acts that fail.
    pub(crate) network_faults: u64,
    pub(crate) store_faults: u64,
    pub(crate) proofs: BTreeSet<Content>,
    pub(crate) tally: Tally,
}

pub(crate) fn run(seed: u64, steps: u32) -> Tally {
    let mut world = World::new(seed);
    world.boot(false);
    for _ in 0..steps {
        world.turn();
        world.check();
    }
    world.calm_down();
    world.tally.steps += world.watched.steps;
    world.tally
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let settings = Settings {
            prove: !chance.percent(10),
            ..Settings::default()
        };
        Self {
            watched: Watched::new(settings, seed, Moment::default()),
            settings,
            seed,
            store: Store::default(),
            wanted: 1,
            accepted: BTreeSet::from([1]),
            offered: BTreeMap::new(),
            offers_once: chance.percent(30),
            taken: BTreeSet::new(),
            is_lns_away: false,
            cups_of: BTreeMap::new(),
            bad_cups: BTreeMap::new(),
            reply: None,
            clock_set: Moment::default(),
            network_faults: chance.pick(&[0, 5, 30, 70]),
            store_faults: chance.pick(&[0, 0, 3, 15]),
            proofs: BTreeSet::new(),
            tally: Tally::default(),
            chance,
        }
    }

    /// Loses the machine, keeps the store, as a power cut or a restart does.
    pub(crate) fn boot(&mut self, again: bool) {
        self.tally.steps += self.watched.steps;
        self.tally.restarts += u64::from(again);
        let now = self.watched.now;
        let seed = self.seed.wrapping_add(self.tally.restarts);
        // A restart of the process, sometimes a loop of them; or a reboot, which forgets.
        let before = self.chance.percent(60).then(|| self.watched.agent.memory());
        let refused_at = self.watched.refused_at.filter(|_| !self.watched.waived);
        self.watched = Watched::new(self.settings, seed, now);
        if self.chance.percent(50) {
            self.feed(Event::IdentityLoaded);
        }
        if let Some(memory) = before {
            let memory = Memory::decode(&memory.encode());
            self.watched.refused_at = refused_at;
            self.feed(Event::Remembered { memory });
        }
        self.reply = None;
        self.clock_set = now.plus(self.chance.seconds(300));
        let current = self.store.current;
        let proven = current.is_some() && current == self.store.good;
        let newest = self.store.sets.keys().next_back().copied();
        let staged = newest.filter(|set| Some(*set) > current && Some(*set) != self.store.good);
        let boot_delay_wanted = self.chance.percent(50);
        self.tell_cups();
        self.feed(Event::Started {
            current,
            proven,
            staged,
            boot_delay_wanted,
        });
    }

    /// Whatever comes first: the worker's answer, the deadline, or an act of the world.
    fn turn(&mut self) {
        if self.chance.percent(8) {
            self.happen();
        }
        let deadline = self.watched.agent.deadline().map(|deadline| deadline.at);
        let replied = self
            .reply
            .take_if(|(at, _)| deadline.is_none_or(|due| *at <= due));
        let (at, event) = match (replied, deadline) {
            (Some(reply), _) => reply,
            (None, Some(due)) => (due, Event::DeadlinePassed),
            (None, None) => return self.boot(true),
        };
        self.watched.now = self.watched.now.max(at);
        self.feed(event);
    }

    fn happen(&mut self) {
        let later = self.watched.now.plus(self.chance.seconds(1800));
        if self
            .watched
            .agent
            .deadline()
            .is_some_and(|deadline| later < deadline.at)
        {
            self.watched.now = later;
        }
        match self.chance.below(20) {
            0..5 => self.rotate(),
            5 | 6 => self.revoke(),
            7 => self.boot(true),
            8 => self.network_faults = self.chance.pick(&[0, 0, 5, 50, 100]),
            9 => self.store_faults = self.chance.pick(&[0, 0, 3, 30]),
            10 => self.feed(Event::RefreshRequested { by: By::Operator }),
            11 | 12 => self.feed(Event::RefreshRequested { by: By::Link }),
            13 => self.feed(Event::IdentityUnusable {
                failure: fail(Class::IdentityInvalid),
            }),
            14 => self.feed(Event::IdentityLoaded),
            15 | 16 => self.feed(Event::NetworkChanged),
            17 | 18 => self.spoil_cups(),
            _ => self.feed(Event::IdentityLoadFailed {
                failure: fail(Class::IdentityInvalid),
            }),
        }
    }

    /// The LNS drops what the device uses, as long as GOOD or something new remains.
    fn revoke(&mut self) {
        if let Some(set) = self
            .store
            .current
            .filter(|set| Some(*set) != self.store.good)
        {
            self.accepted.remove(&self.store.sets[&set]);
        }
    }

    pub(crate) fn feed(&mut self, event: Event) {
        let now = self.watched.now;
        let actions = self.watched.step(event, now);
        for action in actions {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Exchange { id } => {
                let event = self.exchange(id, self.cups_in_use());
                self.answer(event);
            }
            Action::ExchangeFormer { id } => {
                self.tally.former += 1;
                let formers = self.former_cups();
                let turn = usize::try_from(self.tally.former).unwrap_or_default();
                let former = formers[turn % formers.len()];
                let event = self.exchange(id, former);
                self.answer(event);
            }
            Action::Prove { id, set } => {
                let event = self.prove(id, set);
                self.answer(event);
            }
            Action::Report(report) => self.count(&report),
            Action::ReloadIdentity if self.chance.percent(80) => self.feed(Event::IdentityLoaded),
            Action::ReloadIdentity => {
                self.feed(Event::IdentityUnusable {
                    failure: fail(Class::IdentityInvalid),
                });
            }
            Action::Export { set } => assert_eq!(self.store.current, Some(set)),
            Action::Quit => panic!("nobody stopped it"),
            act if self.chance.percent(self.store_faults) => {
                // A pointer may have moved although its last fsync failed.
                let pointer = matches!(
                    act,
                    Action::Commit { .. } | Action::Confirm { .. } | Action::Revert
                );
                if pointer && self.chance.percent(50) {
                    self.keep(&act);
                    self.tell_cups();
                }
                self.feed(Event::StoreFailed {
                    failure: fail(Class::Storage),
                });
            }
            act => {
                if let Some(event) = self.keep(&act) {
                    self.tell_cups();
                    self.feed(event);
                }
            }
        }
    }

    /// The answer comes within a minute, and now and then never.
    fn answer(&mut self, event: Event) {
        let at = self.watched.now.plus(self.chance.seconds(60));
        self.reply = (!self.chance.percent(2)).then_some((at, event));
    }

    fn exchange(&mut self, id: ExchangeId, cups: u64) -> Event {
        if let Some(class) = self.bad_cups.get(&cups) {
            let failure = fail(*class);
            return Event::Failed { id, failure };
        }
        if let Some(failure) = self.fault() {
            return Event::Failed { id, failure };
        }
        let current = self.store.current.map(|set| self.store.sets[&set]);
        let is_over = self.offers_once && self.taken.contains(&self.wanted);
        if is_over || current == Some(self.wanted) {
            return Event::Unchanged { id };
        }
        self.offered.insert(id, self.wanted);
        Event::Offered { id }
    }

    fn prove(&mut self, id: ExchangeId, set: SetId) -> Event {
        if self.is_lns_away {
            let failure = fail(Class::Network);
            return Event::Disproved { id, failure };
        }
        if let Some(failure) = self.fault() {
            return Event::Disproved { id, failure };
        }
        let content = self.store.sets[&set];
        let cups = self.cups_of_set(Some(set));
        let is_new = cups != self.cups_in_use();
        if let Some(class) = self.bad_cups.get(&cups).filter(|_| is_new) {
            let failure = fail(*class);
            return Event::Disproved { id, failure };
        }
        if self.accepted.contains(&content) {
            self.proofs.insert(content);
            return Event::Proved { id };
        }
        Event::Disproved {
            id,
            failure: fail(Class::NotAuthorised),
        }
    }

    fn fault(&mut self) -> Option<Failure> {
        if self.watched.now < self.clock_set {
            return Some(fail(Class::ClockSuspect));
        }
        let classes = [
            Class::Network,
            Class::Network,
            Class::Busy,
            Class::ServerFault,
        ];
        let refusal = [Class::NotTls, Class::NotRegistered, Class::ServerUntrusted];
        if self.chance.percent(self.network_faults) {
            let told = self.chance.percent(20).then(|| self.chance.seconds(7200));
            return Some(fail(self.chance.pick(&classes)).with_retry_after(told));
        }
        let odd = self.network_faults > 0 && self.chance.percent(3);
        odd.then(|| fail(self.chance.pick(&refusal)))
    }

    /// The store does what it promises, at once.
    fn keep(&mut self, act: &Action) -> Option<Event> {
        let store = &mut self.store;
        Some(match *act {
            Action::Stage { id } => {
                let content = self.offered.remove(&id)?;
                if store.quarantine.contains(&content) {
                    return Some(Event::Held {
                        failure: fail(Class::NotAuthorised),
                    });
                }
                let known = store.sets.iter().find(|(_, kept)| **kept == content);
                let set = known.map_or(SetId(store.next), |(set, _)| *set);
                store.next = store.next.max(set.0 + 1);
                store.sets.insert(set, content);
                self.taken.insert(content);
                Event::Staged { set }
            }
            Action::Commit { set } => {
                let proved = self.proofs.contains(&store.sets[&set]);
                assert!(proved || !self.settings.prove, "CURRENT was never proved");
                store.current = Some(set);
                Event::Committed { set }
            }
            Action::Confirm { set } => {
                let proved = self.proofs.contains(&store.sets[&set]);
                assert!(proved || !self.settings.prove, "GOOD was never proved");
                store.good = Some(set);
                Event::Confirmed { set }
            }
            Action::Revert => {
                if store.good.is_some() {
                    store.current = store.good;
                }
                Event::Reverted { set: store.good }
            }
            Action::Discard { set, quarantine } => {
                // After a restart amid a trial only the store knows GOOD.
                if Some(set) == store.good {
                    return None;
                }
                assert_ne!(Some(set), store.current, "CURRENT was discarded");
                let content = store.sets.remove(&set)?;
                if quarantine {
                    store.quarantine.insert(content);
                }
                Event::Discarded { set }
            }
            _ => return None,
        })
    }

    fn count(&mut self, report: &Report) {
        match report {
            Report::Rotated { .. } => self.tally.rotated += 1,
            Report::Confirmed { .. } => self.tally.confirmed += 1,
            Report::Refused { .. } => self.tally.refused += 1,
            Report::RolledBack { .. } => self.tally.rolled_back += 1,
            Report::Delayed { .. } => self.tally.delayed += 1,
            _ => {}
        }
    }

    pub(crate) fn check(&self) {
        for set in [self.store.current, self.store.good].into_iter().flatten() {
            assert!(
                self.store.sets.contains_key(&set),
                "the last proven set is gone"
            );
        }
        assert!(
            self.store.good.is_none() || self.store.current.is_some(),
            "no CURRENT"
        );
    }
}

fn fail(class: Class) -> Failure {
    Failure::new(class, "simulated", String::new())
}
