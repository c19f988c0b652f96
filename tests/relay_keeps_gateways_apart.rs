//! Several gateways behind one relay, each with its own traffic; the trouble of one, or the
//! past of one, is not another's.

#![cfg(feature = "daemon")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails"
)]

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use mtls_lab::cups::Gateway;
use mtls_lab::device::EUI;
use mtls_lab::lns::{Config, Fault, LnsDouble, Manner};
use mtls_lab::relay::{Scene, address, discover, echo, head, is_put_off, link, open, traffic};
use serde_json::json;
use tungstenite::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

const OTHERS: [&str; 3] = ["0011223344556677", "0011223344556688", "0011223344556699"];

fn scene() -> Scene {
    let mut scene = Scene::new(BINARY);
    scene.device.set("relay.gateways", json!(OTHERS));
    scene
}

fn uri_of(address: &str, eui: &str) -> String {
    let answer = discover(address, &json!(eui));
    answer["uri"].as_str().expect("an address").to_owned()
}

#[test]
fn four_gateways_at_once_have_four_connections_at_the_lns() {
    let scene = scene();
    let service = scene.serve();
    let address = address(&service);
    let mut sockets: Vec<_> = OTHERS
        .iter()
        .chain(&[EUI])
        .map(|eui| open(&uri_of(&address, eui), &[]).unwrap())
        .collect();
    for (socket, eui) in sockets.iter_mut().zip(OTHERS.iter().chain(&[EUI])) {
        echo(socket, eui);
    }
    let seen = scene.around.lns.connections();
    let mut euis: Vec<_> = seen.iter().map(|seen| seen.eui.as_str()).collect();
    euis.sort_unstable();
    assert_eq!(euis, [OTHERS[0], OTHERS[1], OTHERS[2], EUI]);
    assert!(seen.iter().all(|seen| seen.open && seen.messages == 1));
}

#[test]
fn another_gateway_s_dead_server_does_not_end_this_one_s_link() {
    let scene = scene();
    let service = scene.serve();
    let address = address(&service);
    let own = uri_of(&address, EUI);
    // A port that nobody listens on.
    let dead = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let there = format!("wss://localhost:{}/traffic/eui-{}", dead.port(), OTHERS[0]);
    scene.around.lns.set_fault(Fault::Uri(there));
    let other = uri_of(&address, OTHERS[0]);
    scene.around.lns.set_fault(Fault::None);
    for _ in 0..3 {
        assert_eq!(open(&other, &[]).unwrap_err().status(), 503);
        echo(&mut open(&own, &[]).unwrap(), "goes on");
    }
    assert_eq!(link(&service), "up");
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn what_the_lns_says_about_another_gateway_does_not_end_this_one_s_link() {
    let scene = scene();
    let service = scene.serve();
    let address = address(&service);
    for text in ["Unauthorized", "no such gateway: 0011223344556677"] {
        scene
            .around
            .lns
            .set_fault(Fault::ErrorText(text.to_owned()));
        let answer = discover(&address, &json!(OTHERS[0]));
        let error = answer["error"].as_str().expect("an error");
        assert!(error.contains(text), "{answer}");
        scene.around.lns.set_fault(Fault::None);
        echo(&mut traffic(&address), "goes on");
    }
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn an_outage_that_another_gateway_meets_ends_this_one_s_link_only_if_it_meets_it_too() {
    let scene = scene();
    let service = scene.serve();
    let address = address(&service);
    let other = uri_of(&address, OTHERS[0]);
    for status in [503, 429] {
        let asked = scene.around.lns.discoveries().len();
        scene.around.lns.set_fault(Fault::TrafficStatus(status));
        assert_eq!(open(&other, &[]).unwrap_err().status(), status);
        service.until("the set is proved again", |_| {
            scene.around.lns.discoveries().len() > asked
        });
        scene.around.lns.set_fault(Fault::None);
        echo(&mut traffic(&address), "goes on");
    }
    assert_eq!(service.count("the LNS link is lost"), 0);
    scene.around.lns.set_fault(Fault::DiscoveryStatus(503));
    let mut asking = open(&format!("ws://{address}/router-info"), &[]).unwrap();
    let question = json!({ "router": OTHERS[0] }).to_string();
    asking.send(Message::text(question)).unwrap();
    assert!(is_put_off(asking));
    scene.comes_back(&service, &address);
}

#[test]
fn a_path_that_one_gateway_was_given_never_becomes_another_s() {
    let scene = scene();
    let service = scene.serve();
    let address = address(&service);
    // Two servers that name no gateway in their path; nobody listens there.
    let given = |number: u16, eui: &str| {
        let there = format!("wss://localhost:{number}/traffic");
        scene.around.lns.set_fault(Fault::Uri(there));
        uri_of(&address, eui)
    };
    let first = given(1, OTHERS[0]);
    let second = given(2, OTHERS[1]);
    assert_ne!(first, second);
    scene.around.lns.set_fault(Fault::None);
    scene.rotate(&service, "second");
    // Now the other one is faster; a station comes back without asking again.
    assert_eq!(given(2, OTHERS[1]), second);
    assert_eq!(open(&first, &[]).unwrap_err().status(), 404);
    assert_eq!(given(1, OTHERS[0]), first);
}

#[test]
fn another_gateway_s_silent_server_does_not_keep_this_one_waiting() {
    let scene = scene();
    let service = scene.serve();
    let address = address(&service);
    // The kernel takes connections there, and nobody ever says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let there = format!("wss://localhost:{port}/traffic/eui-{}", OTHERS[0]);
    scene.around.lns.set_fault(Fault::Uri(there));
    drop(uri_of(&address, OTHERS[0]));
    scene.around.lns.set_fault(Fault::None);
    let question = head(&format!("/traffic/eui-{}", OTHERS[0]));
    let waiting: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut client = TcpStream::connect(&address).unwrap();
            client.write_all(question.as_bytes()).unwrap();
            client.set_nonblocking(true).unwrap();
            client
        })
        .collect();
    echo(&mut traffic(&address), "goes on");
    let mut answered = waiting;
    answered.retain(|client| client.peek(&mut [0]).is_ok());
    assert!(answered.len() < 8, "only after {}", answered.len());
}

#[test]
fn another_gateway_s_refusal_does_not_end_this_one_s_link() {
    let scene = scene();
    let service = scene.serve();
    let address = address(&service);
    let other = uri_of(&address, OTHERS[0]);
    scene.around.lns.set_fault(Fault::TrafficStatus(401));
    assert_eq!(open(&other, &[]).unwrap_err().status(), 401);
    scene.around.lns.set_fault(Fault::None);
    echo(&mut traffic(&address), "goes on");
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn after_a_move_to_another_lns_the_old_one_never_sees_the_new_key() {
    let scene = scene();
    let service = scene.serve();
    let address = address(&service);
    let other = uri_of(&address, OTHERS[0]);
    drop(open(&other, &[]).unwrap());
    let config = Config {
        tls: Some(scene.around.pki.lns.server.clone()),
        ..Config::default()
    };
    let new = LnsDouble::start(&config).unwrap();
    new.set_manner(Manner {
        echo: true,
        ..Manner::default()
    });
    let ups = service.count("the LNS link is up");
    let gateway = Gateway {
        lns_uri: new.uri(),
        lns_trust_der: scene.around.pki.lns.root_der.clone(),
        lns_key: Some("second".to_owned()),
        cups_target: None,
    };
    scene.around.cups.set_gateway(EUI, gateway);
    service.until("the link uses the new LNS", |service| {
        service.count("the LNS link is up") > ups
    });
    // Without a discovery of its own since then.
    assert_eq!(open(&other, &[]).unwrap_err().status(), 404);
    let seen = scene.around.lns.connections();
    assert!(
        seen.iter()
            .all(|seen| seen.token.as_deref() != Some("second"))
    );
    echo(
        &mut open(&uri_of(&address, OTHERS[0]), &[]).unwrap(),
        "there",
    );
    echo(&mut traffic(&address), "there");
    assert_eq!(new.connections().len(), 2);
}
