//! Checks: a move to another CUPS that turns out to be no good.

use super::*;

const DAY_S: u64 = 24 * 3600;

/// Rotated to a set with another CUPS; GOOD's is the one before it.
fn moved() -> Agent {
    let mut agent = in_service();
    let id = proving(&mut agent);
    tell(&mut agent, Event::Proved { id });
    tell_moved(&mut agent, true);
    tell(&mut agent, Event::Committed { set: SET });
    agent
}

fn tell_moved(agent: &mut Agent, is_on_trial: bool) {
    let event = Event::CupsMoved {
        is_on_trial,
        has_former: true,
    };
    assert_eq!(tell(agent, event), []);
}

/// Passes time with this failure of the CUPS in use until the former one is asked.
fn former_asked(agent: &mut Agent, class: Class) -> ExchangeId {
    loop {
        match pass(agent).0.as_slice() {
            [Action::ExchangeFormer { id }] => return *id,
            [Action::Exchange { id }] => {
                let failure = failure(class);
                tell(agent, Event::Failed { id: *id, failure });
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}

#[test]
fn the_new_cups_is_asked_within_an_hour_and_only_then_the_lns() {
    let mut agent = moved();
    assert_eq!((wait(&agent).as_secs(), reason(&agent)), (3600, "trial"));
    let id = asked(&mut agent);
    let actions = tell(&mut agent, Event::Unchanged { id });
    let [Action::Prove { id, set: SET }] = actions.0.as_slice() else {
        panic!("no trial at the LNS: {actions:?}")
    };
    assert_eq!(
        tell(&mut agent, Event::Proved { id: *id }),
        [Action::Confirm { set: SET }]
    );
}

#[test]
fn a_new_cups_that_cannot_be_reached_is_not_confirmed_and_not_condemned() {
    let mut agent = moved();
    for _ in 0..100 {
        let id = asked(&mut agent);
        let failure = failure(Class::Network);
        tell(&mut agent, Event::Failed { id, failure });
    }
    assert_eq!(agent.status().proven, Some(OLD));
    assert_eq!(agent.status().current, Some(SET));
}

#[test]
fn refusals_of_the_new_cups_lead_back_to_good() {
    for class in [
        Class::NotAuthorised,
        Class::ClientCertRefused,
        Class::ServerUntrusted,
    ] {
        let mut agent = moved();
        for _ in 0..2 {
            let id = asked(&mut agent);
            let failure = failure(class);
            let actions = tell(
                &mut agent,
                Event::Failed {
                    id,
                    failure: failure.clone(),
                },
            );
            assert_eq!(actions, [Action::Report(Report::Failed { failure })]);
        }
        let id = asked(&mut agent);
        let failure = failure(class);
        let actions = tell(&mut agent, Event::Failed { id, failure });
        assert_eq!(actions, [Action::Revert]);
        let actions = tell(&mut agent, Event::Reverted { set: Some(OLD) });
        assert!(matches!(
            actions.0.as_slice(),
            [
                Action::Discard {
                    set: SET,
                    quarantine: true
                },
                Action::Export { set: OLD },
                Action::Report(Report::RolledBack {
                    from: SET,
                    to: OLD,
                    ..
                })
            ]
        ));
    }
}

#[test]
fn refusals_of_a_cups_that_did_not_change_condemn_no_set() {
    let mut agent = in_service();
    rotate(&mut agent);
    for _ in 0..10 {
        match pass(&mut agent).0.as_slice() {
            [Action::Exchange { id }] => {
                let failure = failure(Class::NotAuthorised);
                let actions = tell(&mut agent, Event::Failed { id: *id, failure });
                assert!(matches!(actions.0.as_slice(), [Action::Report(_)]));
            }
            [Action::Prove { id, .. }] => {
                let failure = failure(Class::Network);
                tell(&mut agent, Event::Disproved { id: *id, failure });
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(agent.status().current, Some(SET));
}

#[test]
fn the_former_cups_is_asked_after_a_day_of_silence_and_then_once_a_day() {
    for class in [Class::Network, Class::NotRegistered] {
        let mut agent = moved();
        let begun = agent.now;
        let id = former_asked(&mut agent, class);
        let first = agent.now;
        assert!(first.since(begun).as_secs() >= DAY_S);
        assert!(first.since(begun).as_secs() <= DAY_S + 8 * 3600);
        // It wants no other set either: the new one is waited for as before.
        let actions = tell(&mut agent, Event::Unchanged { id });
        let failure = failure(class);
        assert_eq!(actions, [Action::Report(Report::Failed { failure })]);
        assert_eq!(agent.status().current, Some(SET));
        former_asked(&mut agent, class);
        assert!(agent.now.since(first).as_secs() >= DAY_S);
    }
}

#[test]
fn a_set_of_the_former_cups_is_proved_and_committed_like_any_other() {
    let back = SetId(9);
    let mut agent = moved();
    let id = former_asked(&mut agent, Class::Network);
    assert_eq!(
        tell(&mut agent, Event::Offered { id }),
        [Action::Stage { id }]
    );
    let actions = tell(&mut agent, Event::Staged { set: back });
    let [Action::Prove { id, .. }] = actions.0.as_slice() else {
        panic!("no proof: {actions:?}")
    };
    assert_eq!(
        tell(&mut agent, Event::Proved { id: *id }),
        [Action::Commit { set: back }]
    );
    tell_moved(&mut agent, false);
    tell(&mut agent, Event::Committed { set: back });
    assert!(matches!(
        pass(&mut agent).0.as_slice(),
        [Action::Prove { set, .. }] if *set == back
    ));
}

#[test]
fn a_cups_that_answers_in_between_is_not_silent() {
    let mut agent = moved();
    tell_moved(&mut agent, false);
    for _ in 0..500 {
        match pass(&mut agent).0.as_slice() {
            [Action::Exchange { id }] if agent.now.since_boot().as_secs() % 5 == 0 => {
                tell(&mut agent, Event::Unchanged { id: *id });
            }
            [Action::Exchange { id }] => {
                let failure = failure(Class::Network);
                tell(&mut agent, Event::Failed { id: *id, failure });
            }
            [Action::Prove { id, .. }] => {
                let failure = failure(Class::Network);
                tell(&mut agent, Event::Disproved { id: *id, failure });
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}
