//! Checks: asking, staging, proving, committing.

use super::*;

#[test]
fn an_unchanged_answer_ends_the_cycle() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    assert_eq!(
        tell(&mut agent, Event::Unchanged { id }),
        [Action::Report(Report::Unchanged)]
    );
    assert_eq!(reason(&agent), "poll");
}

#[test]
fn a_new_set_is_staged_then_proved_then_committed_then_exported() {
    let mut agent = in_service();
    rotate(&mut agent);
    assert_eq!(agent.status().current, Some(SET));
    assert_eq!(agent.status().proven, Some(OLD));
    assert_eq!(agent.status().staged, None);
}

#[test]
fn without_proving_a_staged_set_is_committed_and_confirmed_at_once() {
    let settings = Settings {
        prove: false,
        ..Settings::default()
    };
    let mut agent = begun(settings, Some(OLD), true);
    let id = asked(&mut agent);
    tell(&mut agent, Event::Offered { id });
    assert_eq!(
        tell(&mut agent, Event::Staged { set: SET }),
        [Action::Commit { set: SET }]
    );
    assert_eq!(
        tell(&mut agent, Event::Committed { set: SET }),
        [Action::Export { set: SET }, Action::Confirm { set: SET }]
    );
    assert_eq!(
        tell(&mut agent, Event::Confirmed { set: SET }),
        [Action::Report(Report::Rotated { set: SET })]
    );
    assert_eq!(reason(&agent), "poll");
}

#[test]
fn a_proof_of_another_exchange_is_ignored() {
    let mut agent = in_service();
    let id = proving(&mut agent);
    let other = ExchangeId(id.0.wrapping_add(1));
    assert_eq!(tell(&mut agent, Event::Proved { id: other }), []);
    assert_eq!(agent.status().phase, "proving");
}

#[test]
fn a_proof_of_an_exchange_that_was_given_up_is_ignored() {
    let mut agent = in_service();
    let id = proving(&mut agent);
    let given_up = pass(&mut agent);
    assert!(matches!(
        given_up.0.as_slice(),
        [Action::Report(Report::Delayed { set: SET, failure })] if failure.code == "no_answer"
    ));
    assert_eq!(tell(&mut agent, Event::Proved { id }), []);
    assert_eq!(agent.status().current, Some(OLD));
}

#[test]
fn a_commit_of_another_set_is_ignored() {
    let mut agent = in_service();
    let id = proving(&mut agent);
    tell(&mut agent, Event::Proved { id });
    assert_eq!(tell(&mut agent, Event::Committed { set: OLD }), []);
    assert_eq!(agent.status().phase, "committing");
}

#[test]
fn what_speaks_against_a_new_set_quarantines_it() {
    for class in [
        Class::ClientCertRefused,
        Class::NotAuthorised,
        Class::ServerUntrusted,
        Class::Protocol,
        Class::Policy,
        Class::NotRegistered,
        Class::Configuration,
        Class::TlsNegotiation,
    ] {
        let mut agent = in_service();
        let id = proving(&mut agent);
        let failure = failure(class);
        assert_eq!(
            tell(
                &mut agent,
                Event::Disproved {
                    id,
                    failure: failure.clone()
                }
            ),
            [
                Action::Discard {
                    set: SET,
                    quarantine: true
                },
                Action::Report(Report::Refused { failure })
            ]
        );
        assert_eq!(agent.status().current, Some(OLD));
        assert!(wait(&agent) >= Duration::from_secs(12 * 60));
    }
}

#[test]
fn what_says_nothing_of_a_new_set_keeps_it_staged() {
    for class in [
        Class::Network,
        Class::Busy,
        Class::ServerFault,
        Class::ClockSuspect,
        Class::NotTls,
        Class::Storage,
        Class::IdentityInvalid,
    ] {
        let mut agent = in_service();
        let id = proving(&mut agent);
        let failure = failure(class);
        assert_eq!(
            tell(
                &mut agent,
                Event::Disproved {
                    id,
                    failure: failure.clone()
                }
            ),
            [Action::Report(Report::Delayed { set: SET, failure })]
        );
        assert_eq!(agent.status().staged, Some(SET));
        assert_eq!(reason(&agent), "prove_again");
        assert!(matches!(
            pass(&mut agent).0.as_slice(),
            [Action::Prove { set: SET, .. }]
        ));
    }
}

#[test]
fn a_set_that_cannot_be_proved_for_seven_days_is_dropped_without_quarantine() {
    let mut agent = in_service();
    proving(&mut agent);
    tell(&mut agent, Event::DeadlinePassed);
    loop {
        match pass(&mut agent).0.as_slice() {
            [Action::Prove { id, .. }] => {
                let failure = failure(Class::Network);
                tell(&mut agent, Event::Disproved { id: *id, failure });
            }
            [Action::Exchange { id }] => {
                tell(&mut agent, Event::Offered { id: *id });
                let again = tell(&mut agent, Event::Staged { set: SET });
                assert!(matches!(
                    again.0.as_slice(),
                    [Action::Prove { set: SET, .. }]
                ));
            }
            [Action::Report(Report::Delayed { .. })] => {}
            [
                Action::Discard {
                    set: SET,
                    quarantine: false,
                },
                Action::Report(report),
            ] => {
                assert_eq!(report, &Report::Expired { set: SET });
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert!(agent.now >= at(1000 + 7 * 24 * 3600));
    assert_eq!(agent.status().staged, None);
}

#[test]
fn a_staged_set_is_proved_on_when_cups_offers_it_no_more() {
    let mut agent = in_service();
    let id = proving(&mut agent);
    tell(
        &mut agent,
        Event::Disproved {
            id,
            failure: failure(Class::Network),
        },
    );
    tell(&mut agent, Event::RefreshRequested { by: By::Operator });
    let id = ExchangeId(id.0 + 1);
    let Some(Action::Prove { id, set: SET }) = tell(&mut agent, Event::Unchanged { id }).0.pop()
    else {
        panic!("not proved in this cycle")
    };
    let failure = failure(Class::Network);
    assert_eq!(
        tell(
            &mut agent,
            Event::Disproved {
                id,
                failure: failure.clone()
            }
        ),
        [Action::Report(Report::Delayed { set: SET, failure })]
    );
    assert_eq!(agent.status().staged, Some(SET));
    assert_eq!(reason(&agent), "prove_again");
}

#[test]
fn a_newer_set_takes_the_place_of_the_staged_one() {
    let newer = SetId(8);
    let mut agent = in_service();
    let id = proving(&mut agent);
    tell(
        &mut agent,
        Event::Disproved {
            id,
            failure: failure(Class::Network),
        },
    );
    tell(&mut agent, Event::RefreshRequested { by: By::Operator });
    let id = ExchangeId(id.0 + 1);
    tell(&mut agent, Event::Offered { id });
    let actions = tell(&mut agent, Event::Staged { set: newer });
    assert!(matches!(
        actions.0.as_slice(),
        [
            Action::Discard {
                set: SET,
                quarantine: false
            },
            Action::Prove { set, .. }
        ] if *set == newer
    ));
}

#[test]
fn a_set_staged_before_the_start_is_proved_with_the_first_contact() {
    let mut agent = Agent::new(Settings::default(), 1);
    agent.step(Event::IdentityLoaded, at(1000));
    let started = Event::Started {
        current: Some(OLD),
        proven: true,
        staged: Some(SET),
        boot_delay_wanted: true,
    };
    assert_eq!(agent.step(started, at(1000)), []);
    let id = asked(&mut agent);
    assert!(matches!(
        tell(&mut agent, Event::Unchanged { id }).0.as_slice(),
        [Action::Prove { set: SET, .. }]
    ));
}

#[test]
fn a_set_in_quarantine_is_a_refusal() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::Offered { id });
    let failure = failure(Class::NotAuthorised);
    assert_eq!(
        tell(
            &mut agent,
            Event::Held {
                failure: failure.clone()
            }
        ),
        [Action::Report(Report::Refused { failure })]
    );
    assert_eq!(reason(&agent), "refusal");
}

#[test]
fn an_offer_of_the_current_set_is_nothing_new() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::Offered { id });
    let actions = tell(&mut agent, Event::Staged { set: OLD });
    assert_eq!(actions, [Action::Report(Report::Unchanged)]);
}

#[test]
fn a_commit_that_fails_is_proved_and_committed_again_and_never_discarded() {
    let mut agent = in_service();
    let id = proving(&mut agent);
    tell(&mut agent, Event::Proved { id });
    let failure = failure(Class::Storage);
    assert_eq!(
        tell(
            &mut agent,
            Event::StoreFailed {
                failure: failure.clone()
            }
        ),
        [Action::Report(Report::Failed { failure })]
    );
    assert_eq!(reason(&agent), "prove_again");
    let Some(Action::Prove { id, .. }) = pass(&mut agent).0.pop() else {
        panic!("no proof")
    };
    let refusal = super::failure(Class::NotAuthorised);
    let actions = tell(
        &mut agent,
        Event::Disproved {
            id,
            failure: refusal.clone(),
        },
    );
    assert_eq!(
        actions,
        [Action::Report(Report::Refused { failure: refusal })]
    );
}

#[test]
fn after_the_stop_nothing_follows() {
    let mut agent = in_service();
    assert_eq!(tell(&mut agent, Event::Stopping), [Action::Quit]);
    assert_eq!(agent.deadline(), None);
    assert_eq!(tell(&mut agent, Event::Stopping), []);
    assert_eq!(
        tell(&mut agent, Event::RefreshRequested { by: By::Operator }),
        []
    );
}

#[test]
fn the_status_shows_the_last_failure_and_what_comes_next() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    let failure = failure(Class::NotRegistered).with_hint("register the gateway");
    tell(&mut agent, Event::Failed { id, failure });
    let shown = agent
        .status()
        .to_json(agent.now.plus(Duration::from_secs(5)));
    assert_eq!(shown["phase"], "waiting");
    assert_eq!(shown["phase_s"], 5);
    assert_eq!(shown["current"], 3);
    assert_eq!(shown["last"]["result"], "failed");
    assert_eq!(shown["last"]["failure"]["class"], "not_registered");
    assert_eq!(shown["last"]["failure"]["hint"], "register the gateway");
    assert_eq!(shown["attempts_since_success"], 1);
    assert_eq!(shown["next"]["reason"], "refusal");
}
