//! Identities that proxies accept are accepted, with a warning where the operator should know.

#![cfg(feature = "daemon")]
#![expect(clippy::disallowed_methods, reason = "a test plants files")]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use mtls_lab::believer::Believer;
use mtls_lab::device::{Device, EUI, Scratch};
use mtls_lab::openssl::{Order, Workshop, set_mode};
use mtls_lab::pki::{Pair, Pki};
use mtls_lab::tls;

struct Scene {
    scratch: Scratch,
    pki: Pki,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let scratch = Scratch::new();
    let pki = Pki::make(&scratch.path().join("pki"), EUI);
    Scene { scratch, pki }
});

fn workshop(name: &str) -> Workshop {
    let workshop = Workshop::open(&SCENE.scratch.path().join(name));
    workshop.root("root", "P-256");
    workshop
}

fn device(pair: &Pair, server: &Believer) -> Device {
    let binary = env!("CARGO_BIN_EXE_mtls-agent");
    let mut device = Device::new(binary, &SCENE.pki, server.address());
    device.set("identity.certificate", pair.certificate.to_str());
    device.set("identity.key", pair.key.to_str());
    device
}

/// The identity works, exactly these warnings are given, and this chain is shown to the server.
fn expect_taken(pair: &Pair, warnings: &[&str], chain: &Path) {
    let server = Believer::start(&SCENE.pki.server);
    let device = device(pair, &server);
    let check = device.run("check --json");
    assert_eq!(check.warnings(), warnings, "{check:?}");
    assert_eq!(check.failures(), [""; 0], "{check:?}");
    assert_eq!(check.code, Some(0), "{check:?}");
    assert_eq!(server.connections(), 0, "check is offline");
    let once = device.run("once --json");
    assert_eq!(once.code, Some(0), "{once:?}");
    assert_eq!(once.text("outcome"), "unchanged", "{once:?}");
    let expected = tls::certificates(chain);
    assert_eq!(server.chains(), [expected], "what was presented");
}

#[test]
fn all_usual_types_of_key_in_silence() {
    let workshop = workshop("types");
    for key in ["P-256", "P-384", "rsa:2048", "rsa:4096"] {
        let pair = workshop.issue(Order {
            key,
            ..Order::default()
        });
        expect_taken(&pair, &[], &pair.certificate);
    }
}

#[test]
fn all_three_ways_to_write_a_key_in_silence() {
    let workshop = workshop("encodings");
    for (key, command, mark) in [
        ("P-256", "ec", "EC PRIVATE KEY"),
        ("P-256", "pkey", "BEGIN PRIVATE KEY"),
        ("rsa:2048", "rsa -traditional", "RSA PRIVATE KEY"),
    ] {
        let pair = workshop.issue(Order {
            key,
            ..Order::default()
        });
        workshop.run(&format!("{command} -in leaf.key -out written.key"));
        let key = workshop.path("written.key");
        set_mode(&key, 0o600);
        assert!(fs::read_to_string(&key).unwrap().contains(mark));
        let certificate = pair.certificate;
        let chain = certificate.clone();
        expect_taken(&Pair { certificate, key }, &[], &chain);
    }
}

#[test]
fn any_purpose_that_includes_clients_in_silence() {
    let workshop = workshop("purposes");
    for extensions in [
        "basicConstraints = CA:FALSE\n",
        "extendedKeyUsage = clientAuth\n",
        "extendedKeyUsage = serverAuth, clientAuth\n",
    ] {
        let pair = workshop.issue(Order {
            extensions: Some(extensions),
            ..Order::default()
        });
        expect_taken(&pair, &[], &pair.certificate);
    }
}

#[test]
fn a_chain_with_two_intermediates_in_silence() {
    let workshop = workshop("chain");
    workshop.intermediate("middle", "root");
    workshop.intermediate("issuing", "middle");
    let leaf = workshop.issue(Order {
        issuer: Some("issuing"),
        ..Order::default()
    });
    let certificate = workshop.join("chain.pem", &["leaf.pem", "issuing.pem", "middle.pem"]);
    let pair = Pair {
        certificate: certificate.clone(),
        ..leaf
    };
    expect_taken(&pair, &[], &certificate);
}

#[test]
fn a_file_in_another_order_or_with_the_root_is_put_right_with_a_warning() {
    let workshop = workshop("order");
    workshop.intermediate("issuing", "root");
    let leaf = workshop.issue(Order {
        issuer: Some("issuing"),
        ..Order::default()
    });
    let sent = workshop.join("sent.pem", &["leaf.pem", "issuing.pem"]);
    for (parts, warnings) in [
        (&["issuing.pem", "leaf.pem"][..], &["chain_order"][..]),
        (&["leaf.pem", "issuing.pem", "root.pem"], &["root_sent"]),
        (
            &["root.pem", "issuing.pem", "leaf.pem"],
            &["chain_order", "root_sent"],
        ),
    ] {
        let pair = Pair {
            certificate: workshop.join("other.pem", parts),
            key: leaf.key.clone(),
        };
        expect_taken(&pair, warnings, &sent);
    }
    workshop.root("stranger", "P-256");
    let pair = Pair {
        certificate: workshop.join("more.pem", &["leaf.pem", "issuing.pem", "stranger.pem"]),
        key: leaf.key.clone(),
    };
    expect_taken(&pair, &["chain_surplus"], &sent);
}

#[test]
fn the_x509v1_leaf_of_the_documented_recipe_with_a_warning() {
    let workshop = workshop("v1");
    let pair = workshop.issue(Order {
        extensions: None,
        ..Order::default()
    });
    expect_taken(&pair, &["x509_version"], &pair.certificate);
}

#[test]
fn a_common_name_in_lower_case_with_a_warning() {
    let workshop = workshop("lower");
    let pair = workshop.issue(Order {
        subject: "/CN=0123456789abcdef",
        ..Order::default()
    });
    expect_taken(&pair, &["cn_lower_case"], &pair.certificate);
}

#[test]
fn a_weak_authority_in_the_chain_with_a_warning() {
    let workshop = workshop("weak");
    workshop.root("weak", "rsa:1024");
    workshop.issue(Order {
        name: "issuing",
        subject: "/CN=issuing",
        key: "rsa:1024",
        issuer: Some("weak"),
        extensions: Some("basicConstraints = critical, CA:TRUE\n"),
        ..Order::default()
    });
    let leaf = workshop.issue(Order {
        issuer: Some("issuing"),
        ..Order::default()
    });
    let certificate = workshop.join("chain.pem", &["leaf.pem", "issuing.pem"]);
    let pair = Pair {
        certificate: certificate.clone(),
        ..leaf
    };
    expect_taken(&pair, &["rsa_short"], &certificate);
}

#[test]
fn a_certificate_that_ends_soon_with_a_warning() {
    let workshop = workshop("soon");
    workshop.issue(Order::default());
    workshop.run(
        "x509 -req -in leaf.csr -CA root.pem -CAkey root.key -extfile leaf.ext \
         -set_serial 77 -days 10 -out leaf.pem",
    );
    let pair = workshop.pair("leaf");
    expect_taken(&pair, &["expires_soon"], &pair.certificate);
}

#[test]
fn a_routerid_that_names_this_gateway_in_any_form() {
    let server = Believer::start(&SCENE.pki.server);
    let mut device = device(&SCENE.pki.device, &server);
    device.set("eui", "01-23-45-67-89-ab-cd-ef");
    fs::write(device.path("station/eui.txt"), "0123456789ABCDEF\n").unwrap();
    for router in ["123:4567:89ab:cdef", "01-23-45-67-89-ab-cd-ef", "eui.txt"] {
        let text = format!("{{ \"station_conf\": {{ \"routerid\": \"{router}\" }} }}");
        fs::write(device.path("station/station.conf"), text).unwrap();
        let check = device.run("check --json");
        assert_eq!(check.code, Some(0), "{router}: {check:?}");
    }
}

#[test]
fn a_bundle_of_anchors_as_large_as_a_whole_system_has() {
    let scratch = Scratch::new();
    let server = Believer::start(&SCENE.pki.server);
    let root = fs::read_to_string(&SCENE.pki.server_root).unwrap();
    let bundle = scratch.path().join("bundle.pem");
    fs::write(&bundle, root.repeat(230 * 1024 / root.len())).unwrap();
    let mut device = device(&SCENE.pki.device, &server);
    device.set("trust_anchors", vec![bundle.to_str().unwrap()]);
    let once = device.run("once --json");
    assert_eq!(once.code, Some(0), "{once:?}");
}

#[test]
fn a_check_before_the_first_start_finds_nothing_wrong() {
    let server = Believer::start(&SCENE.pki.server);
    let mut device = device(&SCENE.pki.device, &server);
    device.set("data_dir", device.path("fresh").to_str());
    let check = device.run("check --json");
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(!device.path("fresh").exists(), "check writes nothing");
    assert_eq!(device.run("once --json").code, Some(0));
    device.set("data_dir", device.path("no/parent").to_str());
    assert_eq!(device.run("check --json").code, Some(78));
}
