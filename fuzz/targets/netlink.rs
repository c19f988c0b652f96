//! Fuzzes: the kernel's news about interfaces and routes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::netlink;

fuzz_target!(|datagram: &[u8]| {
    // No message is shorter than its header: the list is bounded by the datagram.
    assert!(netlink::parse(datagram).len() <= datagram.len() / 16);
});
