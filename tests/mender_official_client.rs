//! Mender's own client against the double of ambassador and server: what it is granted shows that
//! the double is no stricter than the real ones, and what it sends is the pattern for ours.
//!
//! `tests/run mender` fetches the client and names it in `MTLS_MENDER`. The client looks for its
//! scripts and the name of the artifact in places that cannot be changed, so it runs in a mount
//! namespace with an own `/etc` and `/usr/share`.

#![cfg(feature = "daemon")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails; it names its programs and measures its waits"
)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mtls_lab::http::Request;
use mtls_lab::mender::{At, Config, Door, MenderDouble, Recorded, Status, Trouble};
use mtls_lab::openssl::{Order, Workshop, set_mode};
use mtls_lab::pki::Pair;
use serde_json::Value;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);
const MAC: &str = "02:00:00:ab:cd:01";
const AUTH: &str = "/api/devices/v1/authentication/auth_requests";
const INVENTORY: &str = "/api/devices/v1/inventory/device/attributes";
const NEXT: &str = "/api/devices/v2/deployments/device/deployments/next";

/// A device with the client on it; its folder goes when it is dropped.
struct Device {
    dir: PathBuf,
    workshop: Workshop,
}

impl Device {
    /// With the certificates of this extension file for device and server, or X.509v1 ones.
    fn new(name: &str, key: &str, version_3: bool) -> Self {
        let dir = std::env::temp_dir().join(format!("mtls-mender-{name}-{}", std::process::id()));
        let _left_behind = fs::remove_dir_all(&dir);
        let folders = [
            "share/mender/identity",
            "share/mender/inventory",
            "etc/mender",
            "data",
        ];
        for folder in folders {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        fs::write(dir.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        let artifact = "artifact_name=release-1\n";
        fs::write(dir.join("etc/mender/artifact_info"), artifact).unwrap();
        let scripts = [
            ("identity/mender-device-identity", format!("mac={MAC}")),
            ("inventory/mender-inventory-place", "place=mast".to_owned()),
        ];
        for (path, line) in scripts {
            let path = dir.join("share/mender").join(path);
            fs::write(&path, format!("#!/bin/sh\necho '{line}'\n")).unwrap();
            set_mode(&path, 0o755);
        }
        let workshop = Workshop::open(&dir.join("pki"));
        workshop.root("root", "P-256");
        let server = "subjectAltName = DNS:localhost\n";
        workshop.issue(Order {
            name: "server",
            subject: "/CN=localhost",
            extensions: version_3.then_some(server),
            ..Order::default()
        });
        workshop.issue(Order {
            name: "device",
            subject: "/O=Example/CN=gateway",
            key,
            extensions: version_3.then_some("extendedKeyUsage = clientAuth\n"),
            ..Order::default()
        });
        Self { dir, workshop }
    }

    fn server(&self) -> Pair {
        self.workshop.pair("server")
    }

    fn ambassador(&self) -> MenderDouble {
        let door = Door::Ambassador {
            server: self.server(),
            client_root: self.workshop.path("root.pem"),
        };
        MenderDouble::start(Config::new(door)).unwrap()
    }

    fn client(&self, uri: &str, words: &[&str]) -> Command {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let configuration = serde_json::json!({
            "ServerURL": uri,
            "ServerCertificate": text(self.workshop.path("root.pem")),
            "TenantToken": "tenant.token.value",
            "HttpsClient": {
                "Certificate": text(self.workshop.path("device.pem")),
                "Key": text(self.workshop.path("device.key")),
            },
            "DBus": { "Enabled": false },
            "UpdatePollIntervalSeconds": 2,
            "InventoryPollIntervalSeconds": 2,
            "RetryPollIntervalSeconds": 1,
        });
        fs::write(self.dir.join("mender.conf"), configuration.to_string()).unwrap();
        let device_type = self.dir.join("data/device_type");
        fs::write(device_type, "device_type=gateway\n").unwrap();
        let program = std::env::var("MTLS_MENDER").expect("MTLS_MENDER names the client");
        let mut command = Command::new("unshare");
        // The shell becomes the client, so that killing it ends all of it.
        let script = "mount --bind \"$1/share\" /usr/share && mount --bind \"$1/etc\" /etc && \
            shift 1 && exec \"$@\"";
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(&self.dir).arg(program).arg("--no-syslog");
        command.arg("--config").arg(self.dir.join("mender.conf"));
        command.arg("--data").arg(self.dir.join("data"));
        command.args(words).stdin(Stdio::null());
        let log = fs::File::create(self.dir.join("log")).unwrap();
        command.stderr(log.try_clone().unwrap()).stdout(log);
        command
    }

    fn daemon(&self, uri: &str) -> Daemon<'_> {
        let child = self.client(uri, &["daemon"]).spawn().unwrap();
        Daemon {
            child,
            device: self,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.dir);
    }
}

/// The running client; it is killed when dropped.
struct Daemon<'a> {
    child: Child,
    device: &'a Device,
}

impl Daemon<'_> {
    fn until(&self, what: &str, seen: impl Fn() -> bool) {
        let begun = Instant::now();
        while !seen() {
            assert!(begun.elapsed() < LIMIT, "no {what}:\n{}", self.device.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn asked(double: &MenderDouble, path: &str, status: u16) -> Option<Recorded> {
    let mut requests = double.requests().into_iter().rev();
    let fits = |seen: &Recorded| seen.request.path == path && seen.status == Some(status);
    requests.find(fits)
}

fn names(request: &Request) -> Vec<&str> {
    request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect()
}

#[test]
#[ignore = "needs Mender's client: tests/run mender"]
fn it_is_accepted_by_its_certificate_alone_and_reports_and_polls() {
    let device = Device::new("accepted", "P-256", true);
    let double = device.ambassador();
    let daemon = device.daemon(&double.uri());
    daemon.until("poll", || asked(&double, NEXT, 204).is_some());
    daemon.until("inventory", || asked(&double, INVENTORY, 200).is_some());
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
            .client(&double.uri(), &["bootstrap"])
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
    let daemon = device.daemon(&double.uri());
    daemon.until("auth request", || asked(&double, AUTH, 401).is_some());
    let devices = double.devices();
    assert_eq!(devices[0].status(), Some(Status::Pending));
    assert!(double.requests().iter().all(|seen| seen.client.is_none()));
    double.accept(&devices[0].sets[0].id);
    daemon.until("token", || asked(&double, AUTH, 200).is_some());
}

#[test]
#[ignore = "needs Mender's client: tests/run mender"]
fn a_token_that_ended_is_replaced() {
    let device = Device::new("replaced", "P-256", true);
    let double = device.ambassador();
    let daemon = device.daemon(&double.uri());
    daemon.until("poll", || asked(&double, NEXT, 204).is_some());
    let tokens = || {
        double
            .requests()
            .iter()
            .filter(|seen| seen.request.path == AUTH)
            .count()
    };
    let before = tokens();
    double.delete_token(&double.devices()[0].sets[0].id);
    daemon.until("second token", || tokens() > before);
    double.trouble(At::Deployments, 1, Trouble::ServerError);
    daemon.until("poll after trouble", || asked(&double, NEXT, 500).is_some());
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
    let child = Command::new("/usr/sbin/haproxy")
        .arg("-db")
        .arg("-f")
        .arg(file)
        .spawn()
        .unwrap();
    let _proxy = Daemon {
        child,
        device: &device,
    };
    let daemon = device.daemon(&format!("https://localhost:{port}"));
    daemon.until("inventory", || asked(&double, INVENTORY, 200).is_some());
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
