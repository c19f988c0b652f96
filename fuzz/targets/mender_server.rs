//! Fuzzes: the address of a Mender server. What is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::mender::server::ServerUrl;

fuzz_target!(|text: &str| {
    if let Ok(server) = ServerUrl::parse(text) {
        assert_eq!(ServerUrl::parse(&server.to_string()), Ok(server));
    }
});
