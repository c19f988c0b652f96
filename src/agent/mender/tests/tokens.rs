//! The token: renewed in time, kept while it may be, dropped when it must be.

use super::*;

#[test]
fn a_token_is_renewed_at_four_fifths_of_its_life() {
    for seed in 0..100 {
        let mut mender = Mender::new(quiet(), seed);
        mender.step(Event::IdentityLoaded, at(0));
        let boot_delay_wanted = false;
        mender.step(Event::Started { boot_delay_wanted }, at(0));
        let id = asked(&mut mender);
        accept(&mut mender, id, Some(WEEK));
        assert_eq!(reason(&mender), "renewal");
        let wait = wait(&mender);
        assert!(wait >= WEEK * 3 / 4 && wait <= WEEK * 17 / 20);
    }
}

#[test]
fn a_token_of_unknown_life_is_renewed_after_a_day() {
    let mut mender = begun(quiet());
    let id = asked(&mut mender);
    accept(&mut mender, id, None);
    assert!(wait(&mender) >= secs(86_400 / 10 * 9) && wait(&mender) <= secs(86_400 / 10 * 11));
    assert_eq!(mender.status().token.unwrap().expires_at, None);
}

#[test]
fn a_short_token_is_not_renewed_within_half_a_minute() {
    let mut mender = begun(quiet());
    let id = asked(&mut mender);
    accept(&mut mender, id, Some(secs(3)));
    assert_eq!((wait(&mender), reason(&mender)), (secs(3), "token_expiry"));
    let expired = [Action::Withdraw, Action::Report(Report::Expired)];
    assert_eq!(pass(&mut mender), expired);
    assert_eq!(wait(&mender), secs(27));
}

#[test]
fn a_token_without_end_is_renewed_within_a_week() {
    let mut mender = begun(quiet());
    let id = asked(&mut mender);
    accept(&mut mender, id, Some(Duration::MAX));
    assert!(wait(&mender) <= SILENCE_MAX);
}

#[test]
fn a_failed_renewal_keeps_the_token_until_its_end() {
    let mut mender = authorised(quiet());
    let end = mender.status().token.unwrap().expires_at.unwrap();
    let failure = failure(Class::Network);
    let actions = refuse(&mut mender, failure.clone());
    let kept = Report::RenewalFailed { failure };
    assert_eq!(actions, [Action::Announce, Action::Report(kept)]);
    let mut withdrawn = None;
    while mender.now < end {
        let actions = pass(&mut mender);
        if actions.contains(&Action::Withdraw) {
            withdrawn = Some(mender.now);
            break;
        }
        let id = attempt(&actions);
        let failure = Failure::new(Class::Network, "code", "again");
        let actions = tell(&mut mender, Event::Refused { id, failure });
        assert_eq!(actions.first(), Some(&Action::Announce));
    }
    assert_eq!(withdrawn, Some(end));
    assert_eq!(mender.status().state, "waiting");
}

#[test]
fn a_token_that_ended_during_its_renewal_gives_one_signal() {
    let mut mender = begun(quiet());
    let id = asked(&mut mender);
    accept(&mut mender, id, Some(secs(100)));
    let id = asked(&mut mender);
    let failure = failure(Class::Network);
    let actions = after(&mut mender, secs(50), Event::Refused { id, failure });
    assert!(matches!(
        actions.0.as_slice(),
        [Action::Withdraw, Action::Report(Report::Failed { .. })]
    ));
}

#[test]
fn a_401_on_renewal_drops_the_token() {
    for class in [Class::Pending, Class::NotAuthorised] {
        let mut mender = authorised(quiet());
        let actions = refuse(&mut mender, failure(class));
        assert_eq!(actions.first(), Some(&Action::Withdraw));
        assert_eq!(mender.status().token, None);
    }
}

#[test]
fn a_refused_token_is_replaced_at_once() {
    let mut mender = authorised(quiet());
    let actions = after(&mut mender, secs(3600), Event::TokenRefused);
    assert!(matches!(
        actions.0.as_slice(),
        [
            Action::Withdraw,
            Action::Report(Report::TokenRefused),
            Action::Authenticate { .. }
        ]
    ));
    assert_eq!(tell(&mut mender, Event::TokenRefused), []);
}

#[test]
fn a_token_refused_right_after_its_receipt_keeps_the_floor() {
    let mut mender = authorised(quiet());
    assert_eq!(
        after(&mut mender, secs(1), Event::TokenRefused),
        [Action::Withdraw, Action::Report(Report::TokenRefused)]
    );
    assert!(wait(&mender) >= secs(4) && wait(&mender) <= secs(9));
}

#[test]
fn a_server_that_refuses_its_own_tokens_does_not_spin() {
    let mut mender = authorised(quiet());
    let mut waits = Vec::new();
    for _ in 0..5 {
        after(&mut mender, secs(6), Event::TokenRefused);
        let begun = mender.is_authenticating();
        waits.push(if begun { Duration::ZERO } else { wait(&mender) });
        // Nor when other programs ask in between.
        assert_eq!(after(&mut mender, secs(6), Event::FetchRequested), []);
        let id = match mender.job {
            Some(job) => job.id,
            None => asked(&mut mender),
        };
        accept(&mut mender, id, Some(WEEK));
    }
    assert_eq!(waits.first(), Some(&Duration::ZERO));
    for (wait, step) in waits.iter().skip(1).zip([60, 120, 240, 300]) {
        assert!(*wait >= secs(step / 2) && *wait <= secs(step), "{waits:?}");
    }
    // A token that was good for a while begins anew.
    let actions = after(&mut mender, secs(61), Event::TokenRefused);
    attempt(&actions);
}

#[test]
fn what_a_person_wants_now_is_not_put_off_by_refused_tokens() {
    let mut mender = authorised(quiet());
    let id = attempt(&after(&mut mender, secs(6), Event::TokenRefused));
    accept(&mut mender, id, Some(WEEK));
    after(&mut mender, secs(1), Event::RefreshRequested);
    tell(&mut mender, Event::TokenRefused);
    assert_eq!(
        (wait(&mender), reason(&mender)),
        (secs(4), "refresh_by_operator")
    );
}

#[test]
fn a_token_refused_while_the_worker_is_busy_is_replaced_after_it() {
    let mut mender = begun(Settings::default());
    let id = asked(&mut mender);
    let actions = accept(&mut mender, id, Some(WEEK));
    let inventory = actions.last().and_then(Action::job).unwrap();
    let actions = after(&mut mender, secs(9), Event::TokenRefused);
    assert_eq!(actions.last(), Some(&Action::Report(Report::TokenRefused)));
    let event = Event::InventoryFailed {
        id: inventory,
        failure: failure(Class::Pending),
    };
    let id = attempt(&tell(&mut mender, event));
    // What was not sent is sent with the new token, and whole.
    let actions = accept(&mut mender, id, Some(WEEK));
    assert!(matches!(
        actions.last(),
        Some(Action::SendInventory {
            even_if_unchanged: true,
            ..
        })
    ));
}

#[test]
fn a_token_refused_during_its_renewal_waits_for_it() {
    let mut mender = authorised(quiet());
    let id = asked(&mut mender);
    let actions = tell(&mut mender, Event::TokenRefused);
    assert_eq!(actions.first(), Some(&Action::Withdraw));
    let actions = accept(&mut mender, id, Some(WEEK));
    assert_eq!(actions.first(), Some(&Action::Publish));
}

#[test]
fn the_status_tells_times_and_no_token() {
    let mut mender = begun(quiet());
    let id = asked(&mut mender);
    accept(&mut mender, id, Some(secs(1000)));
    let json = mender.status().to_json(mender.now);
    assert_eq!(json["state"], "authorised");
    assert_eq!(json["token"]["expires_in_s"], 1000);
    let renewal = json["token"]["renew_in_s"].as_u64().unwrap();
    assert!((750..=850).contains(&renewal));
    assert_eq!(json["inventory"]["state"], "off");
    assert_eq!(json["next"]["reason"], "renewal");
}
