//! Runs: the service with a link of its own for minutes, a fault a minute, and looks for growth.
//!
//! `MTLS_SOAK_MINUTES=30 tests/run soak`. Not part of the tests, because it takes as long as it is told to.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program that waits, looks at /proc and tells what it saw"
)]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use mtls_agent::daemon::sockets::{Verb, give_verb};
use mtls_lab::cups::Gateway;
use mtls_lab::device::{Device, EUI, Scratch, Service, Surroundings};
use mtls_lab::lns::Fault;
use mtls_lab::pipe::Pipe;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
const FRAME: &str = "uplink 4004030226820100AABB0AC0FFEE01020304";
/// Longest time after a fault until the link must be up: pings, then a few retries.
const MEND_MAX: Duration = Duration::from_secs(600);
/// Growth that is still noise: buffers of one connection.
const GROWTH_KIB_MAX: u64 = 1024;
const FAULTS: [&str; 6] = ["cut", "session", "rotation", "refusal", "silence", "reload"];

struct Scene {
    device: Device,
    around: Surroundings,
    path: Pipe,
    sent: usize,
    rotations: usize,
    _scratch: Scratch,
}

fn main() {
    let number = |name: &str, otherwise| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let minutes = number("MTLS_SOAK_MINUTES", 2);
    let every = Duration::from_secs(number("MTLS_SOAK_FAULT_S", 60));
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut scene = scene();
    let service = scene.device.serve();
    scene.mend(&service);
    scene.traffic(&service, Duration::from_secs(5));
    let before = seen(&service);
    println!(
        "soak: start  {} kB resident, {} descriptors",
        before.0, before.1
    );
    let mut fault = 0;
    while Instant::now() < end {
        let name = FAULTS[fault % FAULTS.len()];
        let began = Instant::now();
        scene.cause(name, &service);
        scene.mend(&service);
        println!(
            "soak: {name:9} mended after {:.1} s",
            began.elapsed().as_secs_f32()
        );
        let left = every.min(end.saturating_duration_since(Instant::now()));
        scene.traffic(&service, left);
        fault += 1;
    }
    let after = seen(&service);
    println!(
        "soak: end    {} kB resident, {} descriptors",
        after.0, after.1
    );
    println!(
        "soak: {fault} faults, {} frames sent, {} arrived",
        scene.sent,
        scene.around.lns.uplink_count()
    );
    assert!(after.1 <= before.1, "descriptors leak");
    assert!(after.0 <= before.0 + GROWTH_KIB_MAX, "memory grows");
}

fn scene() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let path = Pipe::start(around.lns.address()).expect("a port is free");
    let gateway = Gateway {
        lns_uri: format!("wss://localhost:{}", path.address().port()),
        lns_trust_der: around.pki.lns.root_der.clone(),
        lns_key: Some("first".to_owned()),
        cups_target: None,
    };
    around.cups.set_gateway(EUI, gateway);
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    device.set("lns.mode", "session");
    Scene {
        device,
        around,
        path,
        sent: 0,
        rotations: 0,
        _scratch: scratch,
    }
}

impl Scene {
    fn cause(&mut self, name: &str, service: &Service) {
        match name {
            "cut" => self.path.cut(),
            "session" => self.around.lns.cut(EUI),
            "rotation" => {
                self.rotations += 1;
                let key = format!("key-{}", self.rotations);
                self.around.cups.rotate_key(EUI, &key);
                let _ = give_verb(&self.device.path("run"), &Verb::Refresh);
                thread::sleep(Duration::from_secs(2));
            }
            "refusal" => {
                self.around.lns.set_fault(Fault::TrafficStatus(503));
                self.path.cut();
                thread::sleep(Duration::from_secs(3));
            }
            "silence" => {
                self.path.set_silent(true);
                let limit = Instant::now() + Duration::from_secs(150);
                while is_up(service) && Instant::now() < limit {
                    thread::sleep(Duration::from_millis(200));
                }
            }
            _ => service.signal("HUP"),
        }
        self.path.set_silent(false);
        self.around.lns.set_fault(Fault::None);
    }

    fn mend(&self, service: &Service) {
        let limit = Instant::now() + MEND_MAX;
        // What has just been cut may not have been noticed yet.
        thread::sleep(Duration::from_secs(1));
        while !is_up(service) {
            assert!(Instant::now() < limit, "still down: {}", service.status());
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// A frame every 50 ms for so long.
    fn traffic(&mut self, service: &Service, wait: Duration) {
        let end = Instant::now() + wait;
        let verb = Verb::parse(FRAME).expect("a good frame");
        while Instant::now() < end {
            let answer = give_verb(&self.device.path("run"), &verb);
            self.sent += usize::from(answer.is_ok_and(|answer| answer == "sent"));
            thread::sleep(Duration::from_millis(50));
        }
        assert!(!service.status().is_null(), "it has ended");
    }
}

fn is_up(service: &Service) -> bool {
    service.show("/lns/link/state") == json!("up")
}

/// Resident memory in kB and open descriptors.
fn seen(service: &Service) -> (u64, usize) {
    let folder = format!("/proc/{}", service.pid());
    let status = fs::read_to_string(format!("{folder}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = line.and_then(|line| line.split_whitespace().next());
    let descriptors = fs::read_dir(format!("{folder}/fd"))
        .expect("it runs")
        .count();
    (
        resident.expect("Linux says so").parse().expect("a number"),
        descriptors,
    )
}
