//! Builds and runs: the real agent, as a person would.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;

/// Longest run of one `once`.
const RUN_LIMIT: Duration = Duration::from_secs(10);
/// How often a running agent is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// What one `once` said.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Exit code; `None` if it was ended for taking too long, or by a signal.
    pub(crate) code: Option<i32>,
    /// The object on standard output; null if there was none.
    pub(crate) said: Value,
    /// Everything it printed, both streams.
    pub(crate) printed: String,
}

impl Run {
    /// A text of the object, or nothing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.said
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The number of the current set.
    pub(crate) fn set(&self) -> Option<u64> {
        let set = self.said.get("set")?;
        set.as_u64().or_else(|| set.as_str()?.parse().ok())
    }
}

/// Builds the agent of this workspace and finds its file.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    println!("Building the agent: cargo build --release -p mtls-agent (minutes the first time)");
    let output = Command::new(cargo)
        .args([
            "build",
            "--release",
            "-p",
            "mtls-agent",
            "--bin",
            "mtls-agent",
        ])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::work("cannot run cargo", &error))?;
    if !output.status.success() {
        return Err(Failure::Work(
            "the agent cannot be built; see above".to_owned(),
        ));
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = messages.lines().filter_map(executable).next_back();
    found.ok_or_else(|| Failure::Work("cargo built no file named mtls-agent".to_owned()))
}

/// Runs `mtls-agent once` with a configuration, for at most ten seconds.
pub(crate) fn once(binary: &Path, config: &Path, dir: &Path) -> Result<Run, Failure> {
    let (out, log) = (dir.join("agent.out"), dir.join("agent.log"));
    let cannot = |error: std::io::Error| Failure::work("cannot run the agent", &error);
    let mut child = Command::new(binary)
        .args(["once", "--json", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(File::create(&out).map_err(cannot)?)
        .stderr(File::create(&log).map_err(cannot)?)
        .spawn()
        .map_err(cannot)?;
    let start = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            break status.code();
        }
        if start.elapsed() > RUN_LIMIT {
            child.kill().map_err(cannot)?;
            child.wait().map_err(cannot)?;
            break None;
        }
        thread::sleep(GLANCE);
    };
    let read = |path: &Path| {
        let octets = fs::read(path).map_err(cannot)?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    };
    let said = read(&out)?;
    let printed = format!("{said}{}", read(&log)?);
    Ok(Run {
        code,
        said: serde_json::from_str(&said).unwrap_or_default(),
        printed,
    })
}

fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    let file = message.get("executable")?.as_str()?;
    (name == "mtls-agent").then(|| PathBuf::from(file))
}
