//! A changed address of CUPS is asked at once; a changed folder is told once and waits for a
//! restart.

#![cfg(feature = "daemon")]

use mtls_lab::device::{Device, Scratch, Service, Surroundings};
use mtls_lab::front::{self, Front};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

/// A gateway that asks once a day, and has asked.
fn scene(scratch: &Scratch) -> (Device, Surroundings, Service) {
    let around = Surroundings::start(scratch.path());
    let device = Device::new(BINARY, &around.pki, around.front.address());
    around.offer("first");
    let service = device.serve();
    service.until("set 1 in use", |service| {
        service.show("/current/number") == json!(1)
    });
    (device, around, service)
}

fn reload(device: &Device) {
    device.configure();
    assert_eq!(device.run("reload").code, Some(0));
}

#[test]
fn another_cups_is_asked_without_waiting_for_the_next_poll() {
    let scratch = Scratch::new();
    let (mut device, around, service) = scene(&scratch);
    let asked = around.cups.requests().len();
    let config = front::Config::new(&around.pki, around.cups.address());
    let other = Front::start(config).expect("a port is free");
    device.set("cups.uri", other.uri());
    reload(&device);
    service.until("asked at its new address", |_| {
        around.cups.requests().len() > asked
    });
}

#[test]
fn another_data_folder_is_told_once_and_not_at_every_reload() {
    let scratch = Scratch::new();
    let (mut device, _around, service) = scene(&scratch);
    let elsewhere = device.path("elsewhere");
    device.set("data_dir", elsewhere.to_str());
    for _ in 0..3 {
        reload(&device);
    }
    device.set("log.level", "debug");
    reload(&device);
    let told = "data_dir differs in the configuration now: restart mtls-agent";
    service.until("told", |service| service.count(told) > 0);
    let changed = "the configuration has changed";
    service.until("the last reload", |service| service.count(changed) == 2);
    assert_eq!(service.show("/current/number"), json!(1));
    assert!(service.count(told) <= 2, "{:#?}", service.lines());
}
