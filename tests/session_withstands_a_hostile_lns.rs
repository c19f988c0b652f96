//! Whatever an LNS sends, the session holder ends the link by name or goes on, answers orders at
//! once, and does not grow.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test waits, and ends when its set-up fails"
)]

#[path = "support/holding.rs"]
mod holding;

use std::thread;
use std::time::{Duration, Instant};

use holding::Stand;
use mtls_agent::agent::failure::{Class, Failure};
use mtls_agent::daemon::holders::session::Pace;
use mtls_agent::daemon::linking::{Held, Holder as _};
use mtls_agent::wire::uplink::Frame;
use mtls_lab::lns::{Fault, Speech};
use serde_json::{Value, json};

/// Short times, in which a test still is not in a hurry.
const BRISK: Pace = Pace {
    ping: Duration::from_millis(300),
    configured: Duration::from_secs(2),
    drained: Duration::from_secs(5),
    unacknowledged: Duration::from_secs(2),
};

/// Times that no test reaches.
const PATIENT: Pace = Pace {
    ping: Duration::from_secs(600),
    configured: Duration::from_secs(600),
    drained: Duration::from_secs(600),
    unacknowledged: Duration::from_secs(600),
};

/// No order waits longer, on however slow a machine.
const PROMPT: Duration = Duration::from_secs(10);

const DOWN: &str = r#"{"msgtype":"dnmsg","pdu":"00"}"#;

/// The header of a server's frame, then its octets.
fn frame(first: u8, octets: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if let Ok(short @ 0..126) = u8::try_from(octets.len()) {
        frame.push(short);
    } else {
        frame.push(126);
        frame.extend(u16::try_from(octets.len()).unwrap().to_be_bytes());
    }
    frame.extend(octets);
    frame
}

fn says(speeches: impl IntoIterator<Item = Vec<u8>>) -> Fault {
    Fault::Says(speeches.into_iter().map(Speech::Raw).collect())
}

/// How a link ends on which the server says this after `router_config`, and with which code
/// the server is left.
fn end(fault: Fault) -> (Failure, Option<u16>) {
    let mut stand = Stand::new(PATIENT);
    stand.lns.set_fault(fault);
    let id = stand.up("good");
    let Held::Closed { id: ended, failure } = stand.told() else {
        panic!("not ended")
    };
    assert_eq!(ended, id);
    stand.until("the server has seen the end", |stand| {
        stand.lns.connections().iter().all(|seen| !seen.open)
    });
    let told = stand.lns.connections().pop().unwrap().closed;
    (failure, told)
}

#[test]
fn a_frame_against_the_protocol_ends_the_link_by_name_and_the_server_is_told() {
    let masked = [0x81, 0x82, 1, 2, 3, 4, b'{' ^ 1, b'}' ^ 2].to_vec();
    for (what, octets, code) in [
        ("a masked frame", masked, 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("all reserved bits", frame(0xf1, b"{}"), 1002),
        ("a reserved kind of data", frame(0x83, b"{}"), 1002),
        ("a reserved kind of control", frame(0x8b, b"{}"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a ping in pieces", frame(0x09, b"a"), 1002),
        ("a close in pieces", frame(0x08, b"\x03\xe8"), 1002),
        ("a long close", frame(0x88, &[0x03; 126]), 1002),
        ("half a close code", frame(0x88, b"\x03"), 1002),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002),
        (
            "a text within a text",
            [frame(0x01, b"{"), frame(0x81, b"{}")].concat(),
            1002,
        ),
        ("a text that is not UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        (
            "pieces that are not UTF-8",
            [frame(0x01, b"\xf0\x9f"), frame(0x80, b"xx")].concat(),
            1007,
        ),
    ] {
        let (failure, told) = end(says([octets]));
        let found = (failure.class, failure.code);
        assert_eq!(found, (Class::Protocol, "websocket"), "{what}: {failure}");
        assert_eq!(told, Some(code), "{what}: {failure}");
    }
}

#[test]
fn a_frame_that_only_claims_to_be_huge_is_refused_before_it_comes() {
    for header in [
        [&[0x81, 127][..], &(1_u64 << 40).to_be_bytes()].concat(),
        [&[0x81, 127][..], &u64::MAX.to_be_bytes()].concat(),
        [&[0x89, 127][..], &(1_u64 << 40).to_be_bytes()].concat(),
    ] {
        let (failure, told) = end(says([header]));
        let found = (failure.class, failure.code);
        assert_eq!(found, (Class::Protocol, "lns_oversize"), "{failure}");
        assert_eq!(told, Some(1009));
    }
}

#[test]
fn every_close_frame_that_can_be_read_is_a_normal_end() {
    let long = Speech::Close(1001, "x".repeat(123));
    for (speech, word) in [
        (Speech::CloseMute, "without a code"),
        (long, "1001: xxx"),
        (Speech::Close(4007, "\u{1b}[2Jred".to_owned()), "4007: "),
        // What must not be on the wire is answered as RFC 6455 wants it.
        (Speech::Raw(frame(0x88, &1005_u16.to_be_bytes())), "1002"),
        (Speech::Raw(frame(0x88, &999_u16.to_be_bytes())), "1002"),
    ] {
        let (failure, _) = end(Fault::Says(vec![speech]));
        let found = (failure.class, failure.code);
        assert_eq!(found, (Class::Network, "lns_closed"), "{failure}");
        let text = &failure.message;
        assert!(text.contains(word) && !text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn what_means_nothing_is_passed_over_and_the_link_stays() {
    let mut stand = Stand::new(PATIENT);
    let long = [&[0x81, 127][..], &30_u64.to_be_bytes(), DOWN.as_bytes()].concat();
    assert_eq!(DOWN.len(), 30);
    let pieces = [
        frame(0x01, &DOWN.as_bytes()[..7]),
        frame(0x89, b"between"),
        frame(0x00, b""),
        frame(0x80, &DOWN.as_bytes()[7..]),
    ];
    let config = json!({ "msgtype": "router_config", "region": "US902" }).to_string();
    let mut speeches = vec![
        Speech::Text("[]".to_owned()),
        Speech::Text("7".to_owned()),
        Speech::Text("null".to_owned()),
        Speech::Text("\"dnmsg\"".to_owned()),
        Speech::Text(String::new()),
        Speech::Text("[".repeat(100_000)),
        Speech::Text(r#"{"msgtype":"surprise","a":{"b":[1]}}"#.to_owned()),
        Speech::Text(r#"{"msgtype":7}"#.to_owned()),
        Speech::Text(r#"{"msgtype":"timesync","MuxTime":-1e300,"xtime":"x"}"#.to_owned()),
        Speech::Text(r#"{"msgtype":"timesync","gpstime":18446744073709551616}"#.to_owned()),
        Speech::Text(r#"{"msgtype":"rmtsh","user":"root","start":0}"#.to_owned()),
        Speech::Raw(frame(0x82, &[0; 1000])),
        Speech::Raw(frame(0x8a, b"drained")),
        Speech::Raw(frame(0x8a, b"read\0\0\0\0\0\0\0\x01")),
        Speech::Raw(long),
        Speech::Drip(frame(0x81, DOWN.as_bytes()), Duration::from_millis(20)),
        Speech::Text(config),
    ];
    speeches.extend(pieces.map(Speech::Raw));
    stand.lns.set_fault(Fault::Says(speeches));
    stand.up("good");
    stand.until("all heard", |stand| stand.shows("frames_down") == json!(3));
    assert_eq!(stand.shows("region"), json!("US902"));
    assert_eq!(stand.shows("router_config"), json!(true));
    stand.until("a pong", |stand| stand.lns.pongs() == 1);
    assert_eq!(stand.holder.take(), []);
}

#[test]
fn the_servers_question_for_our_time_is_answered_and_its_own_time_comes_back() {
    let mut stand = Stand::new(PATIENT);
    let question =
        |time_s: f64| Speech::Text(json!({ "msgtype": "getxtime", "MuxTime": time_s }).to_string());
    stand.lns.set_fault(Fault::Says(vec![question(5000.5)]));
    stand.up("good");
    stand.until("an answer", |stand| stand.lns.uplink_count() == 1);
    stand
        .holder
        .uplink(Frame::parse("E0C0FFEE").unwrap())
        .unwrap();
    stand.until("a frame", |stand| stand.lns.uplink_count() == 2);
    let heard = stand.lns.uplinks();
    let answer: Value = serde_json::from_str(&heard[0]).unwrap();
    assert_eq!(answer["msgtype"], "getxtime");
    assert_eq!(answer["MuxTime"], json!(5000.5));
    assert_eq!(
        answer["xtimes"],
        json!([]),
        "a time of the radio, which is not there"
    );
    assert!(answer["UTCtime"].as_f64() > Some(1.7e9), "{answer}");
    let frame: Value = serde_json::from_str(&heard[1]).unwrap();
    let since = frame["RefTime"].as_f64().unwrap() - 5000.5;
    assert!((0.0..60.0).contains(&since), "{since}");
}

#[test]
fn an_upgrade_that_is_not_what_was_asked_for_is_no_link() {
    let huge = "x".repeat(100_000);
    for (name, value) in [
        ("sec-websocket-accept", "c29tZXRoaW5nIGVsc2Ugb2YgMjA="),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-protocol", "lorawan"),
        ("upgrade", "h2c"),
        ("connection", "close"),
        ("x-padding", &huge),
    ] {
        let mut stand = Stand::new(PATIENT);
        stand
            .lns
            .set_fault(Fault::TrafficHeader(name, value.to_owned()));
        stand.open("any");
        let Held::Failed { failure, .. } = stand.told() else {
            panic!("{name}: a link")
        };
        let found = (failure.class, failure.code);
        assert_eq!(found, (Class::Protocol, "websocket"), "{name}: {failure}");
    }
}

#[test]
fn a_flood_before_router_config_neither_makes_a_link_nor_keeps_the_holder_busy() {
    for octets in [frame(0x89, b"flood"), frame(0x81, b"{}"), frame(0x01, b"")] {
        let mut start = octets.clone();
        // Of a text that begins but never ends only the pieces are repeated.
        if octets[0] == 0x01 {
            start = frame(0x00, b"").repeat(1000);
        }
        let flood = vec![Speech::Raw(octets), Speech::Flood(start)];
        let mut stand = Stand::new(BRISK);
        stand.lns.set_fault(Fault::SaysFirst(flood));
        stand.open("any");
        let Held::Failed { failure, .. } = stand.told() else {
            panic!("a link")
        };
        assert_eq!(failure.class, Class::Network, "{failure}");
        stand.open("any");
        stand.until("flooded again", |stand| stand.lns.connections().len() == 2);
        thread::sleep(Duration::from_millis(200));
        prompt_drop(stand);
    }
}

#[test]
fn a_flood_on_the_link_that_is_up_delays_no_order() {
    let text = format!(r#"{{"x":"{}"}}"#, "y".repeat(60_000));
    for octets in [
        frame(0x89, &[b'p'; 125]).repeat(100),
        frame(0x81, text.as_bytes()),
        frame(0x81, br#"{"msgtype":"getxtime"}"#).repeat(100),
    ] {
        let mut stand = Stand::new(PATIENT);
        stand
            .lns
            .set_fault(Fault::Says(vec![Speech::Flood(octets)]));
        stand.up("good");
        thread::sleep(Duration::from_millis(200));
        prompt_drop(stand);
    }
}

/// The holder is told to end, and does.
fn prompt_drop(stand: Stand) {
    let Stand { holder, lns, .. } = stand;
    let dropped = thread::spawn(move || drop(holder));
    let limit = Instant::now() + PROMPT;
    while !dropped.is_finished() {
        assert!(Instant::now() < limit, "the holder does not end");
        thread::sleep(Duration::from_millis(5));
    }
    drop(lns);
}

#[test]
fn a_server_that_does_not_read_makes_uplinks_wait_and_is_found_by_its_silence() {
    let mut stand = Stand::new(BRISK);
    stand
        .lns
        .set_fault(Fault::Says(vec![Speech::Deaf(Duration::from_secs(30))]));
    stand.up("good");
    let frame = Frame::parse(&"E0".repeat(255)).unwrap();
    let busy = loop {
        if let Err(why) = stand.holder.uplink(frame.clone()) {
            break why;
        }
    };
    assert!(
        busy.starts_with("busy") || busy.contains("not up"),
        "{busy}"
    );
    let Held::Closed { failure, .. } = stand.told() else {
        panic!("not ended")
    };
    assert_eq!(failure.class, Class::Network, "{failure}");
    let count = |name| stand.shows(name).as_u64().unwrap();
    assert_eq!(count("frames_waiting"), 0);
    assert_eq!(count("frames_up"), count("frames_unsure"));
}

#[test]
fn a_frame_that_never_ends_is_the_end_of_the_link() {
    let mut stand = Stand::new(BRISK);
    let mut octets = frame(0x81, &[b' '; 10_000]);
    octets.pop();
    stand.lns.set_fault(Fault::Says(vec![Speech::Drip(
        octets,
        Duration::from_millis(50),
    )]));
    stand.up("good");
    let Held::Closed { failure, .. } = stand.told() else {
        panic!("not ended")
    };
    assert_eq!((failure.class, failure.code), (Class::Network, "lns_dead"));
}

#[test]
fn a_goodbye_has_the_code_of_its_reason() {
    let mut stand = Stand::new(PATIENT);
    let id = stand.up("good");
    stand.holder.close(id);
    stand.until("closed", |stand| !stand.lns.connections()[0].open);
    assert_eq!(stand.lns.connections()[0].closed, Some(1000));
    stand.up("good");
    let Stand { holder, lns, .. } = stand;
    drop(holder);
    while lns.connections()[1].open {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(lns.connections()[1].closed, Some(1001));
}
