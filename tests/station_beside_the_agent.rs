//! Basic Station as a child: started when there is a set, watched, started again, ended with
//! the agent.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at files, and ends when it cannot"
)]

mod support {
    pub(crate) mod station;
}

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mtls_lab::device::EUI;
use mtls_lab::lns::{Config, LnsDouble};
use serde_json::json;
use support::station::{Scene, is_alive, is_connected, kill, pid};

#[test]
fn it_is_started_with_the_first_set_and_its_connection_is_the_link() {
    let mut scene = Scene::new("");
    scene.device.set("log.level", "debug");
    let service = scene.device.serve();
    service.until("connected", is_connected);
    service.until("up", |service| {
        service.show("/lns/link/state") == json!("up")
    });
    service.says_once("station is started as process");
    let holder = service.show("/lns/holder");
    assert_eq!(holder["state"], json!("running"), "{holder}");
    assert_eq!(holder["restarts"], json!(0), "{holder}");
    for line in [
        "<3>error: station: 2022-01-17 10:00:00.123 [RAL:ERRO] an error",
        "<4>warning: station: 2022-01-17 10:00:00.123 [RAL:WARN] the radio",
        "<6>station: 2022-01-17 10:00:00.123 [SYS:NOTI] Starting",
        "<7>debug: station: 2022-01-17 10:00:00.123 [RAL:VERB] a detail",
    ] {
        assert!(
            service.lines().iter().any(|found| found.starts_with(line)),
            "no {line} in {:#?}",
            service.lines()
        );
    }
    let connections = scene.around.lns.connections();
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert_eq!(connections[0].token.as_deref(), Some("first"));
}

#[test]
fn a_flood_of_lines_is_cut_and_counted() {
    let scene = Scene::new("--flood 5000");
    let service = scene.device.serve();
    service.until("connected", is_connected);
    let flood = service.count("of a flood");
    assert!((10..60).contains(&flood), "{flood} lines passed");
    service.until("counted", |service| {
        service.count("lines of station were dropped") > 0
    });
}

#[test]
fn a_killed_station_is_started_again() {
    let scene = Scene::new("");
    let service = scene.device.serve();
    service.until("running", |service| pid(service) != 0);
    let first = pid(&service);
    kill(first, "KILL");
    service.until("another", |service| ![0, first].contains(&pid(service)));
    service.says_once("station was killed by signal 9");
    assert_eq!(service.show("/lns/holder/restarts"), json!(1));
    let last = service.show("/lns/holder/last_exit");
    assert_eq!(last, json!("was killed by signal 9"));
    service.until("connected", is_connected);
}

#[test]
fn it_ends_with_the_agent() {
    let scene = Scene::new("");
    let mut service = scene.device.serve();
    service.until("running", |service| pid(service) != 0);
    let child = pid(&service);
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(8)), Some(0));
    assert!(!is_alive(child));
}

#[test]
fn one_that_ignores_sigterm_is_killed_with_its_group() {
    let scene = Scene::deaf("--hang");
    let mut service = scene.device.serve();
    service.until("running", |service| pid(service) != 0);
    service.until("started", |service| service.count("Starting station") == 1);
    let child = pid(&service);
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(25)), Some(0));
    assert!(!is_alive(child));
    service.says_once("is killed");
}

#[test]
fn a_rotation_leaves_the_live_connection_alone_and_the_next_one_uses_the_new_key() {
    let mut scene = Scene::new("--faster 10");
    scene.device.set("cups.poll_s", 2);
    let service = scene.device.serve();
    service.until("connected", is_connected);
    let child = pid(&service);
    scene.around.cups.rotate_key(EUI, "second");
    service.until("waits", |service| {
        service.show("/lns/holder/newer_credentials_wait") == json!(true)
    });
    service.until("up with it", |service| {
        service.show("/lns/link/set") == json!(2)
    });
    let connections = scene.around.lns.connections();
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert!(connections[0].open);
    scene.around.lns.cut(EUI);
    service.until("connected anew", |_| {
        scene.around.lns.connections().len() == 2
    });
    let connections = scene.around.lns.connections();
    assert_eq!(connections[1].token.as_deref(), Some("second"));
    assert_eq!(pid(&service), child, "the same process");
    service.until("nothing waits", |service| {
        service.show("/lns/holder/newer_credentials_wait") == json!(false)
    });
    assert_eq!(
        service.count("the LNS link is lost"),
        0,
        "{:#?}",
        service.lines()
    );
}

#[test]
fn a_refused_key_makes_cups_be_asked() {
    let scene = Scene::new("--faster 20");
    let service = scene.device.serve();
    service.until("running", |service| pid(service) != 0);
    scene.around.lns.accept_tokens(["second"]);
    scene.around.lns.cut(EUI);
    service.until("refused", |service| {
        service.show("/lns/link/why/class") == json!("not_authorised")
    });
    // Not at once, because the last question is seconds old.
    service.until("asks CUPS", |service| {
        service.show("/cycle/next/reason") == json!("refresh_by_link")
    });
    // Station goes on by itself, and reads the new key when there is one.
    assert_eq!(service.count("station is started again: "), 0);
    assert_eq!(service.show("/lns/holder/restarts"), json!(0));
}

#[test]
fn a_certificate_that_station_does_not_trust_makes_cups_be_asked() {
    let mut scene = Scene::new("--faster 20");
    let service = scene.device.serve();
    service.until("connected", is_connected);
    let port = scene.around.lns.address().port();
    let elsewhere = LnsDouble::start(&Config::default()).unwrap();
    drop(std::mem::replace(&mut scene.around.lns, elsewhere));
    scene.around.lns = LnsDouble::start(&Config {
        port,
        tls: Some(scene.around.pki.second_lns().server),
        ..Config::default()
    })
    .unwrap();
    service.until("not trusted", |service| {
        service.show("/lns/link/why/code") == json!("station_untrusted")
    });
    assert_eq!(
        service.show("/lns/link/why/class"),
        json!("server_untrusted")
    );
    service.until("asks CUPS", |service| {
        service.show("/cycle/next/reason") == json!("refresh_by_link")
    });
    assert_eq!(service.show("/lns/holder/restarts"), json!(0));
}

#[test]
fn leftovers_that_would_hurt_are_removed_before_the_start() {
    let scene = Scene::new("");
    // Fixed in the original: its -t does not move it.
    let update = Path::new("/tmp/update.bin");
    let file = scene.device.path("temp/station.pid");
    fs::write(update, "#!/bin/sh\n").unwrap();
    // Certainly alive, and no station.
    fs::write(&file, "1\n").unwrap();
    let service = scene.device.serve();
    service.until("running", |service| pid(service) != 0);
    service.until("started", |service| {
        service.count("the radio is a double") == 1
    });
    assert!(!update.exists());
    assert_eq!(service.count("ran a left-over update"), 0);
    service.until("told", |service| {
        if service.count("removed /tmp/update.bin: station would have run it unchecked") > 0 {
            return true;
        }
        // The agent of another test has found it first.
        let child = pid(service);
        if child != 0 && !update.exists() {
            fs::write(update, "#!/bin/sh\n").unwrap();
            kill(child, "KILL");
        }
        false
    });
    service.until("its own file", |service| {
        fs::read_to_string(&file).is_ok_and(|text| text == pid(service).to_string())
    });
}

#[test]
fn a_pipe_or_a_folder_in_the_place_of_a_leftover_holds_up_nothing() {
    let scene = Scene::new("");
    // Anybody may make one in a folder for all.
    let file = scene.device.path("temp/station.pid");
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    let mut service = scene.device.serve();
    service.until("connected", is_connected);
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(15)), Some(0));
}

#[test]
fn the_ways_to_end_are_named() {
    for (code, words) in [
        (1, "station ended with code 1 (its configuration"),
        (6, "station ended with code 6 (another station is running"),
        (30, "station ended with code 30 (a fatal error"),
    ] {
        let scene = Scene::new(&format!("--code {code}"));
        let service = scene.device.serve();
        service.until("ended", |service| service.count(words) > 0);
    }
}

#[test]
fn five_fast_ends_in_a_row_are_a_failure() {
    let scene = Scene::new("--code 1");
    let service = scene.device.serve();
    service.until("three", |service| {
        service.count("station ended with code 1") >= 3
    });
    service.until("failing", |service| {
        service.show("/lns/holder/state") == json!("station_failing")
    });
    service.says_once("station ends again and again");
    service.until("told", |service| {
        service.show("/lns/link/why/code") == json!("station_failing")
    });
    assert_eq!(service.show("/lns/link/why/class"), json!("configuration"));
}
