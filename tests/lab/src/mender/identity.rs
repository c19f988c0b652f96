//! Names: a device by its identity, as the Mender server does.

use serde_json::Value;

use crate::tls;

/// What `id_data` holds, in the form the server keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// One JSON object: sorted keys, no blanks, `<`, `>` and `&` escaped.
    pub text: String,
    /// SHA-256 of that text, lower-case hex: this is the device.
    pub sha256: String,
}

impl Identity {
    /// Reads the string of an auth request; values must be strings or lists of strings.
    #[must_use]
    pub fn parse(id_data: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(id_data).ok()?;
        let object = value.as_object().filter(|object| !object.is_empty())?;
        let plain = |value: &Value| match value {
            Value::String(_) => true,
            Value::Array(items) => items.iter().all(Value::is_string),
            _ => false,
        };
        if !object.values().all(plain) {
            return None;
        }
        let text = escaped(&value.to_string());
        let sha256 = tls::fingerprint(text.as_bytes());
        Some(Self { text, sha256 })
    }
}

/// These characters stand only inside strings, so the whole text can be treated at once.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let code = u32::from(character);
                out.extend(["\\u".to_owned(), format!("{code:04x}")]);
            }
            other => out.push(other),
        }
    }
    out
}
