//! Decides: which of the paths a source names its room may not use.

use super::Source;

/// What each room may use of the crate, beside itself. A longer path allows only that module.
/// Rooms that are not listed may use all but `daemon`.
const MAY_USE: [(&str, &[&str]); 5] = [
    ("limits", &[]),
    ("wire", &["limits"]),
    ("agent", &["limits", "wire"]),
    ("identity", &["limits", "wire", "agent::failure"]),
    ("store", &["limits", "wire"]),
];

/// Who may use `daemon`.
const ABOVE_DAEMON: [&str; 4] = ["check", "cli", "daemon", "main"];

/// The rooms that are functions of what they are handed.
pub(crate) const PURE: [&str; 2] = ["wire", "agent"];

/// Paths that reach outside the process, or to chance.
const IMPURE_PATHS: [&str; 27] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::os",
    "std::path",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::io::copy",
    "std::time::Instant::now",
    "std::time::Instant::elapsed",
    "std::time::SystemTime",
    "std::hash::RandomState",
    "std::collections::hash_map",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "nix",
    "libc",
    "ring",
    "rustls",
    "rustls_pemfile",
    "signal_hook",
    "tungstenite",
    "ureq",
    "getrandom",
];

/// Methods that read a clock or a file without naming a path.
const IMPURE_METHODS: [&str; 6] = [
    "elapsed",
    "exists",
    "is_file",
    "is_dir",
    "metadata",
    "canonicalize",
];

/// Uses of the crate that the source's room may not make.
pub(crate) fn dependencies(source: &Source) -> Vec<String> {
    let room = source.room();
    let allowed = MAY_USE
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, allowed)| *allowed);
    let mut faults = Vec::new();
    for (path, line) in &source.paths {
        let inside = path
            .strip_prefix("crate::")
            .or_else(|| path.strip_prefix("mtls_agent::"));
        let Some(inside) = inside else { continue };
        let within = |other: &str| is_within(inside, other);
        let forbidden = match allowed {
            Some(allowed) => !within(room) && !allowed.iter().any(|other| within(other)),
            None => within("daemon") && !ABOVE_DAEMON.contains(&room),
        };
        if forbidden && !room.is_empty() {
            faults.push(format!("line {line}: {room} may not use {path}"));
        }
    }
    faults
}

/// What a pure room may not name.
pub(crate) fn impurities(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.room()) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (path, line) in &source.paths {
        let whole = path.strip_suffix("::*");
        let hides = |impure: &str| whole.is_some_and(|whole| is_within(impure, whole));
        if path == "std"
            || IMPURE_PATHS
                .iter()
                .any(|impure| is_within(path, impure) || hides(impure))
        {
            faults.push(format!("line {line}: {path}"));
        }
    }
    for (method, line) in &source.methods {
        if IMPURE_METHODS.contains(&method.as_str()) {
            faults.push(format!("line {line}: .{method}()"));
        }
    }
    faults
}

/// Whether a path is another path or lies below it.
fn is_within(path: &str, other: &str) -> bool {
    path.strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
