//! On a real bus other Mender programs get token and address at once, hear of each attempt, can
//! ask for a fresh token, and find the name again after the bus was started anew.

#![cfg(all(feature = "dbus", feature = "mender"))]
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that waits for other processes, and ends when its set-up fails"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use mtls_agent::daemon::bus::Address;
use mtls_agent::daemon::mender::bus::{Bus, Shown};
use mtls_lab::device::Scratch;

const NAME: &str = "io.mender.AuthenticationManager";
const PATH: &str = "/io/mender/AuthenticationManager";
const PATIENCE: Duration = Duration::from_secs(20);

/// A private `dbus-daemon`.
struct Daemon {
    child: Child,
    path: PathBuf,
}

impl Daemon {
    fn start(scratch: &Scratch) -> Self {
        let path = scratch.path().join("bus");
        let _ = std::fs::remove_file(&path);
        let mut child = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--address=unix:path={}", path.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        Self { child, path }
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.path.display())
    }

    fn bus(&self) -> (Bus, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        let bus = Bus::start(Address::parse(&self.address()).unwrap(), far).unwrap();
        (bus, near)
    }

    /// What `dbus-send` prints of an answer or of an error.
    fn call(&self, path: &str, method: &str) -> String {
        let output = Command::new("dbus-send")
            .arg(format!("--bus={}", self.address()))
            .args(["--print-reply=literal", "--reply-timeout=5000"])
            .arg(format!("--dest={NAME}"))
            .args([path, method])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap().trim().to_owned()
    }

    /// Lines of signals with the manager's name, as they come.
    fn listen(&self) -> (Child, Receiver<String>) {
        let mut child = Command::new("dbus-monitor")
            .args(["--address", &self.address()])
            .arg("type='signal',interface='io.mender.Authentication1'")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        // It says that it has lost its own name when it listens.
        while !lines.recv_timeout(PATIENCE).unwrap().contains("NameLost") {}
        (child, lines)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(daemon: &Daemon) -> String {
    daemon.call(PATH, "io.mender.Authentication1.GetJwtToken")
}

fn fetch(daemon: &Daemon) -> String {
    daemon.call(PATH, "io.mender.Authentication1.FetchJwtToken")
}

fn shown(token: &str) -> Shown {
    Shown {
        token: token.to_owned().into(),
        url: "http://127.0.0.1:4711".to_owned(),
        can_fetch: true,
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..400 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

#[test]
fn token_and_address_are_answered_at_once_and_every_attempt_is_told() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch);
    let (bus, mut wake) = daemon.bus();
    until("ready", || bus.standing() == "ready");
    assert_eq!(get(&daemon), "");
    assert_eq!(fetch(&daemon), "boolean false");
    assert!(!bus.take_wish());
    let (mut monitor, lines) = daemon.listen();
    bus.show(shown("header.claims.signature"));
    bus.announce();
    while !lines
        .recv_timeout(PATIENCE)
        .unwrap()
        .contains("member=JwtTokenStateChange")
    {}
    let values = [lines.recv_timeout(PATIENCE), lines.recv_timeout(PATIENCE)];
    assert!(
        values[0]
            .as_ref()
            .unwrap()
            .contains("\"header.claims.signature\""),
        "{values:?}"
    );
    assert!(
        values[1]
            .as_ref()
            .unwrap()
            .contains("\"http://127.0.0.1:4711\""),
        "{values:?}"
    );
    let words: Vec<String> = get(&daemon).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["header.claims.signature", "http://127.0.0.1:4711"]);
    assert_eq!(fetch(&daemon), "boolean true");
    wake.read_exact(&mut [0]).unwrap();
    assert!(bus.take_wish() && !bus.take_wish());
    let _ = monitor.kill();
    let _ = monitor.wait();
}

#[test]
fn a_token_of_the_largest_size_passes() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch);
    let (bus, _wake) = daemon.bus();
    until("ready", || bus.standing() == "ready");
    let token = "x".repeat(64 * 1024);
    bus.show(shown(&token));
    for _ in 0..3 {
        assert!(get(&daemon).starts_with(&token));
    }
}

#[test]
fn wrong_calls_are_refused_by_name_and_operators_may_look() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch);
    let (bus, _wake) = daemon.bus();
    until("ready", || bus.standing() == "ready");
    let said = daemon.call(PATH, "io.mender.Authentication1.NoSuchThing");
    assert!(said.contains("UnknownMethod"), "{said}");
    let said = daemon.call("/elsewhere", "io.mender.Authentication1.GetJwtToken");
    assert!(said.contains("UnknownObject"), "{said}");
    let said = daemon.call(PATH, "org.freedesktop.DBus.Introspectable.Introspect");
    assert!(said.contains("FetchJwtToken"), "{said}");
    assert_eq!(daemon.call("/", "org.freedesktop.DBus.Peer.Ping"), "");
}

#[test]
fn the_name_is_there_again_after_the_bus_was_started_anew() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch);
    let (bus, _wake) = daemon.bus();
    until("ready", || bus.standing() == "ready");
    bus.show(shown("a.b.c"));
    drop(daemon);
    until("told", || bus.standing() != "ready");
    let daemon = Daemon::start(&scratch);
    until("ready again", || bus.standing() == "ready");
    assert!(get(&daemon).contains("a.b.c"));
}

#[test]
fn a_name_that_another_program_has_is_told_and_taken_when_it_ends() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch);
    let (first, _wake) = daemon.bus();
    until("ready", || first.standing() == "ready");
    let (second, _other) = daemon.bus();
    until("told", || {
        second.standing().contains("belongs to another program")
    });
    first.show(shown("first.token.here"));
    assert!(get(&daemon).contains("first.token.here"));
    drop(first);
    second.show(shown("second.token.here"));
    until("its turn", || second.standing() == "ready");
    assert!(get(&daemon).contains("second.token.here"));
}
