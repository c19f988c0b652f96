//! Basic Station as a systemd unit, with a `systemctl` of the test's own in PATH, or a system bus
//! of its own: the unit is started, watched, started again, and goes on when the agent ends.

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
    #[cfg(feature = "dbus")]
    #[expect(clippy::indexing_slicing, reason = "a double may end the test")]
    pub(crate) mod systemd_bus;
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
    /// What leads the agent to systemd.
    variable: (&'static str, String),
    name: &'static str,
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
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", systemd.folder.display());
        Self {
            scene,
            systemd,
            variable: ("PATH", path),
            name: "station.service",
        }
    }

    /// The same, and no `systemctl` of the test's in PATH.
    #[cfg(feature = "dbus")]
    fn by_bus(mut self) -> Self {
        let socket = self.scene.device.path("bus");
        support::systemd_bus::serve(
            &socket,
            Some(&self.systemd.folder),
            Duration::from_millis(20),
        );
        self.scene.device.set("station.unit_control", "dbus");
        // As systemctl takes it too; systemd itself wants the whole name.
        self.name = "station";
        self.scene.device.set("station.unit", self.name);
        let address = format!("unix:path={}", socket.display());
        self.variable = ("DBUS_SYSTEM_BUS_ADDRESS", address);
        self
    }

    fn serve(&self) -> Service {
        let (name, value) = &self.variable;
        self.scene.device.serve_with(&[(*name, value.as_str())])
    }
}

fn is_connected(service: &Service) -> bool {
    service.show("/lns/holder/connected") == json!(true)
}

#[test]
fn it_is_started_watched_and_started_again_and_outlives_the_agent() {
    is_started_watched_and_started_again(&Unit::new("", SYSTEMCTL));
}

#[cfg(feature = "dbus")]
#[test]
fn over_the_bus_it_is_started_watched_and_started_again() {
    is_started_watched_and_started_again(&Unit::new("", SYSTEMCTL).by_bus());
}

fn is_started_watched_and_started_again(unit: &Unit) {
    let mut service = unit.serve();
    service.until("watched", |service| {
        unit.systemd.pid().is_some()
            && service.show("/lns/holder/pid").as_u64() == unit.systemd.pid()
    });
    service.says_once(&format!("{} is started", unit.name));
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
    is_named_and_waited_for(&Unit::new("--code 6", SYSTEMCTL));
}

#[cfg(feature = "dbus")]
#[test]
fn over_the_bus_its_way_to_end_is_named() {
    is_named_and_waited_for(&Unit::new("--code 6", SYSTEMCTL).by_bus());
}

#[test]
fn its_way_to_end_is_named_when_systemd_starts_it_again_by_itself() {
    // Restart=always: between two starts it is not down.
    let script = SYSTEMCTL.replace("ActiveState=failed", "ActiveState=activating");
    let unit = Unit::new("--code 6", &script);
    let service = unit.serve();
    service.until("named", |service| {
        let last = service.show("/lns/holder/last_exit");
        last.as_str()
            .is_some_and(|last| last.contains("ended with code 6"))
    });
    service.says_once("station ended with code 6 (another station is running already)");
    assert_eq!(unit.systemd.count("start"), 1);
}

#[test]
fn an_agent_that_is_restarted_finds_its_unit_connected_and_leaves_it_so() {
    let unit = Unit::new("", SYSTEMCTL);
    let mut service = unit.serve();
    service.until("connected", is_connected);
    let first = unit.systemd.pid();
    for signal in ["TERM", "KILL"] {
        service.signal(signal);
        service.wait(Duration::from_secs(15));
        service = unit.serve();
        service.until("connected again", |service| {
            is_connected(service) && service.show("/lns/link/state") == json!("up")
        });
        assert_eq!(service.count("the LNS link is lost"), 0);
    }
    assert_eq!(unit.systemd.pid(), first);
    assert_eq!(unit.systemd.count("start"), 1);
    let connections = unit.scene.around.lns.connections();
    assert_eq!(connections.len(), 1, "{connections:?}");
}

#[test]
fn a_reload_that_only_changes_how_the_unit_is_watched_leaves_it_running() {
    let mut unit = Unit::new("", SYSTEMCTL);
    let service = unit.serve();
    service.until("connected", is_connected);
    let first = unit.systemd.pid();
    unit.scene.device.set("station.journal", true);
    unit.scene.device.configure();
    service.signal("HUP");
    let calls = || {
        let calls = std::fs::read_to_string(unit.systemd.folder.join("journal-calls"));
        calls.unwrap_or_default()
    };
    service.until("its log is read", |_| calls().contains("--follow"));
    service.until("connected", is_connected);
    assert_eq!(unit.systemd.pid(), first);
    assert_eq!(unit.systemd.count("stop"), 0, "{}", unit.systemd.calls());
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[cfg(feature = "dbus")]
#[test]
fn what_systemd_or_the_bus_refuses_is_named() {
    let mut unit = Unit::new("", SYSTEMCTL).by_bus();
    unit.scene.device.set("station.unit", "stations.service");
    let service = unit.serve();
    let refusal =
        "StartUnit refused: org.freedesktop.systemd1.NoSuchUnit Unit stations.service not found.";
    service.until("named", |service| service.count(refusal) > 0);
    let unit = Unit::new("", SYSTEMCTL).by_bus();
    std::fs::remove_file(unit.scene.device.path("bus")).unwrap();
    let service = unit.serve();
    service.until("named", |service| {
        service.count("/bus: No such file or directory") > 0
            && service.show("/lns/holder/state") == json!("blocked")
    });
}

#[cfg(feature = "dbus")]
#[test]
fn a_systemd_that_is_silent_holds_up_nothing_else() {
    let mut unit = Unit::new("", SYSTEMCTL).by_bus();
    let socket = unit.scene.device.path("silent-bus");
    support::systemd_bus::serve(&socket, None, Duration::ZERO);
    unit.variable.1 = format!("unix:path={}", socket.display());
    is_not_held_up(&unit, "does not answer");
}

#[cfg(feature = "dbus")]
#[test]
fn a_systemd_that_is_slow_is_given_up_after_ten_seconds_for_all_its_answers() {
    let mut unit = Unit::new("", SYSTEMCTL).by_bus();
    let socket = unit.scene.device.path("slow-bus");
    let delay = Duration::from_secs(4);
    support::systemd_bus::serve(&socket, Some(&unit.systemd.folder), delay);
    unit.variable.1 = format!("unix:path={}", socket.display());
    is_not_held_up(&unit, "does not answer");
}

fn is_named_and_waited_for(unit: &Unit) {
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
    is_not_held_up(&unit, "systemctl show");
}

fn is_not_held_up(unit: &Unit, said: &str) {
    let mut service = unit.serve();
    service.until("told", |service| {
        service.count(said) > 0 && service.show("/lns/holder/state") == json!("blocked")
    });
    let asked = Instant::now();
    assert_eq!(service.show("/cycle/current"), json!(1));
    assert!(asked.elapsed() < Duration::from_secs(5));
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(25)), Some(0));
}
