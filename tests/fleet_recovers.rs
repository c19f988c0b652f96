//! A fleet that lost its proxy comes back at the pace of the proxy, in simulated time.
//!
//! Ten thousand devices run the agent's own link machine against 50 handshakes a second: the
//! proportions of 100,000 devices and 500/s (`docs/fleet.md`).

mod fleet;

use core::time::Duration;

use fleet::{Model, Outcome, Plan, Schedule};

fn run(schedule: Schedule, model: Model, outage_s: u64) -> Outcome {
    fleet::run(&Plan {
        devices: 10_000,
        capacity: 50,
        outage: Duration::from_secs(outage_s),
        model,
        schedule,
        seed: 1,
    })
}

#[test]
fn after_a_short_outage_the_first_retries_are_spread() {
    for model in Model::ALL {
        let outcome = run(Schedule::Agent, model, 10);
        assert!(
            outcome.peak() <= 200,
            "{}: {}",
            model.name(),
            outcome.peak()
        );
        let after = outcome.t99.map(|after| after.as_secs());
        assert!(
            after.is_some_and(|s| s <= 360),
            "{}: {after:?}",
            model.name()
        );
        assert!(
            outcome.attempts < 3.0,
            "{}: {}",
            model.name(),
            outcome.attempts
        );
    }
}

#[test]
fn after_a_long_outage_the_cap_keeps_the_proxy_below_its_capacity() {
    for model in Model::ALL {
        let outcome = run(Schedule::Agent, model, 3600);
        assert!(outcome.peak() <= 80, "{}: {}", model.name(), outcome.peak());
        let after = outcome.t99.map(|after| after.as_secs());
        assert!(
            after.is_some_and(|s| s <= 300),
            "{}: {after:?}",
            model.name()
        );
    }
}

#[test]
fn fixed_waits_would_not_do() {
    for schedule in Schedule::ALL.into_iter().skip(2) {
        let outcome = run(schedule, Model::Shed, 10);
        assert!(outcome.peak() > 5_000, "{}", schedule.name());
        assert!(outcome.t99.is_none_or(|after| after > fleet::HORIZON / 8));
    }
}
