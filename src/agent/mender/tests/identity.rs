//! The identity: nothing is sent without one, and a new one is shown to the server.

use super::*;

fn unusable() -> Event {
    Event::IdentityUnusable {
        failure: failure(Class::IdentityInvalid),
    }
}

#[test]
fn a_machine_that_was_told_nothing_asks_for_the_identity() {
    let mut mender = Mender::new(quiet(), 1);
    let boot_delay_wanted = false;
    let actions = mender.step(Event::Started { boot_delay_wanted }, at(1));
    assert_eq!(actions, [Action::ReloadIdentity]);
    assert_eq!(mender.status().state, "no_identity");
    let ready = [Action::Report(Report::IdentityReady)];
    assert_eq!(tell(&mut mender, Event::IdentityLoaded), ready);
    assert_eq!(reason(&mender), "first_contact");
}

#[test]
fn an_unusable_identity_is_looked_at_every_hour_or_when_a_person_says_so() {
    let mut mender = begun(quiet());
    let actions = tell(&mut mender, unusable());
    assert!(matches!(
        actions.0.as_slice(),
        [Action::Report(Report::IdentityUnusable { .. })]
    ));
    assert_eq!(
        (wait(&mender), reason(&mender)),
        (secs(3600), "identity_recheck")
    );
    assert_eq!(pass(&mut mender), [Action::ReloadIdentity]);
    assert_eq!(
        tell(&mut mender, Event::RefreshRequested),
        [Action::ReloadIdentity]
    );
    assert_eq!(tell(&mut mender, Event::FetchRequested), []);
    tell(&mut mender, Event::IdentityLoaded);
    assert!(wait(&mender) <= secs(5));
}

#[test]
fn one_that_looks_expired_is_looked_at_every_minute() {
    let mut mender = begun(quiet());
    let failure = Failure::new(Class::IdentityInvalid, "expired", "x");
    tell(&mut mender, Event::IdentityUnusable { failure });
    assert_eq!(wait(&mender), secs(60));
}

#[test]
fn an_identity_that_goes_takes_the_token_and_the_attempt_with_it() {
    let mut mender = authorised(quiet());
    let actions = tell(&mut mender, unusable());
    assert_eq!(actions.first(), Some(&Action::Withdraw));

    let mut mender = begun(quiet());
    let id = asked(&mut mender);
    let actions = tell(&mut mender, unusable());
    assert_eq!(actions.first(), Some(&Action::Announce));
    assert_eq!(accept(&mut mender, id, None), []);
}

#[test]
fn a_reload_that_fails_keeps_identity_and_token() {
    let mut mender = authorised(quiet());
    let failure = failure(Class::IdentityInvalid);
    let kept = Report::IdentityKept {
        failure: failure.clone(),
    };
    let actions = tell(&mut mender, Event::IdentityLoadFailed { failure });
    assert_eq!(actions, [Action::Report(kept)]);
    assert_eq!(mender.status().state, "authorised");
}

#[test]
fn a_new_identity_is_shown_to_the_server_beside_the_old_token() {
    let mut mender = authorised(quiet());
    after(&mut mender, secs(60), Event::IdentityLoaded);
    assert!(wait(&mender) <= secs(5) && reason(&mender) == "identity_changed");
    assert_eq!(mender.status().state, "authorised");
    // Also when it came while an attempt with the old one was under way.
    let id = asked(&mut mender);
    tell(&mut mender, Event::IdentityLoaded);
    accept(&mut mender, id, Some(WEEK));
    assert!(wait(&mender) <= secs(5));
}

#[test]
fn a_new_identity_ends_the_wait_after_a_refusal() {
    let mut mender = begun(quiet());
    refuse(&mut mender, failure(Class::ClientCertRefused));
    after(&mut mender, secs(60), Event::IdentityLoaded);
    assert!(wait(&mender) <= secs(5));
}
