//! Fuzzes: messages of the LNS on the traffic socket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::traffic;

fuzz_target!(|text: &str| {
    // Whatever it is, it is something; a panic is what is looked for.
    let _heard = traffic::parse(text);
});
