//! Runs: the service with a link of its own behind Envoy, a fault and then a minute of traffic
//! as often as told, and looks for growth.
//!
//! `MTLS_SOAK_MINUTES=30 tests/run soak`. Not part of the tests, because it takes as long as it
//! is told to, and the time to mend besides. `MTLS_SOAK_FAULT_S` makes the minute another length.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program that waits, looks at /proc and tells what it saw"
)]

#[path = "support/behind_envoy.rs"]
mod behind_envoy;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use behind_envoy::{Footprint, Scene, footprint, is_up, number, program, until};
use mtls_agent::daemon::sockets::{Verb, give_verb};
use mtls_lab::device::{EUI, Service};
use mtls_lab::lns::Fault;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
/// Longest time after a fault until the link must be up: pings, then a few retries.
const MEND_MAX: Duration = Duration::from_secs(600);
/// Longest time until silence is noticed: two pings.
const NOTICE_MAX: Duration = Duration::from_secs(150);
const GLANCE: Duration = Duration::from_millis(200);
/// Growth that is still noise: buffers of one connection.
const GROWTH_KIB_MAX: u64 = 1024;
const FAULTS: [&str; 8] = [
    "cut", "envoy", "rotation", "session", "lns", "refusal", "reload", "silence",
];

fn main() -> ExitCode {
    let Some(mut scene) = Scene::set_up(&program(BINARY)) else {
        println!("soak: there is no Envoy; tests/run soak installs it");
        return ExitCode::FAILURE;
    };
    let minutes = usize::try_from(number("MTLS_SOAK_MINUTES", 2)).expect("a small number");
    let minute = Duration::from_secs(number("MTLS_SOAK_FAULT_S", 60));
    let service = scene.device.serve();
    mend(&scene, &service, 1);
    traffic(&mut scene, &service, Duration::from_secs(5));
    let (before, start) = (footprint(&service), Instant::now());
    tell("start", before);
    for (rotation, name) in FAULTS.iter().cycle().take(minutes).enumerate() {
        let began = Instant::now();
        // Only a reload leaves the session as it is.
        let sessions = scene.seen().sessions + usize::from(*name != "reload");
        cause(name, rotation, &mut scene, &service);
        mend(&scene, &service, sessions);
        let took = began.elapsed().as_secs_f32();
        println!("soak: {name:9} mended after {took:.1} s");
        traffic(&mut scene, &service, minute);
    }
    let after = footprint(&service);
    tell("end", after);
    let (sent, arrived) = (scene.sent, scene.seen().frames);
    let took = start.elapsed().as_secs() / 60;
    println!("soak: {minutes} faults in {took} minutes, {sent} frames sent, {arrived} arrived");
    assert!(after.descriptors <= before.descriptors, "descriptors leak");
    assert!(
        after.resident <= before.resident + GROWTH_KIB_MAX,
        "memory grows"
    );
    // What is under way when a connection breaks is lost; nothing else.
    assert!(arrived <= sent, "frames are sent twice");
    assert!(arrived * 100 >= sent * 95, "frames are lost");
    ExitCode::SUCCESS
}

fn cause(name: &str, number: usize, scene: &mut Scene, service: &Service) {
    match name {
        "cut" => scene.path.cut(),
        "session" => scene.lns().cut(EUI),
        "envoy" => {
            scene.stop_envoy();
            scene.start_envoy();
        }
        "lns" => {
            scene.stop_lns();
            scene.start_lns();
        }
        "rotation" => {
            scene.cups.rotate_key(EUI, &format!("key-{number}"));
            let _ = give_verb(&scene.device.path("run"), &Verb::Refresh);
            thread::sleep(Duration::from_secs(2));
        }
        "refusal" => {
            scene.lns().set_fault(Fault::TrafficStatus(503));
            scene.path.cut();
            thread::sleep(Duration::from_secs(3));
            scene.lns().set_fault(Fault::None);
        }
        "silence" => {
            scene.path.set_silent(true);
            let what = ("the silence is noticed", NOTICE_MAX, GLANCE);
            until(service, what, |status| !is_up(status));
            scene.path.set_silent(false);
        }
        _ => service.signal("HUP"),
    }
}

/// Waits until so many sessions have been opened at the LNS, and the last of them is up.
fn mend(scene: &Scene, service: &Service, sessions: usize) {
    let what = ("up again", MEND_MAX, GLANCE);
    until(service, what, |status| {
        scene.seen().sessions >= sessions && is_up(status)
    });
}

/// A frame every 50 ms for so long.
fn traffic(scene: &mut Scene, service: &Service, wait: Duration) {
    let end = Instant::now() + wait;
    while Instant::now() < end {
        scene.uplink();
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!service.status().is_null(), "it has ended");
}

fn tell(when: &str, seen: Footprint) {
    let (resident, descriptors) = (seen.resident, seen.descriptors);
    println!("soak: {when:6} {resident} kB resident, {descriptors} descriptors");
}
