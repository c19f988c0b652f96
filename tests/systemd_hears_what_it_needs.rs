//! systemd is told when the service is ready, what it does and that it is alive; the journal
//! gets one line with a priority for each change of state, and none where nothing changed.

#![cfg(feature = "daemon")]

use std::time::Duration;

use mtls_lab::cups::Refusal;
use mtls_lab::device::{Device, Scratch, Service, Surroundings};
use mtls_lab::faults::{Fault, Misbehaving};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

fn scene() -> (Device, Surroundings, Scratch) {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    device.set("cups.poll_s", 1);
    (device, around, scratch)
}

fn watchdogs(service: &Service) -> Vec<std::time::Instant> {
    let told = service.told().into_iter();
    told.filter(|(_, text)| text == "WATCHDOG=1")
        .map(|(at, _)| at)
        .collect()
}

#[test]
fn ready_once_then_what_it_does_and_that_it_ends() {
    let (device, around, _scratch) = scene();
    around.offer("first");
    let mut service = device.serve();
    service.until("ready", |service| service.has_told("READY=1"));
    service.until("rotated", |service| {
        service.has_told("STATUS=new credentials in use: set 1")
    });
    service.until("unchanged", |service| {
        service.has_told("STATUS=credentials are up to date")
    });
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(5)), Some(0));
    service.until("stopping", |service| service.has_told("STOPPING=1"));
    let told: Vec<String> = service.told().into_iter().map(|(_, text)| text).collect();
    assert_eq!(told.iter().filter(|text| *text == "READY=1").count(), 1);
    assert!(!told.iter().any(|text| text.contains('\n')), "{told:?}");
    assert!(!told.contains(&"WATCHDOG=1".to_owned()), "nobody asked");
}

#[test]
fn the_watchdog_is_fed_twice_as_often_as_asked_even_while_the_worker_hangs() {
    let (mut device, _around, _scratch) = scene();
    let server = Misbehaving::start(Fault::Hang(Duration::from_secs(3600))).unwrap();
    device.set("cups.uri", server.uri());
    device.set("network.connect_s", 300);
    let service = device.serve_with(&[("WATCHDOG_USEC", "400000")]);
    service.until("fed", |service| watchdogs(service).len() >= 11);
    assert_eq!(service.show("/cycle/phase"), json!("asking"));
    let fed = watchdogs(&service);
    let spans = u32::try_from(fed.len() - 1).unwrap();
    let each = fed.last().unwrap().duration_since(fed[0]) / spans;
    // Waking too often would cost power; too seldom shows only on an idle machine.
    assert!(each >= Duration::from_millis(150), "{each:?}");
}

#[test]
fn the_watchdog_is_fed_while_there_is_no_identity_and_nothing_else_to_do() {
    let (mut device, _around, scratch) = scene();
    let absent = scratch.path().join("absent.key");
    device.set("identity.key", absent.to_str());
    let service = device.serve_with(&[("WATCHDOG_USEC", "400000")]);
    service.until("fed", |service| watchdogs(service).len() >= 3);
    assert_eq!(service.show("/cycle/phase"), json!("unusable"));
}

#[test]
fn a_watchdog_meant_for_another_process_is_not_fed() {
    let (device, around, _scratch) = scene();
    let service = device.serve_with(&[("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "1")]);
    service.until("two polls", |_| !around.cups.requests().is_empty());
    assert_eq!(watchdogs(&service).len(), 0);
}

#[test]
fn each_line_has_a_priority_for_the_journal() {
    let (mut device, around, _scratch) = scene();
    device.set("log.level", "debug");
    around.offer("first");
    around.cups.set_trouble(Some(Refusal::Internal));
    let service = device.serve();
    service.until("failed", |service| service.count("the cycle failed") > 0);
    let lines = service.lines();
    let wrong: Vec<&String> = lines
        .iter()
        .filter(|line| {
            !["<3>", "<4>", "<6>", "<7>"]
                .iter()
                .any(|mark| line.starts_with(mark))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("<4>warning: the cycle failed"))
    );
    assert!(lines.iter().any(|line| line.starts_with("<7>debug: ")));
}

#[test]
fn polls_that_change_nothing_leave_one_line() {
    let (device, around, _scratch) = scene();
    around.offer("first");
    let service = device.serve();
    service.until("six polls", |_| around.cups.requests().len() >= 7);
    service.says_once("up to date");
    around.cups.set_trouble(Some(Refusal::Internal));
    service.until("failed", |service| service.count("the cycle failed") == 1);
    around.cups.set_trouble(None);
    assert_eq!(device.run("refresh").code, Some(0));
    service.until("well again", |service| service.count("up to date") == 2);
    let asked = around.cups.requests().len();
    service.until("three polls", |_| around.cups.requests().len() >= asked + 3);
    assert_eq!(service.count("up to date"), 2, "{:#?}", service.lines());
    service.says_once("the cycle failed");
}

#[test]
fn the_same_trouble_again_leaves_one_line() {
    let (device, around, _scratch) = scene();
    around.offer("first");
    around.cups.set_trouble(Some(Refusal::Internal));
    let service = device.serve();
    for asked in 1..=4 {
        service.until("asked", |_| around.cups.requests().len() >= asked);
        service.until("waiting", |service| {
            service.show("/cycle/phase") == json!("waiting")
        });
        assert_eq!(device.run("refresh").code, Some(0));
    }
    service.says_once("the cycle failed");
    around.cups.set_trouble(Some(Refusal::Forbidden));
    assert_eq!(device.run("refresh").code, Some(0));
    service.until("other trouble", |service| {
        service.count("the cycle failed") == 2
    });
}
