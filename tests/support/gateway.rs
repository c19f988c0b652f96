//! Runs: the real agent in a directory of its own, against doubles behind mutual TLS.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

/// A gateway's files; removed with it.
pub(crate) struct Gateway {
    pub(crate) dir: PathBuf,
    pub(crate) config: Value,
}

/// What one `once --json` said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) said: Value,
    pub(crate) log: String,
}

impl Run {
    /// Exit code, outcome, class and code.
    pub(crate) fn verdict(&self) -> (Option<i32>, &str, &str, &str) {
        let text = |name: &str| self.said[name].as_str().unwrap_or("-");
        (self.code, text("outcome"), text("class"), text("code"))
    }
}

impl Gateway {
    /// An empty station home; identity and anchors are named by `config` later.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("mtls-agent-gateway-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(dir.join("station")).unwrap();
        let config = json!({
            "data_dir": dir.join("data"),
            "runtime_dir": dir.join("run"),
            "identity": { "certificate": dir.join("cups.crt"), "key": dir.join("cups.key") },
            "trust_anchors": [dir.join("cups.trust")],
            "cups": { "uri": "https://localhost:1" },
            "lns": { "station_home": dir.join("station"), "prove": false },
        });
        Self { dir, config }
    }

    /// Changes one setting of a group.
    pub(crate) fn set(&mut self, group: &str, name: &str, value: impl Into<Value>) {
        self.config[group][name] = value.into();
    }

    /// Writes a file below the gateway's directory, readable by the owner alone.
    pub(crate) fn write(&self, name: &str, octets: &[u8]) -> PathBuf {
        self.write_with_mode(name, octets, 0o600)
    }

    /// Writes a program below the gateway's directory.
    pub(crate) fn program(&self, name: &str, text: &str) -> PathBuf {
        self.write_with_mode(name, text.as_bytes(), 0o700)
    }

    fn write_with_mode(&self, name: &str, octets: &[u8], mode: u32) -> PathBuf {
        let path = self.dir.join(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(mode);
        file.open(&path).unwrap().write_all(octets).unwrap();
        path
    }

    /// One cycle of the real program.
    pub(crate) fn once(&self) -> Run {
        let config = self.write("agent.json", format!("{:#}", self.config).as_bytes());
        let output = Command::new(env!("CARGO_BIN_EXE_mtls-agent"))
            .args(["once", "--json", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Run {
            code: output.status.code(),
            said: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Basic Station's `tc.*` files; an empty one is the same as none.
    pub(crate) fn tc_files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = files_in(&self.dir.join("station"));
        files.retain(|name, octets| name.starts_with("tc") && !octets.is_empty());
        files
    }

    /// Identity and anchors.
    pub(crate) fn identity_files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = files_in(&self.dir);
        files.retain(|name, _| name.starts_with("cups."));
        files
    }

    /// Whether an update lies in the data directory.
    pub(crate) fn has_update(&self) -> bool {
        self.dir.join("data/update/update.bin").exists()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn files_in(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}
