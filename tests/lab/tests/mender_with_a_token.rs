//! The Mender double serves inventory, deployments and terminal sessions to whoever has a token.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what is missing fails the test"
)]

#[path = "client/mender.rs"]
mod asks;
mod client;

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use asks::{Answer, INVENTORY, authenticate, bearer, call, head, signature};
use client::{Lab, connect};
use mtls_lab::mender::{Config, Deployment, Frame, MenderDouble};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

const NEXT: &str = "/api/devices/v2/deployments/device/deployments/next";
const V1: &str = "/api/devices/v1/deployments/device/deployments";

struct Device {
    lab: Lab,
    double: MenderDouble,
    bearer: String,
}

impl Device {
    fn new() -> Self {
        let lab = Lab::new();
        let double = MenderDouble::start(Config::of(&lab.pki)).unwrap();
        let bearer = bearer(&lab, &double);
        Self {
            lab,
            double,
            bearer,
        }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let pair = Some(&self.lab.pki.device);
        call(
            &self.lab,
            &self.double,
            pair,
            (method, path),
            &self.bearer,
            body,
        )
    }

    fn id(&self) -> String {
        self.double.devices()[0].id.clone()
    }

    fn until(&self, seen: impl Fn(&MenderDouble) -> bool) {
        let begun = Instant::now();
        while !seen(&self.double) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{:?}",
                self.double.connects()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn inventory_is_replaced_by_put_and_amended_by_patch() {
    let device = Device::new();
    let put = |body: &str| device.call("PUT", INVENTORY, body).0;
    let known = || json!(device.double.inventory(&device.id()).unwrap_or_default());
    assert_eq!(
        put(r#"[{"name":"a","value":"1"},{"name":"b","value":["x","y"]}]"#),
        200
    );
    assert_eq!(
        device
            .call("PATCH", INVENTORY, r#"[{"name":"a","value":2}]"#)
            .0,
        200
    );
    assert_eq!(known(), json!({ "a": 2, "b": ["x", "y"] }));
    for wrong in [
        "{}",
        r#"[{"name":"","value":"1"}]"#,
        r#"[{"name":"a","value":{}}]"#,
    ] {
        assert_eq!(put(wrong), 400, "{wrong}");
    }
    assert_eq!(put(r#"[{"name":"c","value":"3"}]"#), 200);
    assert_eq!(known(), json!({ "c": "3" }));
    device
        .double
        .change(|rules| rules.inventory_patch_only = true);
    assert_eq!(put("[]"), 405);
}

#[test]
fn a_chunked_request_is_put_together() {
    let device = Device::new();
    let root = &device.lab.pki.server_root;
    let mut stream = connect(device.double.address(), root, Some(&device.lab.pki.device)).unwrap();
    let bearer = &device.bearer;
    write!(
        stream,
        "PUT {INVENTORY} HTTP/1.1\r\n{bearer}Transfer-Encoding: chunked\r\n\r\n\
         b\r\n[{{\"name\":\"a\r\n11;x=y\r\n\",\"value\":\"one\"}}]\r\n0\r\n\r\n"
    )
    .unwrap();
    device.until(|double| double.requests().len() == 2);
    let seen = device.double.requests().pop().unwrap();
    assert_eq!(seen.request.body, br#"[{"name":"a","value":"one"}]"#);
    assert_eq!(seen.status, Some(200));
}

#[test]
fn only_a_living_token_of_an_accepted_set_counts() {
    let device = Device::new();
    let ask = || device.call("PUT", INVENTORY, "[]").0;
    assert_eq!(ask(), 200);
    let set = device.double.devices()[0].sets[0].id.clone();
    device.double.delete_token(&set);
    assert_eq!(ask(), 401);
    // The set is the same, so a new token brings the older one back to life.
    let _token = bearer(&device.lab, &device.double);
    assert_eq!(ask(), 200);
    device.double.reject(&set);
    let (status, _, said) = device.call("PUT", INVENTORY, "[]");
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert!(status == 401 && said["error"].is_string() && said["request_id"].is_string());
    device.double.accept(&set);
    device.double.change(|rules| rules.token_life_s = 0);
    let ended = Device {
        bearer: bearer(&device.lab, &device.double),
        ..device
    };
    assert_eq!(ended.call("PUT", INVENTORY, "[]").0, 401);
    let none = Device {
        bearer: String::new(),
        ..ended
    };
    assert_eq!(
        none.call("GET", "/api/devices/v1/deviceconnect/connect", "")
            .0,
        401
    );
    assert_eq!(none.call("GET", "/elsewhere", "").0, 404);
    // An auth request asks for no token.
    none.double.change(|rules| rules.token_life_s = 60);
    assert_eq!(
        authenticate(&none.lab, &none.double, &none.lab.pki.device, true).0,
        200
    );
    assert!(!head(&signature(&none.lab.pki.device, "")).is_empty());
}

#[test]
fn an_update_is_offered_in_both_versions_until_it_is_reported() {
    let device = Device::new();
    let provides = r#"{"device_provides":{"device_type":"t","artifact_name":"old"}}"#;
    let v1 = format!("{V1}/next?artifact_name=old&device_type=t");
    assert_eq!(device.call("POST", NEXT, provides).0, 204);
    assert_eq!(device.call("POST", NEXT, "{}").0, 400);
    let deployment = Deployment {
        id: "d1".to_owned(),
        artifact_name: "new".to_owned(),
        ..Deployment::default()
    };
    device.double.deploy(&device.id(), Some(deployment));
    let (status, _, said) = device.call("POST", NEXT, provides);
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(
        (status, &said["artifact"]["artifact_name"]),
        (200, &json!("new"))
    );
    device
        .double
        .change(|rules| rules.deployments_v1_only = true);
    assert_eq!(device.call("POST", NEXT, provides).0, 404);
    assert_eq!(device.call("GET", &v1, "").0, 200);
    let old = r#"{"device_type":"t","artifact_name":"old"}"#;
    assert_eq!(device.call("POST", &format!("{V1}/next"), old).0, 200);
    let report = device.call("PUT", &format!("{V1}/d1/status"), r#"{"status":"failure"}"#);
    assert_eq!(report.0, 204);
    assert!(!report.1.contains("Content-Length"), "{}", report.1);
    assert_eq!(device.double.deployment_statuses()[0].status, "failure");
    assert_eq!(device.call("GET", &v1, "").0, 204);
}

#[test]
fn frames_pings_and_the_close_pass_in_both_directions() {
    let device = Device::new();
    let mut websocket = upgraded(&device);
    websocket.send(Message::binary(vec![1, 2])).unwrap();
    websocket.send(Message::Ping(vec![7].into())).unwrap();
    assert_eq!(websocket.read().unwrap(), Message::Pong(vec![7].into()));
    device.double.send_frame(&Frame::Ping(vec![8]));
    assert_eq!(websocket.read().unwrap(), Message::Ping(vec![8].into()));
    websocket.flush().unwrap();
    let expected = [
        Frame::Binary(vec![1, 2]),
        Frame::Ping(vec![7]),
        Frame::Pong(vec![8]),
    ];
    device.until(|double| double.connects()[0].frames == expected);
    device.double.send_frame(&Frame::Close(Some(1000)));
    assert!(matches!(websocket.read().unwrap(), Message::Close(Some(_))));
    let _closed = websocket.flush();
    device.until(|double| !double.connects()[0].open);
    assert_eq!(
        device.double.connects()[0].frames.last(),
        Some(&Frame::Close(Some(1000)))
    );

    let mut second = upgraded(&device);
    second.close(None).unwrap();
    device.until(|double| !double.connects()[1].open);
    let mut third = upgraded(&device);
    device.double.cut_connects();
    assert!(third.read().is_err());
}

fn upgraded(device: &Device) -> WebSocket<client::Stream> {
    let pair = Some(&device.lab.pki.device);
    let stream = connect(device.double.address(), &device.lab.pki.server_root, pair).unwrap();
    let uri = "wss://localhost/api/devices/v1/deviceconnect/connect";
    let mut request = uri.into_client_request().unwrap();
    let token = device.bearer.trim().split_once(": ").unwrap().1;
    request
        .headers_mut()
        .insert("authorization", token.parse().unwrap());
    let (websocket, answer) = tungstenite::client(request, stream).unwrap();
    assert_eq!(answer.status(), 101);
    websocket
}
