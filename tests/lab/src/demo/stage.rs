//! Sets: the stage of the demonstration, and looks at what the agent left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mtls_lab::cups::{self, CupsDouble, Gateway};
use mtls_lab::front::{self, Front};
use mtls_lab::lns::{self, LnsDouble};
use mtls_lab::pki::{Pair, Pki};
use mtls_lab::tls;
use serde_json::json;

use super::agent::{self, Run};
use super::tell::Checks;
use crate::Failure;

/// The gateway of the story.
pub(super) const EUI: &str = "0123456789ABCDEF";

/// All doubles, the agent's files and what the agent must hold now.
pub(super) struct Stage {
    pub(super) pki: Pki,
    pub(super) cups: CupsDouble,
    pub(super) lns: LnsDouble,
    pub(super) front: Front,
    /// The key the gateway must hold after the last good act.
    pub(super) held: String,
    /// The number of the set that holds it, as the agent named it.
    pub(super) set: Option<u64>,
    /// Everything the agent ever printed.
    pub(super) printed: String,
    /// Every key that was ever offered.
    pub(super) keys: BTreeSet<String>,
    dir: PathBuf,
    binary: PathBuf,
}

impl Stage {
    /// Starts everything in a directory.
    pub(super) fn set(dir: &Path, binary: PathBuf) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::work("cannot set the stage", &error);
        fs::create_dir_all(dir.join("station")).map_err(cannot)?;
        let dir = dir.canonicalize().map_err(cannot)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(cannot)?;
        let pki = Pki::make(&dir.join("pki"), EUI);
        let cups = CupsDouble::start(&cups::Config {
            ca_store: vec![pki.client_issuing.clone()],
            ..cups::Config::default()
        })
        .map_err(cannot)?;
        let lns = LnsDouble::start(&lns::Config {
            tls: Some(pki.lns.server.clone()),
            gateways: Some([EUI.to_owned()].into()),
            ..lns::Config::default()
        })
        .map_err(cannot)?;
        let front = Front::start(front::Config::new(&pki, cups.address())).map_err(cannot)?;
        let (printed, keys) = (String::new(), BTreeSet::new());
        let held = String::new();
        Ok(Self {
            pki,
            cups,
            lns,
            front,
            held,
            set: None,
            printed,
            keys,
            dir,
            binary,
        })
    }

    /// Says who is on stage.
    pub(super) fn introduce(&self) {
        let (proxy, cups, lns) = (self.front.uri(), self.cups.uri(), self.lns.uri());
        println!(
            "\nThe life of gateway {EUI}: a real mtls-agent, every server a double on loopback\n"
        );
        println!("  agent --- mutual TLS ---> proxy {proxy} ---> CUPS {cups}");
        println!("    '------ TLS + token --> LNS {lns} (a set is tried here before it is used)");
        println!("    '------ tc.* files ---> Basic Station's home directory");
        println!("\n  A token is named by the first digits of its SHA-256.");
    }

    /// Has CUPS offer this key from now on.
    pub(super) fn offer(&mut self, key: &str) {
        self.keys.insert(key.to_owned());
        let gateway = Gateway {
            lns_uri: self.lns.uri(),
            lns_trust_der: self.pki.lns.root_der.clone(),
            lns_key: Some(key.to_owned()),
            cups_target: None,
        };
        self.cups.set_gateway(EUI, gateway);
    }

    /// One poll with an identity.
    pub(super) fn poll(&mut self, identity: &Pair) -> Result<Run, Failure> {
        let config = self.dir.join("agent.json");
        let text = json!({
            "service": "cups",
            "data_dir": self.dir.join("data"),
            "runtime_dir": self.dir.join("run"),
            "identity": { "certificate": identity.certificate, "key": identity.key },
            "trust_anchors": [self.pki.server_root],
            "cups": { "uri": self.front.uri(), "poll_s": 86_400, "allow_cups_changes": false },
            "lns": { "station_home": self.home(), "prove": true },
        });
        fs::write(&config, format!("{text:#}\n"))
            .map_err(|error| Failure::work("cannot write the agent's configuration", &error))?;
        let run = agent::once(&self.binary, &config, &self.dir)?;
        self.printed.push_str(&run.printed);
        Ok(run)
    }

    /// Every file of Basic Station's home, by name.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.home()).into_iter().flatten().flatten();
        let file = |entry: fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            fs::read(entry.path()).ok().map(|octets| (name, octets))
        };
        entries.filter_map(file).collect()
    }

    /// What Basic Station would use now, in words that do not show the token.
    pub(super) fn current(&self) -> String {
        let files = self.files();
        let text = |name| {
            files
                .get(name)
                .map(|octets| String::from_utf8_lossy(octets).trim().to_owned())
        };
        let Some(key) = text("tc.key") else {
            return "no set yet".to_owned();
        };
        let key = key
            .strip_prefix("Authorization: ")
            .unwrap_or(&key)
            .to_owned();
        let number = self
            .set
            .map_or_else(|| "?".to_owned(), |number| number.to_string());
        let uri = text("tc.uri").unwrap_or_default();
        format!("set {number}: {uri}, {}", short(&key))
    }

    /// Checks that Basic Station's files are exactly those of the key the gateway must hold.
    pub(super) fn check_home(&self, checks: &mut Checks) {
        let files = self.files();
        let file = |name| files.get(name).map(Vec::as_slice).unwrap_or_default();
        let line = format!("Authorization: {}\r\n", self.held);
        let uri = String::from_utf8_lossy(file("tc.uri")).trim().to_owned();
        let trust = file("tc.trust");
        let facts = [
            (
                "tc.uri is the address that was offered",
                uri == self.lns.uri(),
            ),
            (
                "tc.key is the header with the right token",
                file("tc.key") == line.as_bytes(),
            ),
            (
                "tc.trust holds the LNS root",
                trust == self.pki.lns.root_der.as_slice() || self.trust_in_pem(trust),
            ),
            ("tc.crt is absent or empty", file("tc.crt").is_empty()),
        ];
        let summary = format!(
            "tc.uri, tc.trust and tc.key are those of {}",
            short(&self.held)
        );
        checks.together(&summary, &facts);
    }

    fn trust_in_pem(&self, octets: &[u8]) -> bool {
        let text = String::from_utf8_lossy(octets)
            .split_ascii_whitespace()
            .collect::<String>();
        text.contains(&STANDARD.encode(&self.pki.lns.root_der))
    }

    fn home(&self) -> PathBuf {
        self.dir.join("station")
    }
}

/// Names a token without showing it.
pub(super) fn short(token: &str) -> String {
    let digits: String = tls::fingerprint(token.as_bytes()).chars().take(8).collect();
    format!("token #{digits}")
}
