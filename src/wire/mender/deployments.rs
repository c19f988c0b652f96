//! Speaks: the question whether an update waits, and the answer.
//!
//! ```text
//! POST /api/devices/v2/deployments/device/deployments/next
//! {"device_provides":{"device_type":"gw","artifact_name":"release-1"}}
//! 204 nothing waits; 200 {"id":"..","artifact":{"artifact_name":"release-2",..}}
//! PUT  /api/devices/v1/deployments/device/deployments/ID/status   {"status":"failure"}
//! ```
//! A 200 marks the deployment as fetched by this device. `reference/mender.md` section 3.2.

use core::fmt;

use serde_json::Value;

use crate::wire::cups::stack_error::printable;

/// The path of the question.
pub const NEXT_PATH: &str = "/api/devices/v2/deployments/device/deployments/next";
/// Longest answer that is looked at, in octets.
pub const ANSWER_OCTETS_MAX: usize = 64 * 1024;

/// The path of the question to a server that answers 404 to [`NEXT_PATH`].
const OLD_NEXT_PATH: &str = "/api/devices/v1/deployments/device/deployments/next";

/// An update that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id: letters, digits and hyphens, so that it can stand in a path.
    pub id: String,
    /// The release; printable, bounded.
    pub artifact_name: String,
}

/// Why an answer is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// No id, or one that is none.
    Id,
    /// It names no artifact.
    NoArtifact,
    /// Not JSON.
    NotJson,
    /// More than [`ANSWER_OCTETS_MAX`].
    TooLarge,
}

/// How a deployment ended on this device, as far as we can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not installed.
    Failure,
    /// It is installed.
    Success,
}

/// The body of the question.
#[must_use]
pub fn question(device_type: &str, artifact_name: &str) -> String {
    let [kind, name] = [device_type, artifact_name].map(|text| Value::from(text).to_string());
    format!(r#"{{"device_provides":{{"device_type":{kind},"artifact_name":{name}}}}}"#)
}

/// The path for an old server, to be asked with GET.
#[must_use]
pub fn old_next_path(device_type: &str, artifact_name: &str) -> String {
    let [kind, name] = [device_type, artifact_name].map(encoded);
    format!("{OLD_NEXT_PATH}?artifact_name={name}&device_type={kind}")
}

impl Deployment {
    /// Reads the body of a 200.
    pub fn parse(body: &[u8]) -> Result<Self, AnswerError> {
        if body.len() > ANSWER_OCTETS_MAX {
            return Err(AnswerError::TooLarge);
        }
        let value: Value = serde_json::from_slice(body).map_err(|_| AnswerError::NotJson)?;
        let is_id = |id: &&str| {
            let is_letter = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
            (1..=64).contains(&id.len()) && id.bytes().all(is_letter)
        };
        let id = value.get("id").and_then(Value::as_str).filter(is_id);
        let name = value
            .get("artifact")
            .and_then(|artifact| artifact.get("artifact_name"))
            .and_then(Value::as_str)
            .map(|name| printable(name, 200))
            // It becomes a program's argument, and must not become an option.
            .filter(|name| !name.is_empty() && !name.starts_with('-'));
        Ok(Self {
            id: id.ok_or(AnswerError::Id)?.to_owned(),
            artifact_name: name.ok_or(AnswerError::NoArtifact)?,
        })
    }

    /// The path to report its outcome to, by PUT.
    #[must_use]
    pub fn status_path(&self) -> String {
        let id = &self.id;
        format!("/api/devices/v1/deployments/device/deployments/{id}/status")
    }
}

impl Outcome {
    /// The body of the report.
    #[must_use]
    pub const fn body(self) -> &'static str {
        match self {
            Self::Failure => r#"{"status":"failure"}"#,
            Self::Success => r#"{"status":"success"}"#,
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "the answer about updates has no usable id",
            Self::NoArtifact => "the answer about updates names no artifact",
            Self::NotJson => "the answer about updates is not JSON",
            Self::TooLarge => "the answer about updates is longer than 64 KiB",
        })
    }
}

impl core::error::Error for AnswerError {}

/// Percent-encoding of all but the unreserved characters. RFC 3986 section 2.3.
fn encoded(text: &str) -> String {
    let one = |octet: u8| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            char::from(octet).to_string()
        } else {
            format!("%{octet:02X}")
        }
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::{AnswerError, Deployment, old_next_path, question};

    #[test]
    fn the_question_is_that_of_the_official_client() {
        assert_eq!(
            question("qemux86-64", "unknown"),
            r#"{"device_provides":{"device_type":"qemux86-64","artifact_name":"unknown"}}"#
        );
        assert!(
            old_next_path("a&b", "r 1\u{fc}")
                .ends_with("next?artifact_name=r%201%C3%BC&device_type=a%26b")
        );
    }

    #[test]
    fn id_and_artifact_are_found() {
        let body =
            br#"{"id":"58be8208-dd77","artifact":{"artifact_name":"release\n2","source":{}}}"#;
        let deployment = Deployment::parse(body).unwrap();
        assert_eq!(deployment.artifact_name, "release 2");
        assert!(deployment.status_path().ends_with("/58be8208-dd77/status"));
    }

    #[test]
    fn answers_that_cannot_be_used_are_named() {
        for (body, error) in [
            ("", AnswerError::NotJson),
            ("[]", AnswerError::Id),
            (
                r#"{"id":"a/../b","artifact":{"artifact_name":"x"}}"#,
                AnswerError::Id,
            ),
            (
                r#"{"id":"","artifact":{"artifact_name":"x"}}"#,
                AnswerError::Id,
            ),
            (r#"{"id":"a"}"#, AnswerError::NoArtifact),
            (
                r#"{"id":"a","artifact":{"artifact_name":"--force"}}"#,
                AnswerError::NoArtifact,
            ),
            (
                r#"{"id":"a","artifact":{"artifact_name":5}}"#,
                AnswerError::NoArtifact,
            ),
        ] {
            assert_eq!(Deployment::parse(body.as_bytes()), Err(error), "{body}");
        }
        let error = Deployment::parse(&vec![b' '; 70_000]).unwrap_err();
        assert_eq!(error, AnswerError::TooLarge);
    }
}
