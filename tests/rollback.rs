//! A set that passed its proof and is refused later: the last proven set is kept all the time,
//! and nothing is decided in a hurry.
//!
//! The way back itself needs three refusals spread over a quarter of an hour, which no setting
//! shortens: it is covered by the machine's own tests (`agent/tests/trial.rs`) and the
//! simulation. Here is what can be seen of it from outside before that.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at files, and ends when it cannot"
)]

use std::fs;

use mtls_lab::device::{Device, EUI, Scratch, Surroundings};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

struct Scene {
    device: Device,
    around: Surroundings,
    _scratch: Scratch,
}

/// Set 1 has passed its trial, set 2 has just been committed.
fn scene() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let device = Device::new(BINARY, &around.pki, around.front.address());
    around.offer("first");
    assert_eq!(device.run("once --json").text("outcome"), "rotated");
    let trial = device.run("once --json");
    assert_eq!((trial.code, trial.text("outcome")), (Some(0), "unchanged"));
    around.cups.rotate_key(EUI, "second");
    assert_eq!(device.run("once --json").text("outcome"), "rotated");
    Scene {
        device,
        around,
        _scratch: scratch,
    }
}

impl Scene {
    /// Number, whether in use, whether proven, of each set.
    fn sets(&self) -> Vec<(Value, Value, Value)> {
        let sets = self.device.run("credentials --json").said;
        let row = |set: &Value| {
            (
                set["set"].clone(),
                set["current"].clone(),
                set["good"].clone(),
            )
        };
        sets.as_array().unwrap().iter().map(row).collect()
    }

    fn key_in_home(&self) -> String {
        fs::read_to_string(self.device.path("station/tc.key")).unwrap()
    }
}

fn on_trial() -> Vec<(Value, Value, Value)> {
    vec![
        (json!(1), json!(false), json!(true)),
        (json!(2), json!(true), json!(false)),
    ]
}

#[test]
fn the_proven_set_is_kept_until_the_next_has_passed_its_trial() {
    let scene = scene();
    assert_eq!(scene.sets(), on_trial());
    assert_eq!(scene.device.run("once --json").code, Some(0));
    let sets = scene.sets();
    assert!(
        sets.contains(&(json!(2), json!(true), json!(true))),
        "{sets:?}"
    );
}

#[test]
fn one_refusal_condemns_nothing_and_is_tried_again_after_a_quarter_of_an_hour() {
    let scene = scene();
    scene.around.lns.accept_tokens(["first"]);
    let service = scene.device.serve();
    service.until("the trial", |service| {
        service.show("/cycle/last/result") == json!("trial_failed")
    });
    let cycle = service.show("/cycle");
    assert_eq!(cycle["on_trial"], json!(true), "{cycle}");
    assert_eq!(cycle["current"], json!(2), "{cycle}");
    assert_eq!(cycle["last"]["failure"]["class"], json!("not_authorised"));
    assert_eq!(cycle["next"]["reason"], json!("trial"), "{cycle}");
    let wait_s = cycle["next"]["in_s"].as_u64().unwrap();
    assert!((11 * 60..=18 * 60).contains(&wait_s), "{cycle}");
    assert_eq!(scene.sets(), on_trial());
    assert_eq!(scene.key_in_home(), "Authorization: second\r\n");
}

#[test]
fn a_new_key_from_cups_ends_the_trouble_at_once() {
    let scene = scene();
    scene.around.lns.accept_tokens(["first", "third"]);
    let refused = scene.device.run("once --json");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(refused.text("class"), "not_authorised", "{refused:?}");
    scene.around.cups.rotate_key(EUI, "third");
    let rotated = scene.device.run("once --json");
    assert_eq!(rotated.text("outcome"), "rotated", "{rotated:?}");
    assert_eq!(rotated.said["set"], json!(3), "{rotated:?}");
    assert_eq!(scene.key_in_home(), "Authorization: third\r\n");
    let sets = scene.sets();
    assert!(
        sets.contains(&(json!(1), json!(false), json!(true))),
        "{sets:?}"
    );
}

#[test]
fn a_network_fault_during_the_trial_only_delays() {
    let mut scene = scene();
    let uri = scene.around.lns.uri();
    let port: u16 = uri.rsplit(':').next().unwrap().parse().unwrap();
    // The record on the server stays as it is; only the LNS is gone.
    let gone = mtls_lab::lns::LnsDouble::start(&mtls_lab::lns::Config::default()).unwrap();
    scene.around.lns = gone;
    for _ in 0..3 {
        let ran = scene.device.run("once --json");
        assert_eq!(ran.text("class"), "network", "port {port}: {ran:?}");
        assert_eq!(scene.sets(), on_trial());
    }
}
