//! Prints an error with its chain of causes on one line.

use std::error::Error;
use std::fmt::Write as _;

/// `cannot write the set: /data/...: no space left on device`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}
