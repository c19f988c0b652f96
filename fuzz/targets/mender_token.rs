//! Fuzzes: tokens and their claims.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::mender::token::Token;

fuzz_target!(|octets: &[u8]| {
    let Ok(token) = Token::parse(octets) else {
        return;
    };
    assert!(token.is(octets.trim_ascii()));
    if let Some(claims) = token.claims() {
        let texts = [claims.subject, claims.token_id, claims.tenant];
        assert!(
            !texts
                .iter()
                .flatten()
                .any(|text| text.contains(char::is_control))
        );
    }
});
