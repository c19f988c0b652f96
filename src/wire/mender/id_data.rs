//! Speaks: the identity of a device towards Mender, `id_data`.
//!
//! ```text
//! mac=02:00:00:ab:cd:01        ->  {"mac":"02:00:00:ab:cd:01"}
//! sn=1, mac=a, mac=b           ->  {"mac":["a","b"],"sn":"1"}
//! ```
//! Names in the order of their octets, compact. A changed value is a new device to the server, so
//! the form never changes. `reference/mender.md` section 2.5.

use core::fmt;

use serde_json::Value;

use super::output::{self, OutputError, Values};

/// Longest identity, in octets: the server's indexes take no more, and a MAC needs 27.
pub const ID_DATA_OCTETS_MAX: usize = 16 * 1024;

/// A name that the server keeps for itself: it counts for the identity and is never shown.
const RESERVED_NAME: &str = "status";

/// An identity in its one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdData {
    text: String,
    has_reserved_name: bool,
}

/// Why there is no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdDataError {
    /// A pair has an empty name.
    NoName,
    /// The script's output cannot be used; without a single pair this is [`OutputError::Empty`].
    Output(OutputError),
    /// More than [`ID_DATA_OCTETS_MAX`] as JSON.
    TooLarge,
}

impl IdData {
    /// Reads what the identity script printed.
    pub fn from_script(stdout: &[u8]) -> Result<Self, IdDataError> {
        let values = output::read(stdout).map_err(IdDataError::Output)?;
        Self::write(&values)
    }

    /// An identity of configured pairs; a name that comes again gains a further value.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, IdDataError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut values = Values::new();
        for (name, value) in pairs {
            let name = name.into();
            if name.is_empty() {
                return Err(IdDataError::NoName);
            }
            values.entry(name).or_default().push(value.into());
        }
        if values.is_empty() {
            return Err(IdDataError::Output(OutputError::Empty));
        }
        Self::write(&values)
    }

    /// The JSON object as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it uses the name `status`, which the server never shows: worth a warning.
    #[must_use]
    pub const fn has_reserved_name(&self) -> bool {
        self.has_reserved_name
    }

    /// Written member by member, so that the order does not depend on how `serde_json` is built.
    fn write(values: &Values) -> Result<Self, IdDataError> {
        let mut text = String::from("{");
        for (name, values) in values {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(&output::json(values).to_string());
        }
        text.push('}');
        if text.len() > ID_DATA_OCTETS_MAX {
            return Err(IdDataError::TooLarge);
        }
        Ok(Self {
            text,
            has_reserved_name: values.contains_key(RESERVED_NAME),
        })
    }
}

impl fmt::Display for IdData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for IdDataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("the identity has a value without a name"),
            Self::Output(error) => error.fmt(f),
            Self::TooLarge => write!(
                f,
                "the identity is longer than {} KiB; it should be a serial number or a MAC",
                ID_DATA_OCTETS_MAX / 1024
            ),
        }
    }
}

impl core::error::Error for IdDataError {}

#[cfg(test)]
mod tests {
    use super::{IdData, IdDataError, OutputError};
    use serde_json::{Value, json};

    #[test]
    fn names_are_sorted_by_octets_and_repeated_ones_become_arrays() {
        let id = IdData::from_script("z=1\nmac=b\nÄ=2\nmac=a\nA=\n".as_bytes()).unwrap();
        assert_eq!(id.as_str(), r#"{"A":"","mac":["b","a"],"z":"1","Ä":"2"}"#);
    }

    #[test]
    fn every_control_character_gives_valid_json() {
        let all: String = (0..0x20_u8)
            .chain([0x7F, b'"', b'\\'])
            .map(char::from)
            .collect();
        let id = IdData::from_pairs([("x", all.as_str())]).unwrap();
        assert!(!id.as_str().contains(|c: char| c < ' '));
        let value: Value = serde_json::from_str(id.as_str()).unwrap();
        assert_eq!(value, json!({ "x": all }));
    }

    #[test]
    fn pairs_give_the_same_form_as_a_script() {
        let pairs = [("sn", "7"), ("mac", "a"), ("mac", "b")];
        let of_script = IdData::from_script(b"mac=a\nmac=b\nsn=7").unwrap();
        assert_eq!(IdData::from_pairs(pairs), Ok(of_script));
        let nothing = core::iter::empty::<(&str, &str)>();
        let empty = Err(IdDataError::Output(OutputError::Empty));
        assert_eq!(IdData::from_pairs(nothing), empty);
        assert_eq!(IdData::from_pairs([("", "x")]), Err(IdDataError::NoName));
    }

    #[test]
    fn a_flood_and_the_reserved_name_are_noticed() {
        let flood = IdData::from_pairs([("x", "y".repeat(17_000))]);
        assert_eq!(flood, Err(IdDataError::TooLarge));
        assert!(
            IdData::from_script(b"status=1")
                .unwrap()
                .has_reserved_name()
        );
        assert!(
            !IdData::from_script(b"Status=1")
                .unwrap()
                .has_reserved_name()
        );
    }
}
