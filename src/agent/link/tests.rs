//! Tests of the link's machine, one behaviour each, and one long run under noise.

use core::time::Duration;

use super::{Link, LinkAction, LinkEvent, LinkReason, LinkReport, STEADY};
use crate::agent::failure::{Class, Failure};
use crate::agent::{ExchangeId, Moment, SetId, Settings};

const SET: SetId = SetId(7);

fn failure(class: Class) -> Failure {
    Failure::new(class, "x", "y")
}

fn at(seconds: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(seconds))
}

/// Lets time pass to the next deadline and returns what is wanted then.
fn due(link: &mut Link) -> Vec<LinkAction> {
    let deadline = link.deadline().unwrap();
    link.step(LinkEvent::DeadlinePassed, deadline.at)
}

fn opened(actions: &[LinkAction]) -> ExchangeId {
    match actions {
        [LinkAction::Open { id, .. }] => *id,
        other => panic!("not one attempt: {other:?}"),
    }
}

fn up() -> (Link, ExchangeId) {
    let mut link = Link::new(Settings::default(), 1);
    link.step(LinkEvent::SetChanged { set: Some(SET) }, at(0));
    let id = opened(&due(&mut link));
    let now = link.now;
    link.step(LinkEvent::Connected { id }, now);
    (link, id)
}

/// Up with one set, and another one is being opened.
fn replaced() -> (Link, [ExchangeId; 2]) {
    let (mut link, old) = up();
    let now = link.now.plus(STEADY);
    let set = Some(SetId(8));
    link.step(LinkEvent::SetChanged { set }, now);
    loop {
        if let [LinkAction::Open { id, .. }] = due(&mut link)[..] {
            return (link, [old, id]);
        }
    }
}

#[test]
fn the_first_try_is_spread_after_boot() {
    let mut latest = Duration::ZERO;
    for seed in 0..200 {
        let mut link = Link::new(Settings::default(), seed);
        assert_eq!(
            link.step(LinkEvent::SetChanged { set: Some(SET) }, at(0)),
            []
        );
        let deadline = link.deadline().unwrap();
        assert_eq!(deadline.reason, LinkReason::Start);
        latest = latest.max(deadline.at.since_boot());
    }
    assert!(latest > Duration::from_secs(25) && latest <= Duration::from_secs(30));
}

#[test]
fn a_lost_connection_is_opened_again_after_a_spread_wait() {
    let (mut link, id) = up();
    let now = link.now.plus(STEADY);
    let lost = failure(Class::Network);
    let actions = link.step(
        LinkEvent::Closed {
            id,
            failure: lost.clone(),
        },
        now,
    );
    assert_eq!(
        actions,
        [LinkAction::Report(LinkReport::Lost { failure: lost })]
    );
    assert!(link.deadline().unwrap().at.since(now) <= Duration::from_secs(120));
    assert_eq!(link.state(), "waiting");
}

#[test]
fn refused_credentials_make_cups_be_asked_and_wait_long() {
    let (mut link, id) = up();
    let now = link.now;
    let failure = failure(Class::NotAuthorised);
    let actions = link.step(LinkEvent::Closed { id, failure }, now);
    assert_eq!(actions.first(), Some(&LinkAction::AskCups));
    let deadline = link.deadline().unwrap();
    assert_eq!(deadline.reason, LinkReason::Refusal);
    assert!(deadline.at.since(now) >= Duration::from_secs(12 * 60));
}

#[test]
fn a_new_set_is_opened_before_the_old_connection_goes() {
    let (mut link, old) = up();
    let now = link.now.plus(STEADY);
    assert_eq!(
        link.step(
            LinkEvent::SetChanged {
                set: Some(SetId(8))
            },
            now
        ),
        []
    );
    assert_eq!(link.state(), "up");
    let id = loop {
        let actions = due(&mut link);
        if !actions.is_empty() {
            break opened(&actions);
        }
    };
    let now = link.now;
    let actions = link.step(LinkEvent::Connected { id }, now);
    assert_eq!(
        actions,
        [
            LinkAction::Close { id: old },
            LinkAction::Report(LinkReport::Up { set: SetId(8) })
        ]
    );
}

#[test]
fn the_network_coming_back_shortens_a_wait_but_not_a_refusal() {
    for (class, expected) in [
        (Class::Network, LinkReason::Network),
        (Class::NotAuthorised, LinkReason::Refusal),
    ] {
        let (mut link, id) = up();
        let now = link.now;
        link.step(
            LinkEvent::Closed {
                id,
                failure: failure(class),
            },
            now,
        );
        link.step(LinkEvent::NetworkChanged, now);
        assert_eq!(link.deadline().unwrap().reason, expected);
    }
}

#[test]
fn the_servers_own_word_outlasts_the_network() {
    let (mut link, id) = up();
    let now = link.now;
    let told = Duration::from_secs(600);
    let failure = failure(Class::Busy).with_retry_after(Some(told));
    link.step(LinkEvent::Closed { id, failure }, now);
    link.step(LinkEvent::NetworkChanged, now);
    assert!(link.deadline().unwrap().at.since(now) >= told);
}

#[test]
fn a_network_that_comes_up_during_an_attempt_is_tried_once_after_it() {
    let (mut link, id) = lost(Class::Network);
    assert_ne!(id, opened(&due(&mut link)));
    let mut reasons = Vec::new();
    for has_news in [true, false] {
        let id = link.tried.unwrap().0;
        let now = link.now.plus(Duration::from_secs(3));
        if has_news {
            link.step(LinkEvent::NetworkChanged, now);
        }
        let failure = failure(Class::Network);
        link.step(LinkEvent::Failed { id, failure }, now);
        reasons.push(link.deadline().unwrap().reason);
        due(&mut link);
    }
    assert_eq!(reasons, [LinkReason::Network, LinkReason::Retry]);
    // An attempt that succeeds has used it up.
    let id = link.tried.unwrap().0;
    let now = link.now;
    link.step(LinkEvent::NetworkChanged, now);
    link.step(LinkEvent::Connected { id }, now);
    let failure = failure(Class::Network);
    link.step(LinkEvent::Closed { id, failure }, now);
    assert_eq!(link.deadline().unwrap().reason, LinkReason::Retry);
}

#[test]
fn a_connection_that_dies_young_does_not_reset_the_waits() {
    let (mut link, mut id) = up();
    let mut waits = Vec::new();
    for _ in 0..6 {
        let now = link.now.plus(Duration::from_secs(1));
        link.step(
            LinkEvent::Closed {
                id,
                failure: failure(Class::Network),
            },
            now,
        );
        waits.push(link.deadline().unwrap().at.since(now));
        id = opened(&due(&mut link));
        let now = link.now;
        link.step(LinkEvent::Connected { id }, now);
    }
    assert!(
        waits.last().unwrap() >= &Duration::from_secs(150),
        "{waits:?}"
    );
}

#[test]
fn without_a_set_there_is_no_link_and_no_deadline() {
    let (mut link, id) = up();
    let now = link.now;
    let actions = link.step(LinkEvent::SetChanged { set: None }, now);
    assert_eq!(actions, [LinkAction::Close { id }]);
    assert_eq!((link.state(), link.deadline()), ("off", None));
}

#[test]
fn a_late_connection_of_an_abandoned_attempt_is_closed() {
    let (mut link, id) = up();
    let late = ExchangeId(id.0.wrapping_add(99));
    let now = link.now;
    let actions = link.step(LinkEvent::Connected { id: late }, now);
    assert_eq!(actions, [LinkAction::Close { id: late }]);
    assert_eq!(link.step(LinkEvent::Connected { id }, now), []);
}

#[test]
fn a_connection_that_comes_about_after_its_set_is_no_longer_wanted_bridges_to_the_next() {
    for wanted in [SET, SetId(9)] {
        let (mut link, [old, id]) = replaced();
        let now = link.now;
        link.step(LinkEvent::SetChanged { set: Some(wanted) }, now);
        // Whoever holds it has one link: the old one is gone by now.
        let up = LinkReport::Up { set: SetId(8) };
        assert_eq!(
            link.step(LinkEvent::Connected { id }, now),
            [LinkAction::Close { id: old }, LinkAction::Report(up)]
        );
        assert_eq!(link.deadline().unwrap().reason, LinkReason::NewSet);
    }
}

/// A link whose connection has just ended over this class.
fn lost(class: Class) -> (Link, ExchangeId) {
    let (mut link, id) = up();
    let (now, failure) = (link.now.plus(STEADY), failure(class));
    link.step(LinkEvent::Closed { id, failure }, now);
    assert_eq!(link.state(), "waiting");
    (link, id)
}

#[test]
fn the_end_of_a_replaced_sets_connection_says_nothing_about_the_new_set() {
    for class in [Class::Network, Class::NotAuthorised] {
        let (mut link, [old, id]) = replaced();
        let now = link.now;
        let refusal = failure(Class::NotAuthorised);
        #[rustfmt::skip]
        link.step(LinkEvent::Failed { id, failure: refusal }, now);
        let failure = failure(class);
        link.step(LinkEvent::Closed { id: old, failure }, now);
        assert_eq!(link.refused(), Some(SetId(8)));
    }
}

#[test]
fn a_network_that_came_up_during_a_given_up_attempt_is_forgotten() {
    let (mut link, [id, _]) = replaced();
    let now = link.now;
    link.step(LinkEvent::NetworkChanged, now);
    link.step(LinkEvent::SetChanged { set: Some(SET) }, now);
    let failure = failure(Class::Network);
    link.step(LinkEvent::Closed { id, failure }, now.plus(STEADY));
    assert_eq!(link.deadline().unwrap().reason, LinkReason::Retry);
}

#[test]
fn only_a_refusal_in_words_condemns_the_set_and_a_guess_asks_cups_too() {
    let said = failure(Class::NotAuthorised);
    for (failure, refused) in [(said.clone(), Some(SET)), (said.guessed(), None)] {
        let (mut link, id) = up();
        let now = link.now;
        let actions = link.step(LinkEvent::Closed { id, failure }, now);
        assert!(actions.contains(&LinkAction::AskCups), "{actions:?}");
        assert_eq!(link.refused(), refused);
    }
}

#[test]
fn a_holder_that_reconnects_by_itself_brings_the_link_up_at_once() {
    for class in [Class::Network, Class::NotAuthorised] {
        let (mut link, id) = lost(class);
        let now = link.now.plus(Duration::from_secs(1));
        assert_eq!(
            link.step(LinkEvent::Resumed { id }, now),
            [LinkAction::Report(LinkReport::Up { set: SET })]
        );
        assert_eq!((link.state(), link.status().last), ("up", None));
        // Told twice, it is no news.
        assert_eq!(link.step(LinkEvent::Resumed { id }, now), []);
        // It ends like any other.
        let failure = failure(Class::Network);
        let actions = link.step(LinkEvent::Closed { id, failure }, now);
        assert!(
            matches!(actions[..], [LinkAction::Report(LinkReport::Lost { .. })]),
            "{actions:?}"
        );
    }
}

#[test]
fn an_attempt_that_had_failed_may_be_resumed() {
    let mut link = Link::new(Settings::default(), 1);
    link.step(LinkEvent::SetChanged { set: Some(SET) }, at(0));
    let id = opened(&due(&mut link));
    let (now, failure) = (link.now, failure(Class::NotAuthorised));
    link.step(LinkEvent::Failed { id, failure }, now);
    link.step(LinkEvent::Resumed { id }, now);
    assert_eq!(link.state(), "up");
    assert_eq!(link.deadline().unwrap().reason, LinkReason::Steady);
}

#[test]
fn what_is_resumed_with_an_older_set_is_used_until_the_new_one_is_opened() {
    let (mut link, id) = lost(Class::Network);
    let (now, set) = (link.now, Some(SetId(8)));
    link.step(LinkEvent::SetChanged { set }, now);
    link.step(LinkEvent::Resumed { id }, now);
    assert_eq!((link.state(), link.status().set), ("up", Some(SET)));
    assert_eq!(link.deadline().unwrap().reason, LinkReason::NewSet);
}

#[test]
fn a_resumption_that_crosses_the_next_attempt_leaves_the_answer_to_that() {
    let (mut link, id) = lost(Class::Network);
    let next = opened(&due(&mut link));
    let now = link.now;
    assert_eq!(link.step(LinkEvent::Resumed { id }, now), []);
    assert_eq!(link.state(), "opening");
    link.step(LinkEvent::Connected { id: next }, now);
    assert_eq!(link.state(), "up");
}

#[test]
fn a_holder_that_still_tries_is_told_to_end_when_the_set_is_gone() {
    let (mut link, id) = lost(Class::Network);
    let now = link.now;
    let gone = LinkEvent::SetChanged { set: None };
    assert_eq!(link.step(gone, now), [LinkAction::Close { id }]);
    assert_eq!(
        link.step(LinkEvent::Resumed { id }, now),
        [LinkAction::Close { id }]
    );
    assert_eq!((link.state(), link.deadline()), ("off", None));
}

#[test]
fn noise_breaks_no_invariant_and_silences_no_link() {
    let mut link = Link::new(Settings::default(), 3);
    let mut seed: u64 = 9;
    let mut now = Duration::ZERO;
    for _ in 0..200_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let draw = seed >> 33;
        now += Duration::from_millis(draw % 40_000);
        let id = ExchangeId(u32::try_from(draw % 5).unwrap() + link.next_id.saturating_sub(3));
        let class = Class::ALL[usize::try_from(draw % 15).unwrap()];
        let event = match (draw >> 8) % 10 {
            0 => LinkEvent::SetChanged {
                set: Some(SetId(draw % 3)),
            },
            1 if draw % 97 == 0 => LinkEvent::SetChanged { set: None },
            2 => LinkEvent::NetworkChanged,
            3 | 4 => LinkEvent::Connected { id },
            5 => LinkEvent::Failed {
                id,
                failure: failure(class),
            },
            6 => LinkEvent::Closed {
                id,
                failure: failure(class),
            },
            7 => LinkEvent::Resumed { id },
            _ => LinkEvent::DeadlinePassed,
        };
        link.step(event, Moment::from_boot(now));
        let is_content = link.up.map(|up| up.set) == link.wanted;
        assert!(is_content || link.deadline().is_some());
    }
}
