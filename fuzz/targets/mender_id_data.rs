//! Fuzzes: the output of an identity script. What is made of it is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::mender::id_data::IdData;

fuzz_target!(|octets: &[u8]| {
    if let Ok(id_data) = IdData::from_script(octets) {
        let text = id_data.as_str();
        assert!(text.starts_with("{\"") && text.ends_with('}'));
        assert!(!text.contains(|c: char| c < ' '));
    }
});
