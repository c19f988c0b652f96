//! Plays: one device with a certificate for Mender's ambassador, and the programs on it: Mender's
//! own client, ours, and whatever else is started there.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mtls_lab::http::Request;
use mtls_lab::mender::{Config, Door, MenderDouble, Recorded};
use mtls_lab::openssl::{Order, Workshop, set_mode};
use mtls_lab::pki::Pair;
use serde_json::{Value, json};

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const MAC: &str = "02:00:00:ab:cd:01";
pub(crate) const AUTH: &str = "/api/devices/v1/authentication/auth_requests";
pub(crate) const INVENTORY: &str = "/api/devices/v1/inventory/device/attributes";
pub(crate) const NEXT: &str = "/api/devices/v2/deployments/device/deployments/next";
/// Makes a mount namespace of its own: the programs look in places that cannot be changed.
const NAMESPACE: &str = "mount --bind \"$1/share\" /usr/share && mount --bind \"$1/etc\" /etc && \
    mount --bind \"$1/net\" /sys/class/net && shift 1 && exec \"$@\"";

/// A device; its folder goes when it is dropped.
pub(crate) struct Device {
    pub(crate) dir: PathBuf,
    pub(crate) workshop: Workshop,
}

impl Device {
    /// Its certificate and the server's are of version 3, or of version 1.
    pub(crate) fn new(name: &str, key: &str, version_3: bool) -> Self {
        let dir = std::env::temp_dir().join(format!("mtls-mender-{name}-{}", std::process::id()));
        let _left_behind = fs::remove_dir_all(&dir);
        let folders = [
            "share/mender/identity",
            "share/mender/inventory",
            "etc/mender",
            "data",
            "net/lo/device",
        ];
        for folder in folders {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let files = [
            ("etc/hosts", "127.0.0.1 localhost\n".to_owned()),
            (
                "etc/mender/artifact_info",
                "artifact_name=release-1\n".to_owned(),
            ),
            ("data/device_type", "device_type=gateway\n".to_owned()),
            // The same interface on every machine.
            ("net/lo/address", format!("{MAC}\n")),
            ("net/lo/ifindex", "1\n".to_owned()),
        ];
        for (path, text) in files {
            fs::write(dir.join(path), text).unwrap();
        }
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

    pub(crate) fn server(&self) -> Pair {
        self.workshop.pair("server")
    }

    pub(crate) fn ambassador(&self) -> MenderDouble {
        MenderDouble::start(self.ambassador_config()).unwrap()
    }

    pub(crate) fn ambassador_config(&self) -> Config {
        let door = Door::Ambassador {
            server: self.server(),
            client_root: self.workshop.path("root.pem"),
        };
        Config::new(door)
    }

    /// What both programs read.
    pub(crate) fn configuration(&self, uri: &str) -> Value {
        json!({
            "ServerURL": uri,
            "ServerCertificate": self.workshop.path("root.pem"),
            "TenantToken": "tenant.token.value",
            "HttpsClient": {
                "Certificate": self.workshop.path("device.pem"),
                "Key": self.workshop.path("device.key"),
            },
            "DBus": { "Enabled": false },
            "UpdatePollIntervalSeconds": 2,
            "InventoryPollIntervalSeconds": 2,
            "RetryPollIntervalSeconds": 1,
        })
    }

    /// Mender's own client.
    pub(crate) fn client(&self, configuration: &Value, words: &[&str]) -> Command {
        let file = self.dir.join("mender.conf");
        fs::write(&file, configuration.to_string()).unwrap();
        let program = std::env::var("MTLS_MENDER").expect("MTLS_MENDER names the client");
        let mut command = self.inside(&program);
        command.arg("--no-syslog").arg("--config").arg(file);
        command.arg("--data").arg(self.dir.join("data"));
        command.args(words);
        self.logged(command, "mender")
    }

    /// Ours, with settings of its own under the name `MtlsAgent`.
    pub(crate) fn agent(&self, configuration: &Value, own: &Value, words: &[&str]) -> Command {
        let mut configuration = configuration.clone();
        let mut all = json!({
            "runtime_dir": self.dir.join("run"),
            "mender": { "data_dir": self.dir.join("data"), "fallback_conf": self.dir.join("none") },
            // Tests may run on a machine that has just been started.
            "wait": { "boot_s_max": 0, "retry_s_max": 1 },
        });
        for (name, value) in own.as_object().expect("an object") {
            all["mender"][name] = value.clone();
        }
        configuration["MtlsAgent"] = all;
        let file = self.dir.join("agent-mender.conf");
        fs::write(&file, configuration.to_string()).unwrap();
        let program = std::env::var("MTLS_AGENT");
        let program = program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_mtls-agent").to_owned());
        let mut command = self.inside(&program);
        command.args(words).arg("--config").arg(file);
        self.logged(command, "agent")
    }

    /// A program that sees the device's own `/etc`, `/usr/share` and interfaces.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        // The shell becomes the program, so that killing it ends all of it.
        command.args(["--map-root-user", "--mount", "sh", "-c", NAMESPACE, "sh"]);
        command.arg(&self.dir).arg(program);
        command
    }

    /// With everything it says in the log of this name.
    pub(crate) fn logged(&self, mut command: Command, name: &str) -> Command {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("{name}.log")))
            .unwrap();
        command.stdin(Stdio::null());
        command.stderr(log.try_clone().unwrap()).stdout(log);
        command
    }

    /// Everything that was said so far, by whomever.
    pub(crate) fn log(&self) -> String {
        let mut said = String::new();
        for entry in fs::read_dir(&self.dir).unwrap().flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "log") {
                let text = fs::read(entry.path()).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let name = entry.path().display().to_string();
                said.extend(["--- ", &name, "\n", &text]);
            }
        }
        said
    }

    pub(crate) fn until(&self, what: &str, seen: impl Fn() -> bool) {
        let begun = Instant::now();
        while !seen() {
            assert!(begun.elapsed() < LIMIT, "no {what}:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.dir);
    }
}

/// A running program; it is killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The last request for this path that was answered so.
pub(crate) fn asked(double: &MenderDouble, path: &str, status: u16) -> Option<Recorded> {
    let mut requests = double.requests().into_iter().rev();
    let fits = |seen: &Recorded| seen.request.path == path && seen.status == Some(status);
    requests.find(fits)
}

/// The names of the headers, in their order and as they were written.
pub(crate) fn names(request: &Request) -> Vec<&str> {
    let headers = request.headers.iter();
    headers.map(|(name, _)| name.as_str()).collect()
}
