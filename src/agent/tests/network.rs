//! Checks: a network that came up hurries a failed ask, and nothing else.

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// A machine whose ask has failed twice: it waits for half a minute at least.
fn waiting(failure: &Failure) -> Agent {
    let mut agent = in_service();
    for _ in 0..2 {
        let id = asked(&mut agent);
        let failure = failure.clone();
        tell(&mut agent, Event::Failed { id, failure });
    }
    agent
}

#[test]
fn a_network_that_came_up_is_tried_within_seconds() {
    let mut agent = waiting(&failure(Class::Network));
    assert!(wait(&agent) > SOON);
    assert_eq!(tell(&mut agent, Event::NetworkChanged), []);
    assert_eq!(reason(&agent), "network");
    assert!(wait(&agent) <= SOON);
    asked(&mut agent);
}

#[test]
fn a_network_that_comes_up_during_an_ask_is_tried_once_after_it() {
    let mut agent = waiting(&failure(Class::Network));
    let mut reasons = Vec::new();
    for has_news in [true, false] {
        let id = asked(&mut agent);
        if has_news {
            tell(&mut agent, Event::NetworkChanged);
        }
        let failure = failure(Class::Network);
        tell(&mut agent, Event::Failed { id, failure });
        reasons.push(reason(&agent));
    }
    assert_eq!(reasons, ["network", "retry"]);
}

#[test]
fn a_refusal_is_never_hurried() {
    for class in [
        Class::NotAuthorised,
        Class::ServerUntrusted,
        Class::ClockSuspect,
    ] {
        let mut agent = waiting(&failure(class));
        let before = wait(&agent);
        tell(&mut agent, Event::NetworkChanged);
        assert_eq!(wait(&agent), before, "{class:?}");
    }
}

#[test]
fn the_servers_own_word_outlasts_the_network() {
    let told = Some(Duration::from_secs(600));
    let mut agent = waiting(&failure(Class::Busy).with_retry_after(told));
    tell(&mut agent, Event::NetworkChanged);
    assert!(wait(&agent) >= Duration::from_secs(600));
}

#[test]
fn a_network_that_comes_and_goes_hurries_one_ask_a_minute() {
    let mut agent = waiting(&failure(Class::Network));
    let mut asks = Vec::new();
    for _ in 0..4 {
        tell(&mut agent, Event::NetworkChanged);
        if reason(&agent) == "network" {
            asks.push(agent.deadline().unwrap().at);
        }
        let id = asked(&mut agent);
        let failure = failure(Class::Network);
        tell(&mut agent, Event::Failed { id, failure });
    }
    assert!(asks.len() >= 2, "{asks:?}");
    for pair in asks.windows(2) {
        assert!(pair[1].since(pair[0]) >= Duration::from_secs(60));
    }
}

#[test]
fn a_poll_that_is_far_away_stays_there() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    tell(&mut agent, Event::NetworkChanged);
    assert_eq!(reason(&agent), "poll");
}
