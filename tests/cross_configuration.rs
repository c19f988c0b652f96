//! Proves: `cross.toml` says only what cross knows, and the documents tell how to use it.
//!
//! cross itself never runs here: it changes the toolchain of the machine.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that reads files, and ends when it cannot"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What cross 0.2.5 takes; any other key is ignored with no more than a warning.
const BUILD_KEYS: [&str; 6] = [
    "build-std",
    "default-target",
    "dockerfile",
    "pre-build",
    "xargo",
    "zig",
];
const ENV_KEYS: [&str; 2] = ["passthrough", "volumes"];
const TARGET_KEYS: [&str; 7] = [
    "build-std",
    "dockerfile",
    "image",
    "pre-build",
    "runner",
    "xargo",
    "zig",
];
/// 64 bit; 32 bit; and for Raspberry Pi 1 and Zero; each for glibc and static.
const TARGETS: [&str; 6] = [
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "arm-unknown-linux-gnueabihf",
    "arm-unknown-linux-musleabihf",
    "armv7-unknown-linux-gnueabihf",
    "armv7-unknown-linux-musleabihf",
];
const COMMAND: &str = "CROSS_CONFIG=cross.toml cross build --release --locked --target ";

#[test]
fn every_key_is_one_that_cross_knows() {
    let wrong: Vec<String> = entries(&source("cross.toml"))
        .into_iter()
        .filter(|entry| !is_known(entry))
        .map(|entry| format!("[{}] {}", entry.section, entry.key))
        .collect();
    assert!(wrong.is_empty(), "cross does not know {wrong:?}");
}

#[test]
fn a_key_that_cross_does_not_know_is_found() {
    let text = "[build.env]\npass = [\n    \"A\",\n]\n[target.x.env]\nvolumes = []\n[target.x]\nimages = \"y\"\n";
    let known: Vec<bool> = entries(text).iter().map(is_known).collect();
    assert_eq!(known, [false, true, false]);
}

#[test]
fn every_target_has_the_image_of_its_name_in_one_version() {
    let images: Vec<Entry> = entries(&source("cross.toml"))
        .into_iter()
        .filter(|entry| entry.key == "image")
        .collect();
    let named: BTreeSet<&str> = images
        .iter()
        .filter_map(|entry| entry.section.strip_prefix("target."))
        .collect();
    assert_eq!(named, BTreeSet::from(TARGETS));
    for entry in &images {
        let target = entry.section.strip_prefix("target.").unwrap();
        assert!(
            entry.value.ends_with(&format!("/{target}:0.2.5\"")),
            "{}",
            entry.value
        );
    }
}

#[test]
fn the_documents_name_the_file_and_only_targets_that_it_has() {
    // A file of this name is found without CROSS_CONFIG; two would contradict each other.
    assert!(!root().join("Cross.toml").exists());
    assert!(source("cross.toml").contains(COMMAND));
    let guide = source("docs/raspberry-pi.md");
    let commands: Vec<&str> = guide
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("cross build"))
        .collect();
    assert!(commands.len() >= 2, "{commands:?}");
    for command in commands {
        let target = command.strip_prefix(COMMAND).unwrap_or_default();
        assert!(TARGETS.contains(&target), "{command}");
    }
    for target in TARGETS {
        assert!(guide.contains(&format!("`{target}`")), "{target}");
    }
}

struct Entry {
    section: String,
    key: String,
    value: String,
}

/// The keys of a file in the plain part of TOML: tables, and keys at the beginning of a line.
fn entries(text: &str) -> Vec<Entry> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once(" = ") {
            if !line.starts_with([' ', '#']) {
                found.push(Entry {
                    section: section.clone(),
                    key: key.to_owned(),
                    value: value.to_owned(),
                });
            }
        }
    }
    found
}

fn is_known(entry: &Entry) -> bool {
    let key = entry.key.as_str();
    match entry.section.split('.').collect::<Vec<_>>().as_slice() {
        ["build"] => BUILD_KEYS.contains(&key),
        ["build", "env"] | ["target", _, "env"] => ENV_KEYS.contains(&key),
        ["target", _] => TARGET_KEYS.contains(&key),
        _ => false,
    }
}

fn source(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
