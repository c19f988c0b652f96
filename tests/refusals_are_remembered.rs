//! A service that is killed and started again waits on after a refusal, unless what was refused
//! has changed; and a second one on the same data is turned away.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test looks at files, and ends when it cannot"
)]

use std::fs;
use std::time::Duration;

use mtls_lab::device::{Device, Scratch, Surroundings};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

struct Scene {
    device: Device,
    around: Surroundings,
    _scratch: Scratch,
}

/// The gateway is not registered, so CUPS refuses it; and has been asked once.
fn refused() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let device = Device::new(BINARY, &around.pki, around.front.address());
    let service = device.serve();
    service.until("refused", |service| {
        service.show("/cycle/next/reason") == json!("refusal")
    });
    assert_eq!(around.cups.requests().len(), 1);
    drop(service);
    Scene {
        device,
        around,
        _scratch: scratch,
    }
}

#[test]
fn a_service_that_was_killed_waits_on_and_refresh_overrules_it() {
    let scene = refused();
    for _ in 0..3 {
        let service = scene.device.serve();
        service.until("waiting", |service| service.show("/cycle").is_object());
        let next = service.show("/cycle/next");
        assert_eq!(next["reason"], json!("refusal"), "{next}");
        assert!(next["in_s"].as_u64().unwrap() > 600, "{next}");
    }
    assert_eq!(scene.around.cups.requests().len(), 1);
    scene.around.offer("first");
    let service = scene.device.serve();
    service.until("waiting", |service| service.show("/cycle").is_object());
    assert_eq!(scene.device.run("refresh").code, Some(0));
    service.until("a set in use", |service| {
        service.show("/current/number") == json!(1)
    });
    service.until("nothing to wait for", |_| {
        !scene.device.path("run/waits").exists()
    });
}

#[test]
fn a_changed_configuration_does_not_wait_for_what_another_was_refused() {
    let mut scene = refused();
    scene.device.set("cups.model", "another");
    let service = scene.device.serve();
    service.until("asked again", |_| scene.around.cups.requests().len() == 2);
    drop(service);
}

#[test]
fn the_file_of_another_boot_or_of_nonsense_does_not_count() {
    let scene = refused();
    let path = scene.device.path("run/waits");
    let text = fs::read_to_string(&path).unwrap();
    for (number, other) in [text.replacen("1 ", "1 0", 1), "\u{0}".repeat(9999)]
        .into_iter()
        .enumerate()
    {
        fs::write(&path, other).unwrap();
        let service = scene.device.serve();
        service.until("asked again", |_| {
            scene.around.cups.requests().len() == number + 2
        });
        drop(service);
    }
}

#[test]
fn a_second_service_on_the_same_data_ends_with_1_and_names_the_first() {
    let scene = refused();
    let first = scene.device.serve();
    first.until("running", |service| service.show("/cycle").is_object());
    let mut second = scene.device.serve();
    assert_eq!(second.wait(Duration::from_secs(30)), Some(1));
    let told = second.lines().join("\n");
    let holder = format!("is in use by process {}", first.pid());
    assert!(told.contains(&holder), "{told}");
}
