//! Fuzzes: the credential blob of CUPS. Whatever is accepted fills its octets exactly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::credential::Credential;

fuzz_target!(|octets: &[u8]| {
    // An error is a result like any other; a panic is what is looked for.
    let Ok(credential) = Credential::parse(octets) else {
        return;
    };
    assert_eq!(credential.octets(), octets);
    let again = Credential::from_lengths(octets.to_vec(), credential.lengths());
    assert_eq!(again.as_ref(), Some(&credential));
});
