//! What Mender's own client and our agent weigh, in one run at the same double: memory, wake-ups,
//! octets and processor time of a fresh token. Ours keeps the limits that are set for it.
//!
//! `benches/mender.sh` makes `docs/mender-footprint.md` of it.

#![cfg(all(feature = "dbus", feature = "mender"))]
#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement: it looks at the clock, ends when its set-up fails, and prints"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod mender_device;
    pub(crate) mod system_bus;
    pub(crate) mod weight;
}

use std::process::Command;
use std::thread;
use std::time::Duration;

use mtls_lab::mender::{Config, MenderDouble};
use serde_json::{Value, json};
use support::mender_device::{AUTH, Device, INVENTORY, Running};
use support::system_bus::SystemBus;
use support::weight::{Counter, Passed, Process};

/// From the acceptance to the look at idle memory.
const SETTLING: Duration = Duration::from_secs(30);
/// How long wake-ups are counted.
const MINUTE: Duration = Duration::from_secs(60);
const CYCLES: usize = 10;
/// More than either lets pass between two auth requests that it is asked for.
const BETWEEN: Duration = Duration::from_secs(6);
/// Limits of ours.
const IDLE_KB_MAX: u64 = 6 * 1024;
const SLEEPS_MAX: u64 = 6;
const UP_MAX: f64 = 2048.0;

/// What was measured of one program.
#[derive(Default)]
struct Weight {
    start_ms: f64,
    peak_kb: u64,
    idle_kb: u64,
    idle_proportional_kb: u64,
    threads: u64,
    sleeps: u64,
    /// Of the connections that brought a token.
    auth: Vec<Passed>,
    /// Connections and octets of all that a cycle took.
    cycle_connections: f64,
    cycle: Passed,
    cycle_ms: f64,
}

struct Scene {
    device: Device,
    double: MenderDouble,
    counter: Counter,
    bus: SystemBus,
}

impl Scene {
    fn new() -> Self {
        let device = Device::new("footprint", "P-256", true);
        // Each request needs a fresh connection.
        let config = Config {
            keep_alive: false,
            ..device.ambassador_config()
        };
        let double = MenderDouble::start(config).unwrap();
        Self {
            counter: Counter::start(double.address()),
            bus: SystemBus::start_open(&device.dir),
            double,
            device,
        }
    }

    /// The intervals are the usual ones; the bus and the forwarder are on.
    fn configuration(&self) -> Value {
        let uri = format!("https://localhost:{}", self.counter.port());
        let mut configuration = self.device.configuration(&uri);
        configuration["DBus"]["Enabled"] = json!(true);
        configuration["UpdatePollIntervalSeconds"] = json!(1800);
        configuration["InventoryPollIntervalSeconds"] = json!(28800);
        configuration["RetryPollIntervalSeconds"] = json!(300);
        configuration
    }

    fn measure(&self, mut command: Command, refresh: &dyn Fn(Process)) -> Weight {
        let before = self.double.requests().len();
        let good = |path: &str, status: u16, after: usize| {
            let requests = self.double.requests();
            let is_it = |seen: &&mtls_lab::mender::Recorded| {
                seen.request.path == path && seen.status == Some(status)
            };
            requests.iter().skip(after).filter(is_it).count()
        };
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
        let running = Running::start(command);
        let process = Process(running.0.id());
        let device = &self.device;
        device.until("inventory", || good(INVENTORY, 200, before) > 0);
        let mut weight = Weight {
            start_ms: process.cpu_us() as f64 / 1000.0,
            ..Weight::default()
        };
        thread::sleep(SETTLING);
        weight.idle_kb = process.resident_kb();
        weight.idle_proportional_kb = process.proportional_kb();
        weight.threads = process.thread_count();
        let sleeps = process.sleeps();
        thread::sleep(MINUTE);
        weight.sleeps = process.sleeps() - sleeps;

        let (first, begun_us) = (self.double.requests().len(), process.cpu_us());
        for _ in 0..CYCLES {
            let granted = good(AUTH, 200, first);
            let set = self.double.devices()[0].sets[0].id.clone();
            self.double.delete_token(&set);
            refresh(process);
            device.until("another token", || good(AUTH, 200, first) > granted);
            thread::sleep(BETWEEN);
        }
        let each = CYCLES as f64;
        weight.cycle_ms = (process.cpu_us() - begun_us) as f64 / 1000.0 / each;
        weight.peak_kb = process.peak_kb();
        drop(running);
        for seen in self.double.requests().iter().skip(first) {
            let passed = self.counter.passed(seen.connection);
            weight.cycle.up += passed.up;
            weight.cycle.down += passed.down;
            weight.cycle_connections += 1.0 / each;
            if seen.request.path == AUTH {
                weight.auth.push(passed);
            }
        }
        weight
    }
}

#[test]
#[ignore = "takes five minutes: benches/mender.sh"]
fn ours_weighs_less_than_it_may() {
    let scene = Scene::new();
    let configuration = scene.configuration();
    let theirs = scene.device.client(&configuration, &["daemon"]);
    // An update check, which finds out that the token has ended.
    let theirs = scene.measure(theirs, &|process| signal("USR1", process));
    let own = json!({ "update_command": ["/bin/true"], "inventory": "on" });
    let ours = scene.device.agent(&configuration, &own, &["run"]);
    let refresh = |_: Process| {
        let mut command = scene.device.agent(&configuration, &own, &["refresh"]);
        assert!(command.status().unwrap().success());
    };
    let ours = scene.measure(ours, &refresh);
    print(&theirs, &ours);
    assert!(ours.idle_kb <= IDLE_KB_MAX, "idle: {} kB", ours.idle_kb);
    assert!(ours.sleeps <= SLEEPS_MAX, "{} wake-ups", ours.sleeps);
    assert!(mean(&ours.auth, |passed| passed.up) <= UP_MAX);
}

fn signal(name: &str, process: Process) {
    let words = format!("kill -{name} {}", process.0);
    assert!(
        Command::new("sh")
            .args(["-c", &words])
            .status()
            .unwrap()
            .success()
    );
}

fn mean(passed: &[Passed], of: impl Fn(&Passed) -> u64) -> f64 {
    passed.iter().map(of).sum::<u64>() as f64 / passed.len() as f64
}

fn print(theirs: &Weight, ours: &Weight) {
    let row = |what: &str, of: &dyn Fn(&Weight) -> String| {
        println!("ROW| {what} | {} | {} |", of(theirs), of(ours));
    };
    let each = CYCLES as u64;
    row("peak RSS, kB", &|weight| weight.peak_kb.to_string());
    row("RSS 30 s after acceptance, kB", &|weight| {
        weight.idle_kb.to_string()
    });
    row("PSS 30 s after acceptance, kB", &|weight| {
        weight.idle_proportional_kb.to_string()
    });
    row("threads", &|weight| weight.threads.to_string());
    row(
        "wake-ups (voluntary context switches) in an idle minute",
        &|weight| weight.sleeps.to_string(),
    );
    row("CPU from the start to the first inventory, ms", &|weight| {
        format!("{:.1}", weight.start_ms)
    });
    row("octets up for a fresh token", &|weight| {
        format!("{:.0}", mean(&weight.auth, |passed| passed.up))
    });
    row("octets down for a fresh token", &|weight| {
        format!("{:.0}", mean(&weight.auth, |passed| passed.down))
    });
    row("requests in a cycle", &|weight| {
        format!("{:.1}", weight.cycle_connections)
    });
    row("octets up in a cycle", &|weight| {
        (weight.cycle.up / each).to_string()
    });
    row("octets down in a cycle", &|weight| {
        (weight.cycle.down / each).to_string()
    });
    row("CPU of a cycle, ms", &|weight| {
        format!("{:.1}", weight.cycle_ms)
    });
}
