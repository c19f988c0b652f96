//! Reads: what else Basic Station's home directory says: keys, version, EUI, leftovers.

use crate::store::durable::read_bounded;
use crate::store::error::StoreError;
use crate::wire::eui::Eui64;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

/// More signature keys than any gateway has.
const MAX_KEYS: usize = 16;
const MAX_SMALL_OCTETS: usize = 4096;
const MAX_CONFIG_OCTETS: usize = 256 * 1024;

/// What in the home directory would work against the agent, one sentence each.
#[must_use]
pub fn warnings(home: &Path) -> Vec<String> {
    let names = ["cups", "cups-bak", "cups-boot", "cups-temp"]
        .into_iter()
        .flat_map(|set| ["uri", "trust"].map(|ending| format!("{set}.{ending}")));
    let found: Vec<String> = names
        .filter(|name| home.join(name).symlink_metadata().is_ok())
        .collect();
    if found.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "Basic Station's own CUPS client is active in {} ({}): remove its cups*.* files, or it \
         overwrites the credentials that are kept here",
        home.display(),
        found.join(", ")
    )]
}

/// The keys that sign updates: `sig-0.key`, `sig-1.key` and so on, up to the first number
/// that is missing, with their octets.
pub fn signature_keys(home: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, StoreError> {
    let mut keys = Vec::new();
    for number in 0..MAX_KEYS {
        let path = home.join(format!("sig-{number}.key"));
        match read_bounded(&path, MAX_SMALL_OCTETS) {
            Ok(octets) => keys.push((path, octets)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(StoreError::io("read", &path, error)),
        }
    }
    Ok(keys)
}

/// The text of `version.txt`, trimmed; `None` if there is none or it is empty.
#[must_use]
pub fn version_text(home: &Path) -> Option<String> {
    let octets = read_bounded(&home.join("version.txt"), MAX_SMALL_OCTETS).ok()?;
    let text = core::str::from_utf8(&octets).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The EUI that `station.conf` sets with `routerid`, and the file that says so: itself or
/// the file that `routerid` names. `None` if the gateway's network interface decides, or an
/// `euiprefix` changes how a short value is extended.
///
/// # Errors
/// [`StoreError::Unusable`] if `station.conf` is not JSON or the value is no EUI.
pub fn configured_eui(home: &Path) -> Result<Option<(Eui64, PathBuf)>, StoreError> {
    let path = home.join("station.conf");
    let Some(text) = text(&path, MAX_CONFIG_OCTETS)? else {
        return Ok(None);
    };
    let config: Value = serde_json::from_str(&without_comments(&text)).map_err(|error| {
        let why = format!("not JSON: {error}");
        StoreError::Unusable {
            path: path.clone(),
            why,
        }
    })?;
    let own = |name| config.get("station_conf").and_then(|own| own.get(name));
    let Some(router) = own("routerid").and_then(Value::as_str) else {
        return Ok(None);
    };
    let has_prefix = own("euiprefix").is_some();
    if let Ok(eui) = Eui64::from_any(router) {
        return Ok(extended(eui, has_prefix).map(|eui| (eui, path)));
    }
    let named = home.join(router.trim());
    let unusable = |why: String| StoreError::Unusable {
        path: path.clone(),
        why,
    };
    let content = text_of_named(&named).map_err(|error| {
        unusable(format!(
            "routerid {router:?} is no EUI and no file: {error}"
        ))
    })?;
    let eui = Eui64::from_any(&content).map_err(|error| StoreError::Unusable {
        path: named.clone(),
        why: error.to_string(),
    })?;
    Ok(extended(eui, has_prefix).map(|eui| (eui, named)))
}

/// Station takes a value whose top 16 bits are zero for a MAC and inserts `FFFE`.
fn extended(eui: Eui64, has_prefix: bool) -> Option<Eui64> {
    let number = eui.number();
    let was_mac = number >> 24 & 0xFFFF == 0xFFFE;
    match (number >> 48, has_prefix) {
        (0, false) => Some(Eui64::new(
            (number >> 24) << 40 | 0xFF_FE00_0000 | (number & 0xFF_FFFF),
        )),
        (0, true) => None,
        (_, true) if was_mac => None,
        _ => Some(eui),
    }
}

fn text(path: &Path, max_octets: usize) -> Result<Option<String>, StoreError> {
    match read_bounded(path, max_octets) {
        Ok(octets) => Ok(Some(String::from_utf8_lossy(&octets).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}

fn text_of_named(path: &Path) -> io::Result<String> {
    let octets = read_bounded(path, MAX_SMALL_OCTETS)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// The text with `/* */` comments outside of strings turned into a blank. Line ends stay, so
/// that an error names the right line.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut is_in_string = false;
    while let Some(letter) = rest.next() {
        match letter {
            '/' if !is_in_string && rest.peek() == Some(&'*') => {
                rest.next();
                let mut before = ' ';
                kept.push(' ');
                for inner in rest.by_ref() {
                    if inner == '\n' {
                        kept.push('\n');
                    }
                    if before == '*' && inner == '/' {
                        break;
                    }
                    before = inner;
                }
            }
            '\\' if is_in_string => {
                kept.push(letter);
                kept.extend(rest.next());
            }
            _ => {
                is_in_string ^= letter == '"';
                kept.push(letter);
            }
        }
    }
    kept
}
