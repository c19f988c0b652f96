//! Whatever goes wrong with an LNS, the service that holds the link itself says what it was, and
//! waits as long as that deserves.
//!
//! A restart of the LNS and of the agent, and a refusal on traffic alone: `session_service.rs`.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits, and ends when its set-up fails"
)]

use std::time::Duration;

use mtls_lab::cups::Gateway;
use mtls_lab::device::{Device, EUI, Scratch, Service, Surroundings};
use mtls_lab::lns::{Fault, Speech};
use mtls_lab::pipe::Pipe;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
const JOIN: &str = "0008070605040302011817161514131211EFBE01020384";

/// Longer than an end takes on however slow a machine, and shorter than any wait for the LNS.
const PROMPT: Duration = Duration::from_secs(4);

struct Scene {
    device: Device,
    around: Surroundings,
    pipe: Pipe,
    service: Service,
    _scratch: Scratch,
}

/// A running agent whose link is up, through a path that can fall silent. The LNS says this
/// after `router_config`.
fn scene(speeches: Vec<Speech>) -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    device.set("lns.mode", "session");
    device.set("lns.ping_s", 1);
    let pipe = Pipe::start(around.lns.address()).unwrap();
    let gateway = Gateway {
        lns_uri: format!("wss://localhost:{}", pipe.address().port()),
        lns_trust_der: around.pki.lns.root_der.clone(),
        lns_key: Some("first".to_owned()),
        cups_target: None,
    };
    around.cups.set_gateway(EUI, gateway);
    around.lns.set_fault(Fault::Says(speeches));
    let service = device.serve();
    service.until("up once", |service| {
        service.count("the LNS link is up with set") == 1
    });
    Scene {
        device,
        around,
        pipe,
        service,
        _scratch: scratch,
    }
}

impl Scene {
    /// The link is cut, and this is in the way of the next one. Gives class, code and next
    /// reason, and seconds until then.
    fn next_try_meets(&self, fault: Fault) -> ([Value; 3], u64) {
        self.around.lns.set_fault(fault);
        self.around.lns.cut(EUI);
        self.service.until("refused", |service| {
            service.count("no LNS link: ") == 1 && service.show("/lns/link/next").is_object()
        });
        self.standing()
    }

    fn standing(&self) -> ([Value; 3], u64) {
        let link = self.service.show("/lns/link");
        let words = ["/why/class", "/why/code", "/next/reason"];
        let words = words.map(|name| link.pointer(name).cloned().unwrap_or_default());
        let wait_s = link.pointer("/next/in_s").and_then(Value::as_u64);
        (words, wait_s.unwrap())
    }

    /// Waits until the link that was up has ended, and gives the line in the log.
    fn lost(&self) -> String {
        self.service
            .until("lost", |service| service.count("the LNS link is lost") >= 1);
        let lines = self.service.lines();
        let lost = |line: &&String| line.contains("the LNS link is lost");
        lines.iter().find(lost).unwrap().clone()
    }

    fn is_up_again(&self) {
        self.service.until("up again", |service| {
            service.count("the LNS link is up with set") == 2
        });
    }
}

#[test]
fn a_half_open_link_is_found_by_pings_and_opened_anew() {
    let scene = scene(Vec::new());
    scene.service.until("pings that are answered", |service| {
        service.show("/lns/holder/pings").as_u64() >= Some(3)
    });
    scene.pipe.set_silent(true);
    let line = scene.lost();
    assert!(line.contains("lns_dead"), "{line}");
    scene.pipe.set_silent(false);
    scene.is_up_again();
}

#[test]
fn a_silent_discovery_ends_by_its_own_deadline() {
    let silent = Fault::SilentAfterUpgrade(Duration::from_secs(60));
    let (words, wait_s) = scene(Vec::new()).next_try_meets(silent);
    assert_eq!(words, ["network", "timeout", "retry"]);
    assert!(wait_s <= 60, "{wait_s}");
}

#[test]
fn a_refusal_on_discovery_waits_long_and_makes_cups_be_asked() {
    let scene = scene(Vec::new());
    let (words, wait_s) = scene.next_try_meets(Fault::DiscoveryStatus(401));
    assert_eq!([&words[0], &words[2]], ["not_authorised", "refusal"]);
    assert!((600..1200).contains(&wait_s), "{wait_s}");
    let next = scene.service.show("/cycle/next/reason");
    assert_eq!(next, json!("refresh_by_link"));
}

#[test]
fn a_server_fault_is_tried_again_within_minutes() {
    for fault in [Fault::DiscoveryStatus(503), Fault::TrafficStatus(503)] {
        let (words, wait_s) = scene(Vec::new()).next_try_meets(fault);
        assert_eq!([&words[0], &words[2]], ["server_fault", "retry"]);
        assert!(wait_s <= 60, "{wait_s}");
    }
}

#[test]
fn the_servers_own_time_is_kept_on_discovery_and_on_traffic() {
    for fault in [
        Fault::DiscoveryBusy(429, 600),
        Fault::DiscoveryBusy(503, 600),
        Fault::TrafficBusy(429, 600),
        Fault::TrafficBusy(503, 600),
    ] {
        let (words, wait_s) = scene(Vec::new()).next_try_meets(fault);
        assert_eq!([&words[0], &words[2]], ["busy", "retry"]);
        assert!((500..=900).contains(&wait_s), "{wait_s}");
    }
}

#[test]
fn a_time_is_kept_beside_a_refusal_too_and_as_a_date_by_the_servers_own_clock() {
    let (until, date) = (
        "Fri, 13 Feb 1970 00:50:00 GMT",
        "Fri, 13 Feb 1970 00:00:00 GMT",
    );
    for (fault, class, reason) in [
        (Fault::DiscoveryBusy(401, 3000), "not_authorised", "refusal"),
        (Fault::TrafficBusy(403, 3000), "not_authorised", "refusal"),
        (Fault::TrafficBusyUntil(429, until, date), "busy", "retry"),
        (Fault::TrafficBusyUntil(503, until, date), "busy", "retry"),
    ] {
        let (words, wait_s) = scene(Vec::new()).next_try_meets(fault);
        assert_eq!([&words[0], &words[2]], [class, reason]);
        assert!((2900..=3300).contains(&wait_s), "{wait_s}");
    }
}

#[test]
fn slow_and_fragmented_messages_are_taken() {
    let down = json!({ "msgtype": "dnmsg", "pdu": "ab".repeat(5000) }).to_string();
    let short = r#"{"msgtype":"dnmsg"}"#;
    let mut frame = vec![0x81, u8::try_from(short.len()).unwrap()];
    frame.extend(short.as_bytes());
    let scene = scene(vec![
        Speech::Drip(frame, Duration::from_millis(50)),
        Speech::Fragments(down, 1000, Duration::from_millis(10)),
    ]);
    scene.service.until("both heard", |service| {
        service.show("/lns/holder/frames_down") == json!(2)
    });
    assert_eq!(scene.service.count("the LNS link is lost"), 0);
}

#[test]
fn a_message_beyond_the_limit_ends_the_link_and_waits_long() {
    let text = "x".repeat(300 * 1024);
    let scene = scene(vec![Speech::Fragments(text, 1 << 20, Duration::ZERO)]);
    let line = scene.lost();
    assert!(line.contains("lns_oversize"), "{line}");
    let (words, wait_s) = scene.standing();
    assert_eq!(words, ["protocol", "lns_oversize", "refusal"]);
    assert!((600..1200).contains(&wait_s), "{wait_s}");
}

#[test]
fn a_close_code_is_told_and_the_link_is_opened_anew() {
    for (code, class) in [(1000, "network"), (1011, "server_fault"), (1012, "busy")] {
        let why = "maintenance".to_owned();
        let scene = scene(vec![Speech::Close(code, why)]);
        let line = scene.lost();
        let told = format!("with code {code}: maintenance");
        assert!(line.contains(&told) && line.contains(class), "{line}");
        scene.around.lns.set_fault(Fault::None);
        scene.is_up_again();
    }
}

#[test]
fn credentials_that_change_in_the_middle_of_traffic_lose_no_frame() {
    let scene = scene(Vec::new());
    scene.around.cups.rotate_key(EUI, "second");
    assert_eq!(scene.device.run("refresh").code, Some(0));
    let mut sent = 0;
    while scene.service.show("/lns/link/set") != json!(2) {
        let ran = scene.device.run(&format!("uplink {JOIN}"));
        assert_eq!(ran.code, Some(0), "{}", ran.log);
        sent += 1;
    }
    let ran = scene.device.run(&format!("uplink {JOIN}"));
    assert_eq!(ran.code, Some(0), "{}", ran.log);
    assert_eq!(scene.around.lns.uplink_count(), sent + 1);
    assert_eq!(scene.service.count("the LNS link is lost"), 0);
    let holder = scene.service.show("/lns/holder");
    assert_eq!([&holder["frames_lost"], &holder["frames_unsure"]], [0, 0]);
}

#[test]
fn a_stop_says_goodbye_and_waits_for_nobody() {
    let mut spoken = scene(Vec::new());
    spoken.service.signal("TERM");
    assert_eq!(spoken.service.wait(PROMPT), Some(0));
    while spoken.around.lns.connections()[0].open {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(spoken.around.lns.connections()[0].closed, Some(1001));

    let mut silent = scene(Vec::new());
    silent.pipe.set_silent(true);
    silent.service.signal("TERM");
    assert_eq!(silent.service.wait(PROMPT), Some(0));

    let ping = [0x89, 4, b'p', b'i', b'n', b'g'].repeat(1000);
    let mut loud = scene(vec![Speech::Flood(ping)]);
    loud.service.signal("TERM");
    assert_eq!(loud.service.wait(PROMPT), Some(0));
}

#[test]
fn a_stop_does_not_wait_for_a_link_that_is_being_opened() {
    let mut scene = scene(Vec::new());
    let silent = Fault::SilentAfterUpgrade(Duration::from_secs(60));
    scene.around.lns.set_fault(silent);
    scene.around.lns.cut(EUI);
    scene.service.until("on its way", |service| {
        service.show("/lns/link/state") == json!("opening")
    });
    scene.service.signal("TERM");
    assert_eq!(scene.service.wait(PROMPT), Some(0));
}

#[test]
fn a_frame_is_told_to_be_read_or_why_not() {
    let scene = scene(Vec::new());
    let read = scene.device.run(&format!("uplink {JOIN}"));
    assert_eq!((read.code, read.log.as_str()), (Some(0), ""));
    assert!(
        read.out
            .starts_with("the LNS has read the frame: wss://localhost:")
    );
    assert!(read.out.ends_with(" (EU863)\n"), "{}", read.out);
    for (words, why) in [
        ("xyz", "hex digits"),
        ("0x40", "hex digits"),
        ("40 04 03", "a frequency in Hz"),
        ("E0FF 868.1", "a frequency in Hz"),
        ("E0FF 868", "a frequency in Hz"),
        ("E0FF 868100000 SF7", "a data rate from 0 to 15"),
        ("60FF", "is a downlink"),
    ] {
        let ran = scene.device.run(&format!("uplink {words}"));
        assert_eq!(ran.code, Some(2), "{words}");
        assert!(ran.log.contains(why), "{words}: {}", ran.log);
    }
    scene.pipe.set_silent(true);
    let silent = scene.device.run(&format!("uplink {JOIN}"));
    assert_eq!(silent.code, Some(1), "{}", silent.out);
    let told = &silent.log;
    assert!(
        told.contains("ended before") && told.contains("next: "),
        "{told}"
    );
    let down = scene.device.run(&format!("uplink {JOIN}"));
    let told = &down.log;
    assert!(told.contains("the LNS link is not up; it is "), "{told}");
    assert_eq!(scene.around.lns.uplink_count(), 1);
}
