//! Checks: what a restart of the process does not cut short.

use super::*;
use crate::agent::memory::Memory;

/// The next process, `seconds` later.
fn restarted(before: &Agent, seconds: u64, current: Option<SetId>, proven: bool) -> Agent {
    let memory = Memory::decode(&before.memory().encode());
    assert_eq!(Memory::decode(&memory.encode()), memory);
    let now = before.now.plus(Duration::from_secs(seconds));
    let mut agent = Agent::new(Settings::default(), 2);
    agent.step(Event::Remembered { memory }, now);
    agent.step(Event::IdentityLoaded, now);
    let started = Event::Started {
        current,
        proven,
        staged: None,
        boot_delay_wanted: false,
    };
    assert_eq!(agent.step(started, now), []);
    agent
}

#[test]
fn a_wait_after_a_refusal_goes_on_and_the_next_one_is_longer() {
    let mut agent = in_service();
    for turn in 0..4 {
        let id = asked(&mut agent);
        let failure = failure(Class::NotAuthorised);
        tell(&mut agent, Event::Failed { id, failure });
        let (due, waited) = (agent.deadline().unwrap().at, wait(&agent));
        assert!(
            waited >= Duration::from_secs((12 * 60) << turn),
            "{waited:?}"
        );
        // A loop of crashes.
        for seconds in [10, 20, 30] {
            agent = restarted(&agent, seconds, Some(OLD), true);
        }
        let next = agent.deadline().unwrap();
        assert_eq!(next.reason.name(), "refusal");
        assert!(due.since(next.at) < Duration::from_secs(2), "{next:?}");
    }
}

#[test]
fn an_operator_overrules_a_wait_from_before_the_restart() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    let failure = failure(Class::NotAuthorised);
    tell(&mut agent, Event::Failed { id, failure });
    let mut agent = restarted(&agent, 60, Some(OLD), true);
    let actions = tell(&mut agent, Event::RefreshRequested { by: By::Operator });
    assert!(matches!(actions.0.as_slice(), [Action::Exchange { .. }]));
}

#[test]
fn refusals_of_a_trial_add_up_over_restarts() {
    let mut agent = in_service();
    rotate(&mut agent);
    for _ in 0..2 {
        let id = loop {
            match pass(&mut agent).0.as_slice() {
                [Action::Prove { id, .. }] => break *id,
                [Action::Exchange { id }] => {
                    match tell(&mut agent, Event::Unchanged { id: *id }).0.as_slice() {
                        [Action::Prove { id, .. }] => break *id,
                        other => assert_eq!(other, [Action::Report(Report::Unchanged)]),
                    }
                }
                other => panic!("unexpected: {other:?}"),
            }
        };
        let failure = failure(Class::NotAuthorised);
        tell(&mut agent, Event::Disproved { id, failure });
        agent = restarted(&agent, 60, Some(SET), false);
    }
    let id = asked(&mut agent);
    tell(&mut agent, Event::Unchanged { id });
    let mut last = pass(&mut agent).0;
    let Some(Action::Prove { id, .. }) = last.pop() else {
        panic!("no trial")
    };
    let failure = failure(Class::NotAuthorised);
    let actions = tell(&mut agent, Event::Disproved { id, failure });
    assert_eq!(actions, [Action::Revert]);
}

#[test]
fn without_a_refusal_there_is_nothing_to_remember() {
    let mut agent = in_service();
    let id = asked(&mut agent);
    let failure = failure(Class::Network);
    tell(&mut agent, Event::Failed { id, failure });
    tell(&mut agent, Event::RefreshRequested { by: By::Operator });
    let id = ExchangeId(id.0 + 1);
    tell(&mut agent, Event::Unchanged { id });
    assert_eq!(agent.memory(), Memory::default());
}

#[test]
fn a_memory_of_nonsense_neither_silences_nor_hurries() {
    let max = u64::MAX;
    for text in [
        format!("ask {max} {max} {max}\ntrial 3 {max} {max} {max} {max}\nsilent {max}\n"),
        "ask 1\nask a b c\ntrial 3\nsilent\n\u{0}".to_owned(),
    ] {
        let memory = Memory::decode(&text);
        let mut agent = Agent::new(Settings::default(), 1);
        agent.step(Event::Remembered { memory }, at(1000));
        let started = Event::Started {
            current: Some(OLD),
            proven: false,
            staged: None,
            boot_delay_wanted: false,
        };
        agent.step(Event::IdentityLoaded, at(1000));
        agent.step(started, at(1000));
        assert!(wait(&agent) <= Duration::from_secs(27 * 3600));
    }
}
