//! Attempts: what brings them, how they end, what is told.

use super::*;

#[test]
fn the_first_attempt_falls_within_five_seconds_of_the_start() {
    let mut mender = begun(quiet());
    assert!(wait(&mender) <= secs(5));
    asked(&mut mender);
    assert_eq!(mender.status().state, "authenticating");
}

#[test]
fn after_a_boot_the_first_attempts_of_a_fleet_are_spread() {
    let waits: Vec<Duration> = (0..200)
        .map(|seed| {
            let mut mender = Mender::new(quiet(), seed);
            mender.step(Event::IdentityLoaded, at(9));
            let started = Event::Started {
                boot_delay_wanted: true,
            };
            mender.step(started, at(9));
            assert_eq!(reason(&mender), "boot_delay");
            // Other programs do not undo it.
            assert_eq!(tell(&mut mender, Event::FetchRequested), []);
            wait(&mender)
        })
        .collect();
    assert!(waits.iter().max().unwrap() > &secs(25));
    assert!(waits.iter().all(|wait| *wait <= secs(30)));
}

#[test]
fn an_accepted_device_publishes_its_token_once() {
    let mut mender = begun(quiet());
    let id = asked(&mut mender);
    let lifetime = Some(WEEK);
    let report = Report::Accepted {
        lifetime,
        is_new_device: false,
    };
    let actions = accept(&mut mender, id, lifetime);
    assert_eq!(actions, [Action::Publish, Action::Report(report)]);
    assert_eq!(accept(&mut mender, id, lifetime), []);
    let status = mender.status();
    assert_eq!((status.state, status.attempts), ("authorised", 0));
    assert_eq!(status.last_good, Some(mender.now));
}

#[test]
fn a_new_device_waits_for_acceptance_and_a_known_one_is_no_longer_accepted() {
    let mut mender = begun(quiet());
    let actions = refuse(&mut mender, pending());
    match actions.0.as_slice() {
        [
            Action::Announce,
            Action::Report(Report::Pending { failure }),
        ] => {
            assert_eq!(
                failure.message,
                "waiting for acceptance: h:1 answered HTTP 401"
            );
            assert_eq!(failure.code, "pending");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(mender.status().state, "pending");

    let id = asked(&mut mender);
    assert_eq!(mender.status().state, "pending", "while it asks, too");
    accept(&mut mender, id, Some(WEEK));
    let actions = refuse(&mut mender, pending());
    match actions.0.as_slice() {
        [
            Action::Withdraw,
            Action::Report(report @ Report::NoLongerAccepted { failure }),
        ] => {
            assert!(report.to_string().contains("decommissioned or rejected"));
            assert_eq!(failure.code, "decommissioned");
            assert!(failure.hint.unwrap().contains("Mender UI"));
        }
        other => panic!("{other:?}"),
    }
    assert!(wait(&mender) <= secs(60));
}

#[test]
fn every_attempt_ends_with_one_signal() {
    let mut mender = begun(quiet());
    for class in Class::ALL {
        let id = asked(&mut mender);
        let failure = failure(class);
        let actions = tell(&mut mender, Event::Refused { id, failure });
        let signals = actions.iter().filter(|action| action.is_signal()).count();
        assert_eq!(signals, 1, "{class:?}");
    }
}

#[test]
fn an_attempt_without_an_answer_is_given_up_and_its_late_answer_ignored() {
    let mut mender = begun(quiet());
    let id = asked(&mut mender);
    assert_eq!(
        (wait(&mender), reason(&mender)),
        (secs(300), "exchange_patience")
    );
    let actions = pass(&mut mender);
    assert_eq!(actions.first(), Some(&Action::Announce));
    assert_eq!(mender.status().why.unwrap().code, "no_answer");
    assert_eq!(accept(&mut mender, id, None), []);
}

#[test]
fn a_wish_for_a_token_passes_a_wait_but_not_the_floor() {
    let mut mender = begun(quiet());
    refuse(&mut mender, failure(Class::Configuration));
    assert_eq!(after(&mut mender, secs(4), Event::FetchRequested), []);
    assert!(wait(&mender) > secs(600));
    let id = attempt(&after(&mut mender, secs(1), Event::FetchRequested));
    assert_eq!(after(&mut mender, secs(9), Event::FetchRequested), []);
    let failure = failure(Class::Network);
    assert_eq!(
        tell(&mut mender, Event::Refused { id, failure }).first(),
        Some(&Action::Announce)
    );
}

#[test]
fn a_wish_for_a_token_does_not_pass_a_servers_word() {
    let mut mender = begun(quiet());
    let told = failure(Class::Busy).with_retry_after(Some(secs(3600)));
    refuse(&mut mender, told);
    assert_eq!(after(&mut mender, secs(60), Event::FetchRequested), []);
    assert!(wait(&mender) >= secs(3540));
}

#[test]
fn a_wish_for_a_token_beside_a_good_one_is_answered_by_an_attempt() {
    let mut mender = authorised(quiet());
    assert_eq!(tell(&mut mender, Event::FetchRequested), []);
    assert_eq!((wait(&mender), reason(&mender)), (FLOOR, "fetch"));
    asked(&mut mender);
    assert_eq!(mender.status().state, "authorised");
}

#[test]
fn a_person_passes_every_wait_but_the_floor() {
    let mut mender = begun(quiet());
    let told = failure(Class::Busy).with_retry_after(Some(secs(3600)));
    refuse(&mut mender, told);
    assert_eq!(tell(&mut mender, Event::RefreshRequested), []);
    assert_eq!(
        (wait(&mender), reason(&mender)),
        (FLOOR, "refresh_by_operator")
    );
    asked(&mut mender);
}

#[test]
fn a_network_that_comes_up_ends_the_wait_for_it_and_no_other() {
    let mut mender = begun(quiet());
    // The fourth wait of its kind is a long one for this seed.
    for _ in 0..4 {
        refuse(&mut mender, failure(Class::Network));
    }
    let long = wait(&mender) > secs(20);
    after(&mut mender, secs(6), Event::NetworkChanged);
    assert!(long && wait(&mender) <= secs(5) && reason(&mender) == "network");
    // Once a minute.
    let hurried = mender.deadline().unwrap().at;
    refuse(&mut mender, failure(Class::Network));
    tell(&mut mender, Event::NetworkChanged);
    let next = mender.deadline().unwrap().at;
    assert!(reason(&mender) == "retry" || next >= hurried.plus(secs(60)));

    let mut mender = begun(quiet());
    refuse(&mut mender, pending());
    let before = mender.deadline();
    tell(&mut mender, Event::NetworkChanged);
    assert_eq!(mender.deadline(), before);
}

#[test]
fn mended_settings_end_the_wait_after_a_refusal() {
    let mut mender = begun(quiet());
    refuse(&mut mender, failure(Class::ServerUntrusted));
    let settings = quiet();
    after(&mut mender, secs(60), Event::Reconfigured { settings });
    assert!(wait(&mender) <= secs(5));
    // Also when they came while the attempt was under way.
    let id = asked(&mut mender);
    tell(&mut mender, Event::Reconfigured { settings });
    let failure = failure(Class::Configuration);
    tell(&mut mender, Event::Refused { id, failure });
    assert!(wait(&mender) <= secs(10));
}

#[test]
fn a_stopped_machine_does_nothing_more() {
    let mut mender = authorised(quiet());
    assert_eq!(tell(&mut mender, Event::Stopping), [Action::Quit]);
    assert_eq!(tell(&mut mender, Event::TokenRefused), []);
    assert_eq!(
        (mender.deadline(), mender.status().state),
        (None, "stopped")
    );
}
