//! A renewed certificate, a changed configuration and a broken one, brought by rename, with or
//! without SIGHUP: what is good is used, and what is not leaves the old in use and one line.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test plants files, and ends when it cannot"
)]

use std::fs;
use std::path::Path;

use mtls_lab::believer::Believer;
use mtls_lab::device::{Device, Scratch, Service, Surroundings};
use mtls_lab::openssl::set_mode;
use mtls_lab::pki::Pair;
use mtls_lab::tls;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

struct Scene {
    device: Device,
    around: Surroundings,
    server: Believer,
    _scratch: Scratch,
}

/// A gateway that asks every second a server which shows what was presented.
fn scene() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let server = Believer::start(&around.pki.server);
    let mut device = Device::new(BINARY, &around.pki, server.address());
    device.set("cups.poll_s", 1);
    for (setting, name) in [("certificate", "device.crt"), ("key", "device.key")] {
        device.set(&format!("identity.{setting}"), device.path(name).to_str());
    }
    // With a set of its own it asks at the usual interval.
    device.plant_station(&around.lns.uri(), &around.pki.lns.root_der, "planted");
    let scene = Scene {
        device,
        around,
        server,
        _scratch: scratch,
    };
    scene.install(&scene.around.pki.device);
    scene
}

/// Puts a file in place by rename.
fn put(path: &Path, octets: &[u8], mode: u32) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, octets).unwrap();
    set_mode(&fresh, mode);
    fs::rename(fresh, path).unwrap();
}

impl Scene {
    fn install(&self, pair: &Pair) {
        let [certificate, key] = [&pair.certificate, &pair.key].map(|path| fs::read(path).unwrap());
        put(&self.device.path("device.crt"), &certificate, 0o644);
        put(&self.device.path("device.key"), &key, 0o600);
    }

    /// Waits for a poll from now on that shows this certificate.
    fn expect_shown(&self, service: &Service, pair: &Pair) {
        let expected = tls::certificates(&pair.certificate);
        let before = self.server.chains().len();
        service.until("a poll with this certificate", |_| {
            self.server
                .chains()
                .iter()
                .skip(before)
                .any(|chain| *chain == expected)
        });
    }
}

#[test]
fn a_renewed_certificate_is_noticed_without_a_signal_and_shown_next_time() {
    let scene = scene();
    let service = scene.device.serve();
    scene.expect_shown(&service, &scene.around.pki.device);
    let renewed = scene.around.pki.renewed_device();
    scene.install(&renewed);
    scene.expect_shown(&service, &renewed);
    assert_eq!(service.show("/current/number"), json!(1));
    assert_eq!(service.count("kept the"), 0, "{:#?}", service.lines());
}

#[test]
fn a_renewed_certificate_behind_a_symbolic_link_is_noticed_too() {
    let scene = scene();
    let elsewhere = scene.device.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for name in ["device.crt", "device.key"] {
        let (link, target) = (scene.device.path(name), elsewhere.join(name));
        fs::rename(&link, &target).unwrap();
        std::os::unix::fs::symlink(target, link).unwrap();
    }
    let service = scene.device.serve();
    scene.expect_shown(&service, &scene.around.pki.device);
    let renewed = scene.around.pki.renewed_device();
    for (pair, name, mode) in [
        (&renewed.certificate, "device.crt", 0o644),
        (&renewed.key, "device.key", 0o600),
    ] {
        put(&elsewhere.join(name), &fs::read(pair).unwrap(), mode);
    }
    scene.expect_shown(&service, &renewed);
}

#[test]
fn a_renewed_certificate_is_used_at_a_signal_and_by_the_command() {
    for by_signal in [true, false] {
        let scene = scene();
        let service = scene.device.serve();
        scene.expect_shown(&service, &scene.around.pki.device);
        let renewed = scene.around.pki.renewed_device();
        scene.install(&renewed);
        if by_signal {
            service.signal("HUP");
        } else {
            assert_eq!(scene.device.run("reload").code, Some(0));
        }
        scene.expect_shown(&service, &renewed);
    }
}

#[test]
fn a_broken_identity_leaves_the_old_in_use_until_it_is_mended() {
    let scene = scene();
    let service = scene.device.serve();
    scene.expect_shown(&service, &scene.around.pki.device);
    let certificate = scene.device.path("device.crt");
    put(&certificate, b"half a cert", 0o644);
    service.signal("HUP");
    service.until("the fault", |service| {
        service.count("kept the identity") > 0
    });
    scene.expect_shown(&service, &scene.around.pki.device);
    service.says_once("kept the identity");
    service.says_once(certificate.to_str().unwrap());
    let renewed = scene.around.pki.renewed_device();
    scene.install(&renewed);
    scene.expect_shown(&service, &renewed);
}

#[test]
fn a_service_without_a_usable_identity_is_silent_and_starts_when_it_is_mended() {
    let scene = scene();
    put(&scene.device.path("device.key"), b"", 0o600);
    let service = scene.device.serve();
    service.until("the fault", |service| service.count("silent until") == 1);
    // It is logged while the service starts, and asked for when it has.
    service.until("the same in status", |service| {
        service.show("/cycle/identity/state") == json!("unusable")
    });
    assert_eq!(service.show("/cycle/identity/failure/code"), json!("empty"));
    assert_eq!(scene.server.connections(), 0);
    scene.install(&scene.around.pki.device);
    scene.expect_shown(&service, &scene.around.pki.device);
}

#[test]
fn a_changed_configuration_is_used_and_a_broken_one_is_not() {
    let mut scene = scene();
    let service = scene.device.serve();
    scene.expect_shown(&service, &scene.around.pki.device);
    let path = scene.device.path("agent.json");
    let good = fs::read(&path).unwrap();
    put(&path, &good[..good.len() / 2], 0o644);
    service.signal("HUP");
    service.until("the fault", |service| {
        service.count("kept the configuration") > 0
    });
    scene.expect_shown(&service, &scene.around.pki.device);
    service.says_once("kept the configuration");
    let other = Believer::start(&scene.around.pki.server);
    let uri = format!("https://localhost:{}", other.address().port());
    scene.device.set("cups.uri", uri.as_str());
    scene.device.configure();
    service.until("asks the other server", |_| other.connections() > 0);
    service.until("polls there", |_| other.connections() > 2);
    assert_eq!(service.show("/cups_uri"), json!(uri));
}

#[test]
fn a_configuration_named_without_its_folder_is_watched_too() {
    let mut scene = scene();
    // Elsewhere, so that only the configuration's own folder can tell.
    let moved = Scratch::new();
    for (setting, name) in [("certificate", "device.crt"), ("key", "device.key")] {
        let path = moved.path().join(name);
        fs::copy(scene.device.path(name), &path).unwrap();
        scene
            .device
            .set(&format!("identity.{setting}"), path.to_str());
    }
    let service = scene.device.serve_in_place();
    scene.expect_shown(&service, &scene.around.pki.device);
    let other = Believer::start(&scene.around.pki.server);
    let uri = format!("https://localhost:{}", other.address().port());
    scene.device.set("cups.uri", uri);
    scene.device.configure();
    service.until("asks the other server", |_| other.connections() > 0);
}

#[test]
fn files_that_say_the_same_as_before_change_nothing() {
    let scene = scene();
    let service = scene.device.serve();
    scene.expect_shown(&service, &scene.around.pki.device);
    let lines = service.lines().len();
    for _ in 0..5 {
        scene.install(&scene.around.pki.device);
        service.signal("HUP");
        scene.expect_shown(&service, &scene.around.pki.device);
    }
    let more = service.lines().split_off(lines);
    let more: Vec<&String> = more.iter().filter(|line| !line.contains("trial")).collect();
    assert!(more.len() <= 1, "{more:#?}");
}

#[test]
fn a_configuration_whose_files_cannot_be_used_is_not_taken_at_all() {
    let mut scene = scene();
    let service = scene.device.serve();
    scene.expect_shown(&service, &scene.around.pki.device);
    let uri = service.show("/cups_uri");
    scene.device.set("cups.uri", "https://elsewhere.invalid:1");
    scene.device.set("trust_anchors", vec!["absent.pem"]);
    scene.device.configure();
    service.signal("HUP");
    service.until("told", |service| service.count("cannot be loaded") > 0);
    assert_eq!(service.show("/cups_uri"), uri);
    scene.expect_shown(&service, &scene.around.pki.device);
}
