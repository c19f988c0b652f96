//! An LNS that goes away is told to clients at once, and they are let through when it is back;
//! who may not come in stays out.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails, and looks at files"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mtls_lab::device::EUI;
use mtls_lab::faults::{Fault, Misbehaving};
use mtls_lab::lns::{Config, LnsDouble, Manner};
use mtls_lab::relay::{Scene, address, figure, link, open, traffic};
use tungstenite::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

#[test]
fn an_lns_that_is_gone_is_503_without_a_stampede_and_one_that_is_back_is_used() {
    let mut scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let uri = format!("ws://{address}/traffic/eui-{EUI}");
    let mut socket = traffic(&address);
    socket.send(Message::text("before")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("before"));
    let port = scene.around.lns.address().port();
    let idle = Config::default();
    drop(std::mem::replace(
        &mut scene.around.lns,
        LnsDouble::start(&idle).unwrap(),
    ));
    assert!(socket.read().is_err(), "the end is passed on");
    drop(socket);
    let answer = open(&uri, &[]).unwrap_err();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "10");
    service.until("the link waits", |service| link(service) != "up");
    let told = || service.count("the LNS link is lost");
    service.until("it is told", |_| told() > 0);
    assert_eq!(told(), 1, "told once");
    let config = Config {
        port,
        tls: Some(scene.around.pki.lns.server.clone()),
        ..Config::default()
    };
    scene.around.lns = LnsDouble::start(&config).unwrap();
    scene.around.lns.set_manner(Manner {
        echo: true,
        ..Manner::default()
    });
    // The first retry comes within a second here; a second one would take minutes.
    scene.around.cups.rotate_key(EUI, "second");
    service.until("the link is up again", |service| link(service) == "up");
    drop(traffic(&address));
}

#[test]
fn clients_that_wait_for_a_silent_lns_are_let_go_and_never_appear_there() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let hanging = Misbehaving::start(Fault::Hang(Duration::from_secs(3600))).unwrap();
    let uri = hanging.uri().replace("https://", "wss://");
    let there = mtls_lab::lns::Fault::Uri(format!("{uri}/traffic/x"));
    scene.around.lns.set_fault(there);
    let answer = mtls_lab::relay::discover(&address, &serde_json::json!(EUI));
    let own = answer["uri"].as_str().unwrap();
    let mut streams: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            let head = format!(
                "GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                own.trim_start_matches(&format!("ws://{address}"))
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    streams.truncate(10);
    for stream in &mut streams {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    drop(streams);
    service.until("all forgotten", |service| {
        figure(service, "connections") == 0
    });
}

#[test]
fn a_unix_socket_serves_us_and_goes_with_the_agent() {
    let mut scene = Scene::new(BINARY);
    let path = scene.device.path("lns.sock");
    scene
        .device
        .set("relay.listen", format!("unix:{}", path.display()));
    let mut service = scene.serve();
    assert_eq!(address(&service), format!("unix:{}", path.display()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let stream = UnixStream::connect(&path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let (mut socket, _) = tungstenite::client("ws://localhost/router-info", stream).unwrap();
    socket
        .send(Message::text(format!("{{\"router\":\"{EUI}\"}}")))
        .unwrap();
    let answer = socket.read().unwrap();
    let expected = format!("ws://localhost:80/traffic/eui-{EUI}");
    assert!(answer.to_text().unwrap().contains(&expected), "{answer}");
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(5)), Some(0));
    assert!(!path.exists());
}

#[test]
fn an_address_that_others_could_reach_is_refused_at_the_start() {
    let mut scene = Scene::new(BINARY);
    for listen in ["0.0.0.0:1887", "192.0.2.1:1887", "unix:relative"] {
        scene.device.set("relay.listen", listen);
        let ran = scene.device.run("run");
        assert_eq!(ran.code, Some(78), "{listen}: {}", ran.log);
        assert!(ran.log.contains("relay.listen"), "{}", ran.log);
    }
}

#[test]
fn users_are_for_a_unix_socket_and_must_be_known() {
    let mut scene = Scene::new(BINARY);
    let socket = scene.device.path("relay.sock");
    scene
        .device
        .set("relay.users", serde_json::json!(["no-such-user"]));
    for (listen, words) in [
        ("127.0.0.1:0".to_owned(), "relay.users counts on a Unix"),
        (format!("unix:{}", socket.display()), "no-such-user"),
    ] {
        scene.device.set("relay.listen", listen.as_str());
        let ran = scene.device.run("run");
        assert_ne!(ran.code, Some(0));
        assert!(ran.log.contains(words), "{}", ran.log);
    }
}
