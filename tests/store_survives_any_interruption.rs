//! A process that rotates credential sets as fast as it can is killed again and again: the
//! set it last acknowledged, or the next one, is there whole.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the test is its own child: told by a variable, answering on standard output"
)]

use mtls_agent::store::{Origin, SetContents, Store};
use mtls_agent::wire::credential::Credential;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const CHILD: &str = "a_child_rotates_until_it_is_killed";
const DIRECTORY: &str = "MTLS_AGENT_TEST_STORE";
const KILLS: u64 = 36;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("mtls-agent-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn contents(round: u64) -> SetContents {
    let key = format!("Authorization: key-{round}\r\n").repeat(50);
    let trust = vec![0x30; 900];
    SetContents {
        tc_uri: format!("wss://lns.example:{round}"),
        tc: Some(Credential::from_parts(&trust, b"", key.as_bytes())),
        cups_uri: None,
        cups: None,
    }
}

fn round_of(contents: &SetContents) -> u64 {
    let (_, round) = contents.tc_uri.rsplit_once(':').unwrap();
    round.parse().unwrap()
}

/// The round in the store, checked to be whole; 0 without a set.
fn round_in(dir: &Path) -> u64 {
    let (store, _) = Store::open(dir).unwrap();
    store.current().map_or(0, |set| {
        let round = round_of(&set.contents);
        assert_eq!(set.contents, contents(round), "a mixed set");
        round
    })
}

#[test]
fn a_child_rotates_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let dir = PathBuf::from(dir);
    let mut round = round_in(&dir);
    let (mut store, _) = Store::open(&dir).unwrap();
    let mut output = std::io::stdout();
    // The end of a line that the test harness began.
    println!();
    loop {
        round += 1;
        let set = store.stage(&contents(round), Origin::Cups, round).unwrap();
        store.commit(set).unwrap();
        writeln!(output, "acknowledged {round}").unwrap();
        if round % 3 != 0 {
            store.confirm(set).unwrap();
        }
    }
}

/// Runs a child, kills it some time after its first line; returns the last round it
/// acknowledged.
fn rotate_and_kill(dir: &Path, after: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (tell, first) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let mut last = 0;
        for line in output.lines().map_while(Result::ok) {
            if let Some(round) = line.strip_prefix("acknowledged ") {
                last = round.parse().unwrap();
                let _: Result<_, _> = tell.send(());
            }
        }
        last
    });
    first.recv_timeout(Duration::from_secs(60)).unwrap();
    thread::sleep(after);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        status.signal(),
        Some(9),
        "the child ended by itself: {status}"
    );
    reader.join().unwrap()
}

#[test]
fn no_acknowledged_set_is_lost_to_a_kill() {
    let scratch = Scratch::new("kill");
    let mut moment: u64 = 0x5EED;
    for kill in 0..KILLS {
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let after = Duration::from_micros((moment >> 33) % 40_000);
        let acknowledged = rotate_and_kill(&scratch.0, after);
        let found = round_in(&scratch.0);
        assert!(acknowledged > 0);
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "kill {kill} after {after:?}: acknowledged {acknowledged}, found {found}"
        );
    }
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    let scratch = Scratch::new("held");
    let (store, _) = Store::open(&scratch.0).unwrap();
    let error = Store::open(&scratch.0).err().unwrap().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    drop(store);
    assert_eq!(round_in(&scratch.0), 0);
}
