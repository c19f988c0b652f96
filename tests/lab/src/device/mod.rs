//! Plays: one gateway with its files, and the agent's real binary on it.

mod mender;
mod service;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use self::mender::{IDENTITY, MenderDevice};
pub use self::service::Service;
use crate::cups::{self, CupsDouble, Gateway};
use crate::front::{self, Front};
use crate::lns::{self, LnsDouble};
use crate::pki::Pki;

/// The gateway of every test.
pub const EUI: &str = "0123456789ABCDEF";

/// Longer than any run of a command can take unless it hangs.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// A folder of its own that goes with it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    ///
    /// # Panics
    /// The system's temporary folder cannot be written.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each one is another folder")]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mtls-agent-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it was just made");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Certificates and well-behaved servers: a proxy before CUPS, and an LNS.
#[derive(Debug)]
pub struct Surroundings {
    /// All certificates.
    pub pki: Pki,
    /// CUPS, which knows the gateway [`EUI`] only after [`Surroundings::offer`].
    pub cups: CupsDouble,
    /// The LNS; it takes any token unless told otherwise.
    pub lns: LnsDouble,
    /// The proxy.
    pub front: Front,
}

impl Surroundings {
    /// Starts everything; the certificates are written below `dir`.
    ///
    /// # Panics
    /// No port is left.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        let pki = Pki::make(&dir.join("pki"), EUI);
        let cups = CupsDouble::start(&cups::Config {
            ca_store: vec![pki.client_issuing.clone()],
            ..cups::Config::default()
        })
        .expect("a port is free");
        let lns = LnsDouble::start(&lns::Config {
            tls: Some(pki.lns.server.clone()),
            ..lns::Config::default()
        })
        .expect("a port is free");
        let front = Front::start(front::Config::new(&pki, cups.address())).expect("a port is free");
        Self {
            pki,
            cups,
            lns,
            front,
        }
    }

    /// Has CUPS offer this LNS key from now on.
    pub fn offer(&self, key: &str) {
        let gateway = Gateway {
            lns_uri: self.lns.uri(),
            lns_trust_der: self.pki.lns.root_der.clone(),
            lns_key: Some(key.to_owned()),
            cups_target: None,
        };
        self.cups.set_gateway(EUI, gateway);
    }
}

/// One gateway: a folder, a configuration and the agent's binary.
#[derive(Debug)]
pub struct Device {
    scratch: Scratch,
    binary: PathBuf,
    launcher: String,
    /// The configuration; written before each run.
    pub settings: Value,
}

/// What one run of a command came to.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` if it hung, or ended by a signal.
    pub code: Option<i32>,
    /// The object on standard output; null if there was none.
    pub said: Value,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub log: String,
}

impl Ran {
    /// A text member of the object; empty when it is missing or not a text.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.said
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The codes of what `check` warns about, in its order.
    #[must_use]
    pub fn warnings(&self) -> Vec<&str> {
        self.codes("warning")
    }

    /// The codes of what `check` found to be wrong, in its order.
    #[must_use]
    pub fn failures(&self) -> Vec<&str> {
        self.codes("failed")
    }

    fn codes(&self, result: &str) -> Vec<&str> {
        let checks = self.said.get("checks").and_then(Value::as_array);
        checks
            .into_iter()
            .flatten()
            .filter(|check| check.get("result").and_then(Value::as_str) == Some(result))
            .filter_map(|check| check.get("code").and_then(Value::as_str))
            .collect()
    }
}

impl Device {
    /// A gateway with the identity and the anchor of `pki` which asks a CUPS at `localhost`.
    ///
    /// # Panics
    /// Its folders cannot be made.
    #[must_use]
    pub fn new(binary: &str, pki: &Pki, cups: SocketAddr) -> Self {
        let scratch = Scratch::new();
        let dir = scratch.path();
        for folder in ["data", "station"] {
            fs::create_dir(dir.join(folder)).expect("a new folder can be written");
        }
        let settings = json!({
            "data_dir": dir.join("data"),
            "runtime_dir": dir.join("run"),
            "identity": { "certificate": pki.device.certificate, "key": pki.device.key },
            "trust_anchors": [pki.server_root],
            "cups": { "uri": format!("https://localhost:{}", cups.port()) },
            "lns": { "station_home": dir.join("station") },
            "network": { "connect_s": 5, "response_s": 5, "total_s": 10 },
            // Tests may run on a machine that has just been started.
            "wait": { "boot_s_max": 0, "retry_s_max": 1 },
        });
        Self {
            scratch,
            binary: binary.into(),
            launcher: String::new(),
            settings,
        }
    }

    /// The gateway's folder: `data`, `run`, `station` and `agent.json` are in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Changes one setting: `cups.poll_s`.
    ///
    /// # Panics
    /// The name has more than two parts.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        put(&mut self.settings, name, value.into());
    }

    /// Has the binary started by another program from now on: `setpriv --nnp --`.
    pub fn launch_by(&mut self, launcher: &str) {
        launcher.clone_into(&mut self.launcher);
    }

    /// Writes the configuration to `agent.json`.
    ///
    /// # Panics
    /// The folder cannot be written.
    pub fn configure(&self) {
        let (path, fresh) = (self.path("agent.json"), self.path("agent.json.new"));
        fs::write(&fresh, self.settings.to_string()).expect("the folder can be written");
        fs::rename(fresh, path).expect("the folder can be written");
    }

    /// Runs one command with `--config` to its end: `once --json`.
    ///
    /// # Panics
    /// The binary cannot be started.
    #[must_use]
    pub fn run(&self, words: &str) -> Ran {
        finish(self.command(words), self.scratch.path())
    }

    /// Starts the service.
    #[must_use]
    pub fn serve(&self) -> Service {
        self.serve_with(&[])
    }

    /// Starts the service with more variables in its environment.
    #[must_use]
    pub fn serve_with(&self, variables: &[(&str, &str)]) -> Service {
        let mut command = self.command("run");
        command.envs(variables.iter().copied());
        Service::start(command, self.scratch.path())
    }

    /// Starts the service in its folder, with a configuration named without one.
    #[must_use]
    pub fn serve_in_place(&self) -> Service {
        self.configure();
        let mut command = self.program();
        command
            .args(["run", "--config", "agent.json"])
            .current_dir(self.scratch.path())
            .stdin(Stdio::null());
        Service::start(command, self.scratch.path())
    }

    /// Plants a set of Basic Station's own in its home, with a token.
    ///
    /// # Panics
    /// The folder cannot be written.
    pub fn plant_station(&self, lns_uri: &str, trust: &[u8], token: &str) {
        let line = format!("Authorization: Bearer {token}\n");
        let files: [(&str, &[u8]); 3] = [
            ("tc.uri", lns_uri.as_bytes()),
            ("tc.trust", trust),
            ("tc.key", line.as_bytes()),
        ];
        for (name, octets) in files {
            fs::write(self.path("station").join(name), octets).expect("the folder can be written");
        }
    }

    /// The binary, without any words yet.
    fn program(&self) -> Command {
        let mut words = self.launcher.split_whitespace();
        let Some(first) = words.next() else {
            return Command::new(&self.binary);
        };
        let mut command = Command::new(first);
        command.args(words).arg(&self.binary);
        command
    }

    fn command(&self, words: &str) -> Command {
        self.configure();
        let mut command = self.program();
        command
            .args(words.split_whitespace())
            .arg("--config")
            .arg(self.path("agent.json"))
            .stdin(Stdio::null());
        command
    }
}

/// Runs a command to its end; what it says is kept in `dir`.
fn finish(mut command: Command, dir: &Path) -> Ran {
    let (out, log) = (dir.join("out"), dir.join("log"));
    let create = |path| fs::File::create(path).expect("the folder can be written");
    let mut child = command
        .stdout(create(&out))
        .stderr(create(&log))
        .spawn()
        .expect("the agent can be started");
    let limit = Instant::now() + RUN_LIMIT;
    let code = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status.code();
        }
        if Instant::now() > limit {
            drop(child.kill());
            drop(child.wait());
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let read = |path| {
        let octets = fs::read(path).expect("it was just made");
        String::from_utf8_lossy(&octets).into_owned()
    };
    let (out, log) = (read(&out), read(&log));
    Ran {
        code,
        said: serde_json::from_str(&out).unwrap_or_default(),
        out,
        log,
    }
}

/// Changes the member `name` of an object; groups are separated by dots.
fn put(object: &mut Value, name: &str, value: Value) {
    let mut place = object;
    for part in name.split('.') {
        if place.is_null() {
            *place = json!({});
        }
        let object = place.as_object_mut().expect("a group of settings");
        place = object.entry(part).or_insert(Value::Null);
    }
    *place = value;
}
