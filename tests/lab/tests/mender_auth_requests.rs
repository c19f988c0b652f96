//! The Mender double grants, refuses and spoils auth requests as the real servers do.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what is missing fails the test"
)]

#[path = "client/mender.rs"]
mod asks;
mod client;

use std::time::Duration;

use asks::{AUTH, Answer, IDENTITY, authenticate, body, call, head, public_key, signature};
use client::{EUI, Lab, connect};
use mtls_lab::front::{self, Front, Header};
use mtls_lab::http::Request;
use mtls_lab::mender::identity::Identity;
use mtls_lab::mender::key::PublicKey;
use mtls_lab::mender::token::{Algorithm, claims};
use mtls_lab::mender::{At, Config, Door, Leaf, MenderDouble, Status, Trouble};
use mtls_lab::tls::Versions;
use rustls::CertificateError;
use serde_json::Value;

fn start(lab: &Lab) -> MenderDouble {
    MenderDouble::start(Config::of(&lab.pki)).unwrap()
}

fn server_alone(lab: &Lab) -> MenderDouble {
    let server = lab.pki.server.clone();
    MenderDouble::start(Config::new(Door::Server { server })).unwrap()
}

fn word(answer: &Answer) -> (u16, String) {
    let body: Value = serde_json::from_slice(&answer.2).unwrap_or_default();
    let word = body.get("error").and_then(Value::as_str);
    (answer.0, word.unwrap_or_default().to_owned())
}

#[test]
fn recorded_signatures_of_every_key_are_taken_and_wrong_ones_refused() {
    let text = include_str!("../../data/mender-vectors.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let list = |value: &Value, name: &str| value[name].as_array().unwrap().clone();
    let string = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let mut checked = 0;
    for key in list(&vectors, "keys") {
        let public = PublicKey::from_pem(&string(&key, "pubkey_pem")).unwrap();
        assert_eq!(public.pem(), string(&key, "pubkey_pem"));
        assert_eq!(public.sha256(), string(&key, "spki_sha256_hex"));
        let requests = list(&key, "requests");
        for request in &requests {
            let body = string(request, "body");
            assert!(public.signed(body.as_bytes(), &string(request, "x_men_signature")));
            checked += 1;
        }
        for wrong in list(&key, "must_be_rejected") {
            let case = string(&wrong, "body_case");
            let request = requests
                .iter()
                .find(|request| string(request, "case") == case);
            let body = string(request.unwrap(), "body");
            assert!(!public.signed(body.as_bytes(), &string(&wrong, "x_men_signature")));
            checked += 1;
        }
    }
    for case in list(&vectors, "identity_script_cases") {
        let forms = ["id_data", "id_data_v3", "id_data_v4plus"];
        let forms = forms.iter().filter_map(|form| case.get(form)?.as_str());
        for form in forms {
            let identity = Identity::parse(form).unwrap();
            assert_eq!(identity.text, string(&case, "server_normalised"));
            assert_eq!(identity.sha256, string(&case, "id_data_sha256_hex"));
            checked += 1;
        }
    }
    assert!(checked > 35, "{checked}");
}

#[test]
fn the_certificate_alone_opens_the_door_and_a_wrong_key_or_signature_does_not() {
    let lab = Lab::new();
    let double = start(&lab);
    let pair = &lab.pki.device;
    let (status, head_of_answer, token) = authenticate(&lab, &double, pair, true);
    assert_eq!(status, 200);
    assert!(
        head_of_answer.contains("Content-Type: application/jwt"),
        "{head_of_answer}"
    );
    let claims = claims(&String::from_utf8(token).unwrap()).unwrap();
    let device = &double.devices()[0];
    assert_eq!(claims["sub"], device.id);
    assert_eq!(claims["jti"], device.sets[0].id);
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(life, 604_800);
    let seen = &double.requests()[0];
    assert_eq!(seen.client.as_ref().unwrap().subject, format!("CN={EUI}"));

    let other = lab.pki.renewed_device();
    let good = body(pair);
    let foreign = body(&other);
    let signed = |pair, body: &str| head(&signature(pair, body));
    for (body, head) in [
        ("no json".to_owned(), signed(pair, "no json")),
        (foreign.clone(), signed(&other, &foreign)),
        (good.clone(), signed(&other, &good)),
        (format!("{good}\n"), signed(pair, &good)),
        (
            good.clone(),
            "Content-Type: application/json\r\n".to_owned(),
        ),
    ] {
        let answer = call(&lab, &double, Some(pair), ("POST", AUTH), &head, &body);
        assert_eq!((answer.0, answer.2.len()), (400, 0), "{body}");
    }
    double.change_ambassador(|ambassador| ambassador.logged_out = true);
    let answer = authenticate(&lab, &double, pair, true);
    assert_eq!((answer.0, answer.2.len()), (500, 0));
}

#[test]
fn a_known_device_with_a_new_key_waits_unless_the_gateway_takes_new_keys() {
    let lab = Lab::new();
    let double = start(&lab);
    assert_eq!(authenticate(&lab, &double, &lab.pki.device, true).0, 200);
    let renewed = lab.pki.renewed_device();
    let refused = authenticate(&lab, &double, &renewed, true);
    assert_eq!(word(&refused), (401, "dev auth: unauthorized".to_owned()));
    let states = |double: &MenderDouble| -> Vec<Status> {
        double.devices()[0]
            .sets
            .iter()
            .map(|set| set.status)
            .collect()
    };
    assert_eq!(states(&double), [Status::Accepted, Status::Pending]);
    double.change_ambassador(|ambassador| ambassador.takes_new_keys = true);
    assert_eq!(authenticate(&lab, &double, &renewed, true).0, 200);
    assert_eq!(states(&double), [Status::Rejected, Status::Accepted]);
}

#[test]
fn without_the_ambassador_a_person_decides() {
    let lab = Lab::new();
    let double = server_alone(&lab);
    let pair = &lab.pki.device;
    let ask = || word(&authenticate(&lab, &double, pair, false));
    assert_eq!(ask(), (401, "dev auth: unauthorized".to_owned()));
    let device = double.devices()[0].clone();
    let set = &device.sets[0].id;
    assert_eq!(device.status(), Some(Status::Pending));
    assert!(double.preauthorise(IDENTITY, &public_key(pair)).is_err());
    double.accept(set);
    assert_eq!(ask().0, 200);
    double.reject(set);
    assert_eq!(ask().0, 401);
    double.accept(set);
    double.begin_decommissioning(&device.id);
    assert_eq!(ask().0, 401);
    double.decommission(&device.id);
    assert!(double.devices().is_empty());
    double.preauthorise(IDENTITY, &public_key(pair)).unwrap();
    double.change(|rules| rules.tenant_token = Some("other".to_owned()));
    assert_eq!(ask().0, 401);
    double.change(|rules| rules.tenant_token = None);
    double.change(|rules| rules.max_devices = Some(0));
    assert_eq!(ask(), (401, "unauthorized".to_owned()));
    double.change(|rules| rules.max_devices = Some(1));
    assert_eq!(ask().0, 200);
}

#[test]
fn the_server_names_what_is_wrong_with_a_request() {
    let lab = Lab::new();
    let double = server_alone(&lab);
    let good = body(&lab.pki.device);
    let signed = head(&signature(&lab.pki.device, &good));
    let json = "Content-Type: application/json\r\n";
    let ask = |head: &str, body: &str| word(&call(&lab, &double, None, ("POST", AUTH), head, body));
    assert_eq!(ask("Content-Type: text/plain\r\n", &good).0, 415);
    assert_eq!(
        ask(json, "{}"),
        (400, "failed to decode auth request".to_owned())
    );
    assert_eq!(
        ask(json, &good),
        (400, "missing request signature header".to_owned())
    );
    let changed = format!("{good} ");
    assert_eq!(
        ask(&signed, &changed),
        (401, "signature verification failed".to_owned())
    );
    let huge = "x".repeat(1024 * 1024 + 1);
    assert_eq!(ask(json, &huge).0, 413);
    let key = r#"{"id_data":"{}","pubkey":"-----BEGIN PUBLIC KEY-----"}"#;
    let (status, said) = ask(json, key);
    assert_eq!((status, said.contains("public key")), (400, true));
}

#[test]
fn the_certificate_may_come_in_the_header_of_a_proxy() {
    for header in [Header::Traefik, Header::Envoy] {
        let lab = Lab::new();
        let double = MenderDouble::start(Config::new(Door::BehindProxy)).unwrap();
        let mut config = front::Config::new(&lab.pki, double.address());
        config.header = header;
        let front = Front::start(config).unwrap();
        let pair = &lab.pki.device;
        let body = body(pair);
        let head = head(&signature(pair, &body));
        let root = &lab.pki.server_root;
        let mut stream = connect(front.address(), root, Some(pair)).unwrap();
        let answer = client::ask(&mut stream, "POST", AUTH, &head, &body).unwrap();
        assert_eq!(answer.0, 200, "{header:?}");
        let leaf = double.requests()[0].client.clone().unwrap();
        assert_eq!((leaf.subject, leaf.certificates), (format!("CN={EUI}"), 2));
    }
}

#[test]
fn the_header_may_have_the_form_of_any_proxy() {
    let lab = Lab::new();
    let pem = std::fs::read_to_string(&lab.pki.device.certificate).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let leaf = pem.split_once(end).unwrap().0.to_owned() + end;
    let lines = leaf.lines().filter(|line| !line.starts_with("---"));
    let bare: String = lines.collect();
    let escaped = |text: &str, kept: &str| -> String {
        let one = |octet: u8| match char::from(octet) {
            plain if plain.is_ascii_alphanumeric() || kept.contains(plain) => plain.to_string(),
            _ => format!("%{octet:02X}"),
        };
        text.bytes().map(one).collect()
    };
    for (name, value) in [
        ("X-SSL-Client-Cert", escaped(&leaf, "-")),
        ("X-SSL-Client-Cert", leaf.trim().replace('\n', " ")),
        ("X-Amzn-Mtls-Clientcert", escaped(&pem, "-+=/")),
        ("X-Forwarded-Tls-Client-Cert", bare.clone()),
        ("Client-Cert", format!(":{bare}:")),
        (
            "x-forwarded-client-cert",
            format!("Hash=0;Cert=\"{}\";URI=", escaped(&leaf, "-")),
        ),
    ] {
        let request = Request {
            method: "POST".to_owned(),
            path: AUTH.to_owned(),
            headers: vec![(name.to_owned(), value)],
            body: Vec::new(),
        };
        let found = Leaf::forwarded(&request).map(|leaf| leaf.subject);
        assert_eq!(found, Some(format!("CN={EUI}")), "{name}");
    }
}

#[test]
fn every_trouble_is_seen_and_passes() {
    let lab = Lab::new();
    let double = start(&lab);
    let pair = &lab.pki.device;
    let with = |trouble: Trouble| {
        double.trouble(At::Auth, 1, trouble);
        authenticate(&lab, &double, pair, true)
    };
    double.trouble(At::Auth, 2, Trouble::Pending);
    assert_eq!(authenticate(&lab, &double, pair, true).0, 401);
    assert_eq!(authenticate(&lab, &double, pair, true).0, 401);
    assert!(double.devices().is_empty());
    assert_eq!(authenticate(&lab, &double, pair, true).0, 200);
    let limited = with(Trouble::TooMany(Some("7".to_owned())));
    assert!(
        limited.0 == 429 && limited.1.contains("Retry-After: 7"),
        "{limited:?}"
    );
    assert_eq!(
        word(&with(Trouble::ServerError)),
        (500, "internal error".to_owned())
    );
    assert_eq!(with(Trouble::HtmlBadGateway).0, 502);
    let moved = with(Trouble::Redirect(302, "https://elsewhere/".to_owned()));
    assert!(moved.0 == 302 && moved.1.contains("Location: https://elsewhere/"));
    assert_eq!(with(Trouble::EmptyOk).2.len(), 0);
    let chunked = with(Trouble::Chunked);
    assert!(chunked.0 == 200 && chunked.1.contains("Transfer-Encoding: chunked"));
    assert!(with(Trouble::NewlineAfter).2.ends_with(b"\n"));
    assert!(with(Trouble::Http10).1.starts_with("HTTP/1.0 200"));
    let cut = with(Trouble::CutOff);
    assert!(
        !cut.1
            .contains(&format!("Content-Length: {}\r", cut.2.len()))
    );
    for silent in [Trouble::Silent(Duration::from_millis(50)), Trouble::Hangup] {
        double.trouble(At::Everything, 1, silent);
        let mut stream = connect(double.address(), &lab.pki.server_root, Some(pair)).unwrap();
        let answer = client::ask(&mut stream, "GET", "/status", "", "");
        assert!(answer.is_err() || answer.unwrap().0 == 0);
    }
    assert_eq!(double.requests().last().unwrap().status, None);
    assert_eq!(authenticate(&lab, &double, pair, true).0, 200);
}

#[test]
fn certificates_are_refused_in_either_tls_version_and_when_told_to() {
    let lab = Lab::new();
    let double = start(&lab);
    let root = &lab.pki.server_root;
    let said = |pair: Option<&mtls_lab::pki::Pair>| {
        let stream = connect(double.address(), root, pair);
        let answer = stream.and_then(|mut stream| {
            client::ask(&mut stream, "GET", "/status", "", "").map(|answer| answer.0.to_string())
        });
        answer.unwrap_or_else(|error| error.to_string())
    };
    for (versions, name) in [(Versions::Tls12, "TLSv1_2"), (Versions::Tls13, "TLSv1_3")] {
        double.offer(versions);
        assert_eq!(said(Some(&lab.pki.device)), "200");
        assert_eq!(double.requests().last().unwrap().tls.as_deref(), Some(name));
        assert_ne!(said(None), "200");
        assert!(said(Some(&lab.pki.unknown_ca_device())).contains("UnknownCA"));
        assert!(said(Some(&lab.pki.expired_device())).contains("CertificateExpired"));
        assert!(said(Some(&lab.pki.server)).contains("UnknownCA"));
        double.refuse_certificates(Some(CertificateError::Revoked));
        assert!(said(Some(&lab.pki.device)).contains("CertificateRevoked"));
        double.refuse_certificates(None);
    }
    assert_eq!((double.handshakes(), double.handshake_failures()), (2, 10));
}

#[test]
fn tokens_may_be_signed_by_rsa() {
    let lab = Lab::new();
    let tokens = Algorithm::Rs256;
    let double = MenderDouble::start(Config {
        tokens,
        ..Config::of(&lab.pki)
    })
    .unwrap();
    let head = asks::bearer(&lab, &double);
    let pair = Some(&lab.pki.device);
    let answer = call(&lab, &double, pair, ("PUT", asks::INVENTORY), &head, "[]");
    assert_eq!(answer.0, 200);
}
