//! A log that nobody reads and a system without descriptors for clients cost lines and clients,
//! never the service or the processor.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts programs, and ends when it cannot"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use mtls_lab::device::{Device, Scratch, Surroundings};
use mtls_lab::skip::skipped;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_the_service() {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    device.set("cups.poll_s", 1);
    device.set("log.level", "debug");
    around.offer("first");
    device.configure();
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = writer.write(&[b'\n'; 512]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    writer.set_nonblocking(false).unwrap();
    let child = Command::new(BINARY)
        .args(["run", "--config"])
        .arg(device.path("agent.json"))
        .stdin(Stdio::null())
        .stderr(Stdio::from(OwnedFd::from(writer)))
        .spawn();
    let _running = Killed(child.unwrap());
    let key = device.path("station/tc.key");
    for _ in 0..300 {
        if key.exists() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(key.exists(), "the first set reaches the home");

    // Somebody reads again: what was lost is told.
    reader
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let told = BufReader::new(reader)
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("lines of this log were lost"));
    assert!(told.is_some_and(|line| line.starts_with("<4>warning: ")));
}

#[test]
fn without_a_descriptor_for_a_client_the_loop_does_not_spin() {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let device = Device::new(BINARY, &around.pki, around.front.address());
    around.offer("first");
    let service = device.serve();
    service.until("set 1 in use", |service| {
        service.show("/current/number") == json!(1)
    });
    let limit = |soft: u32| {
        let mut prlimit = Command::new("prlimit");
        let pid = service.pid().to_string();
        prlimit.args(["--pid", &pid, &format!("--nofile={soft}:1024")]);
        prlimit.status().is_ok_and(|status| status.success())
    };
    // Less than it has open, and no less than it polls.
    if !limit(8) {
        let why = "prlimit (util-linux) cannot take descriptors away";
        return skipped("a loop without descriptors", why);
    }
    let mut client = UnixStream::connect(device.path("run/status.sock")).unwrap();
    let before = ticks(service.pid());
    thread::sleep(Duration::from_secs(3));
    let spent = ticks(service.pid()) - before;
    assert!(
        spent < 60,
        "{spent} hundredths of a second of the processor"
    );
    assert!(limit(1024));
    let mut answer = String::new();
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("cups_uri"), "{answer:?}");
}

/// Hundredths of a second that a process has used of the processor.
fn ticks(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    let mut words = rest.split(' ').skip(11);
    let mut next = || words.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}
