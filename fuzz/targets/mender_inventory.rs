//! Fuzzes: the output of two inventory scripts, split at the first zero octet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::mender::inventory::Inventory;

fuzz_target!(|octets: &[u8]| {
    let mut inventory = Inventory::default();
    for stdout in octets.splitn(2, |&octet| octet == 0) {
        // An error is a result like any other; a panic is what is looked for.
        drop(inventory.add_script(stdout));
    }
    if let Ok(body) = inventory.body() {
        assert!(body.starts_with('[') && body.ends_with(']'));
        assert!(!body.contains(|c: char| c < ' '));
    }
});
