//! Runs: the real agent behind a real Envoy through thousands of outages of its LNS link, with
//! the agent's time made faster by libfaketime, and looks for growth.
//!
//! `MTLS_OUTAGES=10000 tests/run outages`. Every wait of the agent is its own and goes by its own
//! clock; only `wait.retry_s_max` is shorter than usual. `MTLS_OUTAGES_SPEED` is how many of its
//! seconds pass in one of ours.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program that waits, looks at /proc and tells what it saw"
)]

#[path = "support/behind_envoy.rs"]
mod behind_envoy;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use behind_envoy::{Footprint, Scene, footprint, is_up, number, program, until};
use mtls_agent::daemon::sockets::{Verb, give_verb};
use mtls_lab::device::{EUI, Service};
use mtls_lab::lns::Fault;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
/// Outages until everything that is made once has been made.
const WARM: u64 = 100;
/// Growth that is still noise: the allocator's, and buffers of one connection.
const GROWTH_KIB_MAX: u64 = 512;
/// Most that an outage may take in our time; hours in the agent's.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the agent's status.
const GLANCE: Duration = Duration::from_millis(2);

/// What goes wrong; the first of these that divides the number of the outage.
const KINDS: [(u64, Kind); 6] = [
    (500, Kind::EnvoyRestarts),
    (100, Kind::KeyChanges),
    (20, Kind::LnsRestarts),
    (10, Kind::PathRefuses),
    (5, Kind::LnsAnswers503),
    (4, Kind::LnsEndsSession),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Every connection through the path ends; it is there again at once.
    PathIsCut,
    /// The LNS ends the session. Envoy keeps its side open for a moment, which is minutes of
    /// the agent's time, so it is the pings that find out.
    LnsEndsSession,
    /// The path ends, and the LNS answers 503 until an attempt has failed.
    LnsAnswers503,
    /// The path ends and refuses connections until an attempt has failed.
    PathRefuses,
    /// Envoy loses its upstream until an attempt has failed, and answers for it.
    LnsRestarts,
    /// CUPS has a new key; the path is cut when the new link is up.
    KeyChanges,
    /// Envoy is killed and started again.
    EnvoyRestarts,
}

fn main() -> ExitCode {
    let (Some(faster), Some(mut scene)) = (faketime(), Scene::set_up(&program(BINARY))) else {
        println!("outages: there is no libfaketime or no Envoy; tests/run outages installs both");
        return ExitCode::FAILURE;
    };
    let (outages, speed) = (
        number("MTLS_OUTAGES", 500),
        number("MTLS_OUTAGES_SPEED", 2500),
    );
    // Limits of the network at their longest: here they are milliseconds of a loaded machine.
    for (name, seconds) in [
        ("network.connect_s", 140),
        ("network.response_s", 140),
        ("network.total_s", 140),
        ("wait.retry_s_max", 5),
    ] {
        scene.device.set(name, seconds);
    }
    let faster = faster.to_string_lossy().into_owned();
    let service = scene.device.serve_with(&[
        ("LD_PRELOAD", faster.as_str()),
        ("FAKETIME", &format!("+0 x{speed}")),
        ("NO_FAKE_STAT", "1"),
    ]);
    let warm = WARM.min(outages / 2);
    let mut tally = Tally::default();
    let begun = Instant::now();
    let mut first = None;
    tally.be_steady(&mut scene, &service);
    for outage in 1..=outages {
        tally.go_through(outage, &mut scene, &service);
        if outage == warm {
            first = Some(tell(outage, begun, &service));
        } else if outage % (outages / 10).max(1) == 0 {
            tell(outage, begun, &service);
        }
    }
    let last = footprint(&service);
    conclude(&tally, &scene, &service, (outages, speed));
    compare(first.unwrap_or(last), last);
    ExitCode::SUCCESS
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    kinds: BTreeMap<Kind, u64>,
    keys: u64,
    /// Frames that went down with a link that ended by itself.
    lost: usize,
}

impl Tally {
    fn go_through(&mut self, outage: u64, scene: &mut Scene, service: &Service) {
        let kind = KINDS.iter().find(|(every, _)| outage % every == 0);
        let kind = kind.map_or(Kind::PathIsCut, |(_, kind)| *kind);
        *self.kinds.entry(kind).or_default() += 1;
        let before = scene.seen().sessions;
        cause(kind, &mut self.keys, scene, service);
        let what = format!("outage {outage}, {kind:?}: up again");
        until(service, (&what, PATIENCE, GLANCE), |status| {
            scene.seen().sessions > before && is_up(status)
        });
        self.be_steady(scene, service);
    }

    /// Waits until the link has been up for so long that the next failure counts as the first,
    /// then sends a frame and waits for it.
    fn be_steady(&mut self, scene: &mut Scene, service: &Service) {
        let is_steady = |status: &Value| {
            let failures = status.pointer("/lns/link/failures");
            is_up(status) && failures.and_then(Value::as_u64) == Some(0)
        };
        until(service, ("the link is steady", PATIENCE, GLANCE), is_steady);
        let before = scene.seen();
        scene.uplink();
        let what = ("the frame arrives", PATIENCE, GLANCE);
        until(service, what, |_| {
            let seen = scene.seen();
            if seen.sessions > before.sessions {
                // It may have gone down with a link that ended by itself.
                self.lost = scene.sent.saturating_sub(seen.frames);
            }
            seen.frames + self.lost >= scene.sent
        });
    }
}

fn cause(kind: Kind, keys: &mut u64, scene: &mut Scene, service: &Service) {
    match kind {
        Kind::PathIsCut => scene.path.cut(),
        Kind::LnsEndsSession => scene.lns().cut(EUI),
        Kind::LnsAnswers503 => {
            scene.lns().set_fault(Fault::TrafficStatus(503));
            scene.path.cut();
            an_attempt_fails(service);
            scene.lns().set_fault(Fault::None);
        }
        Kind::PathRefuses => {
            scene.path.close();
            an_attempt_fails(service);
            scene.path.open().expect("its port is still free");
        }
        Kind::LnsRestarts => {
            scene.stop_lns();
            an_attempt_fails(service);
            scene.start_lns();
        }
        Kind::KeyChanges => {
            *keys += 1;
            scene.cups.rotate_key(EUI, &format!("key-{keys}"));
            let before = scene.seen().sessions;
            let _ = give_verb(&scene.device.path("run"), &Verb::Refresh);
            let what = ("a link with the new key", PATIENCE, GLANCE);
            until(service, what, |status| {
                scene.seen().sessions > before && is_up(status)
            });
            scene.path.cut();
        }
        Kind::EnvoyRestarts => {
            scene.stop_envoy();
            an_attempt_fails(service);
            scene.start_envoy();
        }
    }
}

/// The end of the link counts as one failure, the attempt as the second.
fn an_attempt_fails(service: &Service) {
    let what = ("an attempt fails", PATIENCE, GLANCE);
    until(service, what, |status| {
        let failures = status.pointer("/lns/link/failures");
        !is_up(status) && failures.and_then(Value::as_u64) >= Some(2)
    });
}

fn tell(outage: u64, begun: Instant, service: &Service) -> Footprint {
    let now = footprint(service);
    println!(
        "outages: {outage:6} after {:4} s: {} kB resident, {} descriptors",
        begun.elapsed().as_secs(),
        now.resident,
        now.descriptors
    );
    now
}

fn conclude(tally: &Tally, scene: &Scene, service: &Service, (outages, speed): (u64, u64)) {
    let seen = scene.seen();
    let own = u64::try_from(seen.sessions).unwrap_or(u64::MAX);
    // Each needs one new session, a change of the key one more, the start the first.
    let more = own.saturating_sub(outages + tally.keys + 1);
    println!("outages: {:?}", tally.kinds);
    let silent = service.count("code=lns_dead");
    let at_once = service.count("the LNS link is lost").saturating_sub(silent);
    println!("outages: {at_once} ends seen at once, {silent} by two pings without an answer");
    println!(
        "outages: {outages} at {speed} times the speed, up after each; {more} sessions more than that"
    );
    println!(
        "outages: {} frames sent, {} arrived",
        scene.sent, seen.frames
    );
}

fn compare(first: Footprint, last: Footprint) {
    assert!(last.descriptors <= first.descriptors, "descriptors leak");
    assert!(
        last.resident <= first.resident + GROWTH_KIB_MAX,
        "memory grows: {} kB, then {} kB",
        first.resident,
        last.resident
    );
}

/// The preloaded library for programs with threads, as Debian installs it.
fn faketime() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("MTLS_FAKETIME") {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
}
