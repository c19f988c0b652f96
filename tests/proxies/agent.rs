//! Runs: the agent's binary, `once --config FILE --json`, and reads what it says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mtls_lab::pki::{Pair, Pki};
use serde_json::{Value, json};

use crate::Outcome;

/// Longer than every limit of the agent for one exchange and one proof.
const RUN_LIMIT: Duration = Duration::from_secs(180);
/// How often the end of a run is looked for.
const RUN_STEP: Duration = Duration::from_millis(2);

/// One device: an identity, a data folder and Basic Station's home.
#[derive(Debug)]
pub(crate) struct Agent {
    configuration: PathBuf,
    /// Basic Station's home directory.
    pub(crate) station_home: PathBuf,
}

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Report {
    /// The exit code; `None` after a signal.
    pub(crate) exit: Option<i32>,
    /// All of standard output and standard error.
    pub(crate) printed: String,
    object: Value,
}

impl Report {
    /// A text member of the object; empty when it is missing or not a text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.object
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Fails unless the run ended with this exit code and outcome.
    pub(crate) fn expect(&self, exit: i32, outcome: &str) -> Outcome<()> {
        if self.exit == Some(exit) && self.text("outcome") == outcome {
            return Ok(());
        }
        Err(format!(
            "wanted {outcome} and exit code {exit}, got {:?}: {}",
            self.exit, self.printed
        ))
    }
}

impl Agent {
    /// A new device in its own folder, which asks CUPS at a port of `localhost`.
    pub(crate) fn new(folder: &Path, port: u16, pki: &Pki, identity: &Pair) -> Outcome<Self> {
        let station_home = folder.join("station");
        let configuration = json!({
            "service": "cups",
            "data_dir": folder.join("data"),
            "runtime_dir": folder.join("run"),
            "identity": { "certificate": identity.certificate, "key": identity.key },
            "trust_anchors": [pki.server_root],
            "cups": {
                "uri": format!("https://localhost:{port}"),
                "poll_s": 86400,
                "allow_cups_changes": false,
            },
            "lns": { "station_home": station_home, "prove": true },
        });
        let path = folder.join("agent.json");
        fs::create_dir_all(&station_home)
            .and_then(|()| fs::create_dir_all(folder.join("data")))
            .and_then(|()| fs::create_dir_all(folder.join("run")))
            .and_then(|()| fs::write(&path, configuration.to_string()))
            .map_err(|error| format!("cannot set up the device: {error}"))?;
        Ok(Self {
            configuration: path,
            station_home,
        })
    }

    /// One run from start to end.
    pub(crate) fn once(&self) -> Outcome<Report> {
        let mut child = command()
            .args(["once", "--json", "--config"])
            .arg(&self.configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the agent: {error}"))?;
        let limit = Instant::now() + RUN_LIMIT;
        // What it prints fits into the pipes, so it can be read after the end.
        while child
            .try_wait()
            .map_err(|error| error.to_string())?
            .is_none()
        {
            if Instant::now() > limit {
                let _already_ended = child.kill();
                let _reaped = child.wait();
                return Err(format!("the agent was still running after {RUN_LIMIT:?}"));
            }
            thread::sleep(RUN_STEP);
        }
        let output = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let object = serde_json::from_str(&said).unwrap_or(Value::Null);
        let printed = said + &String::from_utf8_lossy(&output.stderr);
        Ok(Report {
            exit: output.status.code(),
            printed,
            object,
        })
    }
}

/// The agent of this build, or the one of `MTLS_AGENT`.
pub(crate) fn program() -> PathBuf {
    let own = || env!("CARGO_BIN_EXE_mtls-agent").into();
    std::env::var_os("MTLS_AGENT").map_or_else(own, PathBuf::from)
}

/// The agent; with `MTLS_PEAKS` the memory of each run is added to that file, in kB, by the
/// laboratory in `MTLS_LAB`.
fn command() -> Command {
    let Some((measure, arguments)) = measure() else {
        return Command::new(program());
    };
    let mut command = Command::new(measure);
    command.args(arguments).arg(program());
    command
}

/// The same as one program, for whoever cannot give it arguments.
pub(crate) fn as_one_file(folder: &Path) -> Outcome<PathBuf> {
    let Some((measure, arguments)) = measure() else {
        return Ok(program());
    };
    let path = folder.join("measured-agent");
    let agent = program();
    let text = format!(
        "#!/bin/sh\nexec {measure} {} '{}' \"$@\"\n",
        arguments.join(" "),
        agent.display()
    );
    fs::write(&path, text)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

fn measure() -> Option<(String, Vec<String>)> {
    let peaks = std::env::var("MTLS_PEAKS").ok()?;
    let lab = std::env::var("MTLS_LAB").ok()?;
    Some((lab, vec!["peak".to_owned(), peaks]))
}
