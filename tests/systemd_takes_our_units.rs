//! systemd reads our units without a complaint, and finds little that they could still do.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test writes its own copies of the units, and ends when it cannot"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mtls_lab::device::Scratch;

/// Folder, unit, and the most that `systemd-analyze security` may find, in tenths.
const UNITS: [(&str, &str, u32); 4] = [
    ("systemd", "mtls-agent.service", 11),
    ("systemd", "mtls-agent@.service", 11),
    // Root, because of the bus and of Mender's files.
    ("systemd", "mtls-agent-mender.service", 15),
    (STATION, "station.service", 16),
];

const STATION: &str = "yocto/meta-mtls-agent/examples/basicstation/files";

/// A unit with our program in it, under the name that systemd-analyze is to see.
fn copy(scratch: &Scratch, folder: &str, name: &str, more: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name);
    // It looks for the program.
    let text = fs::read_to_string(source).unwrap();
    let text = ["/usr/bin/mtls-agent", "/usr/bin/station "]
        .iter()
        .fold(text, |text, program| {
            let ours = concat!(env!("CARGO_BIN_EXE_mtls-agent"), " ");
            text.replace(&format!("{} ", program.trim()), ours)
        });
    let unit = scratch.path().join(name.replace("@.", "@north."));
    fs::write(&unit, text + more).unwrap();
    unit
}

/// Whether systemd-analyze is content, and what it said.
fn analyze(words: &[&str], unit: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(words)
        .arg(unit)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

fn exposure_is_at_most(limit: u32, unit: &Path) {
    let threshold = format!("--threshold={limit}");
    let words = ["security", "--offline=true", "--no-pager", &threshold];
    let (is_good, said) = analyze(&words, unit);
    assert!(is_good, "{said}");
}

#[test]
fn every_unit_is_understood_and_well_confined() {
    let scratch = Scratch::new();
    for (folder, name, limit) in UNITS {
        let unit = copy(&scratch, folder, name, "");
        let (is_good, said) = analyze(&["verify", "--man=no"], &unit);
        let file = unit.file_name().unwrap().to_str().unwrap();
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(file)).collect();
        assert!(is_good && ours.is_empty(), "{said}");
        exposure_is_at_most(limit, &unit);
    }
}

#[test]
fn a_user_of_its_own_brings_the_mender_unit_to_where_the_other_is() {
    let scratch = Scratch::new();
    let more = "\n[Service]\nUser=mtls-agent\n";
    let unit = copy(&scratch, "systemd", "mtls-agent-mender.service", more);
    exposure_is_at_most(11, &unit);
}

#[test]
fn the_instance_differs_from_the_unit_in_its_names_only() {
    let lines = |name: &str| -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("systemd")
            .join(name);
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let (plain, instance) = (lines("mtls-agent.service"), lines("mtls-agent@.service"));
    let missing = |from: &[String], of: &[String]| -> Vec<String> {
        let lines = from.iter().filter(|line| !of.contains(*line));
        lines
            .filter_map(|line| line.split_once('='))
            .map(|(key, _)| key.to_owned())
            .collect()
    };
    let names = [
        "Description",
        "ExecStart",
        "ExecReload",
        "ReadWritePaths",
        "RuntimeDirectory",
    ];
    assert_eq!(missing(&plain, &instance), names);
    assert_eq!(missing(&instance, &plain), names);
}
