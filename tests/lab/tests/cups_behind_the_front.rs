//! The front and the CUPS double answer as the proxy and The Things Stack do.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what is missing fails the test"
)]

mod client;

use std::time::Duration;

use client::{EUI, Lab, ask, connect};
use mtls_lab::cups::answer::{crc32, token_credential};
use mtls_lab::cups::{Budget, Config, CupsDouble, Gateway, Refusal};
use mtls_lab::front::{self, Front, Header};
use mtls_lab::http::{Framing, RawAnswer};
use mtls_lab::pki::Pair;
use mtls_lab::tls::Versions;
use serde_json::{Value, json};

const KEY: &str = "NNSXS.ONE";

struct House {
    lab: Lab,
    cups: CupsDouble,
    front: Front,
}

impl House {
    fn new(change: impl FnOnce(&mut front::Config)) -> Self {
        let lab = Lab::new();
        let config = Config {
            ca_store: vec![lab.pki.client_issuing.clone()],
            api_keys: vec!["NNSXS.CUPS".to_owned()],
            ..Config::default()
        };
        let cups = CupsDouble::start(&config).unwrap();
        cups.set_gateway(EUI, gateway(&lab));
        let mut config = front::Config::new(&lab.pki, cups.address());
        change(&mut config);
        let front = Front::start(config).unwrap();
        Self { lab, cups, front }
    }

    fn ask(&self, pair: &Pair, extra: &str, body: &str) -> (u16, String, Vec<u8>) {
        self.ask_at("POST", "/update-info", pair, extra, body)
    }

    fn ask_at(
        &self,
        method: &str,
        path: &str,
        pair: &Pair,
        extra: &str,
        body: &str,
    ) -> (u16, String, Vec<u8>) {
        let root = &self.lab.pki.server_root;
        let mut stream = connect(self.front.address(), root, Some(pair)).unwrap();
        ask(&mut stream, method, path, extra, body).unwrap()
    }
}

fn gateway(lab: &Lab) -> Gateway {
    Gateway {
        lns_uri: "wss://localhost:8887".to_owned(),
        lns_trust_der: lab.pki.lns.root_der.clone(),
        lns_key: Some(KEY.to_owned()),
        cups_target: None,
    }
}

fn query() -> String {
    json!({ "router": "123:4567:89ab:cdef", "tcUri": null, "tcCredCrc": 2_077_607_535_u32 })
        .to_string()
}

fn name_of(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap();
    value["details"][0]["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_first_poll_gets_a_set_and_the_next_one_eighteen_zero_octets() {
    let house = House::new(|_| {});
    let (status, _, body) = house.ask(&house.lab.pki.device, "", &query());
    let blob = token_credential(&house.lab.pki.lns.root_der, KEY);
    let mut wanted = vec![0, 20];
    wanted.extend(b"wss://localhost:8887");
    wanted.extend([0, 0]);
    wanted.extend(u16::try_from(blob.len()).unwrap().to_le_bytes());
    wanted.extend(&blob);
    wanted.extend([0; 12]);
    assert_eq!((status, body), (200, wanted));

    let uri = "wss://localhost:8887";
    let known = json!({ "router": "123:4567:89ab:cdef", "tcUri": uri, "tcCredCrc": crc32(&blob) });
    let (status, _, body) = house.ask(&house.lab.pki.device, "", &known.to_string());
    assert_eq!((status, body), (200, vec![0; 18]));
    let requests = house.cups.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].client_cn.as_deref(), Some(EUI));
}

#[test]
fn both_forms_of_the_header_are_read() {
    let house = House::new(|config| config.header = Header::Envoy);
    assert_eq!(house.ask(&house.lab.pki.device, "", &query()).0, 200);
    let house = House::new(|config| config.header = Header::None);
    let (status, _, body) = house.ask(&house.lab.pki.device, "", &query());
    assert_eq!((status, name_of(&body).as_str()), (401, "unauthenticated"));
}

#[test]
fn a_client_cannot_bring_its_own_header() {
    let house = House::new(|_| {});
    let other = house.lab.pki.other_device("00000000000000AA");
    let claim = "X-Forwarded-Client-Cert: Chain=\"x\"\r\nX-Forwarded-Tls-Client-Cert: AAAA\r\n";
    assert_eq!(house.ask(&house.lab.pki.device, claim, &query()).0, 200);
    assert_eq!(house.ask(&other, "", &query()).0, 401);
}

#[test]
fn certificates_that_are_not_this_gateways_are_refused_where_they_are_in_the_field() {
    let house = House::new(|_| {});
    let pki = &house.lab.pki;
    assert_eq!(house.ask(&pki.lower_case_device(), "", &query()).0, 401);
    for refused in [
        pki.unknown_ca_device(),
        pki.expired_device(),
        pki.future_device(),
    ] {
        let seen = house.front.handshake_failures();
        let stream = connect(house.front.address(), &pki.server_root, Some(&refused));
        let answer =
            stream.and_then(|mut stream| ask(&mut stream, "POST", "/update-info", "", &query()));
        assert!(answer.is_err(), "{refused:?}");
        assert_eq!(house.front.handshake_failures(), seen + 1);
    }
    assert!(
        house.cups.requests().len() == 1,
        "the proxy lets none of them through"
    );
}

#[test]
fn either_tls_version_alone_accepts_and_refuses() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        let house = House::new(|config| config.versions = versions);
        let pki = &house.lab.pki;
        assert_eq!(house.ask(&pki.device, "", &query()).0, 200);
        let stream = connect(house.front.address(), &pki.server_root, None);
        // With 1.2 the handshake itself fails, with 1.3 the first answer.
        assert_eq!(stream.is_err(), versions == Versions::Tls12);
        let answer = stream.and_then(|mut stream| ask(&mut stream, "GET", "/", "", ""));
        assert!(answer.is_err());
        assert_eq!(
            (house.front.handshakes(), house.front.handshake_failures()),
            (1, 1)
        );
    }
}

#[test]
fn the_statuses_come_in_the_order_of_the_things_stack() {
    let house = House::new(|_| {});
    let device = &house.lab.pki.device;
    let at = |method, path, body: &str| {
        let (status, _, answer) = house.ask_at(method, path, device, "", body);
        (status, name_of(&answer))
    };
    let named = |status: u16, name: &str| (status, name.to_owned());
    assert_eq!(at("POST", "/other", ""), named(404, "route_not_found"));
    assert_eq!(
        at("GET", "/update-info", ""),
        named(405, "method_not_allowed")
    );
    assert_eq!(at("POST", "/update-info", "x"), named(409, "parse"));
    let bare = r#"{"router":"0123456789ABCDEF"}"#;
    assert_eq!(at("POST", "/update-info", bare), named(409, "parse"));
    assert_eq!(
        at("POST", "/update-info", "{}"),
        named(400, "missing_router")
    );
    let other = r#"{"router":"::1"}"#;
    assert_eq!(
        at("POST", "/update-info", other),
        named(404, "gateway_eui_not_found")
    );
    house.cups.set_gateway(
        EUI,
        Gateway {
            lns_key: None,
            ..gateway(&house.lab)
        },
    );
    let known = query();
    let found = at("POST", "/update-info", &known);
    assert_eq!(found, named(404, "lns_credentials_not_found"));
    house.cups.set_gateway(EUI, gateway(&house.lab));
    house.cups.set_trouble(Some(Refusal::Unavailable));
    assert_eq!(
        at("POST", "/update-info", &known),
        named(503, "peer_unavailable")
    );
    house.cups.set_trouble(None);
    let long = json!({ "router": "123:4567:89ab:cdef", "model": "x".repeat(201) }).to_string();
    assert_eq!(at("POST", "/update-info", &long).0, 400);
}

#[test]
fn the_rate_limit_names_the_seconds_to_wait() {
    let house = House::new(|_| {});
    house.cups.set_budget(Some(Budget {
        limit: 1,
        window: Duration::from_secs(60),
    }));
    assert_eq!(house.ask(&house.lab.pki.device, "", &query()).0, 200);
    let (status, head, _) = house.ask(&house.lab.pki.device, "", &query());
    assert_eq!(status, 429);
    assert!(head.contains("x-rate-limit-retry: 60"), "{head}");
}

#[test]
fn a_bearer_key_counts_instead_of_a_certificate() {
    let house = House::new(|config| config.header = Header::None);
    let ask = |key| house.ask(&house.lab.pki.device, key, &query()).0;
    assert_eq!(ask("Authorization: Bearer NNSXS.CUPS\r\n"), 200);
    assert_eq!(ask("Authorization: Bearer NNSXS.WRONG\r\n"), 401);
}

#[test]
fn every_framing_reaches_the_client_as_it_was_meant() {
    let house = House::new(|_| {});
    let body: Vec<u8> = (0..2000_u32)
        .map(|number| u8::try_from(number % 251).unwrap())
        .collect();
    let answer = |framing| {
        house
            .cups
            .answer_next(RawAnswer::octets(body.clone()).framed(framing));
        house.ask(&house.lab.pki.device, "", &query())
    };
    assert_eq!(answer(Framing::ContentLength).2, body);
    assert_eq!(answer(Framing::UntilClose).2, body);
    let (_, head, cut) = answer(Framing::CutAfter(700));
    assert!(head.contains("Content-Length: 2000"), "{head}");
    assert_eq!(cut, body[..700]);
    let (_, head, chunks) = answer(Framing::Chunked);
    assert!(
        head.contains("chunked") && chunks.ends_with(b"0\r\n\r\n"),
        "{head}"
    );
    assert_eq!(answer(Framing::Slow(Duration::ZERO)).2, body);
}
