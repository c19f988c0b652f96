//! The session holder is connected only after `router_config`, and names why a link ends or
//! does not come about.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test waits, and ends when its set-up fails"
)]

#[path = "support/holding.rs"]
mod holding;

use std::time::Duration;

use holding::Stand;
use mtls_agent::agent::ExchangeId;
use mtls_agent::agent::failure::{Class, Failure};
use mtls_agent::daemon::holders::session::Pace;
use mtls_agent::daemon::linking::{Held, Holder as _};
use mtls_agent::wire::uplink::Frame;
use mtls_lab::device::EUI;
use mtls_lab::lns::{Fault, Speech};
use mtls_lab::pipe::Pipe;
use serde_json::{Value, json};

/// Short times, in which a test still is not in a hurry.
const BRISK: Pace = Pace {
    ping: Duration::from_millis(200),
    configured: Duration::from_secs(2),
    drained: Duration::from_secs(5),
    unacknowledged: Duration::from_secs(30),
};

fn join() -> Frame {
    Frame::parse("0008070605040302011817161514131211EFBE01020384").unwrap()
}

#[test]
fn router_config_makes_the_link_and_a_frame_arrives() {
    let mut stand = Stand::new(Pace::default());
    assert!(stand.holder.uplink(join()).unwrap_err().contains("not up"));
    stand.up("good");
    assert_eq!(stand.shows("region"), json!("EU863"));
    let version = stand.lns.connections()[0].version.clone().unwrap();
    let version: Value = serde_json::from_str(&version).unwrap();
    assert_eq!(version["protocol"], 2);
    stand.holder.uplink(join()).unwrap();
    stand.until("a frame", |stand| stand.lns.uplink_count() == 1);
    let frame: Value = serde_json::from_str(&stand.lns.uplinks()[0]).unwrap();
    assert_eq!(frame["msgtype"], "jreq");
    stand.until("counted", |stand| stand.shows("frames_up") == json!(1));
}

#[test]
fn a_socket_without_router_config_is_no_link() {
    let mut stand = Stand::new(BRISK);
    stand.lns.set_fault(Fault::NoRouterConfig);
    let failure = refusal(&mut stand);
    assert_eq!(of(&failure), (Class::Network, "silent_lns"));
}

#[test]
fn a_silent_discovery_ends_by_its_own_deadline() {
    let mut stand = Stand::new(BRISK);
    stand
        .lns
        .set_fault(Fault::SilentAfterUpgrade(Duration::from_secs(60)));
    assert_eq!(of(&refusal(&mut stand)), (Class::Network, "timeout"));
}

#[test]
fn refusals_by_status_are_classed_on_discovery_and_on_traffic() {
    let mut stand = Stand::new(BRISK);
    for (fault, class) in [
        (Fault::DiscoveryStatus(401), Class::NotAuthorised),
        (Fault::TrafficStatus(401), Class::NotAuthorised),
        (Fault::TrafficStatus(403), Class::NotAuthorised),
        (Fault::TrafficStatus(404), Class::NotRegistered),
        (Fault::TrafficStatus(503), Class::ServerFault),
        (Fault::TrafficStatus(429), Class::Busy),
    ] {
        stand.lns.set_fault(fault.clone());
        assert_eq!(refusal(&mut stand).class, class, "{fault:?}");
    }
    for status in [429, 503] {
        stand.lns.set_fault(Fault::TrafficBusy(status, 77));
        let failure = refusal(&mut stand);
        assert_eq!(failure.class, Class::Busy);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(77)));
    }
}

#[test]
fn a_plain_traffic_address_after_a_secure_one_is_refused() {
    let mut stand = Stand::new(BRISK);
    let uri = format!("ws://localhost:1/traffic/eui-{EUI}");
    stand.lns.set_fault(Fault::Uri(uri));
    assert_eq!(
        of(&refusal(&mut stand)),
        (Class::Policy, "policy_downgrade")
    );
}

#[test]
fn the_servers_code_and_reason_are_told() {
    for (code, class) in [
        (1008, Class::Network),
        (1011, Class::ServerFault),
        (1013, Class::Busy),
    ] {
        let mut stand = Stand::new(Pace::default());
        let speech = Speech::Close(code, "gateway moved, token any".to_owned());
        stand.lns.set_fault(Fault::Says(vec![speech]));
        let id = stand.up("any");
        let failure = end(&mut stand, id);
        assert_eq!(of(&failure), (class, "lns_closed"));
        let text = &failure.message;
        assert!(
            text.contains(&code.to_string()) && text.contains("gateway moved"),
            "{text}"
        );
    }
}

#[test]
fn fragments_and_slow_frames_are_whole_messages_and_pings_are_answered() {
    let mut stand = Stand::new(Pace::default());
    let down = json!({ "msgtype": "dnmsg", "pdu": "ab".repeat(20_000) }).to_string();
    stand.lns.set_fault(Fault::Says(vec![
        Speech::Fragments(down.clone(), 1000, Duration::ZERO),
        Speech::Fragments(down.clone(), 10_000, Duration::from_millis(50)),
        Speech::Ping,
        Speech::Text(r#"{"msgtype":"runcmd","command":"reboot"}"#.to_owned()),
        Speech::Text("not JSON".to_owned()),
        Speech::Text(down),
    ]));
    stand.up("good");
    stand.until("three downlinks", |stand| {
        stand.shows("frames_down") == json!(3)
    });
    stand.until("a pong", |stand| stand.lns.pongs() == 1);
}

#[test]
fn a_message_beyond_the_limit_ends_the_link_by_name() {
    for fragment in [1 << 20, 1 << 12] {
        let mut stand = Stand::new(Pace::default());
        let text = "x".repeat(300 * 1024);
        let speech = Speech::Fragments(text, fragment, Duration::ZERO);
        stand.lns.set_fault(Fault::Says(vec![speech]));
        let id = stand.up("good");
        assert_eq!(of(&end(&mut stand, id)), (Class::Protocol, "lns_oversize"));
    }
}

#[test]
fn a_path_that_falls_silent_is_found_by_pings() {
    let mut stand = Stand::new(BRISK);
    let pipe = Pipe::start(stand.lns.address()).unwrap();
    let id = stand.open_through(pipe.address().port(), "good");
    assert_eq!(stand.told(), Held::Connected { id });
    stand.until("three pings", |stand| {
        stand.shows("pings").as_u64() >= Some(3)
    });
    pipe.set_silent(true);
    assert_eq!(of(&end(&mut stand, id)), (Class::Network, "lns_dead"));
}

#[test]
fn a_cut_path_is_noticed_and_the_next_try_succeeds() {
    let mut stand = Stand::new(Pace::default());
    let id = stand.up("good");
    stand.lns.cut(EUI);
    assert_eq!(end(&mut stand, id).class, Class::Network);
    assert_eq!(stand.shows("router_config"), json!(false));
    stand.up("good");
}

#[test]
fn a_link_that_is_closed_tells_nothing_and_a_dropped_holder_says_goodbye() {
    let mut stand = Stand::new(Pace::default());
    let id = stand.up("good");
    stand.holder.close(id);
    stand.until("closed", |stand| !stand.lns.connections()[0].open);
    assert_eq!(stand.holder.take(), []);
    stand.up("good");
    let Stand { holder, lns, .. } = stand;
    drop(holder);
    while lns.connections()[1].open {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Opens, and says why that failed.
fn refusal(stand: &mut Stand) -> Failure {
    let asked = stand.open("any");
    match stand.told() {
        Held::Failed { id, failure } if id == asked => failure,
        other => panic!("not refused: {other:?}"),
    }
}

/// Why the link ended.
fn end(stand: &mut Stand, up: ExchangeId) -> Failure {
    match stand.told() {
        Held::Closed { id, failure } if id == up => failure,
        other => panic!("not ended: {other:?}"),
    }
}

/// Class and code of a failure.
fn of(failure: &Failure) -> (Class, &'static str) {
    (failure.class, failure.code)
}
