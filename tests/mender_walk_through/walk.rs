//! Plays: the computer with the CA, the device and the ambassador of `docs/mender.md`, in one
//! folder, and runs the document's blocks there.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use mtls_lab::device::Scratch;
use mtls_lab::mender::{Config, Door, MenderDouble, Status};
use mtls_lab::openssl::set_mode;
use mtls_lab::pki::Pair;
use mtls_lab::tls::Versions;
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../../docs/mender.md");
const MAC: &str = "02:00:00:ab:cd:01";

/// A block of the document: its kind of fence, the comment before it, and its lines.
pub(super) struct Block {
    pub(super) kind: &'static str,
    pub(super) comment: &'static str,
    pub(super) text: &'static str,
}

pub(super) fn blocks() -> Vec<Block> {
    let mut parts = DOCUMENT.split("\n```");
    let mut before = parts.next().unwrap();
    let mut found = Vec::new();
    while let (Some(block), after) = (parts.next(), parts.next()) {
        let (kind, text) = block.split_once('\n').unwrap();
        let line = before.lines().last().unwrap_or_default();
        let comment = line.strip_prefix("<!-- ").unwrap_or_default();
        found.push(Block {
            kind,
            comment: comment.strip_suffix(" -->").unwrap_or_default(),
            text,
        });
        before = after.unwrap_or_default();
    }
    found
}

/// The block with this comment.
fn block(comment: &str) -> &'static str {
    let blocks = blocks();
    let mut found = blocks.iter().filter(|block| block.comment == comment);
    let text = found
        .next()
        .unwrap_or_else(|| panic!("the document has no block <!-- {comment} -->"))
        .text;
    assert!(found.next().is_none(), "two blocks <!-- {comment} -->");
    text
}

/// What a run of the document's commands came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
}

/// The computer with the CA, the device and the ambassador, in one folder.
pub(super) struct Walk {
    scratch: Scratch,
    pub(super) ambassador: RefCell<Option<MenderDouble>>,
    pub(super) server: RefCell<Option<MenderDouble>>,
}

impl Walk {
    /// A device with Mender's scripts on it, and nothing else.
    fn begin() -> Self {
        let scratch = Scratch::new();
        for folder in ["bin", "data", "etc/mender", "run", "share/identity", "work"] {
            fs::create_dir_all(scratch.path().join(folder)).unwrap();
        }
        let agent = env!("CARGO_BIN_EXE_mtls-agent");
        symlink(agent, scratch.path().join("bin/mtls-agent")).unwrap();
        let script = scratch.path().join("share/identity/mender-device-identity");
        fs::write(&script, format!("#!/bin/sh\necho mac={MAC}\n")).unwrap();
        set_mode(&script, 0o755);
        Self {
            scratch,
            ambassador: RefCell::default(),
            server: RefCell::default(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The places and hosts of the document, and what they are here. All else stays as it is.
    fn places(&self) -> Vec<(&'static str, String)> {
        let text = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let uri = |double: &RefCell<Option<MenderDouble>>| {
            let double = double.borrow();
            double.as_ref().map_or_else(String::new, MenderDouble::uri)
        };
        let ambassador = uri(&self.ambassador);
        let authority = ambassador.trim_start_matches("https://").to_owned();
        vec![
            ("/data/mender", text("data/mender")),
            ("/etc/mender", text("etc/mender")),
            ("https://hosted.mender.io", uri(&self.server)),
            ("https://my-server.com", ambassador),
            ("my-server.com:443", authority),
            ("my-server.com", "localhost".to_owned()),
        ]
    }

    fn here(&self, text: &str) -> String {
        let put = |text: String, (there, here): (&str, String)| text.replace(there, &here);
        self.places().into_iter().fold(text.to_owned(), put)
    }

    /// Runs a block to its end.
    pub(super) fn attempt(&self, name: &'static str) -> Ran {
        let script = self.here(block(&format!("run: {name}")));
        self.shell(&script)
    }

    pub(super) fn shell(&self, script: &str) -> Ran {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("sh")
            .args(["-euc", script])
            .current_dir(self.path("work"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .output()
            .unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Ran {
            code: output.status.code(),
            out: text(&output.stdout) + &text(&output.stderr),
        }
    }

    /// Runs a block that must succeed.
    pub(super) fn run(&self, name: &'static str) -> String {
        let ran = self.attempt(name);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.out);
        if name.starts_with("configure") {
            self.change(|_| {});
        }
        ran.out
    }

    /// Changes `mender.conf`, and adds what only this test needs: folders of its own, no bus.
    pub(super) fn change(&self, change: impl FnOnce(&mut Value)) {
        let file = self.path("etc/mender/mender.conf");
        let mut conf: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        conf["MtlsAgent"]["runtime_dir"] = json!(self.path("run"));
        conf["MtlsAgent"]["mender"] = json!({
            "fallback_conf": self.path("data/mender/mender.conf"),
            "data_dir": self.path("data/mender"),
            "share_dir": self.path("share"),
            "dbus": false,
        });
        conf["MtlsAgent"]["wait"] = json!({ "boot_s_max": 0 });
        change(&mut conf);
        fs::write(file, conf.to_string()).unwrap();
    }

    /// Starts the ambassador, or starts it again at its port with the certificate that lies there.
    pub(super) fn ambassador(&self, certificate: &str, key: &str) {
        for (from, to) in [(certificate, "shown.pem"), (key, "shown.key")] {
            fs::copy(self.path("work").join(from), self.path(to)).unwrap();
        }
        let mut running = self.ambassador.borrow_mut();
        if let Some(double) = &*running {
            // It reads its files again.
            double.offer(Versions::Both);
            return;
        }
        let door = Door::Ambassador {
            server: self.shown(),
            client_root: self.path("work/ca-cert.pem"),
        };
        *running = Some(MenderDouble::start(Config::new(door)).unwrap());
    }

    pub(super) fn shown(&self) -> Pair {
        Pair {
            certificate: self.path("shown.pem"),
            key: self.path("shown.key"),
        }
    }

    /// Everything that the document prepares before its verification.
    pub(super) fn prepared() -> Self {
        let walk = Self::begin();
        for name in ["ca", "server", "device"] {
            walk.run(name);
        }
        walk.ambassador("server-cert.pem", "server-private.key");
        for name in ["install", "configure"] {
            walk.run(name);
        }
        walk
    }

    /// The same, and the ambassador has the certificate that was signed anew.
    pub(super) fn mended() -> Self {
        let walk = Self::prepared();
        walk.run("mend");
        walk.ambassador("server-cert.pem", "server-private.key");
        walk
    }

    pub(super) fn expect_accepted(&self) -> String {
        let words = self.run("verify");
        assert!(words.contains(&self.said("accepted")), "{words}");
        let double = self.ambassador.borrow();
        let double = double.as_ref().unwrap();
        let devices = double.devices();
        let [device] = &devices[..] else {
            panic!("{devices:?}");
        };
        assert_eq!(device.status(), Some(Status::Accepted));
        assert_eq!(device.identity.text, format!(r#"{{"mac":"{MAC}"}}"#));
        assert!(double.inventory(&device.id).is_some(), "no inventory");
        words
    }

    /// The verification fails with this code and these words of the document; returns all of them.
    pub(super) fn expect_refused(&self, class: &str, code: &str, said: &str) -> String {
        let words = self.expect_failed(class, code);
        assert!(words.contains(&self.said(said)), "{words}");
        words
    }

    /// The verification fails with this code before the ambassador is asked anything.
    pub(super) fn expect_failed(&self, class: &str, code: &str) -> String {
        let asked = self.asked();
        let ran = self.attempt("verify");
        assert_eq!(ran.code, Some(1), "{}", ran.out);
        let once = "mtls-agent once --json --config /etc/mender/mender.conf 2>/dev/null";
        let object = self.shell(&self.here(once));
        let object: Value = serde_json::from_str(&object.out).unwrap();
        assert_eq!(object["class"], json!(class), "{object}");
        assert_eq!(object["code"], json!(code), "{object}");
        assert_eq!(self.asked(), asked, "the ambassador was asked");
        ran.out
    }

    /// What the document says that the agent says, here.
    fn said(&self, name: &str) -> String {
        self.here(block(&format!("said: {name}")).trim_end())
    }

    pub(super) fn asked(&self) -> usize {
        let double = self.ambassador.borrow();
        double.as_ref().map_or(0, |double| double.requests().len())
    }

    /// Warnings and failures of `check`.
    pub(super) fn check(&self) -> Vec<String> {
        let check = "mtls-agent check --json --config /etc/mender/mender.conf 2>/dev/null";
        let ran = self.shell(&self.here(check));
        let object: Value = serde_json::from_str(&ran.out).unwrap();
        let checks = object["checks"].as_array().unwrap().iter();
        checks
            .filter_map(|check| check["code"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// X.509 version of a certificate, as `openssl` shows it.
    pub(super) fn version(&self, certificate: &str) -> u8 {
        let ran = self.shell(&format!("openssl x509 -noout -text -in {certificate}"));
        u8::from(ran.out.contains("Version: 3 (")) * 2 + 1
    }
}
