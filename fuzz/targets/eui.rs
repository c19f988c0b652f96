//! Fuzzes: the EUI in all its ways of writing. What is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::eui::Eui64;

fuzz_target!(|text: &str| {
    let Ok(eui) = Eui64::from_any(text) else {
        return;
    };
    assert_eq!(Eui64::from_any(&eui.to_string()).ok(), Some(eui));
    assert_eq!(Eui64::from_any(&eui.id6().to_string()).ok(), Some(eui));
});
