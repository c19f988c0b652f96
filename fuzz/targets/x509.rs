//! Fuzzes: what is read of a certificate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::x509::Facts;

fuzz_target!(|octets: &[u8]| {
    if let Some(facts) = Facts::read(octets) {
        assert!(!facts.subject.chars().any(char::is_control));
        assert!(!facts.issuer.chars().any(char::is_control));
    }
});
