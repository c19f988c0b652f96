//! systemd reads our units without a complaint, and finds little that they could still do.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test writes its own copies of the units, and ends when it cannot"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use mtls_lab::device::Scratch;
use mtls_lab::skip::skipped;

/// Folder, unit, and the most that `systemd-analyze security` may find, in tenths.
const UNITS: [(&str, &str, u32); 4] = [
    ("systemd", "mtls-agent.service", 11),
    ("systemd", "mtls-agent@.service", 11),
    ("systemd", MENDER, 11),
    (STATION, "station.service", 16),
];

const STATION: &str = "yocto/meta-mtls-agent/examples/basicstation/files";

const MENDER: &str = "mtls-agent-mender.service";

fn unit_text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    fs::read_to_string(folder.join(name)).unwrap()
}

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
fn the_drop_in_for_root_is_understood_and_costs_what_its_page_says() {
    let scratch = Scratch::new();
    let more = unit_text("mender-as-root.conf");
    let unit = copy(&scratch, "systemd", MENDER, &more);
    let (is_good, said) = analyze(&["verify", "--man=no"], &unit);
    assert!(is_good && !said.contains(MENDER), "{said}");
    exposure_is_at_most(15, &unit);
}

/// What the Mender unit has root do before each start, in a folder and for a user of ours.
fn take_over(root: &Path) {
    let text = unit_text(MENDER).replace("\\\n", " ");
    let begin = "ExecStartPre=+-/bin/sh -c '";
    let line = text.lines().find_map(|line| line.strip_prefix(begin));
    let mut command = line.unwrap().strip_suffix('\'').unwrap().to_owned();
    for (theirs, ours) in [
        ("$$", "$"),
        ("%%", "%"),
        ("mtls-agent", NOBODY),
        (" /", &format!(" {}/", root.display())),
    ] {
        command = command.replace(theirs, ours);
    }
    let status = Command::new("/bin/sh").args(["-c", &command]).status();
    // Its code is nobody's business: what is missing is no failure.
    let _ = status.unwrap();
}

const NOBODY: &str = "65534";

/// Owner, group and mode.
fn of(path: &Path) -> (u32, u32, u32) {
    let facts = path.symlink_metadata().unwrap();
    (facts.uid(), facts.gid(), facts.mode() & 0o7777)
}

#[test]
fn the_mender_unit_takes_over_what_it_names_and_opens_nothing_else() {
    if !nix::unistd::geteuid().is_root() {
        skipped(
            "the taking over of Mender's files",
            "only root gives files away",
        );
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.path();
    // Nothing is there: nothing happens.
    take_over(root);
    let at = |name: &str| root.join(name);
    for folder in ["etc/mender", "data/mender/deeper", "var/lib"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    symlink("../../data/mender", at("var/lib/mender")).unwrap();
    let closed = |name: &str| {
        fs::write(at(name), name).unwrap();
        fs::set_permissions(at(name), Permissions::from_mode(0o600)).unwrap();
    };
    let keys =
        ["mender-agent.pem", "mender-cert-private.pem"].map(|name| format!("data/mender/{name}"));
    let texts = [
        "etc/mender/mender.conf",
        "data/mender/mender.conf",
        "data/mender/mender-cert.pem",
    ];
    let others = [
        "etc/shadow",
        "data/mender/mender-store",
        "data/mender/deeper/mender-agent.pem",
    ];
    for name in keys.iter().map(String::as_str).chain(texts).chain(others) {
        closed(name);
    }
    fs::set_permissions(at("data/mender"), Permissions::from_mode(0o700)).unwrap();
    // Twice, for the power may go at any moment of the first.
    for _ in 0..2 {
        take_over(root);
        assert_eq!(of(&at("data/mender")), (0, 65534, 0o1750));
        for name in &keys {
            assert_eq!(of(&at(name)), (65534, 65534, 0o600), "{name}");
        }
        for name in texts {
            assert_eq!(of(&at(name)), (0, 65534, 0o640), "{name}");
        }
        for name in others {
            assert_eq!(of(&at(name)), (0, 0, 0o600), "{name}");
        }
    }
    // Who may write in the folder has another file stand under these names.
    for name in keys.iter().map(String::as_str).chain(texts) {
        fs::remove_file(at(name)).unwrap();
    }
    symlink(at("etc/shadow"), at(&keys[0])).unwrap();
    fs::hard_link(at("etc/shadow"), at(&keys[1])).unwrap();
    symlink(at("etc/shadow"), at(texts[1])).unwrap();
    fs::hard_link(at("data/mender/mender-store"), at(texts[2])).unwrap();
    take_over(root);
    for name in others {
        assert_eq!(of(&at(name)), (0, 0, 0o600), "{name}");
    }
}

#[test]
fn in_menders_folder_the_agent_may_write_only_while_it_has_to_make_a_key() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("the folder without a key", "only root gives files away");
    }
    let scratch = Scratch::new();
    let folder = scratch.path().join("data/mender");
    fs::create_dir_all(&folder).unwrap();
    take_over(scratch.path());
    assert_eq!(of(&folder), (0, 65534, 0o1775));
    let key = folder.join("mender-agent.pem");
    fs::write(&key, "made by the agent").unwrap();
    chown(&key, Some(65534), Some(65534)).unwrap();
    take_over(scratch.path());
    assert_eq!(of(&folder), (0, 65534, 0o1755));
    // In a folder of somebody else's nothing is given away.
    chown(&key, Some(0), Some(0)).unwrap();
    chown(&folder, Some(1234), Some(1234)).unwrap();
    take_over(scratch.path());
    assert_eq!(of(&folder), (1234, 1234, 0o1755));
    assert_eq!(of(&key).0, 0);
}

#[test]
fn the_instance_differs_from_the_unit_in_its_names_only() {
    let lines = |name: &str| -> Vec<String> {
        let text = unit_text(name);
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
