//! The key that signs is the certificate's, or is said not to be before anything is sent; a
//! device without one makes its own once; and what the ambassador thinks of a certificate, or
//! that nobody asked for it, is said in its own words.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use super::scene::Scene;
use mtls_lab::openssl::{Order, Workshop, set_mode};
use mtls_lab::pki::Pair;
use mtls_lab::tls::Versions;
use rustls::CertificateError;
use serde_json::json;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

fn shows(scene: &mut Scene, pair: &Pair) {
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    scene
        .device
        .conf("HttpsClient.Certificate", name(&pair.certificate));
    scene.device.conf("HttpsClient.Key", name(&pair.key));
}

/// A device whose certificate is of another authority, made by `openssl`.
fn of_workshop(kind: &str) -> Scene {
    let kind = kind.to_owned();
    let mut made = None;
    let mut scene = Scene::with(|config, pki| {
        let workshop = Workshop::open(&pki.dir.join("workshop"));
        workshop.root("root", "P-256");
        made = Some(workshop.issue(Order {
            key: &kind,
            ..Order::default()
        }));
        config.door = mtls_lab::mender::Door::Ambassador {
            server: pki.server.clone(),
            client_root: workshop.path("root.pem"),
        };
    });
    shows(&mut scene, &made.unwrap());
    scene
}

#[test]
fn the_certificates_own_key_signs() {
    let mut scene = Scene::new();
    assert_eq!(scene.once().code, Some(0));
    let key = scene.pki.device.key.to_str().unwrap().to_owned();
    scene.device.conf("Security.AuthPrivateKey", key);
    assert_eq!(scene.once().code, Some(0));
    assert!(!scene.device.path("data/mender-agent.pem").exists());
    assert_eq!(scene.mender.devices()[0].sets.len(), 1);
}

#[test]
fn another_key_is_named_before_anything_is_sent() {
    let mut scene = Scene::new();
    let other = scene.pki.renewed_device();
    scene
        .device
        .conf("Security.AuthPrivateKey", other.key.to_str().unwrap());
    let ran = scene.once();
    assert_eq!(
        (ran.code, ran.text("code")),
        (Some(78), "auth_key_differs"),
        "{}",
        ran.out
    );
    let checked = scene.device.run("check --json");
    assert_eq!(checked.code, Some(78));
    assert_eq!(checked.failures(), ["auth_key_differs"]);
    assert_eq!(
        scene.mender.handshakes() + scene.mender.handshake_failures(),
        0
    );
}

#[test]
fn a_device_without_a_key_makes_one_and_keeps_it() {
    let mut scene = Scene::without_ambassador();
    scene.device.without("HttpsClient");
    let path = scene.device.path("data/mender-agent.pem");
    let checked = scene.device.run("check --json");
    assert!(checked.code == Some(0) && !path.exists(), "{}", checked.out);
    let ran = scene.once();
    assert_eq!(
        (ran.code, ran.text("outcome")),
        (Some(1), "pending"),
        "{}",
        ran.out
    );
    assert_eq!(mode(&path), 0o600);
    let key = fs::read(&path).unwrap();
    assert_eq!(key.len(), 119);
    let said = Command::new("openssl")
        .args(["pkey", "-text", "-noout", "-in"])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("ED25519"), "{text}");
    scene.mender.accept(&scene.set());
    assert_eq!(scene.once().code, Some(0));
    assert_eq!(fs::read(&path).unwrap(), key);
    assert_eq!(scene.mender.devices()[0].sets.len(), 1);
}

#[test]
fn a_key_that_is_configured_is_never_made() {
    let mut scene = Scene::new();
    let missing = scene.device.path("data/own.pem");
    scene.device.without("HttpsClient");
    scene
        .device
        .conf("Security.AuthPrivateKey", missing.to_str().unwrap());
    let ran = scene.once();
    assert_eq!(
        (ran.code, ran.text("code")),
        (Some(78), "missing"),
        "{}",
        ran.out
    );
    assert!(!missing.exists() && !scene.device.path("data/mender-agent.pem").exists());
    assert_eq!(scene.mender.handshakes(), 0);
}

#[test]
fn no_key_is_made_below_a_folder_that_is_not_mounted() {
    let mut scene = Scene::without_ambassador();
    scene.device.without("HttpsClient");
    let folder = scene.device.path("data");
    scene
        .device
        .set("mender.mount_point", folder.to_str().unwrap());
    let ran = scene.once();
    assert_eq!(
        (ran.code, ran.text("code")),
        (Some(78), "key_not_made"),
        "{}",
        ran.out
    );
    assert!(
        ran.text("message").contains("is not mounted"),
        "{}",
        ran.out
    );
    assert!(!folder.join("mender-agent.pem").exists());
    // Looked at again soon: nobody tells of a partition that is mounted.
    let service = scene.serve_until("no_identity");
    assert!(service.show("/cycle/next/in_s").as_u64().unwrap() <= 60);
}

#[test]
fn a_key_that_others_can_read_is_mended_and_one_they_can_write_refused() {
    let mut scene = Scene::new();
    let key = scene.device.path("device.key");
    fs::copy(&scene.pki.device.key, &key).unwrap();
    scene.device.conf("HttpsClient.Key", key.to_str().unwrap());
    set_mode(&key, 0o644);
    let checked = scene.device.run("check --json");
    assert_eq!(mode(&key), 0o644, "check writes nothing: {}", checked.out);
    let ran = scene.once();
    assert_eq!((ran.code, mode(&key)), (Some(0), 0o600), "{}", ran.out);
    assert!(ran.log.contains("key_mode"), "{}", ran.log);
    set_mode(&key, 0o666);
    let ran = scene.once();
    assert_eq!(
        (ran.code, ran.text("code")),
        (Some(78), "key_permissions"),
        "{}",
        ran.out
    );
    assert_eq!(mode(&key), 0o666);
}

#[test]
fn keys_of_every_kind_that_servers_verify_are_used() {
    for kind in ["P-384", "rsa:2048"] {
        let scene = of_workshop(kind);
        let ran = scene.once();
        assert_eq!(ran.code, Some(0), "{kind}: {}{}", ran.out, ran.log);
    }
    let scene = of_workshop("P-521");
    let ran = scene.once();
    assert_eq!(
        (ran.code, ran.text("code")),
        (Some(78), "key_unsupported"),
        "{}",
        ran.out
    );
    assert!(ran.text("message").contains("P-521"), "{}", ran.out);
    assert_eq!(scene.mender.handshakes(), 0);
}

#[test]
fn a_certificate_that_the_ambassador_refuses_is_named_in_both_versions_of_tls() {
    let mut scene = Scene::new();
    let stranger = scene.pki.unknown_ca_device();
    for versions in [Versions::Tls12, Versions::Tls13] {
        scene.mender.offer(versions);
        shows(&mut scene, &stranger);
        let ran = scene.once();
        assert_eq!(
            ran.text("class"),
            "client_cert_refused",
            "{versions:?}: {}",
            ran.out
        );
        assert_eq!(ran.text("code"), "unknown_ca", "{versions:?}: {}", ran.out);
        let good = scene.pki.device.clone();
        shows(&mut scene, &good);
        scene
            .mender
            .refuse_certificates(Some(CertificateError::Expired));
        let ran = scene.once();
        assert_eq!(
            ran.text("class"),
            "client_cert_refused",
            "{versions:?}: {}",
            ran.out
        );
        assert_eq!(
            ran.text("code"),
            "certificate_expired",
            "{versions:?}: {}",
            ran.out
        );
        scene.mender.refuse_certificates(None);
    }
    assert!(scene.auths().is_empty());
}

#[test]
fn a_server_that_does_not_ask_for_the_certificate_is_noticed() {
    let scene = Scene::without_ambassador();
    let ran = scene.once();
    assert_eq!(
        (ran.text("outcome"), ran.text("code")),
        ("pending", "mtls_not_requested")
    );
    assert!(
        ran.text("hint")
            .contains("does not lead to the mTLS ambassador"),
        "{}",
        ran.out
    );
    scene.mender.accept(&scene.set());
    let service = scene.serve_until("authorised");
    assert_eq!(service.show("/mutual_tls"), "not_requested");
    service.until("a word", |service| service.count("mtls_not_requested") == 1);
    scene.device.refresh();
    service.until("a renewal", |_| scene.auths().len() == 3);
    service.until("said", |service| service.count("token is renewed") == 1);
    service.says_once("mtls_not_requested");
}

#[test]
fn a_renewed_certificate_is_shown_at_the_next_attempt() {
    let mut scene = Scene::with(|config, _| config.ambassador.takes_new_keys = true);
    let pair = Pair {
        certificate: scene.device.path("device.pem"),
        key: scene.device.path("device.key"),
    };
    let install = |from: &Pair| {
        // The key first, so that for a moment the two do not fit.
        for (from, to) in [
            (&from.key, &pair.key),
            (&from.certificate, &pair.certificate),
        ] {
            let fresh = to.with_extension("new");
            fs::copy(from, &fresh).unwrap();
            fs::rename(fresh, to).unwrap();
        }
    };
    install(&scene.pki.device);
    shows(&mut scene, &pair);
    let service = scene.serve_until("authorised");
    let before = service.show("/identity/key_sha256");
    install(&scene.pki.renewed_device());
    service.until("the new key", |_| {
        scene
            .mender
            .devices()
            .first()
            .is_some_and(|device| device.sets.len() == 2)
    });
    service.until("a token for it", |_| {
        scene.auths().last() == Some(&Some(200))
    });
    assert_ne!(service.show("/identity/key_sha256"), before);
    assert_eq!(service.show("/cycle/state"), json!("authorised"));
}
