//! Arguments that make no sense end with one sentence and a code, whatever octets they hold.

#![cfg(feature = "daemon")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that ends when the program cannot be started"
)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

fn ran(arguments: &[&[u8]]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mtls-agent"))
        .args(arguments.iter().map(|octets| OsStr::from_bytes(octets)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn octets_that_are_no_text_are_an_unknown_command_or_a_missing_file() {
    let (code, said) = ran(&[b"r\xFFn"]);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let (code, said) = ran(&[b"run", b"--config", b"/absent\xFF.json"]);
    assert_eq!(code, Some(78), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
