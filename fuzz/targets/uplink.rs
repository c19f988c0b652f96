//! Fuzzes: frames given to be sent as uplinks. What is taken must come back by its own line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::uplink::{Air, Frame};

fuzz_target!(|octets: &[u8]| {
    if let Ok(frame) = Frame::new(octets.to_vec(), Air::default()) {
        assert_eq!(Frame::parse(&frame.line()), Ok(frame.clone()));
        assert!(frame.message(0.0, 0.0).starts_with('{'));
    }
    if let Ok(line) = core::str::from_utf8(octets) {
        drop(Frame::parse(line));
    }
});
