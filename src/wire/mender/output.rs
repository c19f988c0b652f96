//! Speaks: what identity and inventory scripts print, `name=value` lines.
//!
//! A line is cut at its first `=` and nothing is trimmed: what a script prints is the device's
//! identity, octet for octet. Empty lines are passed over. A name that comes again gains a
//! further value, in the order of the lines.

use core::fmt;
use std::collections::BTreeMap;

use serde_json::Value;

/// Longest output of one script, in octets.
pub const OUTPUT_OCTETS_MAX: usize = 256 * 1024;

/// Values by name; names in the order of their octets, values in the order they came.
pub type Values = BTreeMap<String, Vec<String>>;

/// Why a script's output cannot be used. Lines count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputError {
    /// Not one line.
    Empty,
    /// A line without `=`.
    NoEquals(usize),
    /// A line with nothing before its `=`.
    NoName(usize),
    /// Not UTF-8.
    NotText(usize),
    /// More than [`OUTPUT_OCTETS_MAX`].
    TooLarge,
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the script printed nothing; it must print name=value"),
            Self::NoEquals(line) => {
                write!(
                    f,
                    "line {line} of the script's output has no =; name=value is expected"
                )
            }
            Self::NoName(line) => {
                write!(
                    f,
                    "line {line} of the script's output has no name before its ="
                )
            }
            Self::NotText(line) => {
                write!(f, "line {line} of the script's output is not UTF-8 text")
            }
            Self::TooLarge => write!(
                f,
                "the script printed more than {} KiB",
                OUTPUT_OCTETS_MAX / 1024
            ),
        }
    }
}

impl core::error::Error for OutputError {}

/// Reads a script's standard output.
pub fn read(stdout: &[u8]) -> Result<Values, OutputError> {
    if stdout.len() > OUTPUT_OCTETS_MAX {
        return Err(OutputError::TooLarge);
    }
    let mut values = Values::new();
    for (index, line) in stdout.split(|&octet| octet == b'\n').enumerate() {
        let number = index.saturating_add(1);
        if line.is_empty() {
            continue;
        }
        let line = core::str::from_utf8(line).map_err(|_| OutputError::NotText(number))?;
        let (name, value) = line.split_once('=').ok_or(OutputError::NoEquals(number))?;
        if name.is_empty() {
            return Err(OutputError::NoName(number));
        }
        values
            .entry(name.to_owned())
            .or_default()
            .push(value.to_owned());
    }
    if values.is_empty() {
        return Err(OutputError::Empty);
    }
    Ok(values)
}

/// One value as text, several as an array.
pub(super) fn json(values: &[String]) -> Value {
    match values {
        [one] => Value::from(one.as_str()),
        several => Value::from(several.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::{OUTPUT_OCTETS_MAX, OutputError, read};

    #[test]
    fn lines_are_cut_at_the_first_equals_and_not_trimmed() {
        let values = read(b"b= x=y \n\na=1\r\nb=\n").unwrap();
        let flat: Vec<(&str, &[String])> = values
            .iter()
            .map(|(name, values)| (name.as_str(), values.as_slice()))
            .collect();
        assert_eq!(
            flat,
            [
                ("a", &["1\r".to_owned()][..]),
                ("b", &[" x=y ".to_owned(), String::new()]),
            ]
        );
    }

    #[test]
    fn output_that_is_not_lines_of_values_is_named() {
        for (stdout, error) in [
            (&b""[..], OutputError::Empty),
            (b"\n\n", OutputError::Empty),
            (b"a=1\nmac\n", OutputError::NoEquals(2)),
            (b"\n=1", OutputError::NoName(2)),
            (b"a=1\nb=\xff\n", OutputError::NotText(2)),
            (&vec![b'a'; OUTPUT_OCTETS_MAX + 1], OutputError::TooLarge),
        ] {
            assert_eq!(read(stdout), Err(error));
        }
    }
}
