//! A local client reaches the LNS through the relay with the gateway's key, and only for
//! gateways that may.

#![cfg(feature = "daemon")]

use mtls_lab::device::EUI;
use mtls_lab::lns::Fault;
use mtls_lab::relay::{Scene, address, discover, figure, link, open, raw, traffic};
use serde_json::json;
use tungstenite::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

const OTHER: &str = "00-11-22-33-44-55-66-77";

#[test]
fn discovery_names_the_relay_and_traffic_carries_the_set_s_key_instead_of_the_client_s() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let spellings = [
        json!(EUI),
        json!("123:4567:89ab:cdef"),
        json!(0x0123_4567_89AB_CDEF_u64),
    ];
    for router in spellings {
        let answer = discover(&address, &router);
        assert_eq!(
            answer["uri"],
            json!(format!("ws://{address}/traffic/eui-{EUI}")),
            "{answer}"
        );
    }
    let uri = format!("ws://{address}/traffic/eui-{EUI}");
    let mut socket = open(&uri, &[("Authorization", "own"), ("Cookie", "a=b")]).unwrap();
    socket.send(Message::text("hello")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    let seen = scene.around.lns.connections();
    assert_eq!(seen.last().unwrap().token.as_deref(), Some("first"));
    assert_eq!(service.show("/lns/holder/mode"), json!("relay"));
    service.until("one connection counted", |service| {
        figure(service, "connections") == 1
    });
    assert!(figure(&service, "bytes_up") > 0 && figure(&service, "bytes_down") > 0);
}

#[test]
fn only_listed_gateways_and_given_paths_are_served() {
    let mut scene = Scene::new(BINARY);
    scene.device.set("relay.gateways", json!([OTHER]));
    let service = scene.serve();
    let address = address(&service);
    let listed = discover(&address, &json!(OTHER));
    let uri = listed["uri"].as_str().unwrap();
    assert!(uri.ends_with("/traffic/eui-0011223344556677"), "{listed}");
    drop(open(uri, &[]).unwrap());
    let foreign = discover(&address, &json!("::1"));
    assert_eq!(foreign["router"], json!("::1"));
    assert!(
        foreign["error"]
            .as_str()
            .unwrap()
            .contains("relay.gateways"),
        "{foreign}"
    );
    assert!(discover(&address, &json!("nonsense"))["error"].is_string());
    let elsewhere = format!("ws://{address}/traffic/eui-0000000000000001");
    assert_eq!(open(&elsewhere, &[]).unwrap_err().status(), 404);
    let page = ("Origin", "http://page.example.com");
    assert_eq!(open(uri, &[page]).unwrap_err().status(), 403);
    assert!(raw(&address, b"SSH-2.0-x\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9000));
    assert!(raw(&address, long.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert_eq!(link(&service), "up", "no client can take the link down");
}

#[test]
fn a_library_that_names_the_relay_itself_as_its_origin_is_served() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let own = format!("http://{address}");
    for path in ["/router-info".to_owned(), format!("/traffic/eui-{EUI}")] {
        let uri = format!("ws://{address}{path}");
        drop(open(&uri, &[("Origin", &own)]).unwrap());
        // A name whose address a page's own server could change.
        let host = ("Host", "page.example.com");
        let origin = ("Origin", "http://page.example.com");
        assert_eq!(open(&uri, &[host, origin]).unwrap_err().status(), 403);
    }
}

#[test]
fn a_refused_key_is_passed_back_then_clients_are_turned_away_and_cups_is_asked() {
    let mut scene = Scene::new(BINARY);
    scene.device.set("cups.poll_s", 86_400);
    let service = scene.serve();
    let address = address(&service);
    scene.around.lns.set_fault(Fault::TrafficStatus(401));
    let uri = format!("ws://{address}/traffic/eui-{EUI}");
    assert_eq!(open(&uri, &[]).unwrap_err().status(), 401);
    service.until("the link waits", |service| link(service) == "waiting");
    let dialled = scene.around.lns.connections().len();
    for _ in 0..20 {
        let answer = open(&uri, &[]).unwrap_err();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    assert_eq!(
        scene.around.lns.connections().len(),
        dialled,
        "nobody dialled"
    );
    service.until("CUPS is about to be asked", |service| {
        service.show("/cycle/next/reason") == json!("refresh_by_link")
    });
    scene.around.lns.set_fault(Fault::None);
    scene.around.cups.rotate_key(EUI, "second");
    assert_eq!(scene.device.run("refresh").code, Some(0));
    service.until("the link is up", |service| link(service) == "up");
    drop(traffic(&address));
    let seen = scene.around.lns.connections();
    assert_eq!(seen.last().unwrap().token.as_deref(), Some("second"));
}

#[test]
fn a_client_that_asks_amiss_is_told_so_and_the_link_stays_up() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    for (key, version) in [("dGhlIHNhbXBsZSBub25jZQ==", 12), ("short", 13)] {
        let head = format!(
            "GET /traffic/eui-{EUI} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {version}\r\n\r\n"
        );
        let answer = raw(&address, head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    }
    drop(traffic(&address));
}

#[test]
fn the_lns_s_end_of_a_session_reaches_the_client_with_its_code() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let mut socket = traffic(&address(&service));
    socket
        .send(Message::text(r#"{"msgtype":"close","code":4001}"#))
        .unwrap();
    let Message::Close(Some(frame)) = socket.read().unwrap() else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(frame.code), 4001);
    let mut cut = traffic(&address(&service));
    cut.send(Message::text("last words")).unwrap();
    assert_eq!(cut.read().unwrap(), Message::text("last words"));
    scene.around.lns.cut(EUI);
    assert!(cut.read().is_err());
    drop((socket, cut));
    service.until("both forgotten", |service| {
        figure(service, "connections") == 0
    });
}
