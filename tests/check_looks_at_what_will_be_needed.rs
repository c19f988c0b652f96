//! `check` finds what would be found out only when a rotation or an update comes: a home that
//! cannot be written, keys and a program that cannot be used.

#![cfg(feature = "updates")]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test plants files, and ends when it cannot"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod vectors;
}

use std::fs;

use mtls_lab::device::{Device, Scratch};
use mtls_lab::openssl::set_mode;
use mtls_lab::pki::Pki;
use serde_json::Value;
use support::vectors::Vectors;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

fn device(scratch: &Scratch) -> Device {
    let pki = Pki::make(&scratch.path().join("pki"), mtls_lab::device::EUI);
    Device::new(BINARY, &pki, "127.0.0.1:1".parse().unwrap())
}

/// Exit code, result and code of one check.
fn found(device: &Device, id: &str) -> (Option<i32>, Value, Value) {
    let ran = device.run("check --json");
    let checks = ran.said["checks"].as_array().unwrap().clone();
    let of = checks.into_iter().find(|check| check["id"] == id);
    let of = of.unwrap_or_default();
    (ran.code, of["result"].clone(), of["code"].clone())
}

fn failed(code: i32, name: &str) -> (Option<i32>, Value, Value) {
    (Some(code), "failed".into(), name.into())
}

#[test]
fn a_home_that_can_neither_be_written_nor_made() {
    let scratch = Scratch::new();
    let mut device = device(&scratch);
    assert_eq!(found(&device, "station_home").0, Some(0));
    let file = device.path("a file");
    fs::write(&file, "").unwrap();
    for home in [file.clone(), file.join("home"), device.path("no/such/home")] {
        device.set("lns.station_home", home.to_str());
        assert_eq!(found(&device, "station_home"), failed(78, "station_home"));
    }
    device.set("lns.station_home", device.path("fresh").to_str());
    assert_eq!(found(&device, "station_home").1, "ok");
}

#[test]
fn keys_that_are_missing_or_no_points_and_a_program_that_cannot_be_run() {
    let scratch = Scratch::new();
    let mut device = device(&scratch);
    let (key, program) = (device.path("sig.key"), device.path("apply"));
    device.set("cups.update_command", vec![program.to_str().unwrap()]);
    assert_eq!(
        found(&device, "signature_keys"),
        failed(78, "signature_keys")
    );
    assert_eq!(
        found(&device, "update_command"),
        failed(78, "update_command")
    );
    device.set("cups.signature_keys", vec![key.to_str().unwrap()]);
    assert_eq!(
        found(&device, "signature_keys"),
        failed(78, "signature_keys")
    );
    for octets in [vec![7; 64], vec![0; 63]] {
        fs::write(&key, octets).unwrap();
        assert_eq!(
            found(&device, "signature_keys"),
            failed(78, "signature_keys")
        );
    }
    fs::write(&key, Vectors::load().material("sig0_pub_xy")).unwrap();
    assert_eq!(found(&device, "signature_keys").1, "ok");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    set_mode(&program, 0o600);
    assert_eq!(
        found(&device, "update_command"),
        failed(78, "update_command")
    );
    set_mode(&program, 0o700);
    assert_eq!(found(&device, "update_command").1, "ok");
    device.set("cups.update_command", vec!["sh"]);
    assert_eq!(found(&device, "update_command").1, "ok");
}
