//! Basic Station as a systemd unit, with a `systemctl` of the test's own in PATH: the unit is
//! started, watched, started again, and goes on when the agent ends.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at files, and ends when it cannot"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod station;
    pub(crate) mod systemctl;
}

use std::path::Path;
use std::time::{Duration, Instant};

use mtls_lab::device::Service;
use serde_json::json;
use support::station::Scene;
use support::systemctl::{SYSTEMCTL, Systemd};

struct Unit {
    scene: Scene,
    systemd: Systemd,
}

impl Unit {
    fn new(words: &str, systemctl: &str) -> Self {
        let mut scene = Scene::new("");
        let (home, temp) = (scene.device.path("station"), scene.device.path("temp"));
        let station = format!(
            "{} -h {} -t {} {words}",
            scene.device.path("station.sh").display(),
            home.display(),
            temp.display()
        );
        let systemd = Systemd::new(scene.device.path("bin"), systemctl, &station);
        scene.device.set("station.command", Vec::<String>::new());
        scene.device.set("station.unit", "station.service");
        Self { scene, systemd }
    }

    fn serve(&self) -> Service {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.systemd.folder.display());
        self.scene.device.serve_with(&[("PATH", &path)])
    }
}

fn is_connected(service: &Service) -> bool {
    service.show("/lns/holder/connected") == json!(true)
}

#[test]
fn it_is_started_watched_and_started_again_and_outlives_the_agent() {
    let unit = Unit::new("", SYSTEMCTL);
    let mut service = unit.serve();
    service.until("watched", |service| {
        unit.systemd.pid().is_some()
            && service.show("/lns/holder/pid").as_u64() == unit.systemd.pid()
    });
    service.says_once("station.service is started");
    let first = unit.systemd.pid();
    // Not yet connected, so that this is noticed within five seconds.
    unit.systemd.kill();
    service.until("started again", |service| {
        unit.systemd.pid() != first
            && service.show("/lns/holder/pid").as_u64() == unit.systemd.pid()
    });
    service.says_once("station was killed by signal 9");
    service.until("connected", is_connected);
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(15)), Some(0));
    let pid = unit.systemd.pid().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    let calls = unit.systemd.calls();
    assert!(calls.contains("start --no-block --no-ask-password -- station.service"));
    assert!(!calls.contains("stop"), "{calls}");
}

#[test]
fn its_way_to_end_is_named_and_it_is_not_started_without_a_pause() {
    let unit = Unit::new("--code 6", SYSTEMCTL);
    let service = unit.serve();
    service.until("named", |service| {
        service.count("station ended with code 6 (another station is running already)") >= 3
    });
    let starts = unit.systemd.calls().matches("start --no-block").count();
    assert!((3..=5).contains(&starts), "{starts}");
}

#[test]
fn a_systemctl_that_hangs_holds_up_nothing_else() {
    let unit = Unit::new("", "#!/bin/sh\nexec sleep 600\n");
    let mut service = unit.serve();
    service.until("told", |service| {
        service.count("systemctl show") > 0 && service.show("/lns/holder/state") == json!("blocked")
    });
    let asked = Instant::now();
    assert_eq!(service.show("/cycle/current"), json!(1));
    assert!(asked.elapsed() < Duration::from_secs(5));
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(25)), Some(0));
}
