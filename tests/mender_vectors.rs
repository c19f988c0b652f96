//! Every vector of Mender is written, signed and read as it says: bodies octet for octet,
//! signatures that `openssl` verifies, identities, tokens and inventories of official clients.

#![cfg(feature = "mender")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that ends when its own files, programs or vectors are not as expected"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mtls_agent::identity::error::Fault;
use mtls_agent::identity::signing::Signer;
use mtls_agent::wire::mender::auth::{AUTHORIZATION, Request, ServerError, Tier};
use mtls_agent::wire::mender::id_data::IdData;
use mtls_agent::wire::mender::inventory::Inventory;
use mtls_agent::wire::mender::token::Token;
use mtls_agent::wire::mender::{deployments, spki};
use mtls_agent::wire::secret::Secret;
use mtls_agent::wire::x509::KeyKind;
use mtls_lab::openssl::{Order, Workshop};
use serde_json::Value;

#[test]
fn every_body_in_our_form_is_that_of_its_vector() {
    let token = Secret::new(b"tenant.token.value".to_vec());
    let id_data = IdData::from_script(b"mac=02:00:00:ab:cd:01\n").unwrap();
    let mut compared = 0;
    for key in list(&vectors()["keys"]) {
        let public_key_pem = &signer(key).spki_pem();
        assert_eq!(public_key_pem, text(&key["pubkey_pem"]));
        for (case, tenant_token, tier) in [
            ("v51-tier-tenant", Some(&token), Some(Tier::Standard)),
            ("v51-tier-no-tenant", None, Some(Tier::Standard)),
            ("v50-no-tier-tenant", Some(&token), None),
        ] {
            let request = Request {
                id_data: &id_data,
                public_key_pem,
                tenant_token,
                tier,
            };
            let vector = case_of(key, case);
            let body = request.body();
            let body = core::str::from_utf8(body.expose()).unwrap();
            assert_eq!(body, text(&vector["body"]), "{} {case}", key["name"]);
            assert_eq!(body.len() as u64, vector["body_len"].as_u64().unwrap());
            assert_eq!(vector["authorization"], AUTHORIZATION);
            compared += 1;
        }
    }
    assert_eq!(compared, 15);
}

#[test]
fn every_deterministic_signature_is_that_of_its_vector() {
    let mut compared = 0;
    for key in list(&vectors()["keys"]) {
        let signer = signer(key);
        let is_deterministic = matches!(signer.kind(), KeyKind::Rsa(_) | KeyKind::Ed25519);
        for request in list(&key["requests"]).iter().filter(|_| is_deterministic) {
            let signature = signer.sign(text(&request["body"]).as_bytes()).unwrap();
            let place = format!("{} {}", key["name"], request["case"]);
            assert_eq!(signature, text(&request["x_men_signature"]), "{place}");
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}

#[test]
fn openssl_verifies_each_of_our_signatures_and_each_of_the_vectors() {
    let bench = Bench::new("verifies");
    let mut compared = 0;
    for key in list(&vectors()["keys"]) {
        let signer = signer(key);
        for request in list(&key["requests"]) {
            let body = text(&request["body"]);
            let theirs = text(&request["x_men_signature"]);
            for signature in [signer.sign(body.as_bytes()).unwrap(), theirs.to_owned()] {
                let place = format!("{} {}", key["name"], request["case"]);
                assert!(bench.verifies(key, body, &signature), "{place}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 40);
}

#[test]
fn openssl_refuses_what_must_be_refused_and_we_never_sign_so() {
    let bench = Bench::new("refuses");
    let mut compared = 0;
    for key in list(&vectors()["keys"]) {
        for wrong in list(&key["must_be_rejected"]) {
            let body = text(&case_of(key, text(&wrong["body_case"]))["body"]);
            let place = format!("{} {}", key["name"], wrong["why"]);
            let signature = text(&wrong["x_men_signature"]);
            assert!(!bench.verifies(key, body, signature), "{place}");
            assert_ne!(
                signer(key).sign(body.as_bytes()).unwrap(),
                signature,
                "{place}"
            );
            compared += 1;
        }
        let body = text(&case_of(key, "v51-tier-tenant")["body"]);
        let of_longer = signer(key).sign(format!("{body}\n").as_bytes()).unwrap();
        assert!(!bench.verifies(key, body, &of_longer));
    }
    assert_eq!(compared, 14);
}

#[test]
fn a_request_with_a_difficult_identity_is_signed_too() {
    let bench = Bench::new("difficult");
    for key in list(&vectors()["keys"]) {
        let signer = signer(key);
        let case = &vectors()["identity_script_cases"][1];
        let id_data = IdData::from_script(text(&case["stdout"]).as_bytes()).unwrap();
        let body = Request {
            id_data: &id_data,
            public_key_pem: &signer.spki_pem(),
            tenant_token: None,
            tier: None,
        }
        .body();
        let body = core::str::from_utf8(body.expose()).unwrap();
        let value: Value = serde_json::from_str(body).unwrap();
        assert_eq!(text(&value["id_data"]), text(&case["id_data_v4plus"]));
        let signature = signer.sign(body.as_bytes()).unwrap();
        assert!(bench.verifies(key, body, &signature));
    }
}

#[test]
fn every_identity_script_gives_the_id_data_of_its_vector() {
    for case in list(&vectors()["identity_script_cases"]) {
        let id_data = IdData::from_script(text(&case["stdout"]).as_bytes()).unwrap();
        let ours = case.get("id_data").unwrap_or(&case["id_data_v4plus"]);
        assert_eq!(id_data.as_str(), text(ours));
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let normalised = text(&case["server_normalised"]);
        assert_eq!(value(id_data.as_str()), value(normalised));
    }
}

#[test]
fn keys_in_their_traditional_form_are_the_same_keys() {
    for key in list(&vectors()["keys"]) {
        let own = signer(key);
        assert_eq!(own.fingerprint(), text(&key["spki_sha256_hex"]));
        let Some(traditional) = key["private_key_traditional_pem"].as_str() else {
            continue;
        };
        let with_parameters = format!(
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{traditional}"
        );
        for pem in [traditional, &with_parameters] {
            let other = Signer::from_pem(pem.as_bytes()).unwrap();
            assert_eq!(other.spki_pem(), own.spki_pem());
            let bench = Bench::new("traditional");
            let signature = other.sign(b"body").unwrap();
            assert!(bench.verifies(key, "body", &signature));
        }
    }
}

#[test]
fn a_p521_key_is_named_as_one_that_cannot_be_used() {
    let bench = Bench::new("p521");
    for (name, arguments) in [
        (
            "sec1.pem",
            vec!["ecparam", "-name", "secp521r1", "-genkey", "-noout"],
        ),
        (
            "pkcs8.pem",
            vec![
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-521",
            ],
        ),
    ] {
        let path = bench.path(name);
        bench.openssl(&[&arguments[..], &["-out", path.to_str().unwrap()]].concat());
        let fault = Signer::from_pem(&fs::read(&path).unwrap()).unwrap_err();
        assert_eq!(fault, Fault::KeyUnsupported(KeyKind::P521), "{name}");
        let error = Signer::load(&path, None).unwrap_err();
        assert_eq!(error.code(), "key_unsupported");
    }
}

#[test]
fn a_certificate_belongs_to_its_own_key_alone() {
    let bench = Bench::new("belongs");
    let shop = Workshop::open(&bench.0);
    for (name, key) in [("a", "P-384"), ("b", "P-384"), ("c", "P-256")] {
        let extensions = None;
        shop.issue(Order {
            name: &format!("{name}-root"),
            issuer: None,
            key,
            ..Order::default()
        });
        let issuer = format!("{name}-root");
        shop.issue(Order {
            name,
            key,
            issuer: Some(&issuer),
            extensions,
            ..Order::default()
        });
    }
    let signer = Signer::load(&bench.path("a.key"), None).unwrap();
    for (name, expected) in [("a", true), ("b", false), ("c", false)] {
        let der = bench.path(&format!("{name}.der"));
        let pem = bench.path(&format!("{name}.pem"));
        let (der_name, pem) = (der.to_str().unwrap(), pem.to_str().unwrap());
        bench.openssl(&["x509", "-in", pem, "-outform", "DER", "-out", der_name]);
        assert_eq!(
            signer.is_key_of(&fs::read(&der).unwrap()),
            expected,
            "{name}"
        );
    }
    assert!(!signer.is_key_of(b"no certificate"));
}

#[test]
fn what_official_clients_sent_is_what_we_would_send() {
    let bench = Bench::new("recorded");
    let mut compared = 0;
    for exchange in list(&vectors()["recorded"]) {
        let (head, body) = text(&exchange["request"]).split_once("\r\n\r\n").unwrap();
        if !text(&exchange["client"]).contains(" 5.1.0") {
            continue;
        }
        if head.contains("/auth_requests ") {
            let value: Value = serde_json::from_str(body).unwrap();
            let public_key_pem = text(&value["pubkey"]);
            let token = Secret::new(text(&value["tenant_token"]).into());
            let request = Request {
                id_data: &IdData::from_script(b"mac=02:00:00:ab:cd:01").unwrap(),
                public_key_pem,
                tenant_token: Some(&token),
                tier: Some(Tier::Standard),
            };
            assert_eq!(request.body().expose(), body.as_bytes());
            let key = serde_json::json!({ "pubkey_pem": public_key_pem });
            let signature = header(head, "X-MEN-Signature");
            assert!(bench.verifies(&key, body, signature));
            assert_eq!(spki::pem(&der_of(public_key_pem)), public_key_pem);
        } else if head.starts_with("PUT ") {
            let mut inventory = Inventory::default();
            for attribute in list(&serde_json::from_str(body).unwrap()) {
                let (name, value) = (text(&attribute["name"]), text(&attribute["value"]));
                inventory
                    .add_script(format!("{name}={value}\n").as_bytes())
                    .unwrap();
            }
            assert_eq!(inventory.body().unwrap(), body);
        } else {
            assert_eq!(deployments::question("qemux86-64", "unknown"), body);
        }
        compared += 1;
    }
    assert_eq!(compared, 5);
}

#[test]
fn what_the_server_answered_is_read() {
    let (mut tokens, mut errors) = (0, 0);
    for exchange in list(&vectors()["recorded"]) {
        let (head, body) = text(&exchange["response"]).split_once("\r\n\r\n").unwrap();
        if head.contains("application/jwt") {
            let claims = Token::parse(body.as_bytes()).unwrap().claims().unwrap();
            assert_eq!(claims.lifetime_s(), Some(604_800));
            let device = "11111111-2222-4333-8444-555555555555";
            assert_eq!(claims.subject.as_deref(), Some(device));
            tokens += 1;
        }
        if head.contains(" 401 ") {
            let error = ServerError::parse(body.as_bytes()).unwrap();
            let id = "3b2f7e0c-0000-4000-8000-000000000001";
            assert_eq!(error.request_id.as_deref(), Some(id));
            errors += 1;
        }
    }
    assert_eq!((tokens, errors), (4, 3));
}

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mender-vectors.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn case_of<'a>(key: &'a Value, case: &str) -> &'a Value {
    let mut requests = list(&key["requests"]).iter();
    requests.find(|request| request["case"] == case).unwrap()
}

fn signer(key: &Value) -> Signer {
    Signer::from_pem(text(&key["private_key_pkcs8_pem"]).as_bytes()).unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines();
    let start = format!("{name}: ");
    lines.find_map(|line| line.strip_prefix(&start)).unwrap()
}

fn der_of(pem: &str) -> Vec<u8> {
    let inside = pem.lines().filter(|line| !line.starts_with('-'));
    STANDARD.decode(inside.collect::<String>()).unwrap()
}

/// A folder of its own in which `openssl` works.
struct Bench(PathBuf);

impl Bench {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("mender-vectors-{name}"));
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments).current_dir(&self.0).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Whether the command line of openssl takes a signature over a body.
    fn verifies(&self, key: &Value, body: &str, signature: &str) -> bool {
        let public = text(&key["pubkey_pem"]);
        fs::write(self.path("public.pem"), public).unwrap();
        fs::write(self.path("body"), body).unwrap();
        fs::write(self.path("signature"), STANDARD.decode(signature).unwrap()).unwrap();
        let mut command = Command::new("openssl");
        command.current_dir(&self.0);
        let is_ed25519 = der_of(public).len() == 44;
        if is_ed25519 {
            command.args([
                "pkeyutl",
                "-verify",
                "-pubin",
                "-inkey",
                "public.pem",
                "-rawin",
            ]);
            command.args(["-in", "body", "-sigfile", "signature"]);
        } else {
            command.args(["dgst", "-sha256", "-verify", "public.pem"]);
            command.args(["-signature", "signature", "body"]);
        }
        command.output().unwrap().status.success()
    }
}
