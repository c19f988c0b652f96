//! Mender's own two files are used as they are; what in them cannot be honoured is refused with
//! file and key; and a file that changes is used without a restart.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::scene::{Scene, side_by_side};
use mtls_lab::openssl::set_mode;
use serde_json::json;

/// Makes one mistake in what the device has.
type Spoil = fn(&mut Scene);

/// Every file below a folder with its octets.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// The configuration is refused by `check` and `once`, with these words, and nothing is sent.
fn expect_refused(scene: &Scene, words: &[&str]) {
    for command in ["check --json", "once --json", "run"] {
        let ran = scene.device.run(command);
        assert_eq!(ran.code, Some(78), "{command}: {}{}", ran.out, ran.log);
        let said = format!("{}{}", ran.out, ran.log);
        for word in words {
            assert!(said.contains(word), "{command}: {word} not in {said}");
        }
    }
    assert_eq!(scene.mender.handshakes(), 0);
}

#[test]
fn the_file_is_enough_and_its_paths_count_from_it() {
    let mut scene = Scene::new();
    scene.device.by_conf = true;
    let certificates = [
        &scene.pki.device.certificate,
        &scene.pki.device.key,
        &scene.pki.server_root,
    ];
    for (from, to) in certificates
        .iter()
        .zip(["device.pem", "device.key", "ca.pem"])
    {
        fs::copy(from, scene.device.path(to)).unwrap();
    }
    scene.device.conf(
        "HttpsClient",
        json!({ "certificate": "device.pem", "KEY": "device.key" }),
    );
    scene.device.conf("ServerCertificate", "ca.pem");
    let ran = scene.once();
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.log);
    assert_eq!(scene.device.run("check --json").failures(), [""; 0]);
}

#[test]
fn the_second_file_wins_key_by_key() {
    let mut scene = Scene::new();
    let key = scene.pki.device.key.clone();
    let fallback = json!({
        "ServerURL": "https://nowhere.invalid",
        "TenantToken": " tenant.token.value\n",
        "HttpsClient": { "Certificate": "/nowhere.pem", "Key": key },
    });
    fs::write(scene.device.path("data/mender.conf"), fallback.to_string()).unwrap();
    scene.device.without("HttpsClient");
    let certificate = scene.pki.device.certificate.to_str().unwrap().to_owned();
    scene.device.conf("HttpsClient.Certificate", certificate);
    scene
        .mender
        .change(|rules| rules.tenant_token = Some("tenant.token.value".to_owned()));
    let ran = scene.once();
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.log);
}

#[test]
fn what_would_be_unsafe_or_half_read_is_refused_with_file_and_key() {
    let mut scene = Scene::new();
    let good = scene.device.conf.clone();
    let (main, fallback) = (
        scene.device.path("mender.conf"),
        scene.device.path("data/mender.conf"),
    );
    let name = |path: &Path| path.display().to_string();
    scene.device.conf("SkipVerify", true);
    expect_refused(&scene, &[&name(&main), "SkipVerify"]);
    scene.device.conf = good.clone();
    fs::write(
        &fallback,
        r#"{"Servers":[{"ServerURL":"https://a.example"}]}"#,
    )
    .unwrap();
    expect_refused(
        &scene,
        &[&name(&main), &name(&fallback), "ServerURL", "Servers"],
    );
    fs::remove_file(&fallback).unwrap();
    scene.device.conf("HttpsClient.Key", "pkcs11:token=device");
    expect_refused(&scene, &["HttpsClient.Key", "hardware"]);
    scene.device.conf = good.clone();
    scene.device.conf("DeviceTier", "huge");
    expect_refused(&scene, &["DeviceTier"]);
    scene.device.conf = good.clone();
    scene.device.without("ServerURL");
    expect_refused(&scene, &["ServerURL", &name(&main)]);
    scene.device.conf = good;
    scene.device.by_conf = true;
    scene.device.set("mender.invntory", "off");
    expect_refused(&scene, &["MtlsAgent.mender.invntory", "mender.inventory"]);
}

#[test]
fn check_finds_every_mistake_and_writes_nothing() {
    let mut scene = Scene::new();
    let mistakes: [(&str, Spoil); 5] = [
        ("missing", |scene| {
            scene.device.conf("HttpsClient.Certificate", "/nowhere.pem");
        }),
        ("key_mismatch", |scene| {
            let other = scene.pki.renewed_device();
            scene
                .device
                .conf("HttpsClient.Key", other.key.to_str().unwrap());
        }),
        ("expired", |scene| {
            let old = scene.pki.expired_device();
            scene
                .device
                .conf("HttpsClient.Certificate", old.certificate.to_str().unwrap());
            scene
                .device
                .conf("HttpsClient.Key", old.key.to_str().unwrap());
        }),
        ("identity_script", |scene| {
            scene.device.identity_script("exit 1");
        }),
        ("missing", |scene| {
            scene.device.conf("ServerCertificate", "/nowhere.pem");
        }),
    ];
    let good = scene.device.conf.clone();
    for (code, spoil) in mistakes {
        spoil(&mut scene);
        scene.device.configure();
        let before = files(&scene.device.path(""));
        let ran = scene.device.run("check --json");
        assert_eq!(ran.code, Some(78), "{code}: {}", ran.out);
        assert_eq!(ran.failures(), [code], "{}", ran.out);
        let mut after = files(&scene.device.path(""));
        for name in ["out", "log"] {
            after.remove(&scene.device.path(name));
        }
        let own = |path: &PathBuf| !["out", "log"].iter().any(|name| path.ends_with(name));
        let before: BTreeMap<_, _> = before.into_iter().filter(|(path, _)| own(path)).collect();
        assert!(before == after, "{code}: check has written");
        scene.device.conf = good.clone();
        scene.device.identity_script("echo mac=02:00:00:ab:cd:01");
    }
    assert!(!scene.device.path("run").exists());
    assert_eq!(scene.mender.handshakes(), 0);
}

#[test]
fn what_is_passed_over_is_said() {
    let mut scene = Scene::new();
    scene.device.conf("InventoryPollIntervalSeconds", 5);
    scene.device.conf("UpdatePollIntervalSeconds", "often");
    let ran = scene.device.run("check --json");
    assert_eq!(ran.failures(), [""; 0], "{}", ran.out);
    let notes = ran
        .warnings()
        .iter()
        .filter(|code| **code == "mender_conf")
        .count();
    assert!(notes >= 2, "{}", ran.out);
    let once = scene.once();
    assert_eq!(once.code, Some(0), "{}", once.out);
    for key in ["InventoryPollIntervalSeconds", "UpdatePollIntervalSeconds"] {
        assert!(
            ran.out.contains(key) && once.log.contains(key),
            "{}{}",
            ran.out,
            once.log
        );
    }
}

#[test]
fn a_changed_file_is_used_without_a_restart() {
    side_by_side(&[
        ("another_server_is_used", another_server_is_used),
        ("a_wrong_file_changes_nothing", a_wrong_file_changes_nothing),
    ]);
}

fn another_server_is_used() {
    let mut scene = Scene::new();
    let good = scene.mender.uri();
    scene.device.server("https://localhost:1");
    let service = scene.serve_until("waiting");
    service.until("a failure", |service| {
        service.show("/cycle/why/class") == "network"
    });
    scene.device.server(&good);
    scene.device.configure();
    service.until("the other", |service| {
        service.show("/cycle/state") == "authorised"
    });
    assert_eq!(service.show("/server"), good);
}

fn a_wrong_file_changes_nothing() {
    let mut scene = Scene::new();
    let service = scene.serve_until("authorised");
    scene.device.conf("SkipVerify", true);
    scene.device.configure();
    service.until("a word", |service| {
        service.count("kept the configuration in use") == 1
    });
    scene.device.without("SkipVerify");
    scene.device.configure();
    fs::write(
        scene.device.path("agent.json"),
        r#"{"service":"cups","cups":{"uri":"https://a.example"}}"#,
    )
    .unwrap();
    service.until("another word", |service| {
        service.count("another service needs a restart of the agent") == 1
            || service.count("kept the configuration in use") == 2
    });
    assert_eq!(service.show("/service"), "mender");
    assert_eq!(service.show("/cycle/state"), "authorised");
}

#[test]
fn a_tenant_token_that_everybody_can_read_is_found() {
    let mut scene = Scene::new();
    scene.device.conf("TenantToken", "tenant.token.value");
    scene.device.by_conf = true;
    // Nothing in this file is a secret.
    let fallback = scene.device.path("data/mender.conf");
    fs::write(&fallback, "{}").unwrap();
    set_mode(&fallback, 0o644);
    let ran = scene.device.run("check --json");
    assert!(
        !ran.warnings().contains(&"tenant_token_open"),
        "{}",
        ran.out
    );
    fs::write(&fallback, r#"{"tenanttoken": "tenant.token.value"}"#).unwrap();
    let ran = scene.device.run("check --json");
    assert!(ran.warnings().contains(&"tenant_token_open"), "{}", ran.out);
}
