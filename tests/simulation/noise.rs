//! Any event with any number at any time.

use core::time::Duration;

use mtls_agent::agent::failure::{Class, Failure};
use mtls_agent::agent::{Action, By, Event, ExchangeId, Moment, SetId, Settings};

use crate::chance::Chance;
use crate::watch::Watched;

pub(crate) fn run(seed: u64, steps: u32) {
    let mut chance = Chance::new(seed);
    let mut watched = Watched::new(settings(&mut chance), seed, Moment::default());
    let mut last = None;
    for _ in 0..steps {
        let event = event(&mut chance, last.as_ref());
        let now = moment(&mut chance, &watched);
        let actions = watched.step(event, now);
        if let Some(action) = actions.into_iter().next_back() {
            if action == Action::Quit {
                watched.step(Event::DeadlinePassed, now);
                watched.step(Event::IdentityLoaded, now);
                watched = Watched::new(settings(&mut chance), seed, Moment::default());
            }
            last = Some(action);
        }
    }
}

fn settings(chance: &mut Chance) -> Settings {
    let poll = chance.pick(&[0, 1, 60, 3600, 86_400, 604_800]);
    Settings {
        poll: Duration::from_secs(poll),
        poll_unconfigured: chance.seconds(3600),
        prove: chance.percent(80),
        first_retry_spread: chance.seconds(120),
        boot_delay_max: chance.seconds(60),
    }
}

/// Mostly the deadline, sometimes a little on, a day on, or back.
fn moment(chance: &mut Chance, watched: &Watched) -> Moment {
    match chance.below(8) {
        0..4 => watched
            .agent
            .deadline()
            .map_or(watched.now, |deadline| deadline.at),
        4 => watched.now.plus(chance.seconds(90_000)),
        5 => Moment::from_boot(chance.seconds(5000)),
        _ => watched.now.plus(chance.seconds(60)),
    }
}

/// Half of the events answer the last command, so that the noise gets anywhere.
fn event(chance: &mut Chance, last: Option<&Action>) -> Event {
    let fitting = chance.percent(50);
    match last {
        Some(Action::Exchange { id } | Action::ExchangeFormer { id }) if fitting => {
            Event::Offered { id: *id }
        }
        Some(Action::Stage { .. }) if fitting => Event::Staged { set: set(chance) },
        Some(Action::Prove { id, .. }) if fitting && chance.percent(50) => Event::Disproved {
            id: *id,
            failure: failure(chance),
        },
        Some(Action::Prove { id, .. }) if fitting => Event::Proved { id: *id },
        Some(Action::Commit { set }) if fitting => Event::Committed { set: *set },
        Some(Action::Confirm { set }) if fitting => Event::Confirmed { set: *set },
        _ => any(chance, last),
    }
}

fn any(chance: &mut Chance, last: Option<&Action>) -> Event {
    let id = match last {
        Some(
            Action::Exchange { id } | Action::ExchangeFormer { id } | Action::Prove { id, .. },
        ) if chance.percent(60) => *id,
        _ => ExchangeId(u32::try_from(chance.below(50)).unwrap_or(0)),
    };
    let failure = failure(chance);
    match chance.below(50) {
        0 | 1 => Event::Started {
            current: chance.percent(50).then(|| set(chance)),
            proven: chance.percent(50),
            staged: chance.percent(50).then(|| set(chance)),
            boot_delay_wanted: chance.percent(50),
        },
        2..12 => Event::DeadlinePassed,
        12..14 => Event::Unchanged { id },
        14 => Event::Offered { id },
        15..17 => Event::Failed { id, failure },
        17 => Event::Staged { set: set(chance) },
        18 => Event::Held { failure },
        19 => Event::Proved { id },
        20..23 => Event::Disproved { id, failure },
        23 => Event::Committed { set: set(chance) },
        24 => Event::Confirmed { set: set(chance) },
        25 | 26 => Event::Reverted {
            set: chance.percent(70).then(|| set(chance)),
        },
        27 => Event::Discarded { set: set(chance) },
        28 | 29 => Event::StoreFailed { failure },
        30..34 => Event::IdentityLoaded,
        34 => Event::IdentityUnusable { failure },
        35 => Event::IdentityLoadFailed { failure },
        36 => Event::Reconfigured {
            settings: settings(chance),
        },
        37..39 => Event::RefreshRequested { by: By::Operator },
        39..41 => Event::RefreshRequested { by: By::Link },
        44..47 => Event::NetworkChanged,
        47 | 48 => Event::CupsMoved {
            is_on_trial: chance.percent(60),
            has_former: chance.percent(60),
        },
        49 => Event::CupsRenamed,
        42 | 43 => Event::LinkJudged {
            refused: chance.percent(60).then(|| set(chance)),
        },
        41 if chance.percent(10) => Event::Stopping,
        _ => Event::DeadlinePassed,
    }
}

fn set(chance: &mut Chance) -> SetId {
    SetId(chance.below(4))
}

fn failure(chance: &mut Chance) -> Failure {
    let told = chance.percent(20).then(|| chance.seconds(100_000));
    Failure::new(chance.pick(&Class::ALL), "noise", String::new()).with_retry_after(told)
}
