//! Inventory and update polls: after a token, one at a time, at their own pace.

use super::*;

fn sent(actions: &Actions) -> (ExchangeId, bool) {
    match actions.last() {
        Some(Action::SendInventory {
            id,
            even_if_unchanged,
        }) => (*id, *even_if_unchanged),
        other => panic!("no inventory: {other:?}"),
    }
}

/// Accepted, and the inventory under way.
fn sending(is_new_device: bool) -> (Mender, ExchangeId, bool) {
    let mut mender = begun(Settings::default());
    let id = asked(&mut mender);
    let event = Event::Accepted {
        id,
        lifetime: Some(WEEK),
        is_new_device,
    };
    let (id, forced) = sent(&tell(&mut mender, event));
    (mender, id, forced)
}

#[test]
fn the_inventory_follows_each_token_and_then_its_own_interval() {
    let (mut mender, id, forced) = sending(false);
    assert!(!forced);
    assert_eq!(mender.status().inventory.state, "sending");
    let actions = tell(&mut mender, Event::InventorySent { id });
    assert_eq!(actions, [Action::Report(Report::InventorySent)]);
    assert_eq!(reason(&mender), "poll");
    assert!(wait(&mender) >= secs(25_920) && wait(&mender) <= secs(31_680));
    let status = mender.status().inventory;
    assert_eq!(status.state, "up_to_date");
    assert_eq!(status.last_sent, Some(mender.now));

    let (id, _) = sent(&pass(&mut mender));
    assert_eq!(tell(&mut mender, Event::InventoryUnchanged { id }), []);
    assert!(mender.status().inventory.last_sent < Some(mender.now));
}

#[test]
fn a_new_device_and_one_accepted_again_send_what_is_unchanged_too() {
    let (mut mender, id, forced) = sending(true);
    assert!(forced);
    tell(&mut mender, Event::InventorySent { id });
    after(&mut mender, secs(3600), Event::TokenRefused);
    let id = mender.job.unwrap().id;
    tell(
        &mut mender,
        Event::Refused {
            id,
            failure: pending(),
        },
    );
    let id = asked(&mut mender);
    let (id, forced) = sent(&accept(&mut mender, id, Some(WEEK)));
    assert!(forced);
    // Until it was sent, and no longer.
    let failure = failure(Class::ServerFault);
    tell(&mut mender, Event::InventoryFailed { id, failure });
    let (id, forced) = sent(&pass(&mut mender));
    assert!(forced);
    tell(&mut mender, Event::InventorySent { id });
    assert!(!sent(&pass(&mut mender)).1);
}

#[test]
fn a_person_who_wants_to_know_gets_the_inventory_sent_too() {
    let (mut mender, id, _) = sending(false);
    tell(&mut mender, Event::InventorySent { id });
    let id = attempt(&after(&mut mender, secs(60), Event::RefreshRequested));
    assert!(sent(&accept(&mut mender, id, Some(WEEK))).1);
}

#[test]
fn a_failed_inventory_waits_by_its_class_and_leaves_the_token_alone() {
    for (class, low, high) in [
        (Class::ServerFault, 5, 120),
        (Class::Configuration, 720, 1080),
    ] {
        let (mut mender, id, _) = sending(false);
        let failure = failure(class);
        tell(&mut mender, Event::InventoryFailed { id, failure });
        assert!(wait(&mender) >= secs(low) && wait(&mender) <= secs(high));
        let status = mender.status();
        assert_eq!(
            (status.state, status.inventory.state),
            ("authorised", "failed")
        );
        sent(&pass(&mut mender));
    }
}

#[test]
fn a_servers_word_about_the_inventory_outlives_a_new_token() {
    let (mut mender, id, _) = sending(false);
    let failure = failure(Class::Busy).with_retry_after(Some(secs(3600)));
    tell(&mut mender, Event::InventoryFailed { id, failure });
    let id = attempt(&after(&mut mender, secs(60), Event::TokenRefused));
    accept(&mut mender, id, Some(WEEK));
    assert!(mender.job.is_none() && wait(&mender) >= secs(3540));
}

#[test]
fn an_inventory_without_an_answer_is_given_up() {
    let (mut mender, id, _) = sending(false);
    assert_eq!(wait(&mender), secs(300));
    pass(&mut mender);
    assert_eq!(mender.status().inventory.why.unwrap().code, "no_answer");
    assert_eq!(tell(&mut mender, Event::InventorySent { id }), []);
}

#[test]
fn no_inventory_is_sent_beside_another_program_and_no_update_asked_for_unless_wanted() {
    let mut mender = authorised(quiet());
    assert_eq!(reason(&mender), "renewal");
    // Turned on, it begins at once.
    let settings = Settings::default();
    sent(&tell(&mut mender, Event::Reconfigured { settings }));
}

#[test]
fn an_update_that_waits_is_reported() {
    let mut mender = authorised(Settings {
        update_poll: Some(secs(1800)),
        ..quiet()
    });
    let mut id = mender.job.unwrap().id;
    assert_eq!(mender.status().update_waiting, None);
    for is_news in [true, false] {
        let actions = tell(&mut mender, Event::Polled { id, update: true });
        assert_eq!(actions, [Action::Report(Report::UpdateWaits { is_news })]);
        assert_eq!(mender.status().update_waiting, Some(true));
        assert!(wait(&mender) >= secs(1620) && wait(&mender) <= secs(1980));
        id = pass(&mut mender).last().and_then(Action::job).unwrap();
    }
    assert_eq!(tell(&mut mender, Event::Polled { id, update: false }), []);
    assert_eq!(mender.status().update_waiting, Some(false));
}

#[test]
fn inventory_and_poll_are_done_one_after_the_other() {
    let mut mender = begun(Settings {
        update_poll: Some(secs(1800)),
        ..Settings::default()
    });
    let id = asked(&mut mender);
    let (id, _) = sent(&accept(&mut mender, id, Some(WEEK)));
    let actions = tell(&mut mender, Event::InventorySent { id });
    assert!(matches!(actions.last(), Some(Action::PollUpdates { .. })));
}

#[test]
fn a_shorter_interval_counts_at_once() {
    let (mut mender, id, _) = sending(false);
    tell(&mut mender, Event::InventorySent { id });
    let settings = Settings {
        inventory_poll: Some(secs(600)),
        ..Settings::default()
    };
    tell(&mut mender, Event::Reconfigured { settings });
    assert!(wait(&mender) <= secs(660));
}
