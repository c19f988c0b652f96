//! Fuzzes: the answer of LNS discovery.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::lns;

fuzz_target!(|text: &str| {
    // An error is a result like any other; a panic is what is looked for.
    drop(lns::parse(text));
});
