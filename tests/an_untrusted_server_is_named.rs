//! A server whose certificate cannot be trusted, and whatever else may answer at the port, is
//! called by its name: class, code and a hint, and never a crash or a hang.

#![cfg(feature = "daemon")]
#![expect(clippy::unwrap_used, reason = "a test that ends when its set-up fails")]

use std::path::Path;
use std::time::Duration;

use mtls_lab::cups::CupsDouble;
use mtls_lab::device::{Device, EUI, Ran, Scratch, Surroundings};
use mtls_lab::faults::{Fault, Misbehaving};
use mtls_lab::front::{self, Front};
use mtls_lab::openssl::{Order, Workshop};
use mtls_lab::pki::{Pair, Pki};
use mtls_lab::tls::{self, Versions};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
/// The short form of the command that makes a usable certificate.
const MENDED_BY: &str = "openssl x509 -req -in REQUEST -CA ... -extfile FILE";
const NAMED: &str = "subjectAltName = DNS:localhost\nextendedKeyUsage = serverAuth\n";

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
    /// One cycle of a device that trusts `anchor` at a proxy with this certificate.
    fn once(&self, server: &Pair, anchor: &Path) -> Ran {
        self.once_at("localhost", server, anchor)
    }

    fn once_at(&self, host: &str, server: &Pair, anchor: &Path) -> Ran {
        let front = Front::start(front::Config {
            certificate: server.certificate.clone(),
            key: server.key.clone(),
            ..front::Config::new(&self.pki, self.cups.address())
        })
        .unwrap();
        let mut device = Device::new(BINARY, &self.pki, front.address());
        device.set("trust_anchors", vec![anchor.to_str().unwrap()]);
        let uri = format!("https://{host}:{}", front.address().port());
        device.set("cups.uri", uri);
        device.run("once --json")
    }

    /// The server's certificate is refused with this code, and nobody behind it was asked.
    fn expect(&self, server: &Pair, anchor: &Path, code: &str) -> Ran {
        let ran = self.once(server, anchor);
        expect_failure(&ran, "server_untrusted", code);
        assert!(!ran.text("hint").is_empty(), "{ran:?}");
        assert!(ran.text("message").contains("localhost:"), "{ran:?}");
        assert_eq!(self.cups.requests().len(), 0, "the request was sent");
        ran
    }

    fn root(&self) -> std::path::PathBuf {
        self.workshop.path("root.pem")
    }
}

fn server(extensions: &str) -> Order<'_> {
    Order {
        name: "server",
        subject: "/CN=localhost",
        extensions: Some(extensions),
        ..Order::default()
    }
}

fn expect_failure(ran: &Ran, class: &str, code: &str) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.text("outcome"), "failed", "{ran:?}");
    assert_eq!(ran.text("class"), class, "{ran:?}");
    assert_eq!(ran.text("code"), code, "{ran:?}");
}

/// The gateway is unknown there, so reaching CUPS shows as this refusal.
fn expect_reached(ran: &Ran) {
    assert_eq!(ran.text("class"), "not_registered", "{ran:?}");
}

#[test]
fn a_good_server_is_trusted_by_its_root_or_its_issuing_authority() {
    let scene = scene();
    scene.workshop.intermediate("issuing", "root");
    let leaf = scene.workshop.issue(Order {
        issuer: Some("issuing"),
        ..server(NAMED)
    });
    let certificate = scene
        .workshop
        .join("chain.pem", &["server.pem", "issuing.pem"]);
    let whole = Pair {
        certificate,
        key: leaf.key.clone(),
    };
    expect_reached(&scene.once(&whole, &scene.root()));
    expect_reached(&scene.once(&leaf, &scene.workshop.path("issuing.pem")));
}

#[test]
fn an_unknown_root_and_a_missing_intermediate_look_the_same_and_the_hint_names_both() {
    let scene = scene();
    let known = scene.workshop.issue(server(NAMED));
    scene.workshop.root("other", "P-256");
    scene.expect(
        &known,
        &scene.workshop.path("other.pem"),
        "server_unknown_issuer",
    );
    scene.workshop.intermediate("issuing", "root");
    let alone = scene.workshop.issue(Order {
        issuer: Some("issuing"),
        ..server(NAMED)
    });
    let ran = scene.expect(&alone, &scene.root(), "server_unknown_issuer");
    assert!(ran.text("hint").contains("trust_anchors"), "{ran:?}");
    assert!(ran.text("hint").contains("intermediate"), "{ran:?}");
}

#[test]
fn a_certificate_outside_its_validity() {
    let scene = scene();
    let expired = scene.workshop.issue(Order {
        dates: Some(("20230101000000Z", "20240101000000Z")),
        ..server(NAMED)
    });
    scene.expect(&expired, &scene.root(), "server_expired");
    let early = scene.workshop.issue(Order {
        dates: Some(("20480101000000Z", "20490101000000Z")),
        ..server(NAMED)
    });
    scene.expect(&early, &scene.root(), "server_not_yet_valid");
}

#[test]
fn a_certificate_for_another_name_or_for_none() {
    let scene = scene();
    let other = scene
        .workshop
        .issue(server("subjectAltName = DNS:cups.example.com\n"));
    let ran = scene.expect(&other, &scene.root(), "server_name");
    let words = "is for cups.example.com, not for this host";
    assert!(ran.text("message").ends_with(words), "{ran:?}");
    let address = scene
        .workshop
        .issue(server("subjectAltName = IP:127.0.0.1\n"));
    let ran = scene.expect(&address, &scene.root(), "server_name");
    assert!(ran.text("message").contains("127.0.0.1"), "{ran:?}");
    let name_only = scene
        .workshop
        .issue(server("basicConstraints = CA:FALSE\n"));
    let ran = scene.expect(&name_only, &scene.root(), "server_name");
    let words = "names its host only in the common name, if at all, not in subjectAltName";
    assert!(ran.text("message").ends_with(words), "{ran:?}");
    assert!(ran.text("hint").contains(MENDED_BY), "{ran:?}");
}

#[test]
fn an_x509v1_certificate_and_one_that_is_not_for_servers() {
    let scene = scene();
    let old = scene.workshop.issue(Order {
        extensions: None,
        ..server(NAMED)
    });
    let ran = scene.expect(&old, &scene.root(), "server_certificate");
    let words = "is X.509 version 1";
    assert!(ran.text("message").ends_with(words), "{ran:?}");
    assert!(ran.text("hint").contains("X.509 v3"), "{ran:?}");
    assert!(ran.text("hint").contains(MENDED_BY), "{ran:?}");
    assert!(ran.text("hint").contains("server_pin"), "{ran:?}");
    let client = "subjectAltName = DNS:localhost\nextendedKeyUsage = clientAuth\n";
    let client = scene.workshop.issue(server(client));
    let ran = scene.expect(&client, &scene.root(), "server_certificate");
    let words = "is not for servers: its extendedKeyUsage lacks serverAuth";
    assert!(ran.text("message").ends_with(words), "{ran:?}");
    assert!(ran.text("hint").contains("serverAuth"), "{ran:?}");
}

#[test]
fn an_authority_used_as_the_server_and_a_server_used_as_the_anchor() {
    let scene = scene();
    let own = scene.workshop.issue(Order {
        issuer: None,
        ..server("basicConstraints = critical, CA:TRUE\nsubjectAltName = DNS:localhost\n")
    });
    let ran = scene.expect(&own, &own.certificate, "server_certificate");
    let words = "is a CA certificate used as a server certificate";
    assert!(ran.text("message").ends_with(words), "{ran:?}");
    assert!(ran.text("hint").contains("let that CA issue"), "{ran:?}");
    assert!(ran.text("hint").contains("server_pin"), "{ran:?}");
    let leaf = scene.workshop.issue(Order {
        name: "leaf",
        ..server(NAMED)
    });
    let ran = scene.once(&leaf, &leaf.certificate);
    expect_failure(&ran, "server_untrusted", "server_unknown_issuer");
    assert!(ran.log.contains("cannot be an anchor"), "{ran:?}");
}

#[test]
fn an_address_instead_of_a_name_works_with_a_certificate_for_it_only() {
    let scene = scene();
    let right = scene
        .workshop
        .issue(server("subjectAltName = IP:127.0.0.1\n"));
    expect_reached(&scene.once_at("127.0.0.1", &right, &scene.root()));
    let wrong = scene.workshop.issue(server(NAMED));
    let ran = scene.once_at("127.0.0.1", &wrong, &scene.root());
    expect_failure(&ran, "server_untrusted", "server_name");
}

#[test]
fn anchors_that_cannot_be_used_are_a_matter_of_configuration() {
    let scene = scene();
    let server = scene.workshop.issue(server(NAMED));
    let absent = scene.scratch.path().join("absent.pem");
    for (anchor, code) in [(&absent, "missing"), (&server.key, "not_pem")] {
        let ran = scene.once(&server, anchor);
        assert_eq!(ran.code, Some(78), "{ran:?}");
        assert_eq!(ran.text("class"), "configuration", "{ran:?}");
        assert_eq!(ran.text("code"), code, "{ran:?}");
        assert!(ran.text("message").contains(anchor.to_str().unwrap()));
    }
}

#[test]
fn no_common_tls_version() {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let front = Front::start(front::Config {
        versions: Versions::Tls13,
        ..front::Config::new(&around.pki, around.cups.address())
    })
    .unwrap();
    let mut device = Device::new(BINARY, &around.pki, front.address());
    device.set("tls.version_max", "1.2");
    let ran = device.run("once --json");
    expect_failure(&ran, "tls_negotiation", "protocol_version");
    assert!(ran.text("hint").contains("TLS version"), "{ran:?}");
    device.set("tls.version_max", "1.3");
    expect_reached(&device.run("once --json"));
}

fn against(fault: Fault) -> Ran {
    let scratch = Scratch::new();
    let pki = Pki::make(scratch.path(), EUI);
    against_with(&pki, fault)
}

fn against_with(pki: &Pki, fault: Fault) -> Ran {
    let server = Misbehaving::start(fault).unwrap();
    let mut device = Device::new(BINARY, pki, server.address());
    for (name, seconds) in [("connect_s", 1), ("response_s", 1), ("total_s", 2)] {
        device.set(&format!("network.{name}"), seconds);
    }
    // A run that hangs is ended, and then has no exit code.
    device.run("once --json")
}

#[test]
fn something_that_is_not_tls_at_the_port() {
    let page = "<html>Welcome to our hotel</html>".to_owned();
    for fault in [
        Fault::PlainHttp(page),
        Fault::Garbage(b"220 mail.example ESMTP ready\r\n".to_vec()),
        Fault::Garbage(vec![0; 300]),
        Fault::Garbage(vec![0xFF; 300]),
    ] {
        let ran = against(fault);
        expect_failure(&ran, "not_tls", "not_tls");
        assert!(ran.text("hint").contains("captive portal"), "{ran:?}");
    }
}

#[test]
fn a_server_that_resets_ends_or_is_silent_is_a_matter_of_the_network() {
    expect_failure(&against(Fault::Reset), "network", "reset");
    expect_failure(&against(Fault::End), "network", "closed");
    let silent = against(Fault::Hang(Duration::from_secs(3600)));
    expect_failure(&silent, "network", "timeout");
}

#[test]
fn a_server_that_fails_after_the_handshake_is_a_matter_of_the_network() {
    let scratch = Scratch::new();
    let pki = Pki::make(scratch.path(), EUI);
    let (certificate, key) = (&pki.server.certificate, &pki.server.key);
    let hour = Duration::from_secs(3600);
    for versions in [Versions::Tls12, Versions::Tls13] {
        let config = || tls::mutual_server(certificate, key, &pki.client_root, versions);
        let ran = against_with(&pki, Fault::CloseAfterHandshake(config()));
        assert_eq!(ran.text("class"), "network", "{ran:?}");
        assert!(["closed", "reset"].contains(&ran.text("code")), "{ran:?}");
        let ran = against_with(&pki, Fault::HangAfterHandshake(config(), hour));
        expect_failure(&ran, "network", "timeout");
        let slowly = Duration::from_millis(20);
        let ran = against_with(&pki, Fault::EndlessHeader(config(), slowly));
        expect_failure(&ran, "network", "timeout");
    }
}

#[test]
fn a_port_where_nobody_listens_and_a_name_that_nobody_has() {
    let scratch = Scratch::new();
    let pki = Pki::make(scratch.path(), EUI);
    let gone = Misbehaving::start(Fault::End).unwrap().address();
    let mut device = Device::new(BINARY, &pki, gone);
    expect_failure(&device.run("once --json"), "network", "refused");
    device.set("cups.uri", "https://no-such-host.invalid:8987");
    let ran = device.run("once --json");
    assert_eq!(ran.text("class"), "network", "{ran:?}");
}
