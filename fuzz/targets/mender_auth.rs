//! Fuzzes: the error bodies of a Mender server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::mender::auth::ServerError;

fuzz_target!(|octets: &[u8]| {
    if let Some(error) = ServerError::parse(octets) {
        assert!(!error.error.chars().any(char::is_control));
        assert!(error.error.len() <= 200);
    }
});
