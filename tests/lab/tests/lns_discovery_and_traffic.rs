//! The LNS double answers discovery and traffic as The Things Stack does.
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test"
)]

mod client;

use client::{EUI, Lab, Stream, connect};
use mtls_lab::lns::{Config, Fault, LnsDouble};
use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{HandshakeError, Message, WebSocket};

fn start(lab: &Lab, discovery_ignores_token: bool) -> LnsDouble {
    let config = Config {
        tls: Some(lab.pki.lns.server.clone()),
        accept_tokens: Some([String::from("ONE")].into()),
        discovery_ignores_token,
        ..Config::default()
    };
    LnsDouble::start(&config).unwrap()
}

fn open(lab: &Lab, lns: &LnsDouble, path: &str, token: &str) -> Result<WebSocket<Stream>, u16> {
    let stream = connect(lns.address(), &lab.pki.lns.root, None).unwrap();
    let mut request = format!("{}{path}", lns.uri())
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("authorization", token.parse().unwrap());
    match tungstenite::client(request, stream) {
        Ok((websocket, _)) => Ok(websocket),
        Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(other) => panic!("{other}"),
    }
}

fn discover(lab: &Lab, lns: &LnsDouble, token: &str) -> Value {
    let mut websocket = open(lab, lns, "/router-info", token).unwrap();
    websocket
        .send(Message::text(r#"{"router":"123:4567:89ab:cdef"}"#))
        .unwrap();
    let answer = websocket.read().unwrap().into_text().unwrap();
    assert!(
        !matches!(websocket.read(), Ok(Message::Close(_))),
        "no close frame is sent"
    );
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn discovery_gives_the_address_the_client_asked_with() {
    let lab = Lab::new();
    let lns = start(&lab, false);
    let answer = discover(&lab, &lns, "ONE");
    let uri = format!("{}/traffic/eui-{EUI}", lns.uri());
    assert_eq!(answer["uri"].as_str(), Some(uri.as_str()));
    assert_eq!(answer["router"], "123:4567:89ab:cdef");
    assert!(lns.discoveries()[0].accepted);
}

#[test]
fn discovery_refuses_a_wrong_token_in_the_socket_or_leaves_it_to_traffic() {
    let lab = Lab::new();
    let lns = start(&lab, false);
    assert_eq!(discover(&lab, &lns, "Bearer TWO")["error"], "Unauthorized");
    let seen = &lns.discoveries()[0];
    assert_eq!((seen.token.as_deref(), seen.accepted), (Some("TWO"), false));
    let lns = start(&lab, true);
    assert!(discover(&lab, &lns, "TWO")["uri"].is_string());
}

#[test]
fn traffic_is_authorised_before_the_upgrade() {
    let lab = Lab::new();
    let lns = start(&lab, true);
    let path = format!("/traffic/eui-{EUI}");
    assert_eq!(open(&lab, &lns, &path, "TWO").err(), Some(401));
    assert_eq!(open(&lab, &lns, "/elsewhere", "ONE").err(), Some(404));
    assert_eq!(open(&lab, &lns, "/traffic/eui-12", "ONE").err(), Some(400));
    lns.set_fault(Fault::TrafficStatus(429));
    assert_eq!(open(&lab, &lns, &path, "ONE").err(), Some(429));
    let statuses: Vec<u16> = lns.connections().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [401, 400, 429]);
}

#[test]
fn a_second_session_ends_the_first_and_each_gets_its_configuration() {
    let lab = Lab::new();
    let lns = start(&lab, false);
    let path = format!("/traffic/eui-{EUI}");
    let configured = |websocket: &mut WebSocket<Stream>| {
        let version = r#"{"msgtype":"version","station":"x","protocol":2}"#;
        websocket.send(Message::text(version)).unwrap();
        let answer = websocket.read().unwrap().into_text().unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()["msgtype"] == "router_config"
    };
    let mut first = open(&lab, &lns, &path, "ONE").unwrap();
    assert!(configured(&mut first));
    let mut second = open(&lab, &lns, &path, "ONE").unwrap();
    assert!(configured(&mut second));
    assert!(first.read().is_err());
    assert!(lns.connections()[1].open);
    assert!(lns.connections()[0].version.is_some());
}

#[test]
fn faults_of_discovery_reach_the_client() {
    let lab = Lab::new();
    let lns = start(&lab, false);
    lns.set_fault(Fault::UriWithoutPort);
    let uri = format!("wss://localhost/traffic/eui-{EUI}");
    assert_eq!(
        discover(&lab, &lns, "ONE")["uri"].as_str(),
        Some(uri.as_str())
    );
    lns.set_fault(Fault::ErrorText("Failed to fetch gateway".to_owned()));
    assert_eq!(
        discover(&lab, &lns, "ONE")["error"],
        "Failed to fetch gateway"
    );
    lns.set_fault(Fault::Oversize(200_000));
    assert_eq!(
        discover(&lab, &lns, "ONE")["padding"]
            .as_str()
            .map(str::len),
        Some(200_000)
    );
    lns.set_fault(Fault::DiscoveryStatus(503));
    assert_eq!(open(&lab, &lns, "/router-info", "ONE").err(), Some(503));
}
