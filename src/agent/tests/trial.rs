//! Checks: a committed set has to show that it lasts.

use super::*;

/// Passes time until the set on trial is tried.
fn tried(agent: &mut Agent) -> ExchangeId {
    match pass(agent).0.as_slice() {
        [Action::Prove { id, set: SET }] => *id,
        other => panic!("not a trial: {other:?}"),
    }
}

#[test]
fn the_trial_comes_within_an_hour_of_the_commit_and_makes_the_set_good() {
    let mut agent = in_service();
    rotate(&mut agent);
    assert_eq!((wait(&agent).as_secs(), reason(&agent)), (3600, "trial"));
    let id = tried(&mut agent);
    assert_eq!(
        tell(&mut agent, Event::Proved { id }),
        [Action::Confirm { set: SET }]
    );
    assert_eq!(
        tell(&mut agent, Event::Confirmed { set: SET }),
        [Action::Report(Report::Confirmed { set: SET })]
    );
    assert_eq!(agent.status().proven, Some(SET));
    assert_eq!(reason(&agent), "poll");
}

#[test]
fn a_cycle_after_ten_minutes_includes_the_trial() {
    for (minutes, tries) in [(9, false), (11, true)] {
        let mut agent = in_service();
        rotate(&mut agent);
        let later = agent.now.plus(Duration::from_secs(60 * minutes));
        let actions = agent.step(Event::RefreshRequested { by: By::Operator }, later);
        let Some(Action::Exchange { id }) = actions.into_iter().next() else {
            panic!("no ask")
        };
        let actions = tell(&mut agent, Event::Unchanged { id });
        assert_eq!(
            matches!(actions.0.as_slice(), [Action::Prove { set: SET, .. }]),
            tries
        );
    }
}

#[test]
fn a_set_not_known_to_be_good_at_the_start_is_tried_in_the_first_cycle() {
    let mut agent = begun(Settings::default(), Some(SET), false);
    let id = asked(&mut agent);
    let actions = tell(&mut agent, Event::Unchanged { id });
    assert!(matches!(
        actions.0.as_slice(),
        [Action::Prove { set: SET, .. }]
    ));
}

#[test]
fn three_refusals_over_a_quarter_of_an_hour_go_back_to_good() {
    let mut agent = in_service();
    rotate(&mut agent);
    let refusal = failure(Class::NotAuthorised);
    for _ in 0..2 {
        let id = tried(&mut agent);
        let actions = tell(
            &mut agent,
            Event::Disproved {
                id,
                failure: refusal.clone(),
            },
        );
        let report = Report::TrialFailed {
            set: SET,
            failure: refusal.clone(),
        };
        assert_eq!(actions, [Action::Report(report)]);
        assert!(wait(&agent).as_secs() >= 12 * 60);
    }
    let id = tried(&mut agent);
    let actions = tell(
        &mut agent,
        Event::Disproved {
            id,
            failure: refusal.clone(),
        },
    );
    assert_eq!(actions, [Action::Revert]);
    assert_eq!(
        tell(&mut agent, Event::Reverted { set: Some(OLD) }),
        [
            Action::Discard {
                set: SET,
                quarantine: true
            },
            Action::Export { set: OLD },
            Action::Report(Report::RolledBack {
                from: SET,
                to: OLD,
                failure: refusal
            })
        ]
    );
    assert_eq!(agent.status().current, Some(OLD));
}

#[test]
fn a_set_that_is_refused_to_the_link_fails_its_trials_whatever_discovery_says() {
    let mut agent = in_service();
    rotate(&mut agent);
    let refused = Some(SET);
    assert_eq!(tell(&mut agent, Event::LinkJudged { refused }), []);
    // As soon as a trial may be.
    assert_eq!((wait(&agent).as_secs(), reason(&agent)), (600, "trial"));
    for _ in 0..2 {
        let id = tried(&mut agent);
        let actions = tell(&mut agent, Event::Proved { id });
        let [Action::Report(Report::TrialFailed { set: SET, failure })] = actions.0.as_slice()
        else {
            panic!("not a failed trial: {actions:?}")
        };
        assert_eq!(failure.class, Class::NotAuthorised);
        assert!(wait(&agent).as_secs() >= 12 * 60);
    }
    let id = tried(&mut agent);
    assert_eq!(tell(&mut agent, Event::Proved { id }), [Action::Revert]);
}

#[test]
fn a_refusal_of_another_set_or_one_that_is_over_does_not_count() {
    for refused in [Some(OLD), None] {
        let mut agent = in_service();
        rotate(&mut agent);
        let earlier = Some(SET);
        tell(&mut agent, Event::LinkJudged { refused: earlier });
        tell(&mut agent, Event::LinkJudged { refused });
        let id = tried(&mut agent);
        assert_eq!(
            tell(&mut agent, Event::Proved { id }),
            [Action::Confirm { set: SET }]
        );
    }
}

#[test]
fn outages_never_end_a_trial() {
    let mut agent = in_service();
    rotate(&mut agent);
    for _ in 0..200 {
        let id = tried(&mut agent);
        let failure = failure(Class::Network);
        let actions = tell(
            &mut agent,
            Event::Disproved {
                id,
                failure: failure.clone(),
            },
        );
        assert_eq!(
            actions,
            [Action::Report(Report::TrialFailed { set: SET, failure })]
        );
    }
}

#[test]
fn without_a_good_set_the_current_one_stays() {
    let mut agent = begun(Settings::default(), None, false);
    rotate(&mut agent);
    let refused = |agent: &mut Agent| loop {
        match pass(agent).0.as_slice() {
            [Action::Exchange { id }] => drop(tell(agent, Event::Unchanged { id: *id })),
            [Action::Prove { id, .. }] => {
                let failure = failure(Class::NotAuthorised);
                return tell(agent, Event::Disproved { id: *id, failure });
            }
            other => panic!("unexpected: {other:?}"),
        }
    };
    refused(&mut agent);
    refused(&mut agent);
    assert_eq!(refused(&mut agent), [Action::Revert]);
    let actions = tell(&mut agent, Event::Reverted { set: None });
    assert!(matches!(
        actions.0.as_slice(),
        [Action::Report(Report::TrialFailed { .. })]
    ));
    assert_eq!(agent.status().current, Some(SET));
    refused(&mut agent);
    assert_eq!(agent.status().phase, "waiting");
}

#[test]
fn a_revert_that_the_store_could_not_do_is_done_again() {
    let mut agent = in_service();
    rotate(&mut agent);
    for _ in 0..3 {
        let id = tried(&mut agent);
        tell(
            &mut agent,
            Event::Disproved {
                id,
                failure: failure(Class::NotAuthorised),
            },
        );
    }
    tell(
        &mut agent,
        Event::StoreFailed {
            failure: failure(Class::Storage),
        },
    );
    assert_eq!(reason(&agent), "trial");
    assert_eq!(pass(&mut agent), [Action::Revert]);
}

#[test]
fn a_confirmation_that_the_store_could_not_do_is_done_again() {
    let mut agent = in_service();
    rotate(&mut agent);
    let id = tried(&mut agent);
    tell(&mut agent, Event::Proved { id });
    let failure = failure(Class::Storage);
    let actions = tell(
        &mut agent,
        Event::StoreFailed {
            failure: failure.clone(),
        },
    );
    assert_eq!(actions, [Action::Report(Report::Failed { failure })]);
    assert_eq!(agent.status().proven, Some(OLD));
    tried(&mut agent);
}
