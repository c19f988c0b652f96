//! Checks: one behaviour of the machine a test.

use core::time::Duration;

use super::failure::{Class, Failure};
use super::*;

mod cycle;
mod delays;
mod former;
mod identity;
mod memory;
mod network;
mod trial;

pub(super) const SET: SetId = SetId(7);
pub(super) const OLD: SetId = SetId(3);

pub(super) fn at(seconds: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(seconds))
}

pub(super) fn failure(class: Class) -> Failure {
    Failure::new(class, "code", "a message")
}

/// A machine at 1000 s after boot, in service on `OLD`, waiting for its first contact.
pub(super) fn in_service() -> Agent {
    begun(Settings::default(), Some(OLD), true)
}

pub(super) fn begun(settings: Settings, current: Option<SetId>, proven: bool) -> Agent {
    let mut agent = Agent::new(settings, 1);
    assert_eq!(agent.step(Event::IdentityLoaded, at(1000)), []);
    let started = Event::Started {
        current,
        proven,
        staged: None,
        boot_delay_wanted: false,
    };
    assert_eq!(agent.step(started, at(1000)), []);
    agent
}

/// Waits for the deadline and returns what is wanted then.
pub(super) fn pass(agent: &mut Agent) -> Actions {
    let due = agent.deadline().unwrap().at;
    agent.step(Event::DeadlinePassed, due)
}

/// Passes time until CUPS is asked.
pub(super) fn asked(agent: &mut Agent) -> ExchangeId {
    match pass(agent).0.as_slice() {
        [Action::Exchange { id }] => *id,
        other => panic!("not an ask: {other:?}"),
    }
}

/// The same step as the last one in time.
pub(super) fn tell(agent: &mut Agent, event: Event) -> Actions {
    let now = agent.now;
    agent.step(event, now)
}

/// Asks, is offered `SET`, stages it; the machine proves it now.
pub(super) fn proving(agent: &mut Agent) -> ExchangeId {
    let id = asked(agent);
    assert_eq!(tell(agent, Event::Offered { id }), [Action::Stage { id }]);
    match tell(agent, Event::Staged { set: SET }).0.as_slice() {
        [Action::Prove { id, set: SET }] => *id,
        other => panic!("not a proof: {other:?}"),
    }
}

/// Rotates to `SET`; its trial lies ahead.
pub(super) fn rotate(agent: &mut Agent) {
    let id = proving(agent);
    assert_eq!(
        tell(agent, Event::Proved { id }),
        [Action::Commit { set: SET }]
    );
    assert_eq!(
        tell(agent, Event::Committed { set: SET }),
        [
            Action::Export { set: SET },
            Action::Report(Report::Rotated { set: SET })
        ]
    );
}

/// How long the machine waits for what it waits for.
pub(super) fn wait(agent: &Agent) -> Duration {
    agent.deadline().unwrap().at.since(agent.now)
}

pub(super) fn reason(agent: &Agent) -> &'static str {
    agent.deadline().unwrap().reason.name()
}
