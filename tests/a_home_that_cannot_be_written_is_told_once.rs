//! A set that cannot be handed over to Basic Station's home is told once, not at every try, and
//! reaches the home when that is mended.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test makes files, and ends when it cannot"
)]

use std::fs;

use mtls_lab::device::{Device, Scratch, Surroundings};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

#[test]
fn many_tries_are_one_line_and_the_mended_home_gets_the_set() {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    device.set("cups.poll_s", 1);
    let in_the_way = device.path("station/tc.key");
    fs::create_dir(&in_the_way).unwrap();
    around.offer("first");
    let service = device.serve();
    service.until("told", |service| service.show("/handed_over").is_string());
    let before = around.cups.requests().len();
    service.until("more polls", |_| around.cups.requests().len() >= before + 3);
    service.says_once("cannot be handed over");
    fs::remove_dir(&in_the_way).unwrap();
    service.until("handed over", |service| {
        service.show("/handed_over") == json!(true)
    });
    let key = fs::read_to_string(in_the_way).unwrap();
    assert_eq!(key, "Authorization: first\r\n");
}
