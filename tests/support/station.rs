//! Makes: a gateway whose Basic Station is this very test program, started by a script.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use mtls_lab::device::{Device, Scratch, Service, Surroundings};
use mtls_lab::station::{Options, run};
use serde_json::json;

/// Its presence makes the test program a station; it holds the command line.
const WORDS: &str = "MTLS_LAB_STATION";

/// Surroundings and a device in mode station with a child.
pub(crate) struct Scene {
    pub(crate) device: Device,
    pub(crate) around: Surroundings,
    _scratch: Scratch,
}

impl Scene {
    /// `words` are options of the double, besides its folders.
    pub(crate) fn new(words: &str) -> Self {
        Self::with(words, "")
    }

    /// The same with a station that does not hear SIGTERM.
    pub(crate) fn deaf(words: &str) -> Self {
        Self::with(words, "trap '' TERM\n")
    }

    fn with(words: &str, first: &str) -> Self {
        let scratch = Scratch::new();
        let around = Surroundings::start(scratch.path());
        let mut device = Device::new(
            env!("CARGO_BIN_EXE_mtls-agent"),
            &around.pki,
            around.front.address(),
        );
        let program = device.path("station.sh");
        write_program(&program, first);
        let temp = device.path("temp");
        fs::create_dir(&temp).unwrap();
        let mut command = vec![
            json!(program),
            json!("-h"),
            json!(device.path("station")),
            json!("-t"),
            json!(temp),
        ];
        command.extend(words.split_whitespace().map(|word| json!(word)));
        device.set("lns.mode", "station");
        device.set("station.command", command);
        around.offer("first");
        Self {
            device,
            around,
            _scratch: scratch,
        }
    }
}

/// Whether station counts as connected.
pub(crate) fn is_connected(service: &Service) -> bool {
    service.show("/lns/holder/connected") == json!(true)
}

/// Station's process; 0 without one.
pub(crate) fn pid(service: &Service) -> u64 {
    let pid = service.show("/lns/holder/pid");
    pid.as_u64().unwrap_or_default()
}

/// Sends a signal: `KILL`.
pub(crate) fn kill(pid: u64, signal: &str) {
    let words = format!("kill -{signal} {pid}");
    let sent = Command::new("sh").args(["-c", &words]).status();
    assert!(sent.unwrap().success());
}

/// Whether a process runs: one that has ended may wait for its parent.
pub(crate) fn is_alive(pid: u64) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

/// Writes a script that becomes the double with its own command line, after a `first` line.
pub(crate) fn write_program(path: &Path, first: &str) {
    let test = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\n{first}{WORDS}=\"$*\" exec {} --quiet --nocapture --exact support::station::{NAME}\n",
        test.display()
    );
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

const NAME: &str = "plays_the_station_when_told_to";

#[test]
fn plays_the_station_when_told_to() {
    if let Ok(words) = std::env::var(WORDS) {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let mut home = words.iter().skip_while(|word| *word != "-h").skip(1);
        if let Some(gateway) = home.next().and_then(|home| Path::new(home).parent()) {
            end_with(gateway.to_owned());
        }
        std::process::exit(run(&Options::parse(&words)));
    }
}

/// One whose agent was killed goes on; its test has ended when the gateway's folder is gone.
fn end_with(gateway: PathBuf) {
    thread::spawn(move || {
        while gateway.exists() {
            thread::sleep(Duration::from_secs(1));
        }
        std::process::exit(0);
    });
}
