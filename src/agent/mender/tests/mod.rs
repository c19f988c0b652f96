//! Checks: one rule of Mender mode a test.

use core::time::Duration;

use super::*;
use crate::agent::failure::Class;

mod attempts;
mod delays;
mod gathering;
mod identity;
mod renewals;
mod tokens;

const WEEK: Duration = Duration::from_secs(604_800);

fn at(seconds: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(seconds))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn failure(class: Class) -> Failure {
    Failure::new(class, "code", "a message")
}

fn pending() -> Failure {
    Failure::new(Class::Pending, "pending", "h:1 answered HTTP 401")
}

/// Without inventory, so that only attempts are seen.
fn quiet() -> Settings {
    Settings {
        inventory_poll: None,
        ..Settings::default()
    }
}

/// A machine at 1000 s after boot that waits for its first contact.
fn begun(settings: Settings) -> Mender {
    let mut mender = Mender::new(settings, 1);
    assert_eq!(mender.step(Event::IdentityLoaded, at(1000)), []);
    let started = Event::Started {
        boot_delay_wanted: false,
    };
    assert_eq!(mender.step(started, at(1000)), []);
    mender
}

/// Waits for the deadline and returns what is wanted then.
fn pass(mender: &mut Mender) -> Actions {
    let due = mender.deadline().unwrap().at;
    mender.step(Event::DeadlinePassed, due)
}

/// The same step as the last one in time.
fn tell(mender: &mut Mender, event: Event) -> Actions {
    let now = mender.now;
    mender.step(event, now)
}

fn after(mender: &mut Mender, wait: Duration, event: Event) -> Actions {
    let now = mender.now.plus(wait);
    mender.step(event, now)
}

/// Passes time until the server is asked.
fn asked(mender: &mut Mender) -> ExchangeId {
    attempt(&pass(mender))
}

fn attempt(actions: &Actions) -> ExchangeId {
    match actions.0.as_slice() {
        [.., Action::Authenticate { id }] => *id,
        other => panic!("no attempt: {other:?}"),
    }
}

fn accept(mender: &mut Mender, id: ExchangeId, lifetime: Option<Duration>) -> Actions {
    let event = Event::Accepted {
        id,
        lifetime,
        is_new_device: false,
    };
    tell(mender, event)
}

/// One attempt that fails so; what came of it.
fn refuse(mender: &mut Mender, failure: Failure) -> Actions {
    let id = asked(mender);
    tell(mender, Event::Refused { id, failure })
}

/// With a token that counts for a week.
fn authorised(settings: Settings) -> Mender {
    let mut mender = begun(settings);
    let id = asked(&mut mender);
    accept(&mut mender, id, Some(WEEK));
    assert_eq!(mender.state(), "authorised");
    mender
}

/// How long the machine waits for what it waits for.
fn wait(mender: &Mender) -> Duration {
    mender.deadline().unwrap().at.since(mender.now)
}

fn reason(mender: &Mender) -> &'static str {
    mender.deadline().unwrap().reason.name()
}
