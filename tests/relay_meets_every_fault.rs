//! Each fault of traffic, of the LNS and of the agent's own life, as a local client of the
//! relay meets it.

#![cfg(feature = "daemon")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails, and may pause"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use mtls_lab::cups::answer::Dialect;
use mtls_lab::cups::answer::{Key, Segments, credential, encode};
use mtls_lab::device::EUI;
use mtls_lab::http::RawAnswer;
use mtls_lab::lns::{Config, Fault, LnsDouble, Manner, Speech};
use mtls_lab::pki::Pair;
use mtls_lab::relay::{
    Scene, address, ask, discover, echo, figure, is_put_off, link, open, traffic,
};
use serde_json::json;
use tungstenite::{Error, Message};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

fn traffic_uri(address: &str) -> String {
    format!("ws://{address}/traffic/eui-{EUI}")
}

#[test]
fn traffic_403_503_and_429_are_passed_back_and_the_link_waits() {
    for fault in [
        Fault::TrafficStatus(403),
        Fault::TrafficStatus(503),
        Fault::TrafficBusy(429, 7),
    ] {
        let scene = Scene::new(BINARY);
        let service = scene.serve();
        let address = address(&service);
        let (Fault::TrafficStatus(status) | Fault::TrafficBusy(status, _)) = fault else {
            unreachable!()
        };
        scene.around.lns.set_fault(fault);
        let answer = open(&traffic_uri(&address), &[]).unwrap_err();
        assert_eq!(answer.status(), status);
        if status == 429 {
            assert_eq!(answer.headers()["retry-after"], "7");
        }
        service.until("the link waits", |service| link(service) == "waiting");
        assert_eq!(open(&traffic_uri(&address), &[]).unwrap_err().status(), 503);
        scene.comes_back(&service, &address);
    }
}

#[test]
fn a_refusal_that_repeats_the_key_shows_it_to_nobody() {
    const KEY: &str = "NNSXS.VEEBURF3KR77ZR3UUJVTHX4QUA";
    let mut scene = Scene::new(BINARY);
    scene.device.set("cups.poll_s", 86_400);
    scene.around.offer(KEY);
    let service = scene.serve();
    let address = address(&service);
    scene.around.lns.set_fault(Fault::TrafficRepeatsToken(401));
    let answer = mtls_lab::relay::raw(
        &address,
        mtls_lab::relay::head(&format!("/traffic/eui-{EUI}")).as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(!answer.contains(KEY), "{answer}");
    service.until("the link waits", |service| link(service) == "waiting");
    assert_eq!(service.count(KEY), 0);
    assert!(!service.status().to_string().contains(KEY));
}

#[test]
fn what_the_lns_says_slowly_in_fragments_or_large_arrives_as_it_was() {
    let scene = Scene::new(BINARY);
    let (slow, large) = ("slowly ".repeat(20), "large".repeat(60_000));
    let pause = Duration::from_millis(20);
    scene.around.lns.set_fault(Fault::Says(vec![
        Speech::Fragments(slow.clone(), 9, pause),
        Speech::Text(large.clone()),
        Speech::Fragments(large.clone(), 70_000, pause),
        Speech::Ping,
    ]));
    let service = scene.serve();
    let mut socket = traffic(&address(&service));
    socket
        .send(Message::text(r#"{"msgtype":"version"}"#))
        .unwrap();
    assert!(
        socket
            .read()
            .unwrap()
            .to_text()
            .unwrap()
            .contains("router_config")
    );
    assert_eq!(socket.read().unwrap(), Message::text(slow));
    for _ in 0..2 {
        assert_eq!(socket.read().unwrap(), Message::text(large.as_str()));
    }
    assert_eq!(socket.read().unwrap(), Message::Ping("there?".into()));
    socket.flush().unwrap();
    service.until("the pong came", |_| scene.around.lns.pongs() == 1);
}

#[test]
fn every_close_code_reaches_the_client() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    for code in [1000, 1001, 1008, 1011, 1012, 1013, 4000, 4999] {
        let mut socket = traffic(&address);
        let text = json!({ "msgtype": "close", "code": code }).to_string();
        socket.send(Message::text(text)).unwrap();
        let Message::Close(Some(frame)) = socket.read().unwrap() else {
            panic!("no close frame for {code}")
        };
        assert_eq!(u16::from(frame.code), code);
        assert_eq!(frame.reason.as_str(), "asked for");
    }
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn an_lns_that_cuts_a_session_ends_it_cleanly_for_the_client() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let mut socket = traffic(&address);
    echo(&mut socket, "before");
    scene.around.lns.cut(EUI);
    assert_eq!(
        socket.get_mut().read(&mut [0; 8]).unwrap(),
        0,
        "a clean end"
    );
    assert!(figure(&service, "connections") <= 1);
    drop(socket);
    service.until("forgotten", |service| figure(service, "connections") == 0);
    echo(&mut traffic(&address), "again");
}

#[test]
fn an_lns_that_never_reads_holds_only_its_own_client_back() {
    let scene = Scene::new(BINARY);
    scene.around.lns.set_manner(Manner {
        echo: false,
        keeps_older: true,
        pause: Duration::from_secs(3600),
    });
    let service = scene.serve();
    let address = address(&service);
    let stuck = traffic(&address);
    let writer = stuck.get_ref().try_clone().unwrap();
    writer
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let mut sent = 0_usize;
    while let Ok(amount) = (&writer).write(&[0; 8192]) {
        sent += amount;
        assert!(sent < 64 << 20, "64 MB vanished into somebody's memory");
    }
    scene.around.lns.set_manner(Manner {
        echo: true,
        keeps_older: true,
        pause: Duration::ZERO,
    });
    echo(&mut traffic(&address), "others go on");
}

#[test]
fn an_lns_that_restarts_is_reached_again_and_the_client_saw_a_clean_end() {
    let mut scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let mut socket = traffic(&address);
    echo(&mut socket, "before");
    let port = scene.around.lns.address().port();
    let config = Config {
        port,
        tls: Some(scene.around.pki.lns.server.clone()),
        ..Config::default()
    };
    let idle = LnsDouble::start(&Config::default()).unwrap();
    drop(std::mem::replace(&mut scene.around.lns, idle));
    assert_eq!(
        socket.get_mut().read(&mut [0; 8]).unwrap(),
        0,
        "a clean end"
    );
    scene.around.lns = LnsDouble::start(&config).unwrap();
    scene.around.lns.set_manner(Manner {
        echo: true,
        ..Manner::default()
    });
    echo(&mut traffic(&address), "at once");
    assert_eq!(
        service.count("the LNS link is lost"),
        0,
        "nobody came meanwhile"
    );
}

#[test]
fn an_agent_that_restarts_ends_its_clients_cleanly_and_takes_them_again() {
    let mut scene = Scene::new(BINARY);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("127.0.0.1:{port}");
    scene.device.set("relay.listen", address.as_str());
    let mut service = scene.serve();
    let mut sockets = [traffic(&address), traffic(&address)];
    for socket in &mut sockets {
        echo(socket, "before");
    }
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(5)), Some(0));
    for socket in &mut sockets {
        assert_eq!(
            socket.get_mut().read(&mut [0; 8]).unwrap(),
            0,
            "a clean end"
        );
    }
    let service = scene.serve();
    echo(&mut traffic(&address), "again");
    drop((service, sockets));
}

#[test]
fn a_reload_leaves_living_connections_alone() {
    let mut scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let mut socket = traffic(&address);
    for poll_s in [2, 3] {
        scene.device.set("cups.poll_s", poll_s);
        scene.device.configure();
        service.signal("HUP");
        thread::sleep(Duration::from_millis(300));
        echo(&mut socket, "lives on");
    }
    service.until("reloaded", |service| service.has_told("READY=1"));
    echo(&mut traffic(&address), "new ones too");
    assert_eq!(figure(&service, "old_connections"), 0);
}

#[test]
fn an_lns_that_is_not_trusted_any_more_is_not_spoken_to() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let other = scene.around.pki.second_lns();
    scene.around.lns.replace_certificate(&other.server);
    assert!(is_put_off(ask(&address)));
    service.until("the link is lost", |service| {
        service.count("the LNS link is lost") == 1
    });
    assert_eq!(scene.around.lns.connections().len(), 0);
    let original = scene.around.pki.lns.server.clone();
    scene.around.lns.replace_certificate(&original);
    scene.rotate(&service, "second");
    echo(&mut traffic(&address), "back");
}

#[test]
fn ipv6_serves_as_well_on_both_sides() {
    let mut scene = Scene::new(BINARY);
    scene.device.set("relay.listen", "[::1]:0");
    let inner = scene.around.lns.address();
    let door = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let port = door.local_addr().unwrap().port();
    // The LNS at an address of IPv6: what comes there is passed to the double.
    thread::spawn(move || {
        for near in door.incoming().map_while(Result::ok) {
            let far = TcpStream::connect(inner).unwrap();
            for (mut from, mut to) in [
                (near.try_clone().unwrap(), far.try_clone().unwrap()),
                (far, near),
            ] {
                thread::spawn(move || {
                    drop(std::io::copy(&mut from, &mut to));
                    drop(to.shutdown(std::net::Shutdown::Write));
                });
            }
        }
    });
    scene
        .around
        .lns
        .set_fault(Fault::Uri(format!("wss://[::1]:{port}/traffic/eui-{EUI}")));
    let service = scene.serve();
    let address = address(&service);
    assert!(address.starts_with("[::1]:"), "{address}");
    let answer = discover(&address, &json!(EUI));
    assert_eq!(answer["uri"], json!(traffic_uri(&address)));
    echo(&mut traffic(&address), "six");
}

fn der(pair: &Pair) -> (Vec<u8>, Vec<u8>) {
    let pem = |path| std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut chain = pem(&pair.certificate);
    let mut certificates = rustls_pemfile::certs(&mut chain);
    let key = rustls_pemfile::private_key(&mut pem(&pair.key))
        .unwrap()
        .unwrap();
    let certificate = certificates.next().unwrap().unwrap().to_vec();
    (certificate, key.secret_der().to_vec())
}

#[test]
fn an_lns_that_wants_a_certificate_gets_the_set_s() {
    let mut scene = Scene::new(BINARY);
    let pki = &scene.around.pki;
    let config = Config {
        tls: Some(pki.lns.server.clone()),
        client_root: Some(pki.client_issuing.clone()),
        accept_tokens: None,
        ..Config::default()
    };
    let (certificate, key) = der(&pki.device);
    let set = credential(&pki.lns.root_der, Some(&certificate), Key::Der(&key));
    scene.around.lns = LnsDouble::start(&config).unwrap();
    scene.around.lns.set_manner(Manner {
        echo: true,
        ..Manner::default()
    });
    let segments = Segments {
        tc_uri: &scene.around.lns.uri(),
        tc_credentials: &set,
        ..Segments::default()
    };
    let octets = encode(&segments, Dialect::TheThingsStack);
    let answer = RawAnswer::octets(octets);
    scene.around.cups.answer_always(Some(answer));
    let service = scene.serve();
    echo(&mut traffic(&address(&service)), "mutual");
    let seen = scene.around.lns.connections();
    assert_eq!(seen.last().unwrap().token, None, "a certificate, no token");
}

#[test]
fn a_plain_lns_is_relayed_where_the_set_says_so() {
    let mut scene = Scene::new(BINARY);
    scene.device.set("cups.allow_plain", true);
    scene.around.lns = LnsDouble::start(&Config::default()).unwrap();
    scene.around.lns.set_manner(Manner {
        echo: true,
        ..Manner::default()
    });
    scene.around.offer("first");
    let service = scene.serve();
    let address = address(&service);
    let mut socket = traffic(&address);
    for _ in 0..10 {
        echo(&mut socket, &"plain ".repeat(20_000));
    }
    let seen = scene.around.lns.connections();
    assert_eq!(seen.last().unwrap().token, None, "no key without TLS");
    scene.around.lns.cut(EUI);
    assert!(matches!(
        socket.read(),
        Err(Error::Protocol(_) | Error::Io(_))
    ));
}
