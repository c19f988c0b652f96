//! Each fault of discovery, as a local client of the relay meets it.

#![cfg(feature = "daemon")]

use std::time::Duration;

use mtls_lab::device::EUI;
use mtls_lab::lns::{Config, Fault, LnsDouble, Manner};
use mtls_lab::relay::{Scene, address, ask, discover, echo, is_put_off, link, open, traffic};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

fn traffic_uri(address: &str) -> String {
    format!("ws://{address}/traffic/eui-{EUI}")
}

#[test]
fn discovery_401_puts_the_client_off_and_asks_cups() {
    let mut scene = Scene::new(BINARY);
    scene.device.set("cups.poll_s", 86_400);
    let service = scene.serve();
    let address = address(&service);
    scene.around.lns.set_fault(Fault::DiscoveryStatus(401));
    let mut socket = ask(&address);
    let answer = socket.read().unwrap();
    assert!(answer.to_text().unwrap().contains("\"error\""), "{answer}");
    service.until("CUPS is about to be asked", |service| {
        service.show("/cycle/next/reason") == json!("refresh_by_link")
    });
    assert_eq!(open(&traffic_uri(&address), &[]).unwrap_err().status(), 503);
    scene.around.lns.set_fault(Fault::None);
    scene.around.cups.rotate_key(EUI, "second");
    assert_eq!(scene.device.run("refresh").code, Some(0));
    service.until("the link is up", |service| link(service) == "up");
    echo(&mut traffic(&address), "back");
}

#[test]
fn discovery_503_puts_the_client_off_until_the_lns_is_well() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    scene.around.lns.set_fault(Fault::DiscoveryStatus(503));
    assert!(is_put_off(ask(&address)));
    scene.comes_back(&service, &address);
}

#[test]
fn discovery_that_stays_silent_puts_the_client_off() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let silent = Duration::from_secs(30);
    scene
        .around
        .lns
        .set_fault(Fault::SilentAfterUpgrade(silent));
    assert!(is_put_off(ask(&address)));
    scene.comes_back(&service, &address);
}

#[test]
fn discovery_with_an_error_text_is_passed_on_and_an_lns_in_trouble_puts_the_client_off() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let own = address(&service);
    scene
        .around
        .lns
        .set_fault(Fault::ErrorText("Router not provisioned".to_owned()));
    let answer = discover(&own, &json!(EUI));
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("not provisioned"), "{answer}");
    scene.comes_back(&service, &own);
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let own = address(&service);
    let text = "Failed to fetch gateway: not there".to_owned();
    scene.around.lns.set_fault(Fault::ErrorText(text));
    assert!(is_put_off(ask(&own)));
    scene.comes_back(&service, &own);
}

#[test]
fn discovery_that_is_nonsense_oversized_or_names_a_plain_address_is_an_error() {
    let plain = format!("ws://localhost:1/traffic/eui-{EUI}");
    for fault in [
        Fault::Text("{".to_owned()),
        Fault::UriWithoutPort,
        Fault::Uri(plain),
        Fault::Oversize(200_000),
    ] {
        let scene = Scene::new(BINARY);
        let service = scene.serve();
        let address = address(&service);
        scene.around.lns.set_fault(fault.clone());
        let answer = discover(&address, &json!(EUI));
        assert!(answer["error"].is_string(), "{fault:?}: {answer}");
        assert!(answer["uri"].is_null(), "{fault:?}: {answer}");
        scene.comes_back(&service, &address);
    }
}

#[test]
fn discovery_that_names_another_server_is_followed_with_tls() {
    let scene = Scene::new(BINARY);
    let config = Config {
        tls: Some(scene.around.pki.lns.server.clone()),
        ..Config::default()
    };
    let other = LnsDouble::start(&config).unwrap();
    other.set_manner(Manner {
        echo: true,
        ..Manner::default()
    });
    let there = format!("{}/traffic/eui-{EUI}", other.uri());
    scene.around.lns.set_fault(Fault::Uri(there));
    let service = scene.serve();
    echo(&mut traffic(&address(&service)), "there");
    assert_eq!(other.connections().len(), 1);
    assert_eq!(scene.around.lns.connections().len(), 0);
}

#[test]
fn a_traffic_address_with_a_query_is_reached() {
    let scene = Scene::new(BINARY);
    let there = format!("{}/traffic/eui-{EUI}?shard=2", scene.around.lns.uri());
    scene.around.lns.set_fault(Fault::Uri(there));
    let service = scene.serve();
    let address = address(&service);
    let answer = discover(&address, &json!(EUI));
    let uri = format!("{}?shard=2", traffic_uri(&address));
    assert_eq!(answer["uri"], json!(uri));
    echo(&mut open(&uri, &[]).unwrap(), "there");
}
