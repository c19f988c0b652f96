//! The service polls, installs and rotates for as long as it is wanted, ends at once when it is
//! not, and goes on after a kill where it was.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at files, and ends when its set-up fails"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use mtls_lab::cups::answer::{self, Dialect, Segments};
use mtls_lab::cups::{Budget, Refusal};
use mtls_lab::device::{Device, Scratch, Service, Surroundings};
use mtls_lab::faults::{Fault, Misbehaving};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
/// Much longer than a stop takes, much shorter than the handshake that hangs.
const STOP_LIMIT: Duration = Duration::from_secs(5);

struct Scene {
    device: Device,
    around: Surroundings,
    _scratch: Scratch,
}

/// A gateway that asks every second.
fn scene() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    device.set("cups.poll_s", 1);
    Scene {
        device,
        around,
        _scratch: scratch,
    }
}

impl Scene {
    fn key_in_home(&self) -> String {
        fs::read_to_string(self.device.path("station/tc.key")).unwrap_or_default()
    }

    fn asked(&self) -> usize {
        self.around.cups.requests().len()
    }

    fn last_request(&self) -> Value {
        let requests = self.around.cups.requests();
        serde_json::from_slice(&requests.last().unwrap().request.body).unwrap()
    }
}

fn has_set(number: u64) -> impl FnMut(&Service) -> bool {
    move |service| service.show("/current/number") == json!(number)
}

/// A server that takes the connection and never says a word; the agent would wait long.
fn hanging(device: &mut Device) -> Misbehaving {
    let server = Misbehaving::start(Fault::Hang(Duration::from_secs(3600))).unwrap();
    device.set("cups.uri", server.uri());
    for name in ["connect_s", "response_s", "total_s"] {
        device.set(&format!("network.{name}"), 140);
    }
    server
}

#[test]
fn the_first_contact_installs_a_set_and_polls_go_on_and_a_rotation_reaches_the_home() {
    let scene = scene();
    scene.around.offer("first");
    let service = scene.device.serve();
    service.until("set 1 in use", has_set(1));
    assert_eq!(scene.key_in_home(), "Authorization: first\r\n");
    let asked = scene.asked();
    service.until("three more polls", |_| scene.asked() >= asked + 3);
    assert_eq!(service.show("/cycle/last/result"), json!("unchanged"));
    service.until("waiting for the next poll", |service| {
        service.show("/cycle/next/reason") == json!("poll")
    });
    scene
        .around
        .cups
        .rotate_key(mtls_lab::device::EUI, "second");
    service.until("the new key in the home", |_| {
        scene.key_in_home() == "Authorization: second\r\n"
    });
    service.until("set 2 in use", has_set(2));
    let proved = scene.around.lns.discoveries();
    assert!(proved.iter().all(|seen| seen.accepted), "{proved:?}");
    assert_eq!(scene.around.lns.connections(), [], "traffic was disturbed");
}

#[test]
fn a_stop_is_obeyed_at_once_while_idle_and_while_a_handshake_hangs() {
    for signal in ["TERM", "INT"] {
        let mut scene = scene();
        let mut idle = scene.device.serve();
        idle.until("answering", |service| !service.status().is_null());
        idle.signal(signal);
        assert_eq!(idle.wait(STOP_LIMIT), Some(0));
        let _server = hanging(&mut scene.device);
        let mut hanging = scene.device.serve();
        hanging.until("asking", |service| {
            service.show("/cycle/phase") == json!("asking")
        });
        hanging.signal(signal);
        assert_eq!(hanging.wait(STOP_LIMIT), Some(0));
        assert!(!scene.device.path("run/status.sock").exists());
        assert!(!scene.device.path("run/control.sock").exists());
    }
}

#[test]
fn status_and_commands_are_answered_while_a_handshake_hangs() {
    let mut scene = scene();
    let _server = hanging(&mut scene.device);
    let service = scene.device.serve();
    service.until("asking", |service| {
        service.show("/cycle/phase") == json!("asking")
    });
    for _ in 0..20 {
        let status = service.status();
        assert_eq!(status["pid"], json!(service.pid()));
        assert_eq!(status["identity"]["eui"], json!("0123456789ABCDEF"));
    }
    assert_eq!(scene.device.run("refresh").code, Some(0));
    assert_eq!(scene.device.run("status").code, Some(0));
    assert_eq!(service.show("/cycle/phase"), json!("asking"));
}

#[test]
fn readers_of_the_status_that_never_read_do_not_hold_it_up() {
    let scene = scene();
    scene.around.offer("first");
    let service = scene.device.serve();
    service.until("set 1 in use", has_set(1));
    let path = scene.device.path("run/status.sock");
    let silent: Vec<_> = (0..50)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let asked = scene.asked();
    service.until("two more polls", |_| scene.asked() >= asked + 2);
    assert_eq!(service.show("/current/number"), json!(1));
    drop(silent);
}

#[test]
fn a_client_that_sends_a_command_octet_by_octet_does_not_hold_up_the_end() {
    let scene = scene();
    let mut service = scene.device.serve();
    service.until("answering", |service| !service.status().is_null());
    let mut client = UnixStream::connect(scene.device.path("run/control.sock")).unwrap();
    let slowly = thread::spawn(move || {
        for _ in 0..30 {
            if client.write_all(b" ").is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(400));
        }
    });
    // Now the agent is with that client, not with its signals.
    thread::sleep(Duration::from_millis(200));
    service.signal("TERM");
    assert_eq!(service.wait(STOP_LIMIT), Some(0));
    slowly.join().unwrap();
}

#[test]
fn a_second_agent_is_refused_and_told_who_runs() {
    let scene = scene();
    let first = scene.device.serve();
    first.until("answering", |service| !service.status().is_null());
    for command in ["run", "once --json"] {
        let second = scene.device.run(command);
        assert_eq!(second.code, Some(1), "{second:?}");
        let said = format!("{}{}", second.out, second.log);
        assert!(said.contains(&first.pid().to_string()), "{second:?}");
    }
    assert_eq!(first.status()["pid"], json!(first.pid()));
}

#[test]
fn after_a_kill_the_same_set_is_in_use_and_cups_is_told_so() {
    let scene = scene();
    scene.around.offer("first");
    let service = scene.device.serve();
    service.until("set 1 in use", has_set(1));
    let asked = scene.asked();
    service.until("one more poll", |_| scene.asked() > asked);
    let before = scene.last_request();
    // Dropping kills without a word; sockets and lock file stay behind.
    drop(service);
    assert!(scene.device.path("run/status.sock").exists());
    let asked = scene.asked();
    let service = scene.device.serve();
    service.until("two polls", |_| scene.asked() >= asked + 2);
    assert_eq!(service.show("/current/number"), json!(1));
    assert_eq!(service.count("new credentials"), 0, "{:?}", service.lines());
    assert_eq!(scene.last_request(), before);
    assert_eq!(before["tcUri"], json!(scene.around.lns.uri()));
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_says() {
    let scene = scene();
    let window = Duration::from_secs(500);
    scene
        .around
        .cups
        .set_budget(Some(Budget { limit: 1, window }));
    scene.around.offer("first");
    let service = scene.device.serve();
    service.until("refused", |service| {
        service.show("/cycle/last/failure/class") == json!("busy")
    });
    let next = service.show("/cycle/next");
    assert_eq!(next["reason"], json!("retry"), "{next}");
    let wait_s = next["in_s"].as_u64().unwrap();
    // What is left of the window, and up to a tenth more so that not all come back at once.
    assert!((400..=551).contains(&wait_s), "{next}");
    assert_eq!(service.show("/current/number"), json!(1));
}

#[test]
fn credentials_without_an_address_leave_it_asking_every_quarter_of_an_hour() {
    let mut scene = scene();
    scene.device.set("cups.poll_s", 86_400);
    let trust = &scene.around.pki.lns.root_der;
    let tc = answer::token_credential(trust, "a key without an address");
    let segments = Segments {
        tc_credentials: &tc,
        ..Segments::default()
    };
    let mut whole = Refusal::Internal.answer(1);
    whole.status = 200;
    whole.headers.clear();
    whole.body = answer::encode(&segments, Dialect::Canonical);
    scene.around.cups.answer_always(Some(whole));
    let service = scene.device.serve();
    service.until("rotated", |service| {
        service.show("/current/number") == json!(1)
    });
    let next = service.show("/cycle/next");
    assert_eq!(next["reason"], json!("poll"), "{next}");
    assert!(next["in_s"].as_u64().unwrap() <= 18 * 60, "{next}");
}
