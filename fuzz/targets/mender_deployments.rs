//! Fuzzes: the answer about updates. Its id can stand in a path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::mender::deployments::Deployment;

fuzz_target!(|octets: &[u8]| {
    if let Ok(deployment) = Deployment::parse(octets) {
        assert!(!deployment.id.contains(['/', '.', '?', '%']));
        assert!(!deployment.artifact_name.contains(char::is_control));
    }
});
