//! Acts: what people see of a running agent and of its store.

use core::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::sockets;
use crate::cli::Invocation;
use crate::config::Config;
use crate::report::chain;
use crate::store::Store;
use crate::wire::credential::Credential;

/// Where sockets are when no configuration says otherwise.
const RUNTIME_DIR: &str = "/run/mtls-agent";

/// The runtime directory of the configuration; the usual one if there is no configuration
/// file and none was named.
pub fn runtime_dir(
    invocation: &Invocation,
    load: impl Fn(&Path) -> Result<Config, String>,
) -> Result<PathBuf, String> {
    if invocation.config.is_none() && !invocation.config_path().exists() {
        return Ok(RUNTIME_DIR.into());
    }
    load(invocation.config_path()).map(|config| config.runtime_dir)
}

/// The status of the running agent, as it came or for people.
pub fn status(
    invocation: &Invocation,
    load: impl Fn(&Path) -> Result<Config, String>,
) -> Result<String, String> {
    let runtime_dir = runtime_dir(invocation, load)?;
    let text = sockets::ask_status(&runtime_dir).map_err(|error| {
        format!(
            "no agent answers in {}: {error}; is mtls-agent running?",
            runtime_dir.display()
        )
    })?;
    if invocation.is_json {
        return Ok(text);
    }
    let value: Value =
        serde_json::from_str(&text).map_err(|_| "the agent's answer is cut off".to_owned())?;
    Ok(for_people(&value))
}

/// The sets in the store.
pub fn credentials(
    invocation: &Invocation,
    load: impl Fn(&Path) -> Result<Config, String>,
) -> Result<String, String> {
    let config = load(invocation.config_path())?;
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

fn for_people(value: &Value) -> String {
    let mut lines = vec![(
        "service",
        format!("{} at {}", text(value, "service"), text(value, "cups_uri")),
    )];
    lines.extend(identity_lines(&value["identity"]));
    let current = &value["current"];
    lines.push(if current.is_object() {
        let (method, uri) = (text(current, "method"), text(current, "lns_uri"));
        (
            "set",
            format!("{} ({method}), LNS {uri}", current["number"]),
        )
    } else {
        ("set", "none yet".to_owned())
    });
    lines.extend(cycle_lines(&value["cycle"]));
    let mut out = String::new();
    for (name, text) in lines {
        let _ = writeln!(out, "{name:10} {text}");
    }
    out
}

fn identity_lines(identity: &Value) -> Vec<(&'static str, String)> {
    if !identity.is_object() {
        return vec![("identity", "none that can be used".to_owned())];
    }
    let (eui, key) = (text(identity, "eui"), text(identity, "key"));
    let mut lines = vec![(
        "identity",
        format!("{eui} ({key}), {} days left", identity["expires_in_days"]),
    )];
    let warnings = identity["warnings"].as_array().into_iter().flatten();
    lines.extend(
        warnings
            .filter_map(Value::as_str)
            .map(|text| ("", format!("warning: {text}"))),
    );
    lines
}

fn cycle_lines(cycle: &Value) -> Vec<(&'static str, String)> {
    let mut lines = vec![("phase", text(cycle, "phase").to_owned())];
    let last = &cycle["last"];
    if last.is_object() {
        lines.push((
            "last",
            format!("{}, {} s ago", text(last, "result"), last["s_ago"]),
        ));
        let words = ["message", "hint"].map(|name| text(&last["failure"], name));
        lines.extend(
            words
                .iter()
                .filter(|w| !w.is_empty())
                .map(|w| ("", (*w).to_owned())),
        );
    }
    let next = &cycle["next"];
    if next.is_object() {
        lines.push((
            "next",
            format!("{} in {} s", text(next, "reason"), next["in_s"]),
        ));
    }
    lines
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}
