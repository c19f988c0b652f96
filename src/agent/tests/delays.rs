//! Checks: how long the machine waits, and what shortens it.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn fail(agent: &mut Agent, failure: Failure) -> Duration {
    let id = asked(agent);
    tell(agent, Event::Failed { id, failure });
    wait(agent)
}

#[test]
fn a_device_without_a_set_asks_at_once() {
    let agent = begun(Settings::default(), None, false);
    assert_eq!(wait(&agent), Duration::ZERO);
    assert_eq!(reason(&agent), "first_contact");
}

#[test]
fn a_boot_delay_spreads_the_first_contact() {
    let mut waits = Vec::new();
    for seed in 0..50 {
        let mut agent = Agent::new(Settings::default(), seed);
        agent.step(Event::IdentityLoaded, at(20));
        let started = Event::Started {
            current: None,
            proven: false,
            staged: None,
            boot_delay_wanted: true,
        };
        agent.step(started, at(20));
        assert_eq!(reason(&agent), "boot_delay");
        waits.push(wait(&agent));
    }
    assert!(waits.iter().max() <= Some(&Duration::from_secs(30)));
    assert!(waits.iter().max() > Some(&Duration::from_secs(25)));
    assert!(waits.iter().min() < Some(&Duration::from_secs(5)));
}

#[test]
fn the_poll_interval_is_spread_by_a_tenth() {
    let mut agent = in_service();
    for _ in 0..50 {
        let id = asked(&mut agent);
        tell(&mut agent, Event::Unchanged { id });
        let hours = wait(&agent).as_secs_f64() / 3600.0;
        assert!((21.6..=26.4).contains(&hours), "{hours}");
    }
}

#[test]
fn without_a_set_the_poll_is_quicker() {
    let mut agent = begun(Settings::default(), None, false);
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    assert!(wait(&agent) >= 12 * MINUTE && wait(&agent) <= 18 * MINUTE);
}

#[test]
fn transport_failures_spread_the_first_retry_then_double_to_five_minutes() {
    let mut agent = in_service();
    let bounds = [
        (0, 120),
        (30, 60),
        (60, 120),
        (120, 240),
        (150, 300),
        (150, 300),
    ];
    for (low, high) in bounds {
        let waited = fail(&mut agent, failure(Class::Network)).as_secs_f64();
        assert!(
            (f64::from(low)..=f64::from(high)).contains(&waited),
            "{waited}: {low}..{high}"
        );
    }
}

#[test]
fn refusals_double_from_a_quarter_of_an_hour_to_six_hours() {
    let mut agent = in_service();
    for middle in [15, 30, 60, 120, 240, 360, 360] {
        let waited = fail(&mut agent, failure(Class::NotRegistered));
        assert!(waited >= MINUTE * middle * 8 / 10 && waited <= MINUTE * middle * 12 / 10);
    }
}

#[test]
fn outages_do_not_stretch_the_wait_after_a_refusal() {
    let mut agent = in_service();
    for _ in 0..20 {
        fail(&mut agent, failure(Class::Network));
    }
    assert!(fail(&mut agent, failure(Class::ServerUntrusted)) <= 18 * MINUTE);
}

#[test]
fn an_unset_clock_is_tried_every_half_minute() {
    let mut agent = in_service();
    for _ in 0..5 {
        let waited = fail(&mut agent, failure(Class::ClockSuspect));
        assert!(waited >= MINUTE / 2 && waited <= Duration::from_secs(33));
        assert_eq!(reason(&agent), "clock");
    }
}

#[test]
fn a_server_may_ask_for_more_time_but_not_for_a_day() {
    for (told, low, high) in [(600, 600, 660), (86_400, 3600, 3960), (0, 1, 121)] {
        let told = Some(Duration::from_secs(told));
        let waited = fail(
            &mut in_service(),
            failure(Class::Busy).with_retry_after(told),
        );
        assert!(waited >= Duration::from_secs(low) && waited <= Duration::from_secs(high));
    }
}

#[test]
fn a_success_resets_the_waits() {
    let mut agent = in_service();
    for _ in 0..5 {
        fail(&mut agent, failure(Class::NotRegistered));
    }
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    assert!(fail(&mut agent, failure(Class::NotRegistered)) <= 18 * MINUTE);
}

#[test]
fn a_refused_offer_is_no_success_that_resets_the_waits() {
    let mut agent = in_service();
    for _ in 0..3 {
        let id = asked(&mut agent);
        tell(&mut agent, Event::Offered { id });
        tell(
            &mut agent,
            Event::Held {
                failure: failure(Class::NotAuthorised),
            },
        );
    }
    assert!(wait(&agent) >= 48 * MINUTE);
}

#[test]
fn a_silent_worker_is_given_up_after_five_minutes() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    assert_eq!(
        (wait(&agent), reason(&agent)),
        (5 * MINUTE, "exchange_patience")
    );
    assert_eq!(pass(&mut agent).len(), 1);
    assert_eq!(tell(&mut agent, Event::Offered { id }), []);
    assert_eq!(agent.status().phase, "waiting");
}

#[test]
fn a_deadline_that_has_not_come_changes_nothing() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    assert_eq!(tell(&mut agent, Event::DeadlinePassed), []);
}

#[test]
fn an_operator_is_always_obeyed() {
    let mut agent = in_service();
    fail(&mut agent, failure(Class::NotAuthorised));
    let actions = tell(&mut agent, Event::RefreshRequested { by: By::Operator });
    assert!(matches!(actions.0.as_slice(), [Action::Exchange { .. }]));
}

#[test]
fn a_refresh_during_an_exchange_is_done_after_it() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    assert_eq!(
        tell(&mut agent, Event::RefreshRequested { by: By::Operator }),
        []
    );
    tell(&mut agent, Event::Unchanged { id });
    assert_eq!(
        (wait(&agent), reason(&agent)),
        (Duration::ZERO, "refresh_by_operator")
    );
}

#[test]
fn the_link_may_ask_once_in_five_minutes() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    assert_eq!(
        tell(&mut agent, Event::RefreshRequested { by: By::Link }),
        []
    );
    assert_eq!(
        (wait(&agent), reason(&agent)),
        (5 * MINUTE, "refresh_by_link")
    );
}

#[test]
fn the_link_does_not_hurry_a_refusal() {
    let mut agent = in_service();
    fail(&mut agent, failure(Class::NotAuthorised));
    let later = agent.now.plus(6 * MINUTE);
    assert_eq!(
        agent.step(Event::RefreshRequested { by: By::Link }, later),
        []
    );
    assert_eq!(reason(&agent), "refusal");
}

#[test]
fn a_shorter_poll_counts_at_once() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    let settings = Settings {
        poll: 60 * MINUTE,
        ..Settings::default()
    };
    assert_eq!(tell(&mut agent, Event::Reconfigured { settings }), []);
    assert!(wait(&agent) <= 66 * MINUTE);
}

#[test]
fn a_mended_configuration_is_tried_at_once() {
    let mut agent = in_service();
    fail(&mut agent, failure(Class::Configuration));
    assert_eq!(reason(&agent), "refusal");
    let settings = Settings::default();
    assert_eq!(tell(&mut agent, Event::Reconfigured { settings }), []);
    assert!(wait(&agent) <= Duration::from_secs(5));
    asked(&mut agent);
}

#[test]
fn a_refusal_of_what_was_asked_by_the_old_configuration_is_not_waited_for() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    let settings = Settings::default();
    assert_eq!(tell(&mut agent, Event::Reconfigured { settings }), []);
    let failure = failure(Class::NotRegistered);
    tell(&mut agent, Event::Failed { id, failure });
    assert!(wait(&agent) <= Duration::from_secs(5));
}

#[test]
fn a_set_without_an_lns_leaves_the_interval_of_a_device_without_a_set() {
    let mut agent = in_service();
    tell(&mut agent, Event::LnsNamed { is_named: false });
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    assert!((12 * MINUTE..=18 * MINUTE).contains(&wait(&agent)));
    tell(&mut agent, Event::LnsNamed { is_named: true });
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    assert!(wait(&agent) > 20 * 60 * MINUTE);
}

#[test]
fn another_cups_in_the_configuration_is_asked_within_seconds() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    assert!(wait(&agent) > Duration::from_secs(20 * 3600));
    assert_eq!(tell(&mut agent, Event::CupsRenamed), []);
    assert!(wait(&agent) <= Duration::from_secs(5));
    // While the one before is being asked, its answer says nothing of the new one.
    let id = asked(&mut agent);
    assert_eq!(tell(&mut agent, Event::CupsRenamed), []);
    tell(&mut agent, Event::Unchanged { id });
    assert_eq!(wait(&agent), Duration::ZERO);
}
