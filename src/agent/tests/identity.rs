//! Checks: silence without an identity, a quick return with a mended one.

use super::*;

fn unusable() -> Event {
    Event::IdentityUnusable {
        failure: failure(Class::IdentityInvalid),
    }
}

#[test]
fn a_start_without_word_of_the_identity_asks_for_it() {
    let mut agent = Agent::new(Settings::default(), 1);
    let started = Event::Started {
        current: Some(OLD),
        proven: true,
        staged: None,
        boot_delay_wanted: false,
    };
    assert_eq!(agent.step(started, at(1000)), [Action::ReloadIdentity]);
    assert_eq!(
        tell(&mut agent, Event::IdentityLoaded),
        [Action::Report(Report::IdentityReady)]
    );
    asked(&mut agent);
}

#[test]
fn without_an_identity_nothing_is_sent() {
    let mut agent = in_service();
    let report = Report::IdentityUnusable {
        failure: failure(Class::IdentityInvalid),
    };
    assert_eq!(tell(&mut agent, unusable()), [Action::Report(report)]);
    assert_eq!(
        tell(&mut agent, Event::RefreshRequested { by: By::Link }),
        []
    );
    assert_eq!(
        (wait(&agent).as_secs(), reason(&agent)),
        (3600, "identity_recheck")
    );
    assert_eq!(pass(&mut agent), [Action::ReloadIdentity]);
    assert_eq!(wait(&agent).as_secs(), 3600);
}

#[test]
fn losing_the_identity_gives_up_the_exchange() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    assert_eq!(tell(&mut agent, unusable()).len(), 1);
    assert_eq!(tell(&mut agent, Event::Offered { id }), []);
    assert_eq!(agent.status().phase, "unusable");
}

#[test]
fn a_proof_given_up_with_the_identity_is_taken_up_again() {
    let mut agent = in_service();
    proving(&mut agent);
    tell(&mut agent, unusable());
    tell(&mut agent, Event::IdentityLoaded);
    assert_eq!(reason(&agent), "prove_again");
}

#[test]
fn a_set_staged_without_an_identity_waits_for_one() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::Offered { id });
    assert_eq!(tell(&mut agent, unusable()), []);
    let failure = failure(Class::IdentityInvalid);
    assert_eq!(
        tell(&mut agent, Event::Staged { set: SET }),
        [
            Action::Report(Report::Delayed {
                set: SET,
                failure: failure.clone()
            }),
            Action::Report(Report::IdentityUnusable { failure })
        ]
    );
}

#[test]
fn a_mended_identity_asks_soon() {
    let mut agent = in_service();
    tell(&mut agent, unusable());
    tell(&mut agent, Event::IdentityLoaded);
    assert!(wait(&agent).as_secs() <= 5);
    asked(&mut agent);
}

#[test]
fn a_new_identity_after_a_refusal_asks_soon() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(
        &mut agent,
        Event::Failed {
            id,
            failure: failure(Class::ClientCertRefused),
        },
    );
    tell(&mut agent, Event::IdentityLoaded);
    assert_eq!(reason(&agent), "identity_changed");
    assert!(wait(&agent).as_secs() <= 5);
}

#[test]
fn a_refusal_of_the_identity_replaced_meanwhile_asks_soon() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::IdentityLoaded);
    tell(
        &mut agent,
        Event::Failed {
            id,
            failure: failure(Class::ClientCertRefused),
        },
    );
    assert_eq!(reason(&agent), "identity_changed");
}

#[test]
fn a_failed_reload_keeps_the_identity_in_use() {
    let mut agent = in_service();
    let failure = failure(Class::IdentityInvalid);
    assert_eq!(
        tell(
            &mut agent,
            Event::IdentityLoadFailed {
                failure: failure.clone()
            }
        ),
        [Action::Report(Report::IdentityKept { failure })]
    );
    asked(&mut agent);
}
