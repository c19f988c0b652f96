//! An agent that waits after a failed connection asks again when an interface comes up.
//!
//! The agent gets a network of its own in which nothing is up, hence needs root, `unshare`,
//! `nsenter` and `ip`. Without them the test says that it was skipped.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that makes a script, and ends when its set-up fails"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use mtls_lab::device::{Device, Scratch, Service, Surroundings};
use mtls_lab::skip::skipped;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

#[test]
fn an_interface_that_comes_up_ends_the_wait() {
    if !is_possible() {
        return skipped(
            "an interface that comes up",
            "no network of its own can be made here",
        );
    }
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let wrapper = scratch.path().join("agent-alone");
    fs::write(
        &wrapper,
        format!("#!/bin/sh\nexec unshare -n {BINARY} \"$@\"\n"),
    )
    .unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let wrapper = wrapper.to_str().unwrap();
    let mut device = Device::new(wrapper, &around.pki, around.front.address());
    device.set("wait.retry_s_max", 3600);
    device.set("log.level", "debug");
    let service = device.serve();
    service.until("waiting for its retry", |service| {
        service.show("/cycle/next/reason") == json!("retry")
    });
    assert_eq!(service.show("/cycle/last/failure/class"), json!("network"));
    inside(&service, "link add plug0 type veth peer name plug1");
    inside(&service, "link set plug0 up");
    assert_eq!(service.show("/cycle/attempts_since_success"), json!(1));
    // Only now does either end have a carrier.
    inside(&service, "link set plug1 up");
    service.until("asking again", |service| {
        service.show("/cycle/attempts_since_success") == json!(2)
    });
    service.says_once("NetworkChanged");
}

fn is_possible() -> bool {
    let works = |command: &str| {
        let tried = Command::new("sh")
            .args(["-c", command])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    works("command -v nsenter") && works("unshare -n ip link add plug0 type veth peer name plug1")
}

fn inside(service: &Service, change: &str) {
    let done = Command::new("nsenter")
        .args(["-t", &service.pid().to_string(), "-n", "ip"])
        .args(change.split_whitespace())
        .status()
        .unwrap();
    assert!(done.success(), "{change}");
}
