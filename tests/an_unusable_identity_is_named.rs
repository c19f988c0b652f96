//! Each defect of certificate or key has one name, says so before any packet is sent, and ends
//! with exit code 78.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test plants files and makes them ugly"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use mtls_lab::believer::Believer;
use mtls_lab::device::{Device, EUI, Scratch};
use mtls_lab::openssl::{Order, Workshop, set_mode};
use mtls_lab::pki::{Pair, Pki};
use mtls_lab::skip::skipped;

/// Starts what follows without that for which no mode keeps root from reading.
const WITHOUT_PRIVILEGE: &str = "setpriv --bounding-set=-dac_override,-dac_read_search \
     --inh-caps=-dac_override,-dac_read_search --";

/// What all tests of this file share: keys take a while.
struct Scene {
    scratch: Scratch,
    pki: Pki,
    server: Believer,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let scratch = Scratch::new();
    let pki = Pki::make(&scratch.path().join("pki"), EUI);
    let server = Believer::start(&pki.server);
    Scene {
        scratch,
        pki,
        server,
    }
});

/// A workshop of one test, with a root.
fn workshop(name: &str) -> Workshop {
    let workshop = Workshop::open(&SCENE.scratch.path().join(name));
    workshop.root("root", "P-256");
    workshop
}

fn device(pair: &Pair) -> Device {
    let mut device = Device::new(
        env!("CARGO_BIN_EXE_mtls-agent"),
        &SCENE.pki,
        SCENE.server.address(),
    );
    device.set("identity.certificate", pair.certificate.to_str());
    device.set("identity.key", pair.key.to_str());
    device
}

/// Both commands name the fault, with a hint, and the file or place that has it.
fn expect_refused(device: &Device, code: &str, named: &str) {
    let once = device.run("once --json");
    assert_eq!(once.code, Some(78), "{code}: {once:?}");
    assert_eq!(once.text("outcome"), "failed", "{code}");
    assert_eq!(once.text("class"), "identity_invalid", "{code}");
    assert_eq!(once.text("code"), code, "{once:?}");
    assert!(once.text("message").contains(named), "{once:?}");
    assert!(!once.text("hint").is_empty(), "{once:?}");
    let check = device.run("check --json");
    assert_eq!(check.code, Some(78), "{code}: {check:?}");
    assert_eq!(check.failures(), [code], "{check:?}");
    assert_eq!(check.text("result"), "failed", "{check:?}");
    assert_eq!(SCENE.server.connections(), 0, "{code}: something was sent");
}

fn refused(pair: &Pair, code: &str, named: &Path) {
    expect_refused(&device(pair), code, named.to_str().unwrap());
}

fn with_key(key: std::path::PathBuf) -> Pair {
    let certificate = SCENE.pki.device.certificate.clone();
    Pair { certificate, key }
}

fn with_certificate(certificate: std::path::PathBuf) -> Pair {
    let key = SCENE.pki.device.key.clone();
    Pair { certificate, key }
}

/// Nobody ever writes to it: opening it the usual way would last for ever.
fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(path)
        .status();
    assert!(made.unwrap().success(), "{}", path.display());
}

/// Whether a program started by `launcher` cannot read a file, and can be started at all.
fn is_shut(launcher: &str, path: &Path) -> bool {
    let script = format!(r#"exec {launcher} sh -c 'if cat "$0"; then exit 1; fi' "$0""#);
    let tried = Command::new("sh").args(["-c", &script]).arg(path).output();
    tried.unwrap().status.success()
}

#[test]
fn a_file_that_is_missing_empty_or_no_pem_at_all() {
    let workshop = workshop("files");
    let put = |name: &str, octets: &[u8]| {
        let path = workshop.path(name);
        fs::write(&path, octets).unwrap();
        set_mode(&path, 0o600);
        path
    };
    let large = vec![b'a'; 70_000];
    let contents: [(&str, &[u8], &str); 4] = [
        ("nothing", b"", "empty"),
        ("text", b"Hello, this is not a key\n", "not_pem"),
        ("null", &[0; 100], "not_pem"),
        ("large", &large, "too_large"),
    ];
    for (name, octets, code) in contents {
        let path = put(name, octets);
        refused(&with_certificate(path.clone()), code, &path);
        refused(&with_key(path.clone()), code, &path);
    }
    let fifo = workshop.path("fifo");
    make_fifo(&fifo);
    refused(&with_certificate(fifo.clone()), "unreadable", &fifo);
    refused(&with_key(fifo.clone()), "unreadable", &fifo);
    for path in [workshop.path("absent"), workshop.path("no/such/folder")] {
        refused(&with_certificate(path.clone()), "missing", &path);
        refused(&with_key(path.clone()), "missing", &path);
    }
    let broken = put(
        "broken",
        b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n",
    );
    refused(&with_certificate(broken.clone()), "not_x509", &broken);
}

#[test]
fn a_folder_in_place_of_a_file_cannot_be_read() {
    let workshop = workshop("folder");
    let folder = workshop.path("device.crt");
    fs::create_dir(&folder).unwrap();
    refused(&with_certificate(folder.clone()), "unreadable", &folder);
    refused(&with_key(folder.clone()), "unreadable", &folder);
}

#[test]
fn a_file_the_agent_may_not_read_is_unreadable() {
    let workshop = workshop("unreadable");
    let path = workshop.join("shut.pem", &["root.pem"]);
    set_mode(&path, 0);
    let mut launchers = ["", WITHOUT_PRIVILEGE].into_iter();
    let Some(launcher) = launchers.find(|launcher| is_shut(launcher, &path)) else {
        let why = "whoever runs this reads every file, and setpriv cannot change it";
        return skipped("a file that its mode shuts", why);
    };
    for pair in [with_certificate(path.clone()), with_key(path.clone())] {
        let mut device = device(&pair);
        device.launch_by(launcher);
        expect_refused(&device, "unreadable", path.to_str().unwrap());
    }
}

#[test]
fn der_in_place_of_pem_and_the_two_files_swapped() {
    let workshop = workshop("der");
    let pair = workshop.issue(Order::default());
    workshop.run("x509 -in leaf.pem -outform DER -out leaf.der");
    workshop.run("pkey -in leaf.key -outform DER -out leaf.key.der");
    set_mode(&workshop.path("leaf.key.der"), 0o600);
    let (certificate, key) = (workshop.path("leaf.der"), workshop.path("leaf.key.der"));
    refused(
        &with_certificate(certificate.clone()),
        "not_pem",
        &certificate,
    );
    refused(&with_key(key.clone()), "not_pem", &key);
    refused(&with_certificate(pair.key.clone()), "not_pem", &pair.key);
    set_mode(&pair.certificate, 0o600);
    refused(
        &with_key(pair.certificate.clone()),
        "not_pem",
        &pair.certificate,
    );
}

#[test]
fn a_key_that_needs_a_passphrase_in_both_forms() {
    let workshop = workshop("encrypted");
    workshop.key("plain", "P-256");
    workshop.run("pkcs8 -topk8 -in plain.key -passout pass:abcd -out modern.key");
    workshop.run("ec -in plain.key -aes128 -passout pass:abcd -out legacy.key");
    for name in ["modern.key", "legacy.key"] {
        let key = workshop.path(name);
        set_mode(&key, 0o600);
        refused(&with_key(key.clone()), "key_encrypted", &key);
    }
}

#[test]
fn a_key_that_others_may_read_or_that_belongs_to_somebody_else() {
    let workshop = workshop("access");
    let pair = workshop.issue(Order::default());
    for mode in [0o640, 0o604, 0o660, 0o644, 0o601] {
        set_mode(&pair.key, mode);
        refused(&pair, "key_permissions", &pair.key);
    }
    set_mode(&pair.key, 0o600);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return skipped("a key of somebody else", "only root can give a file away");
    }
    chown(&pair.key, Some(4321), None).unwrap();
    refused(&pair, "key_owner", &pair.key);
}

#[test]
fn a_key_of_another_certificate() {
    let workshop = workshop("mismatch");
    for kind in ["P-256", "rsa:2048"] {
        let pair = workshop.issue(Order {
            key: kind,
            ..Order::default()
        });
        workshop.key("other", kind);
        let key = workshop.path("other.key");
        let swapped = Pair {
            key: key.clone(),
            ..pair
        };
        refused(&swapped, "key_mismatch", &key);
    }
}

#[test]
fn a_type_of_key_that_cannot_sign_here_is_called_by_its_name() {
    let workshop = workshop("types");
    for (kind, name) in [("P-521", "P-521"), ("rsa:1024", "1024")] {
        let pair = workshop.issue(Order {
            key: kind,
            ..Order::default()
        });
        expect_refused(&device(&pair), "key_unsupported", name);
    }
}

#[test]
fn a_certificate_that_has_expired() {
    let workshop = workshop("expired");
    let pair = workshop.issue(Order {
        dates: Some(("20230101000000Z", "20240101000000Z")),
        ..Order::default()
    });
    refused(&pair, "expired", &pair.certificate);
}

#[test]
fn a_certificate_for_servers_only() {
    let workshop = workshop("purpose");
    let pair = workshop.issue(Order {
        extensions: Some("extendedKeyUsage = serverAuth\n"),
        ..Order::default()
    });
    refused(&pair, "no_client_auth", &pair.certificate);
}

#[test]
fn a_common_name_that_is_missing_or_no_eui() {
    let workshop = workshop("names");
    for subject in [
        "/O=Somebody",
        "/CN=gateway-17",
        "/CN=0123456789ABCDE",
        "/CN=0123456789ABCDEF0",
        "/CN=0123456789ABCDEG",
        "/CN=01-23-45-67-89-AB-CD-EF",
    ] {
        let pair = workshop.issue(Order {
            subject,
            ..Order::default()
        });
        refused(&pair, "cn_not_eui", &pair.certificate);
    }
}

#[test]
fn an_eui_in_the_configuration_that_names_another_gateway() {
    let mut device = device(&SCENE.pki.device);
    for eui in [
        "0123456789ABCDEE",
        "01-23-45-67-89-ab-cd-ee",
        "123:4567:89ab:cdee",
    ] {
        device.set("eui", eui);
        expect_refused(&device, "eui_differs", "the configuration (eui)");
    }
}

#[test]
fn a_routerid_of_basic_station_that_names_another_gateway() {
    let device = device(&SCENE.pki.device);
    let conf = device.path("station/station.conf");
    for router in ["1:2:3:4", "01-02-03-04-05-06-07-08", "b8:27:eb:12:34:56"] {
        let text = format!("{{ /* ours */ \"station_conf\": {{ \"routerid\": \"{router}\" }} }}");
        fs::write(&conf, text).unwrap();
        expect_refused(&device, "eui_differs", conf.to_str().unwrap());
    }
    let named = device.path("station/eui.txt");
    fs::write(&named, "1:2:3:4\n").unwrap();
    fs::write(&conf, r#"{ "station_conf": { "routerid": "eui.txt" } }"#).unwrap();
    expect_refused(&device, "eui_differs", named.to_str().unwrap());
}
