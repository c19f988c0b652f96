//! A private key that systemd provides by `LoadCredential=` belongs to root and has mode 0440;
//! in systemd's folder that is nobody else's business, anywhere else it is.

#![cfg(feature = "daemon")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use mtls_lab::device::{Device, Scratch, Surroundings};
use mtls_lab::openssl::set_mode;
use mtls_lab::skip::skipped;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

#[test]
fn a_key_of_mode_0440_counts_in_the_folder_of_credentials_only() {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    let folder = device.path("credentials");
    fs::create_dir(&folder).unwrap();
    let key = folder.join("device.key");
    fs::copy(&around.pki.device.key, &key).unwrap();
    device.set("identity.key", key.to_str());
    if fs::metadata(&key).unwrap().uid() != 0 {
        return skipped("a key of root's", "only root can make one");
    }
    let is_taken = |mode: u32, folder: &std::path::Path| {
        set_mode(&key, mode);
        let service = device.serve_with(&[("CREDENTIALS_DIRECTORY", folder.to_str().unwrap())]);
        service.until("looked at", |service| service.show("/cycle").is_object());
        let state = service.show("/cycle/identity/state");
        let warned = service.count("warning: the key");
        (state == json!("loaded"), warned)
    };
    assert_eq!(is_taken(0o440, &folder), (true, 0));
    assert_eq!(is_taken(0o400, &folder), (true, 0));
    for mode in [0o444, 0o460, 0o450] {
        assert!(!is_taken(mode, &folder).0, "{mode:o}");
    }
    assert!(!is_taken(0o440, scratch.path()).0);
}
