//! Fuzzes: messages from a bus. What is read fits the octets, and none is waited for for ever.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::dbus::{MESSAGE_OCTETS_MAX, Message, texts, variant};

fuzz_target!(|octets: &[u8]| {
    match Message::read(octets) {
        Ok(Some((message, length))) => {
            assert!(length <= octets.len() && length <= MESSAGE_OCTETS_MAX);
            assert!(texts(&message).len() <= message.signature.len());
            drop(message.answer(1).write());
        }
        Ok(None) => assert!(octets.len() < MESSAGE_OCTETS_MAX),
        Err(_) => {}
    }
});
