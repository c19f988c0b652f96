//! An LNS whose packets vanish, without an error and without a word, is given up within
//! `relay.silent_s_max` (in mode session: by the pings), whoever else is connected goes on, and
//! all is well again as soon as packets come through.
//!
//! The test makes a network of its own, hence needs `unshare`, `ip` and a kernel with veth.
//! Without them it says that it was skipped.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that takes times, and ends when its set-up fails"
)]

use std::time::{Duration, Instant};

use mtls_lab::cups::Gateway;
use mtls_lab::device::{EUI, Service};
use mtls_lab::lns::{Config, Fault, LnsDouble, Manner};
use mtls_lab::relay::{Scene, Socket, address, discover, echo, figure, link, open, traffic};
use mtls_lab::vanish::{FAR, Far, is_alone};
use serde_json::json;
use tungstenite::error::ProtocolError;
use tungstenite::{Error, Message};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
const OTHER: &str = "0011223344556677";
const JOIN: &str = "0008070605040302011817161514131211EFBE01020384";

/// The shortest time that may be configured.
const SILENT_S_MAX: u64 = 8;

/// For the kernel's timers and a machine with more to do.
const SLACK: Duration = Duration::from_secs(5);

/// A gateway whose LNS is far away; the scene's own LNS stays near.
struct Stand {
    far: Far,
    lns: LnsDouble,
    scene: Scene,
}

impl Stand {
    fn new() -> Self {
        let far = Far::new();
        let mut scene = Scene::new(BINARY);
        scene.device.set("relay.silent_s_max", SILENT_S_MAX);
        scene.device.set("relay.gateways", json!([OTHER]));
        let config = Config {
            host: Some(FAR.parse().unwrap()),
            tls: Some(scene.around.pki.lns.server.clone()),
            ..Config::default()
        };
        let lns = far.run(move || LnsDouble::start(&config).unwrap());
        lns.set_manner(Manner {
            echo: true,
            keeps_older: true,
            pause: Duration::ZERO,
        });
        let gateway = Gateway {
            lns_uri: lns.uri(),
            lns_trust_der: scene.around.pki.lns.root_der.clone(),
            lns_key: Some("first".to_owned()),
            cups_target: None,
        };
        scene.around.cups.set_gateway(EUI, gateway);
        Self { far, lns, scene }
    }

    /// A connection of another gateway, whose traffic goes to the LNS that stays near.
    fn other(&self, address: &str) -> Socket {
        let port = self.scene.around.lns.address().port();
        let there = format!("wss://localhost:{port}/traffic/eui-{OTHER}");
        self.lns.set_fault(Fault::Uri(there));
        let answer = discover(address, &json!(OTHER));
        self.lns.set_fault(Fault::None);
        open(answer["uri"].as_str().expect("an address"), &[]).unwrap()
    }

    fn host(&self) -> String {
        format!("{FAR}:{}", self.lns.address().port())
    }
}

#[test]
fn idle_and_busy_connections_that_vanish_end_in_time_and_others_go_on() {
    if !is_alone("idle_and_busy_connections_that_vanish_end_in_time_and_others_go_on") {
        return;
    }
    let stand = Stand::new();
    let service = stand.scene.serve();
    let address = address(&service);
    let mut other = stand.other(&address);
    echo(&mut other, "before");
    let files = quiet_descriptors(&service);
    let (mut idle, mut busy) = (traffic(&address), traffic(&address));
    for text in ["one", "two", "three"] {
        echo(&mut idle, text);
        echo(&mut busy, text);
    }

    stand.far.set_silent(true);
    let since = Instant::now();
    busy.send(Message::text("never arrives")).unwrap();
    echo(&mut other, "goes on");
    for socket in [&mut busy, &mut idle] {
        assert_ends_cleanly(socket);
        assert_took(since.elapsed());
    }
    echo(&mut other, "goes on");

    let status = service.status();
    let lost = &status["lns"]["holder"]["lost"];
    let why = format!(
        "{} for gateway {EUI} gave no sign of life, or took nothing, for {SILENT_S_MAX} s",
        stand.host()
    );
    assert_eq!((&lost["count"], &lost["why"]), (&json!(2), &json!(why)));
    assert_eq!(
        service.count("a relayed connection is lost"),
        1,
        "told once"
    );
    service.says_once(&why);
    let shown = stand.scene.device.run("status").out;
    assert!(
        shown.contains(&stand.host()) && shown.contains("lost 2, last"),
        "{shown}"
    );
    drop((idle, busy));
    service.until("no descriptor is left", |service| {
        quiet_descriptors(service) == files
    });
    assert_eq!(figure(&service, "connections"), 1, "the other gateway's");

    // As long as nobody tried, nothing has to be waited for.
    stand.far.set_silent(false);
    echo(&mut traffic(&address), "back");
    assert_eq!(link(&service), "up");
    echo(&mut other, "still the same");
    let late = "never arrives".to_owned();
    assert!(!stand.lns.uplinks().contains(&late), "TCP has let it go");
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn who_comes_while_packets_vanish_is_turned_away_and_let_in_afterwards() {
    if !is_alone("who_comes_while_packets_vanish_is_turned_away_and_let_in_afterwards") {
        return;
    }
    let stand = Stand::new();
    let service = stand.scene.serve();
    let address = address(&service);
    let mut other = stand.other(&address);
    let files = quiet_descriptors(&service);
    stand.far.set_silent(true);
    let uri = format!("ws://{address}/traffic/eui-{EUI}");
    let since = Instant::now();
    assert_eq!(open(&uri, &[]).unwrap_err().status(), 503);
    // `network.connect_s` of the lab's device.
    assert!(since.elapsed() < Duration::from_secs(5) + SLACK);
    service.until("the link is lost", |service| link(service) != "up");
    let failure = service.show("/lns/link/why");
    assert_eq!(failure["class"], json!("network"));
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains(&stand.host()), "{message}");
    echo(&mut other, "goes on");
    stand.far.set_silent(false);
    stand.scene.rotate(&service, "second");
    echo(&mut traffic(&address), "back");
    echo(&mut other, "goes on");
    service.until("no descriptor is left", |service| {
        quiet_descriptors(service) == files
    });
}

#[test]
fn a_session_whose_packets_vanish_is_opened_anew_when_they_come_through() {
    if !is_alone("a_session_whose_packets_vanish_is_opened_anew_when_they_come_through") {
        return;
    }
    let mut stand = Stand::new();
    stand.lns.set_manner(Manner::default());
    stand.scene.device.set("lns.mode", "session");
    stand.scene.device.set("lns.ping_s", 1);
    let service = stand.scene.serve();
    let files = quiet_descriptors(&service);
    assert_eq!(
        stand.scene.device.run(&format!("uplink {JOIN}")).code,
        Some(0)
    );
    assert_eq!(stand.lns.uplink_count(), 1);

    stand.far.set_silent(true);
    let since = Instant::now();
    let sent = stand.scene.device.run(&format!("uplink {JOIN}"));
    assert_eq!(sent.code, Some(1), "{}", sent.log);
    service.until("the link is lost", |service| link(service) != "up");
    // Two pings without an answer, up to 10 % later each, and the time for a third.
    assert!(since.elapsed() < Duration::from_millis(3300) + SLACK);
    let failure = service.show("/lns/link/why");
    assert_eq!(
        (&failure["class"], &failure["code"]),
        (&json!("network"), &json!("lns_dead"))
    );
    assert_eq!(
        failure["message"],
        json!(format!("{} answered neither of two pings", stand.host()))
    );

    stand.far.set_silent(false);
    stand.scene.rotate(&service, "second");
    assert_eq!(
        stand.scene.device.run(&format!("uplink {JOIN}")).code,
        Some(0)
    );
    // The frame that vanished was said to be lost, and no closed socket brings it later.
    assert_eq!(stand.lns.uplink_count(), 2);
    service.until("no descriptor is left", |service| {
        quiet_descriptors(service) == files
    });
}

/// The end comes without a reset, which could eat what came before it.
fn assert_ends_cleanly(socket: &mut Socket) {
    let end = socket.read().unwrap_err();
    let is_clean = matches!(
        end,
        Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
    );
    assert!(is_clean, "{end:?}");
}

fn assert_took(time: Duration) {
    // An idle connection's time began with the last that came, a moment earlier.
    let soonest = Duration::from_millis(SILENT_S_MAX * 1000 - 500);
    let latest = Duration::from_secs(SILENT_S_MAX) + SLACK;
    assert!((soonest..latest).contains(&time), "{time:?}");
}

/// Open descriptors of the agent, the fewest of some looks: it also asks CUPS now and then.
fn quiet_descriptors(service: &Service) -> usize {
    let folder = format!("/proc/{}/fd", service.pid());
    let looks = (0..10).map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        std::fs::read_dir(&folder).unwrap().count()
    });
    looks.min().unwrap_or_default()
}
