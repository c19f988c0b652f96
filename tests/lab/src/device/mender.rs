//! Plays: one device of a Mender server with its files, and the agent's real binary on it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Ran, Scratch, Service, finish, put};
use crate::openssl::set_mode;
use crate::pki::Pki;

/// The identity of every device that is not told otherwise.
pub const IDENTITY: &str = r#"{"mac":"02:00:00:ab:cd:01"}"#;

/// One device: a folder with Mender's files, and the agent's binary.
#[derive(Debug)]
pub struct MenderDevice {
    scratch: Scratch,
    binary: PathBuf,
    /// `mender.conf`; written before each run.
    pub conf: Value,
    /// Our own settings: `agent.json`, or `MtlsAgent` in `mender.conf`.
    pub settings: Value,
    /// Whether the agent is pointed at `mender.conf` instead of `agent.json`.
    pub by_conf: bool,
}

impl MenderDevice {
    /// A device with the certificate of `pki` and an identity script, which knows no server yet.
    ///
    /// # Panics
    /// Its folders cannot be made.
    #[must_use]
    pub fn new(binary: &str, pki: &Pki) -> Self {
        let scratch = Scratch::new();
        let dir = scratch.path();
        for folder in ["data", "share/identity", "share/inventory"] {
            fs::create_dir_all(dir.join(folder)).expect("a new folder can be written");
        }
        let device = Self {
            binary: binary.into(),
            conf: json!({
                "ServerCertificate": pki.server_root,
                "HttpsClient": { "Certificate": pki.device.certificate, "Key": pki.device.key },
            }),
            settings: json!({
                "runtime_dir": dir.join("run"),
                "mender": {
                    "fallback_conf": dir.join("data/mender.conf"),
                    "data_dir": dir.join("data"),
                    "share_dir": dir.join("share"),
                    "dbus": false,
                    "forwarder": "",
                    "system_roots": false,
                },
                "network": { "connect_s": 5, "response_s": 5, "total_s": 10 },
                // Tests may run on a machine that has just been started.
                "wait": { "boot_s_max": 0, "retry_s_max": 1 },
            }),
            by_conf: false,
            scratch,
        };
        device.identity_script("echo mac=02:00:00:ab:cd:01");
        fs::write(device.path("data/device_type"), "device_type=gateway\n")
            .expect("a new folder can be written");
        device
    }

    /// The device's folder: `data`, `share`, `run` and the configuration are in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Asks this server, and none else.
    pub fn server(&mut self, uri: &str) {
        self.conf("ServerURL", uri);
    }

    /// Asks these servers in turn.
    pub fn servers(&mut self, uris: &[&str]) {
        let entry = |uri: &&str| json!({ "ServerURL": uri });
        let list: Vec<Value> = uris.iter().map(entry).collect();
        self.conf("Servers", list);
    }

    /// Changes one key of `mender.conf`: `HttpsClient.Key`.
    pub fn conf(&mut self, name: &str, value: impl Into<Value>) {
        put(&mut self.conf, name, value.into());
    }

    /// Changes one of our settings: `mender.inventory`.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        put(&mut self.settings, name, value.into());
    }

    /// Takes a key out of `mender.conf`.
    pub fn without(&mut self, name: &str) {
        self.conf.as_object_mut().map(|object| object.remove(name));
    }

    /// Replaces the identity script by these lines for the shell.
    pub fn identity_script(&self, text: &str) {
        self.script("share/identity/mender-device-identity", text);
    }

    /// Adds `mender-inventory-NAME` with these lines for the shell, or replaces it.
    pub fn inventory_script(&self, name: &str, text: &str) {
        self.script(&format!("share/inventory/mender-inventory-{name}"), text);
    }

    /// Writes an executable script; one that runs is not disturbed.
    ///
    /// # Panics
    /// The folder cannot be written.
    pub fn script(&self, name: &str, text: &str) {
        let (path, fresh) = (self.path(name), self.path("script.new"));
        fs::write(&fresh, format!("#!/bin/sh\n{text}\n")).expect("the folder can be written");
        set_mode(&fresh, 0o755);
        fs::rename(fresh, path).expect("the folder can be written");
    }

    /// Writes both configurations.
    ///
    /// # Panics
    /// The folder cannot be written.
    pub fn configure(&self) {
        let (mut conf, mut settings) = (self.conf.clone(), self.settings.clone());
        if self.by_conf {
            put(&mut conf, "MtlsAgent", settings);
            self.replace("mender.conf", &conf);
            return;
        }
        put(&mut settings, "service", "mender".into());
        put(
            &mut settings,
            "mender.conf",
            json!(self.path("mender.conf")),
        );
        self.replace("mender.conf", &conf);
        self.replace("agent.json", &settings);
    }

    /// Runs one command with `--config` to its end: `once --json`.
    ///
    /// # Panics
    /// The binary cannot be started.
    #[must_use]
    pub fn run(&self, words: &str) -> Ran {
        finish(self.command(words), self.scratch.path())
    }

    /// Starts the service, which asks its server at once.
    #[must_use]
    pub fn serve(&self) -> Service {
        let service = self.serve_later();
        service.until("a control socket", |_| self.told("refresh") == "ok");
        service
    }

    /// Starts the service, which asks its server within seconds.
    #[must_use]
    pub fn serve_later(&self) -> Service {
        Service::start(self.command("run"), self.scratch.path())
    }

    /// What the control socket answers to a line; empty while nobody listens.
    #[must_use]
    pub fn told(&self, line: &str) -> String {
        let mut answer = String::new();
        let told = UnixStream::connect(self.path("run/control.sock")).and_then(|mut stream| {
            writeln!(stream, "{line}")?;
            stream.read_to_string(&mut answer)
        });
        drop(told);
        answer.trim().to_owned()
    }

    /// Has the running agent ask its server now.
    ///
    /// # Panics
    /// It does not listen.
    pub fn refresh(&self) {
        assert_eq!(self.told("refresh"), "ok");
    }

    fn command(&self, words: &str) -> Command {
        self.configure();
        let name = if self.by_conf {
            "mender.conf"
        } else {
            "agent.json"
        };
        let mut command = Command::new(&self.binary);
        command
            .args(words.split_whitespace())
            .arg("--config")
            .arg(self.path(name))
            .stdin(Stdio::null());
        command
    }

    fn replace(&self, name: &str, object: &Value) {
        let (path, fresh) = (self.path(name), self.path(&format!("{name}.new")));
        write(&fresh, object);
        fs::rename(fresh, path).expect("the folder can be written");
    }
}

fn write(path: &Path, object: &Value) {
    fs::write(path, object.to_string()).expect("the folder can be written");
    set_mode(path, 0o600);
}
