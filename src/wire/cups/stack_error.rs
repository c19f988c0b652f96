//! Speaks: the JSON that The Things Stack sends with a status other than 200.
//!
//! ```json
//! {"code":5,"message":"error:pkg/basicstation/cups:lns_credentials_not_found (LNS ...)",
//!  "details":[{"correlation_id":"..."}]}
//! ```
//! Three different 404s exist, so the error's name counts, never the status alone.
//! `reference/cups-lns.md` section 2.6.

use serde_json::Value;

/// The parts of an error body that tell what happened. Printable ASCII only, bounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StackError {
    /// Namespace and name, such as `pkg/basicstation/cups:lns_credentials_not_found`.
    pub name: String,
    /// The server's own sentence.
    pub text: String,
    /// What the operator of the server can search their log for.
    pub correlation_id: Option<String>,
}

impl StackError {
    /// Reads an error body; `None` if it is not one.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let message = value.get("message")?.as_str()?;
        let details = value.get("details").and_then(Value::as_array);
        let correlation_id = details
            .and_then(|details| details.iter().find_map(|entry| entry.get("correlation_id")))
            .and_then(Value::as_str)
            .map(|id| printable(id, 64));
        let Some(rest) = message.strip_prefix("error:") else {
            return Some(Self {
                name: String::new(),
                text: printable(message, 200),
                correlation_id,
            });
        };
        let (name, text) = rest.split_once(" (").unwrap_or((rest, ""));
        let text = text.strip_suffix(')').unwrap_or(text);
        Some(Self {
            name: printable(name, 100),
            text: printable(text, 200),
            correlation_id,
        })
    }

    /// The last part of the name: `lns_credentials_not_found`.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or_default()
    }
}

/// At most `characters_max` printable ASCII characters; everything else becomes a blank.
#[must_use]
pub fn printable(text: &str, characters_max: usize) -> String {
    let shown = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            ' '
        }
    };
    text.chars()
        .take(characters_max)
        .map(shown)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::StackError;

    #[test]
    fn name_text_and_correlation_are_found() {
        let body = br#"{"code":5,"message":"error:pkg/cups:server_trust (failed\nto dial)",
            "details":[{"@type":"x"},{"correlation_id":"abc"}]}"#;
        let error = StackError::parse(body).unwrap();
        assert_eq!(error.short_name(), "server_trust");
        assert_eq!(error.text, "failed to dial");
        assert_eq!(error.correlation_id.as_deref(), Some("abc"));
    }

    #[test]
    fn other_bodies_are_not_errors() {
        for body in [&b""[..], b"<html>", b"[]", b"{}", br#"{"message":1}"#] {
            assert_eq!(StackError::parse(body), None);
        }
    }
}
