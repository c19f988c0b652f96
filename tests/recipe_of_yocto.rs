//! Proves: the configuration that the Yocto recipe installs is the agent's own template.
#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads a file, and ends when it cannot"
)]

use std::fs;
use std::path::Path;

use mtls_agent::config::template;

#[test]
fn the_installed_configuration_is_the_template() {
    let file = "yocto/meta-mtls-agent/recipes-connectivity/mtls-agent/files/agent.json";
    let installed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    assert!(
        installed == template(),
        "mtls-agent config --template > {file}"
    );
}
