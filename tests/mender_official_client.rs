//! Mender's own client against the double of ambassador and server: what it is granted shows that
//! the double is no stricter than the real ones, and what it sends is the pattern for ours.
//!
//! `tests/run mender` fetches the client and names it in `MTLS_MENDER`. The client looks for its
//! scripts and the name of the artifact in places that cannot be changed, so it runs in a mount
//! namespace with an own `/etc` and `/usr/share`.

#![cfg(feature = "daemon")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails; it names its programs and measures its waits"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod mender_device;
}

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use mtls_lab::mender::{At, Config, Door, MenderDouble, Status, Trouble};
use serde_json::Value;
use support::mender_device::{AUTH, Device, INVENTORY, MAC, NEXT, Running, asked, names};

fn daemon(device: &Device, uri: &str) -> Running {
    Running::start(device.client(&device.configuration(uri), &["daemon"]))
}

#[test]
#[ignore = "needs Mender's client: tests/run mender"]
fn it_is_accepted_by_its_certificate_alone_and_reports_and_polls() {
    let device = Device::new("accepted", "P-256", true);
    let double = device.ambassador();
    let _daemon = daemon(&device, &double.uri());
    device.until("poll", || asked(&double, NEXT, 204).is_some());
    device.until("inventory", || asked(&double, INVENTORY, 200).is_some());
    let devices = double.devices();
    assert_eq!(devices.len(), 1);
    assert_eq!(devices[0].identity.text, format!(r#"{{"mac":"{MAC}"}}"#));
    assert_eq!(devices[0].status(), Some(Status::Accepted));
    let inventory = double.inventory(&devices[0].id).unwrap();
    assert_eq!(inventory.get("place"), Some(&Value::from("mast")));
    assert_eq!(inventory.get("device_type"), Some(&Value::from("gateway")));

    let first = &double.requests()[0];
    assert_eq!(
        (first.request.path.as_str(), first.status),
        (AUTH, Some(200))
    );
    let leaf = first.client.as_ref().unwrap();
    assert_eq!(
        (leaf.subject.as_str(), leaf.version),
        ("CN=gateway,O=Example", 3)
    );
    assert_eq!(leaf.key_sha256, devices[0].sets[0].key_sha256);
    let expected = [
        "Host",
        "User-Agent",
        "Content-Length",
        "Authorization",
        "Content-Type",
        "X-Men-Signature",
        "Accept-Encoding",
    ];
    assert_eq!(names(&first.request), expected);
    let authorization = first.request.header("authorization");
    assert_eq!(authorization, Some("Bearer tenant.token.value"));
    assert!(first.request.body.ends_with(b"\"}\n"));
    // It made no key of its own: the certificate's signs.
    assert!(!Path::new(&device.dir.join("data/mender-agent.pem")).exists());
}

#[test]
#[ignore = "needs Mender's client: tests/run mender"]
fn keys_of_every_kind_and_certificates_of_the_first_version_are_taken() {
    for (name, key, version_3) in [
        ("p256-v1", "P-256", false),
        ("p384", "P-384", true),
        ("p521", "P-521", true),
        ("rsa", "rsa:2048", true),
    ] {
        let device = Device::new(name, key, version_3);
        let double = device.ambassador();
        let ended = device
            .client(&device.configuration(&double.uri()), &["bootstrap"])
            .status()
            .unwrap();
        let asked = double.requests();
        assert!(
            ended.success() && !asked.is_empty(),
            "{name}: {}",
            device.log()
        );
        assert_eq!(asked[0].status, Some(200), "{name}");
        let version = asked[0].client.as_ref().map(|leaf| leaf.version);
        assert_eq!(version, Some(if version_3 { 3 } else { 1 }), "{name}");
    }
}

#[test]
#[ignore = "needs Mender's client: tests/run mender"]
fn without_the_ambassador_it_waits_for_a_person_and_goes_on_when_accepted() {
    let device = Device::new("pending", "P-256", true);
    let server = device.server();
    let double = MenderDouble::start(Config::new(Door::Server { server })).unwrap();
    let _daemon = daemon(&device, &double.uri());
    device.until("auth request", || asked(&double, AUTH, 401).is_some());
    let devices = double.devices();
    assert_eq!(devices[0].status(), Some(Status::Pending));
    assert!(double.requests().iter().all(|seen| seen.client.is_none()));
    double.accept(&devices[0].sets[0].id);
    device.until("token", || asked(&double, AUTH, 200).is_some());
}

#[test]
#[ignore = "needs Mender's client: tests/run mender"]
fn a_token_that_ended_is_replaced() {
    let device = Device::new("replaced", "P-256", true);
    let double = device.ambassador();
    let _daemon = daemon(&device, &double.uri());
    device.until("poll", || asked(&double, NEXT, 204).is_some());
    let tokens = || {
        double
            .requests()
            .iter()
            .filter(|seen| seen.request.path == AUTH)
            .count()
    };
    let before = tokens();
    double.delete_token(&double.devices()[0].sets[0].id);
    device.until("second token", || tokens() > before);
    double.trouble(At::Deployments, 1, Trouble::ServerError);
    device.until("poll after trouble", || asked(&double, NEXT, 500).is_some());
}

#[test]
#[ignore = "needs Mender's client and HAProxy: tests/run mender"]
fn it_is_accepted_through_a_real_proxy_that_passes_the_certificate_on() {
    let device = Device::new("proxy", "P-256", true);
    let double = MenderDouble::start(Config::new(Door::BehindProxy)).unwrap();
    let both = device
        .workshop
        .join("both.pem", &["server.pem", "server.key"]);
    // Free a moment ago; HAProxy cannot choose one itself.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let configuration = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend devices\n bind 127.0.0.1:{port} ssl crt {} ca-file {} verify required\n \
         http-request set-header X-Client-Cert %[ssl_c_der,base64]\n \
         default_backend mender\nbackend mender\n server mender {}\n",
        both.display(),
        device.workshop.path("root.pem").display(),
        double.address(),
    );
    let file = device.dir.join("haproxy.cfg");
    fs::write(&file, configuration).unwrap();
    // Without worker processes, so that killing it ends all of it.
    let mut proxy = Command::new("/usr/sbin/haproxy");
    proxy.arg("-db").arg("-f").arg(file);
    let _proxy = Running::start(proxy);
    let _daemon = daemon(&device, &format!("https://localhost:{port}"));
    device.until("inventory", || asked(&double, INVENTORY, 200).is_some());
    let requests = double.requests();
    let granted = requests
        .iter()
        .find(|seen| seen.request.path == AUTH)
        .unwrap();
    assert_eq!(granted.status, Some(200));
    assert_eq!(
        granted.client.as_ref().unwrap().subject,
        "CN=gateway,O=Example"
    );
}
