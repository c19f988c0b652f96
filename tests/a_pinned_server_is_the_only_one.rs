//! With `tls.server_pin` a server is trusted for its key and for nothing else: certificates that
//! no root and no name speaks for are taken, and good ones with another key are refused.

#![cfg(feature = "daemon")]
#![expect(clippy::unwrap_used, reason = "a test that ends when its set-up fails")]

use std::path::Path;
use std::process::Command;

use mtls_lab::cups::CupsDouble;
use mtls_lab::device::{Device, EUI, Ran, Scratch};
use mtls_lab::front::{self, Front};
use mtls_lab::openssl::{Order, Workshop};
use mtls_lab::pki::{Pair, Pki};
use mtls_lab::tls::Versions;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
const OTHER: &str = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

struct Scene {
    scratch: Scratch,
    pki: Pki,
    cups: CupsDouble,
    workshop: Workshop,
}

fn scene() -> Scene {
    let scratch = Scratch::new();
    let pki = Pki::make(&scratch.path().join("pki"), EUI);
    let workshop = Workshop::open(&scratch.path().join("server"));
    workshop.root("root", "P-256");
    let cups = CupsDouble::start(&mtls_lab::cups::Config::default()).unwrap();
    Scene {
        scratch,
        pki,
        cups,
        workshop,
    }
}

impl Scene {
    fn device(&self, server: &Pair, versions: Versions) -> (Front, Device) {
        let front = Front::start(front::Config {
            certificate: server.certificate.clone(),
            key: server.key.clone(),
            versions,
            ..front::Config::new(&self.pki, self.cups.address())
        })
        .unwrap();
        let mut device = Device::new(BINARY, &self.pki, front.address());
        device.set(
            "cups.uri",
            format!("https://localhost:{}", front.address().port()),
        );
        (front, device)
    }

    fn once(&self, server: &Pair, versions: Versions, pins: &[&str]) -> Ran {
        let (_front, mut device) = self.device(server, versions);
        device.set("trust_anchors", Vec::<String>::new());
        device.set("tls.server_pin", pins.to_vec());
        device.run("once --json")
    }

    /// A certificate by the operator's own recipe: X.509v1, its host in the common name.
    fn by_the_book(&self, key: &str) -> Pair {
        self.workshop.issue(Order {
            name: "book",
            subject: "/CN=localhost",
            key,
            extensions: None,
            ..Order::default()
        })
    }
}

/// The pin as the documentation says to make it.
fn pin(certificate: &Path) -> String {
    let pipe = "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform DER \
                | openssl dgst -sha256 -binary | openssl base64 -A";
    let output = Command::new("sh")
        .args(["-c", pipe])
        .arg(certificate)
        .output()
        .unwrap();
    format!("sha256//{}", String::from_utf8(output.stdout).unwrap())
}

/// The gateway is unknown there, so reaching CUPS shows as this refusal.
fn expect_reached(ran: &Ran) {
    assert_eq!(ran.text("class"), "not_registered", "{ran:?}");
}

#[test]
fn a_certificate_by_the_book_is_taken_for_its_key_of_any_kind_in_both_versions() {
    let scene = scene();
    for key in ["P-256", "P-384", "rsa:2048"] {
        let server = scene.by_the_book(key);
        let pin = pin(&server.certificate);
        for versions in [Versions::Tls12, Versions::Tls13] {
            expect_reached(&scene.once(&server, versions, &[OTHER, &pin]));
        }
    }
}

#[test]
fn without_the_pin_the_same_certificate_is_refused_and_the_hint_says_what_to_make() {
    let scene = scene();
    let server = scene.by_the_book("P-256");
    let (_front, mut device) = scene.device(&server, Versions::Both);
    let root = scene.workshop.path("root.pem");
    device.set("trust_anchors", vec![root.to_str().unwrap()]);
    let ran = device.run("once --json");
    assert_eq!(ran.text("code"), "server_certificate", "{ran:?}");
    assert!(ran.text("hint").contains("X.509 v3"), "{ran:?}");
}

#[test]
fn a_server_with_another_key_is_refused_though_its_certificate_is_good() {
    let scene = scene();
    let server = scene.workshop.issue(Order {
        name: "good",
        subject: "/CN=localhost",
        extensions: Some("subjectAltName = DNS:localhost\nextendedKeyUsage = serverAuth\n"),
        ..Order::default()
    });
    let (_front, mut device) = scene.device(&server, Versions::Both);
    let root = scene.workshop.path("root.pem");
    device.set("trust_anchors", vec![root.to_str().unwrap()]);
    expect_reached(&device.run("once --json"));
    let before = scene.cups.requests().len();
    device.set("tls.server_pin", vec![OTHER]);
    let ran = device.run("once --json");
    assert_eq!(ran.text("class"), "server_untrusted", "{ran:?}");
    assert_eq!(ran.text("code"), "server_pin", "{ran:?}");
    assert!(
        ran.text("message").contains(&pin(&server.certificate)),
        "{ran:?}"
    );
    assert_eq!(scene.cups.requests().len(), before, "the request was sent");
}

#[test]
fn somebody_who_has_the_certificate_but_not_the_key_is_refused() {
    let scene = scene();
    let server = scene.by_the_book("P-256");
    let stranger = scene.workshop.issue(Order {
        name: "stranger",
        ..Order::default()
    });
    let forged = Pair {
        certificate: server.certificate.clone(),
        key: stranger.key,
    };
    for versions in [Versions::Tls12, Versions::Tls13] {
        let ran = scene.once(&forged, versions, &[&pin(&server.certificate)]);
        assert_eq!(ran.text("outcome"), "failed", "{ran:?}");
        assert_eq!(ran.text("class"), "server_untrusted", "{ran:?}");
    }
    assert_eq!(scene.cups.requests().len(), 0, "the request was sent");
}

#[test]
fn one_pin_alone_is_warned_of_and_nonsense_is_refused() {
    let scene = scene();
    let server = scene.by_the_book("P-256");
    let (_front, mut device) = scene.device(&server, Versions::Both);
    device.set("tls.server_pin", vec![OTHER]);
    let ran = device.run("check --json");
    assert!(ran.warnings().contains(&"pin_alone"), "{ran:?}");
    device.set("tls.server_pin", vec![OTHER, &pin(&server.certificate)]);
    let ran = device.run("check --json");
    assert!(!ran.warnings().contains(&"pin_alone"), "{ran:?}");
    device.set("tls.server_pin", vec!["sha1//AAAA"]);
    let ran = device.run("once --json");
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(
        ran.text("message").contains("tls.server_pin must be"),
        "{ran:?}"
    );
    drop(scene.scratch);
}
