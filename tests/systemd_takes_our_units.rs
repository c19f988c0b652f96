//! systemd reads our units without a complaint, and finds little that they could still do.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test writes its own copies of the units"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use mtls_lab::device::Scratch;

/// Unit, and the most that `systemd-analyze security` may find, in tenths.
const UNITS: [(&str, u32); 2] = [
    ("mtls-agent.service", 14),
    ("mtls-agent-mender.service", 18),
];

#[test]
fn every_unit_is_understood_and_well_confined() {
    let scratch = Scratch::new();
    for (name, limit) in UNITS {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("systemd")
            .join(name);
        // It looks for the program.
        let text = fs::read_to_string(source).unwrap();
        let text = text.replace("/usr/bin/mtls-agent", env!("CARGO_BIN_EXE_mtls-agent"));
        let unit = scratch.path().join(name);
        fs::write(&unit, text).unwrap();
        let unit = unit.to_str().unwrap();
        let run = |words: &[&str]| {
            let output = Command::new("systemd-analyze")
                .args(words)
                .arg(unit)
                .output()
                .unwrap();
            let said = [output.stdout, output.stderr].concat();
            (
                output.status.success(),
                String::from_utf8_lossy(&said).into_owned(),
            )
        };
        let (is_good, said) = run(&["verify", "--man=no"]);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(is_good && ours.is_empty(), "{said}");
        let threshold = format!("--threshold={limit}");
        let (is_good, said) = run(&["security", "--offline=true", "--no-pager", &threshold]);
        assert!(is_good, "{said}");
    }
}
