//! Fuzzes: the error body of The Things Stack. What is kept of it can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::cups::stack_error::StackError;

fuzz_target!(|octets: &[u8]| {
    if let Some(error) = StackError::parse(octets) {
        assert!(!error.text.chars().any(char::is_control));
        assert!(!error.name.chars().any(char::is_control));
    }
});
