//! A forwarder with an open WebSocket on which nothing is said does not wake up once.

#![cfg(feature = "mender")]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that looks at its own threads, and ends when its set-up fails"
)]

#[path = "mender_forwarder/stand.rs"]
#[expect(dead_code, reason = "most of it is for the tests beside this one")]
mod stand;

use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use stand::{Scripted, Stand, TOKEN, read_until, request};

/// How often each thread with this name has gone to sleep or was interrupted.
fn switches() -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if !name.starts_with("forward") {
            continue;
        }
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        let count = lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok());
        found.push((name.trim().to_owned(), count.sum()));
    }
    found.sort();
    found
}

#[test]
fn nothing_wakes_a_forwarder_on_which_nothing_is_said() {
    let stand = Stand::new();
    let server = Scripted::start(&stand.pki, |wire, _, _| {
        wire.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        wire.flush()?;
        read_until(wire, "never").map(drop)
    });
    stand.lend(&server.uri(), TOKEN);
    let mut stream = stand.connect();
    let lines = "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    stream
        .write_all(request("GET /api/devices/v1/x", TOKEN, lines).as_bytes())
        .unwrap();
    read_until(&mut stream, "\r\n\r\n").unwrap();
    thread::sleep(Duration::from_millis(500));
    let before = switches();
    assert_eq!(before.len(), 2, "{before:?}");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(switches(), before);
}
