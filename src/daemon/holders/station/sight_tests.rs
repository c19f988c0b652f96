//! Tests of what is made of samples and log lines.

use core::time::Duration;
use std::collections::BTreeSet;

use super::log::Said;
use super::sight::{Finding, SAMPLE_CALM, SAMPLE_SOON, Sight};
use crate::agent::failure::Class;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Samples each five seconds from `begin` to `end`; what was found.
fn watch(sight: &mut Sight, begin: u64, end: u64, found: &[u64]) -> Vec<Finding> {
    let found = found.iter().copied().collect::<BTreeSet<u64>>();
    (begin..=end)
        .step_by(5)
        .filter_map(|now| sight.sample(at(now), &found))
        .collect()
}

fn connected() -> Sight {
    let mut sight = Sight::default();
    assert_eq!(watch(&mut sight, 0, 10, &[7]), [Finding::Connected]);
    sight
}

fn summary(finding: Option<&Finding>) -> (&'static str, &'static str) {
    let name = match finding {
        Some(Finding::Lost(_)) => "lost",
        Some(Finding::Refused(_)) => "refused",
        Some(Finding::Stuck(_)) => "stuck",
        Some(Finding::Connected) => "connected",
        None => "",
    };
    let code = match finding {
        Some(Finding::Lost(why) | Finding::Refused(why) | Finding::Stuck(why)) => why.code,
        Some(Finding::Connected) | None => "",
    };
    (name, code)
}

#[test]
fn a_connection_counts_when_it_has_lived_ten_seconds() {
    let mut sight = Sight::default();
    assert_eq!(watch(&mut sight, 0, 5, &[7]), []);
    assert_eq!(sight.pause(), SAMPLE_SOON);
    assert_eq!(watch(&mut sight, 10, 300, &[7]), [Finding::Connected]);
    assert_eq!(sight.pause(), SAMPLE_CALM);
}

#[test]
fn a_gap_of_twenty_seconds_is_no_loss_and_a_longer_one_is() {
    let mut sight = connected();
    assert_eq!(watch(&mut sight, 15, 35, &[]), []);
    // Told again, because the new connection uses the newest credentials.
    assert_eq!(watch(&mut sight, 40, 60, &[8]), [Finding::Connected]);
    assert!(sight.is_connected());
    let found = watch(&mut sight, 65, 120, &[]);
    assert_eq!(summary(found.first()), ("lost", "station_lost"));
    assert_eq!(found.len(), 1);
}

#[test]
fn the_end_of_the_process_is_a_loss_with_its_reason() {
    let mut sight = connected();
    sight.ended(at(12), "station was killed by signal 9");
    let found = watch(&mut sight, 15, 60, &[]);
    let [Finding::Lost(failure)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(failure.message.ends_with("killed by signal 9"), "{failure}");
    assert_eq!(failure.class, Class::Network);
}

/// Whether it counts against credentials on trial.
fn condemns(found: Option<&Finding>) -> bool {
    match found {
        Some(Finding::Refused(failure) | Finding::Lost(failure) | Finding::Stuck(failure)) => {
            failure.condemns_credentials()
        }
        _ => false,
    }
}

#[test]
fn a_refusal_in_the_log_is_told_at_once_and_the_sixth_by_another_name() {
    let mut sight = Sight::default();
    for turn in 1..=6 {
        assert_eq!(sight.said(Said::Discovered, "Infos"), None);
        let found = sight.said(Said::Refused, "HTTP 401");
        let expected = if turn < 6 {
            ("refused", "station_refused")
        } else {
            ("refused", "traffic_refused")
        };
        assert_eq!(summary(found.as_ref()), expected, "{turn}");
        assert!(condemns(found.as_ref()), "{turn}");
    }
    assert_eq!(sight.why_not().class, Class::NotAuthorised);
}

#[test]
fn traffic_that_ends_at_once_again_and_again_is_refused_even_without_a_word() {
    let mut sight = Sight::default();
    let found: Vec<Finding> = (0..7)
        .filter_map(|_| sight.said(Said::Discovered, "Infos"))
        .collect();
    assert_eq!(summary(found.last()), ("refused", "traffic_refused"));
    assert!(!condemns(found.last()), "nobody has said so");
    // The same without a log: each sample finds another connection.
    let mut sight = Sight::default();
    let found: Vec<Finding> = (0..7)
        .filter_map(|turn| sight.sample(at(turn * 5), &BTreeSet::from([turn])))
        .collect();
    assert_eq!(summary(found.last()), ("refused", "traffic_refused"));
    assert!(!condemns(found.last()), "nobody has said so");
}

#[test]
fn an_lns_that_is_away_is_not_one_that_refuses() {
    let mut sight = Sight::default();
    for _ in 0..50 {
        assert_eq!(sight.said(Said::Discovered, "Infos"), None);
        assert_eq!(sight.said(Said::Unreachable, "TC connect failed"), None);
    }
    let why = sight.why_not();
    assert_eq!(
        (why.class, why.code),
        (Class::Network, "station_not_connected")
    );
    assert!(why.message.ends_with("TC connect failed"), "{why}");
}

#[test]
fn a_discovery_without_an_answer_is_stuck_after_three_minutes() {
    let mut sight = Sight::default();
    sight.tells();
    assert_eq!(watch(&mut sight, 0, 175, &[7]), []);
    assert!(!sight.is_connected());
    let found = watch(&mut sight, 180, 180, &[7]);
    assert_eq!(summary(found.first()), ("stuck", "discovery_silent"));
    assert!(!condemns(found.first()), "nobody has said so");
}

#[test]
fn a_log_that_shows_discovery_makes_the_connection_count() {
    let mut sight = Sight::default();
    sight.tells();
    assert_eq!(watch(&mut sight, 0, 60, &[7]), []);
    sight.said(Said::Discovered, "Infos");
    assert_eq!(watch(&mut sight, 65, 65, &[7]), [Finding::Connected]);
}

#[test]
fn a_refusal_while_connected_says_nothing_until_the_connection_is_gone() {
    let mut sight = connected();
    assert_eq!(sight.said(Said::Refused, "HTTP 401"), None);
    watch(&mut sight, 15, 15, &[]);
    let found = sight.said(Said::Refused, "HTTP 401");
    assert_eq!(summary(found.as_ref()), ("refused", "station_refused"));
    assert!(!sight.is_connected());
    assert_eq!(watch(&mut sight, 20, 60, &[]), []);
}

#[test]
fn a_discovery_after_a_connection_is_not_taken_for_the_next_one() {
    let mut sight = Sight::default();
    sight.tells();
    sight.said(Said::Discovered, "Infos");
    assert_eq!(watch(&mut sight, 0, 10, &[7]), [Finding::Connected]);
    watch(&mut sight, 15, 15, &[]);
    sight.said(Said::Discovering, "INFOS reconnect backoff 10s (retry 1)");
    let found = watch(&mut sight, 20, 60, &[8]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(summary(found.first()), ("lost", "station_lost"));
    let found = watch(&mut sight, 65, 210, &[8]);
    assert_eq!(summary(found.first()), ("stuck", "discovery_silent"));
}

#[test]
fn young_connections_one_after_the_other_do_not_hide_a_loss() {
    let mut sight = connected();
    let found: Vec<Finding> = (3..20)
        .filter_map(|turn| sight.sample(at(turn * 5), &BTreeSet::from([turn * 100])))
        .collect();
    assert_eq!(summary(found.first()), ("lost", "station_lost"));
    assert!(!sight.is_connected());
}
