//! An LNS may speak in the same segment as its upgrade, or without end; the session holder
//! hears the first and does not grow by the second.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test waits, and ends when its set-up fails"
)]

#[path = "support/holding.rs"]
mod holding;
#[path = "support/plain.rs"]
mod plain;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use holding::Stand;
use mtls_agent::agent::ExchangeId;
use mtls_agent::agent::failure::{Class, Failure};
use mtls_agent::daemon::holders::session::Pace;
use mtls_agent::daemon::linking::{Held, Holder as _};
use plain::After;
use serde_json::json;

const BRISK: Pace = Pace {
    ping: Duration::from_millis(300),
    configured: Duration::from_secs(2),
    drained: Duration::from_millis(200),
    unacknowledged: Duration::from_secs(1),
};

fn text(value: &serde_json::Value) -> Vec<u8> {
    let text = value.to_string();
    let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
    frame.extend(text.into_bytes());
    frame
}

fn pings() -> Vec<u8> {
    let mut ping = vec![0x89, 125];
    ping.extend([b'p'; 125]);
    ping.repeat(100)
}

fn leads_to_itself(address: SocketAddr) -> After {
    let uri = format!("ws://localhost:{}/traffic", address.port());
    After {
        first: text(&json!({ "uri": uri })),
        forever: Vec::new(),
    }
}

fn configured(and: Vec<u8>, forever: Vec<u8>) -> After {
    let config = json!({ "msgtype": "router_config", "region": "EU863" });
    After {
        first: [text(&config), and].concat(),
        forever,
    }
}

/// Opens the link to an LNS without TLS.
fn open(stand: &mut Stand, lns: SocketAddr) -> ExchangeId {
    let id = ExchangeId(100);
    let mut access = stand.access(lns.port(), "none");
    access.tc_uri = format!("ws://localhost:{}", lns.port());
    access.credential = None;
    stand.holder.open(id, access);
    id
}

fn ended(stand: &mut Stand) -> Failure {
    match stand.told() {
        Held::Closed { failure, .. } | Held::Failed { failure, .. } => failure,
        Held::Connected { .. } | Held::Resumed { .. } => panic!("a link"),
    }
}

#[test]
fn what_comes_with_the_upgrade_is_heard() {
    let mut stand = Stand::new(BRISK);
    let down = text(&json!({ "msgtype": "dnmsg" })).repeat(2);
    let lns = plain::start(leads_to_itself, configured(down, Vec::new()));
    let id = open(&mut stand, lns);
    assert_eq!(stand.told(), Held::Connected { id });
    stand.until("both heard", |stand| stand.shows("frames_down") == json!(2));
    // It never reads, so it never says that it has; the next link comes about all the same.
    stand.up("good");
    assert_eq!(stand.lns.connections().len(), 1);
}

#[test]
fn a_discovery_that_is_never_answered_but_pinged_ends_by_its_deadline() {
    let mut stand = Stand::new(BRISK);
    let discovery = |_| After {
        first: Vec::new(),
        forever: pings(),
    };
    let lns = plain::start(discovery, After::default());
    open(&mut stand, lns);
    let failure = ended(&mut stand);
    assert_eq!((failure.class, failure.code), (Class::Network, "timeout"));
}

#[test]
fn a_server_that_pings_and_never_reads_costs_no_memory_and_is_left() {
    let mut stand = Stand::new(BRISK);
    let lns = plain::start(leads_to_itself, configured(Vec::new(), pings()));
    let before = memory_kib();
    let id = open(&mut stand, lns);
    assert_eq!(stand.told(), Held::Connected { id });
    let failure = ended(&mut stand);
    assert_eq!((failure.class, failure.code), (Class::Network, "lns_dead"));
    let grown = memory_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
}

/// Resident memory of this process.
fn memory_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    let mut words = line.unwrap().split_whitespace();
    words.nth(1).unwrap().parse().unwrap()
}
