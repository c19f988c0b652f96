//! Acts: what people see of a running agent and of its store.

use core::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::poll::poll;
use serde_json::{Value, json};

use super::metrics;
use super::people;
use super::sockets;
use crate::cli::Invocation;
use crate::config::Setup;
use crate::report::chain;
use crate::store::Store;
use crate::wire::credential::Credential;

/// Where sockets are when no configuration says otherwise.
const RUNTIME_DIR: &str = "/run/mtls-agent";

/// Cursor home, then everything after it erased: no flicker, and no scroll-back lost.
const CLEAR_SCREEN: &str = "\x1b[H\x1b[J";

/// Between two looks, milliseconds.
const WATCH_PAUSE_MS: u16 = 2000;

/// The runtime directory of the configuration; the usual one if there is no configuration
/// file and none was named.
pub fn runtime_dir(
    invocation: &Invocation,
    load: impl Fn(&Path) -> Result<Setup, String>,
) -> Result<PathBuf, String> {
    if invocation.config.is_none() && !invocation.config_path().exists() {
        return Ok(RUNTIME_DIR.into());
    }
    load(invocation.config_path()).map(|setup| setup.runtime_dir().to_owned())
}

/// The status of the running agent: as it came, for Prometheus, or for people.
pub fn status(
    invocation: &Invocation,
    load: impl Fn(&Path) -> Result<Setup, String>,
) -> Result<String, String> {
    let runtime_dir = runtime_dir(invocation, load)?;
    let text = sockets::ask_status(&runtime_dir).map_err(|error| silent(&runtime_dir, &error))?;
    shown(invocation, text)
}

/// The same every two seconds until the agent ends, or whoever reads. On a terminal the screen
/// is cleared before each.
pub fn watch(
    invocation: &Invocation,
    load: impl Fn(&Path) -> Result<Setup, String>,
    out: &mut dyn Write,
    is_terminal: bool,
) -> Result<(), String> {
    let runtime_dir = runtime_dir(invocation, &load)?;
    let mut text = status(invocation, &load)?;
    let before = if is_terminal { CLEAR_SCREEN } else { "" };
    let after = if is_terminal || invocation.is_json {
        ""
    } else {
        "\n"
    };
    loop {
        if !put(out, &format!("{before}{text}{after}"))? {
            return Ok(());
        }
        // Nothing is waited for but time; a signal ends the process.
        let _ = poll(&mut [], WATCH_PAUSE_MS);
        text = match sockets::ask_status(&runtime_dir) {
            Ok(fresh) => shown(invocation, fresh)?,
            // It is there, and hangs.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(silent(&runtime_dir, &error));
            }
            Err(_) => {
                let _ = writeln!(io::stderr(), "mtls-agent: the agent has ended");
                return Ok(());
            }
        };
    }
}

/// Prints at once. `false`: nobody reads any more, which is no failure.
pub fn put(out: &mut dyn Write, text: &str) -> Result<bool, String> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("cannot write the output: {error}")),
        Ok(()) => Ok(true),
    }
}

/// The sets in the store.
pub fn credentials(
    invocation: &Invocation,
    load: impl Fn(&Path) -> Result<Setup, String>,
) -> Result<String, String> {
    let config = match load(invocation.config_path())? {
        Setup::Cups(config) => config,
        #[cfg(feature = "mender")]
        Setup::Mender(_) => {
            let text = "credential sets are of the service cups; this device has mender";
            return Err(text.to_owned());
        }
    };
    let store = Store::open_read_only(&config.data_dir).map_err(|error| chain(&error))?;
    let current = store.current().map(|set| set.number);
    let mut rows = Vec::new();
    for number in store.sets() {
        let set = store.load(number).map_err(|error| chain(&error))?;
        let tc = set.contents.tc.as_ref();
        rows.push(json!({
            "set": number.0,
            "current": Some(number) == current,
            "good": Some(number) == store.good(),
            "origin": set.origin.name(),
            "created_s": set.created_s,
            "lns_uri": set.contents.tc_uri,
            "method": tc.map(|tc| tc.method().name()),
            "crc": tc.map(Credential::crc),
        }));
    }
    if invocation.is_json {
        return Ok(format!("{}\n", Value::Array(rows)));
    }
    let mut out = String::new();
    for row in &rows {
        let mark = |name: &'static str| if flag(row, name) { name } else { "" };
        let _ = writeln!(
            out,
            "set {:4}  {:7} {:4}  {:7}  {:6}  {}",
            row["set"],
            mark("current"),
            mark("good"),
            text(row, "origin"),
            text(row, "method"),
            text(row, "lns_uri"),
        );
    }
    if rows.is_empty() {
        out.push_str("no credential sets yet\n");
    }
    Ok(out)
}

fn silent(runtime_dir: &Path, error: &io::Error) -> String {
    let folder = runtime_dir.display();
    format!("no agent answers in {folder}: {error}; is mtls-agent running?")
}

fn shown(invocation: &Invocation, text: String) -> Result<String, String> {
    if invocation.is_json {
        return Ok(text);
    }
    let value: Value =
        serde_json::from_str(&text).map_err(|_| "the agent's answer is cut off".to_owned())?;
    Ok(if invocation.is_metrics {
        metrics::render(&value)
    } else {
        people::screen(&value)
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}
