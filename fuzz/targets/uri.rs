//! Fuzzes: server addresses of all services. What is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::uri::{ServerUri, Service};

fuzz_target!(|text: &str| {
    for service in [Service::Cups, Service::Lns, Service::Traffic] {
        if let Ok(uri) = ServerUri::parse(text, service) {
            assert_eq!(ServerUri::parse(&uri.to_string(), service), Ok(uri));
        }
    }
});
