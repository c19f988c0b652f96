//! Whatever the LNS does, station is let alone, its state is told truly, CUPS is asked about a
//! refusal alone and not often, and the link is up again when the LNS is.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits, and ends when its set-up fails"
)]

mod support {
    pub(crate) mod station;
}

use std::thread;
use std::time::{Duration, Instant};

use mtls_lab::cups::{Gateway, Refusal};
use mtls_lab::device::{EUI, Service};
use mtls_lab::lns::{Config, Fault, LnsDouble, Speech};
use mtls_lab::pipe::Pipe;
use serde_json::json;
use support::station::{Scene, is_alive, is_connected, kill, pid};

/// Longer than anything here takes: a loss is called one after 20 seconds, at a glance each 30.
const PATIENCE: Duration = Duration::from_secs(100);

fn until(service: &Service, what: &str, is_so: impl Fn(&Service) -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is_so(service) {
        assert!(
            Instant::now() < limit,
            "still not so: {what}; status {}; log:\n{}",
            service.status(),
            service.lines().join("\n")
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn is_up(service: &Service) -> bool {
    service.show("/lns/link/state") == json!("up") && is_connected(service)
}

/// Waiting, or trying again: the wait may be over before anybody looks.
fn is_down(service: &Service) -> bool {
    service.show("/lns/link/state") != json!("up")
        && service.show("/lns/link/why/class") != json!(null)
        && !is_connected(service)
}

/// A gateway whose station is connected and tries again fast, and its process.
fn connected() -> (Scene, Service, u64) {
    let scene = Scene::new("--faster 20");
    let service = scene.device.serve();
    until(&service, "up", is_up);
    let child = pid(&service);
    (scene, service, child)
}

/// It is the same process, and it was never started again.
fn assert_untouched(service: &Service, child: u64) {
    assert_eq!(pid(service), child, "{:#?}", service.lines());
    assert_eq!(service.show("/lns/holder/restarts"), json!(0));
    assert!(is_alive(child));
}

/// Ends the connection and has station ask discovery, not try the same address again.
fn asks_discovery_again(scene: &Scene, service: &Service) {
    let lns = &scene.around.lns;
    let tried = lns.connections().len();
    lns.set_fault(Fault::TrafficStatus(503));
    lns.cut(EUI);
    until(service, "asks", |_| lns.connections().len() >= tried + 2);
}

/// One gateway goes through a fault and out of it; gives its state while it lasts.
fn goes_through(fault: &Fault) -> (String, String, usize) {
    let (scene, service, child) = connected();
    let asked = scene.around.cups.requests().len();
    asks_discovery_again(&scene, &service);
    scene.around.lns.set_fault(fault.clone());
    until(&service, &format!("down by {fault:?}"), is_down);
    assert_untouched(&service, child);
    let class = service.show("/lns/link/why/class");
    let next = service.show("/cycle/next/reason");
    scene.around.lns.set_fault(Fault::None);
    until(&service, &format!("up after {fault:?}"), is_up);
    assert_untouched(&service, child);
    assert_eq!(service.show("/lns/link/why"), json!(null));
    let asked = scene.around.cups.requests().len() - asked;
    let text = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(class), text(next), asked)
}

fn all_go_through(faults: &[Fault], class: &str, next: &str) {
    thread::scope(|scope| {
        let runs: Vec<_> = faults
            .iter()
            .map(|fault| (fault, scope.spawn(move || goes_through(fault))))
            .collect();
        for (fault, run) in runs {
            let expected = (class.to_owned(), next.to_owned(), 0);
            assert_eq!(run.join().unwrap(), expected, "{fault:?}");
        }
    });
}

#[test]
fn a_refusal_makes_cups_be_asked_and_station_comes_back_by_itself() {
    let faults = [
        Fault::DiscoveryStatus(401),
        Fault::DiscoveryStatus(403),
        Fault::ErrorText("Unauthorized".to_owned()),
        Fault::ErrorText("Failed to fetch gateway: API key not found".to_owned()),
        Fault::TrafficStatus(401),
    ];
    // The last question to CUPS is seconds old, so that the next one waits for its 5 minutes.
    all_go_through(&faults, "not_authorised", "refresh_by_link");
}

#[test]
fn an_lns_that_is_busy_or_broken_is_waited_for_and_cups_is_not_asked() {
    let faults = [
        Fault::TrafficStatus(503),
        Fault::TrafficStatus(429),
        Fault::TrafficBusy(429, 60),
        Fault::DiscoveryStatus(503),
        Fault::DiscoveryStatus(429),
        Fault::Oversize(100_000),
    ];
    all_go_through(&faults, "network", "trial");
}

#[test]
fn an_lns_that_is_restarted_is_used_again() {
    let (mut scene, service, child) = connected();
    let port = scene.around.lns.address().port();
    let elsewhere = LnsDouble::start(&Config::default()).unwrap();
    drop(std::mem::replace(&mut scene.around.lns, elsewhere));
    until(&service, "lost", is_down);
    assert_eq!(
        service.show("/lns/link/why/class"),
        json!("network"),
        "{}",
        service.status()
    );
    scene.around.lns = LnsDouble::start(&Config {
        port,
        tls: Some(scene.around.pki.lns.server.clone()),
        ..Config::default()
    })
    .unwrap();
    until(&service, "up again", is_up);
    assert_untouched(&service, child);
    service.says_once("the LNS link is lost");
}

#[test]
fn a_half_open_link_is_left_to_station() {
    let scene = Scene::new("--faster 20");
    let pipe = Pipe::start(scene.around.lns.address()).unwrap();
    let gateway = Gateway {
        lns_uri: format!("wss://localhost:{}", pipe.address().port()),
        lns_trust_der: scene.around.pki.lns.root_der.clone(),
        lns_key: Some("first".to_owned()),
        cups_target: None,
    };
    scene.around.cups.set_gateway(EUI, gateway);
    let service = scene.device.serve();
    until(&service, "up", is_up);
    let child = pid(&service);
    pipe.set_silent(true);
    thread::sleep(Duration::from_secs(35));
    // Only station can know, and its keep-alive tells it after two minutes.
    assert!(is_up(&service));
    pipe.set_silent(false);
    pipe.cut();
    until(&service, "connected anew", |_| {
        scene
            .around
            .lns
            .connections()
            .iter()
            .filter(|one| one.open)
            .count()
            == 1
            && scene.around.lns.connections().len() == 2
    });
    until(&service, "up", is_up);
    assert_untouched(&service, child);
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn a_silent_discovery_is_no_connection_and_is_waited_for() {
    let (scene, service, child) = connected();
    let lns = &scene.around.lns;
    asks_discovery_again(&scene, &service);
    lns.set_fault(Fault::SilentAfterUpgrade(Duration::from_secs(45)));
    until(&service, "lost", is_down);
    lns.set_fault(Fault::None);
    until(&service, "up again", is_up);
    assert_untouched(&service, child);
}

#[test]
fn close_codes_are_a_reconnection_and_no_loss() {
    let (scene, service, child) = connected();
    let lns = &scene.around.lns;
    for code in [1000, 1001, 1008, 1011, 1012, 4000] {
        let before = lns.connections().len();
        lns.set_fault(Fault::Says(vec![Speech::Close(code, "bye".to_owned())]));
        lns.cut(EUI);
        until(&service, "closed", |_| lns.connections().len() > before);
        lns.set_fault(Fault::None);
        until(&service, "open", |_| {
            lns.connections()
                .last()
                .is_some_and(|last| last.open && last.version.is_some())
        });
    }
    until(&service, "up", is_up);
    assert_untouched(&service, child);
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn slow_and_fragmented_frames_leave_the_link_up() {
    let (scene, service, child) = connected();
    let lns = &scene.around.lns;
    let pause = Duration::from_millis(20);
    let slow = Speech::Fragments("x".repeat(1000), 1, pause);
    lns.set_fault(Fault::Says(vec![slow, Speech::Ping]));
    lns.cut(EUI);
    until(&service, "read to the end", |_| lns.pongs() > 0);
    until(&service, "up", is_up);
    assert_untouched(&service, child);
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn frames_that_station_does_not_take_are_told_as_an_lns_that_ends_each_connection() {
    let (scene, service, child) = connected();
    let lns = &scene.around.lns;
    lns.set_fault(Fault::Says(vec![Speech::Text("x".repeat(70_000))]));
    lns.cut(EUI);
    until(&service, "down", is_down);
    assert_untouched(&service, child);
    lns.set_fault(Fault::None);
    until(&service, "up again", is_up);
    assert_untouched(&service, child);
}

#[test]
fn a_new_key_ends_a_refusal_without_a_restart() {
    let (scene, service, child) = connected();
    scene.around.lns.accept_tokens(["second"]);
    scene.around.lns.cut(EUI);
    until(&service, "refused", is_down);
    scene.around.cups.rotate_key(EUI, "second");
    assert_eq!(scene.device.run("refresh").code, Some(0));
    until(&service, "up with it", |service| {
        is_up(service) && service.show("/lns/link/set") == json!(2)
    });
    assert_untouched(&service, child);
}

#[test]
fn a_set_whose_traffic_is_refused_does_not_become_good() {
    let scene = Scene::new("--faster 20");
    for outcome in ["rotated", "unchanged"] {
        assert_eq!(scene.device.run("once --json").text("outcome"), outcome);
    }
    scene.around.cups.rotate_key(EUI, "second");
    assert_eq!(scene.device.run("once --json").text("outcome"), "rotated");
    // Some LNS look at the key only here: discovery is a proof of nothing then.
    scene.around.lns.set_fault(Fault::TrafficStatus(401));
    scene.around.cups.set_trouble(Some(Refusal::Unavailable));
    let service = scene.device.serve();
    until(&service, "refused", is_down);
    until(&service, "tried", |service| {
        service.count("set 2 is still on trial: the LNS takes this set at discovery and refuses")
            == 1
    });
    scene.around.cups.set_trouble(None);
    assert_eq!(scene.device.run("refresh").code, Some(0));
    until(&service, "asked", |service| {
        service.show("/cycle/last/result") == json!("unchanged")
    });
    assert_eq!(service.show("/cycle/on_trial"), json!(true));
    let sets = scene.device.run("credentials --json").said;
    let good = sets
        .as_array()
        .unwrap()
        .iter()
        .find(|set| set["good"] == json!(true));
    assert_eq!(good.unwrap()["set"], json!(1), "{sets}");
}

#[test]
fn the_agent_is_restarted_and_its_station_with_it() {
    let (scene, mut service, child) = connected();
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(15)), Some(0));
    assert!(!is_alive(child));
    let service = scene.device.serve();
    until(&service, "up again", is_up);
    assert_eq!(service.show("/lns/link/set"), json!(1));
    assert_ne!(pid(&service), child);
}

#[test]
fn the_station_of_a_killed_agent_makes_room() {
    let scene = Scene::new("--faster 20");
    let service = outlives_its_agent(&scene);
    assert_eq!(service.count("it does not end within 10 seconds"), 0);
}

#[test]
fn one_that_ignores_sigterm_makes_room_too() {
    let scene = Scene::deaf("--faster 20");
    let service = outlives_its_agent(&scene);
    service.says_once("it does not end within 10 seconds");
}

/// Kills the agent; the next one has a station of its own.
fn outlives_its_agent(scene: &Scene) -> Service {
    let mut service = scene.device.serve();
    service.until("running", |service| pid(service) != 0);
    let file = scene.device.path("temp/station.pid");
    service.until("settled", |_| file.exists());
    let child = pid(&service);
    service.signal("KILL");
    assert_eq!(service.wait(Duration::from_secs(15)), None);
    assert!(is_alive(child), "nobody has ended it");
    let service = scene.device.serve();
    until(&service, "up again", is_up);
    assert!(!is_alive(child));
    let told = service.count("the station of an agent that was killed still runs");
    assert_eq!(told, 1, "{:#?}", service.lines());
    assert_eq!(service.count("station ended with code 6"), 0);
    service
}

#[test]
fn a_station_that_is_not_of_an_agent_is_left_alone() {
    let scene = Scene::new("");
    let words = format!(
        "exec {} -h {} -t {} --hang",
        scene.device.path("station.sh").display(),
        scene.device.path("station").display(),
        scene.device.path("temp").display()
    );
    let mut other = std::process::Command::new("sh")
        .args(["-c", &words])
        .spawn()
        .unwrap();
    let file = scene.device.path("temp/station.pid");
    let limit = Instant::now() + PATIENCE;
    while !file.exists() && Instant::now() < limit {
        thread::sleep(Duration::from_millis(20));
    }
    let service = scene.device.serve();
    until(&service, "told", |service| {
        service.count("station ended with code 6 (another station is running already)") > 0
    });
    assert!(is_alive(u64::from(other.id())));
    kill(u64::from(other.id()), "KILL");
    other.wait().unwrap();
    until(&service, "up", is_up);
}

#[test]
fn changed_settings_are_taken_while_the_agent_runs() {
    let (mut scene, service, child) = connected();
    let mut command = scene.device.settings["station"]["command"].clone();
    command.as_array_mut().unwrap().push(json!("--flood"));
    command.as_array_mut().unwrap().push(json!("3"));
    scene.device.set("station.command", command);
    scene.device.configure();
    service.signal("HUP");
    until(&service, "another", |service| {
        ![0, child].contains(&pid(service))
    });
    assert!(!is_alive(child));
    service.says_once("station's settings have changed");
    until(&service, "with them", |service| {
        service.count("of a flood") == 3
    });
    until(&service, "up", is_up);
    let child = pid(&service);
    scene.device.set("lns.mode", "session");
    scene.device.configure();
    service.signal("HUP");
    until(&service, "told", |service| {
        service.count("lns.mode and the settings of that mode change at the next start only") == 1
    });
    assert_eq!(pid(&service), child);
}
