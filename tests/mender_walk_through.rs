//! The way from a CA to an accepted Mender device, as `docs/mender.md` tells it, runs as it stands
//! there: its commands are taken out of the document, and what it says that the agent says is said.

#![cfg(feature = "mender")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test ends when its set-up fails; it runs the document's commands"
)]

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use mtls_lab::device::Scratch;
use mtls_lab::mender::{Config, Door, MenderDouble, Status};
use mtls_lab::openssl::set_mode;
use mtls_lab::pki::Pair;
use mtls_lab::tls::{self, Versions};
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../docs/mender.md");
const MAC: &str = "02:00:00:ab:cd:01";
const OTHER_PIN: &str = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A block of the document: its kind of fence, the comment before it, and its lines.
struct Block {
    kind: &'static str,
    comment: &'static str,
    text: &'static str,
}

fn blocks() -> Vec<Block> {
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
struct Ran {
    code: Option<i32>,
    out: String,
}

/// The computer with the CA, the device and the ambassador, in one folder.
struct Walk {
    scratch: Scratch,
    ambassador: RefCell<Option<MenderDouble>>,
    server: RefCell<Option<MenderDouble>>,
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

    fn path(&self, name: &str) -> PathBuf {
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
    fn attempt(&self, name: &'static str) -> Ran {
        let script = self.here(block(&format!("run: {name}")));
        self.shell(&script)
    }

    fn shell(&self, script: &str) -> Ran {
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
    fn run(&self, name: &'static str) -> String {
        let ran = self.attempt(name);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.out);
        if name.starts_with("configure") {
            self.change(|_| {});
        }
        ran.out
    }

    /// Changes `mender.conf`, and adds what only this test needs: folders of its own, no bus.
    fn change(&self, change: impl FnOnce(&mut Value)) {
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
    fn ambassador(&self, certificate: &str, key: &str) {
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

    fn shown(&self) -> Pair {
        Pair {
            certificate: self.path("shown.pem"),
            key: self.path("shown.key"),
        }
    }

    /// Everything that the document prepares before its verification.
    fn prepared() -> Self {
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
    fn mended() -> Self {
        let walk = Self::prepared();
        walk.run("mend");
        walk.ambassador("server-cert.pem", "server-private.key");
        walk
    }

    fn expect_accepted(&self) -> String {
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
    fn expect_refused(&self, class: &str, code: &str, said: &str) -> String {
        let words = self.expect_failed(class, code);
        assert!(words.contains(&self.said(said)), "{words}");
        words
    }

    /// The verification fails with this code before the ambassador is asked anything.
    fn expect_failed(&self, class: &str, code: &str) -> String {
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

    fn asked(&self) -> usize {
        let double = self.ambassador.borrow();
        double.as_ref().map_or(0, |double| double.requests().len())
    }

    /// Warnings and failures of `check`.
    fn check(&self) -> Vec<String> {
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
    fn version(&self, certificate: &str) -> u8 {
        let ran = self.shell(&format!("openssl x509 -noout -text -in {certificate}"));
        u8::from(ran.out.contains("Version: 3 (")) * 2 + 1
    }
}

#[test]
fn every_command_of_the_document_is_run_or_says_why_not() {
    let tests = include_str!("mender_walk_through.rs");
    for block in blocks() {
        let comment = block.comment;
        match block.kind {
            "sh" if comment.starts_with("not run: ") => {}
            "sh" => {
                let name = comment.strip_prefix("run: ").unwrap_or_default();
                let is_run = !name.is_empty() && tests.contains(&format!("\"{name}\""));
                assert!(is_run, "nobody runs {:?}: {}", comment, block.text);
            }
            "text" => {
                let name = comment.strip_prefix("said: ").unwrap_or_default();
                let is_said = !name.is_empty() && tests.contains(&format!("\"{name}\""));
                assert!(is_said, "nobody says {:?}: {}", comment, block.text);
            }
            kind => panic!("a block of kind {kind:?}: {}", block.text),
        }
    }
}

#[test]
fn the_whole_walk_from_the_ca_to_the_accepted_device() {
    let walk = Walk::prepared();
    walk.run("check");
    // By the book: what Mender's own clients take and rustls cannot.
    let (code, said) = if walk.version("server-cert.pem") == 1 {
        ("server_certificate", "version one")
    } else {
        ("server_name", "common name only")
    };
    let words = walk.expect_refused("server_untrusted", code, said);
    assert!(words.contains("openssl x509 -req"), "{words}");
    assert!(words.contains("-extfile"), "{words}");
    assert!(words.contains("subjectAltName=DNS:HOST"), "{words}");
    assert!(words.contains("tls.server_pin"), "{words}");

    walk.run("mend");
    walk.ambassador("server-cert.pem", "server-private.key");
    walk.expect_accepted();
    // The device's certificate is still the one by the book.
    let version = walk.version("device-cert.pem");
    let double = walk.ambassador.borrow();
    let requests = double.as_ref().unwrap().requests();
    let leaf = requests[0].client.as_ref().unwrap();
    assert_eq!(leaf.version, version);
    assert_eq!(leaf.subject, "O=Example,CN=my-device");
    let is_warned = walk.check().contains(&"x509_version".to_owned());
    assert_eq!(is_warned, version == 1);
    // No key was made beside the certificate's, which signed.
    assert!(!walk.path("data/mender/mender-agent.pem").exists());
    for (name, mode) in [
        ("data/mender", 0o700),
        ("data/mender/mender-cert-private.pem", 0o600),
        ("etc/mender/mender.conf", 0o600),
    ] {
        let facts = fs::metadata(walk.path(name)).unwrap();
        assert_eq!(facts.permissions().mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn a_server_name_in_the_common_name_only_is_named_as_such() {
    let walk = Walk::prepared();
    let own = "printf 'basicConstraints = CA:FALSE\\n' > none.ext && openssl x509 -req \
        -CA ca-cert.pem -CAkey ca-private.key -CAcreateserial -in server-cert.req \
        -out server-cert.pem -days 730 -extfile none.ext";
    assert_eq!(walk.shell(own).code, Some(0));
    walk.ambassador("server-cert.pem", "server-private.key");
    let words = walk.expect_refused("server_untrusted", "server_name", "common name only");
    assert!(words.contains("subjectAltName=DNS:HOST"), "{words}");
}

#[test]
fn a_pinned_key_is_enough_and_nothing_else_is() {
    let walk = Walk::prepared();
    for name in ["pin", "configure-pin"] {
        walk.run(name);
    }
    let pin = |name: &str| fs::read_to_string(walk.path("work").join(name)).unwrap();
    assert_eq!(
        (pin("server.pin").len(), pin("reserve.pin").len()),
        (44, 44)
    );
    // The certificate is the one by the book, and no CA is named.
    assert!(!walk.check().contains(&"pin_alone".to_owned()));
    walk.expect_accepted();

    // The day the reserve key is needed: whatever certificate it has, nobody is locked out.
    let reserve = "openssl req -new -x509 -key reserve-private.key -out reserve-cert.pem \
        -config server-cert.conf -days 1";
    assert_eq!(walk.shell(reserve).code, Some(0));
    walk.ambassador("reserve-cert.pem", "reserve-private.key");
    walk.expect_accepted();

    // Only the pin counts: with another one a perfect certificate and its CA are of no use.
    walk.run("mend");
    walk.ambassador("server-cert.pem", "server-private.key");
    walk.change(|conf| {
        conf["ServerCertificate"] = json!(walk.path("etc/mender/ca-cert.pem"));
        conf["MtlsAgent"]["tls"]["server_pin"] = json!([]);
    });
    walk.expect_accepted();
    walk.change(|conf| conf["MtlsAgent"]["tls"]["server_pin"] = json!([OTHER_PIN]));
    assert!(walk.check().contains(&"pin_alone".to_owned()));
    let words = walk.expect_failed("server_untrusted", "server_pin");
    let own = format!("sha256//{}", pin("server.pin"));
    assert!(words.contains(&own), "{words}");
}

#[test]
fn a_ca_certificate_as_the_servers_is_named_and_a_leaf_or_a_pin_is_the_cure() {
    let walk = Walk::mended();
    walk.run("demo");
    walk.ambassador("demo-cert.pem", "demo-private.key");
    let words = walk.expect_refused("server_untrusted", "server_certificate", "authority");
    assert!(words.contains("let that CA issue"), "{words}");
    assert!(words.contains("tls.server_pin"), "{words}");

    walk.run("demo-leaf");
    walk.ambassador("demo-leaf.pem", "server-private.key");
    walk.expect_accepted();

    let file = walk.path("work/demo-cert.pem");
    fs::copy(file, walk.path("work/server-cert.pem")).unwrap();
    walk.ambassador("demo-cert.pem", "demo-private.key");
    for name in ["pin", "configure-pin"] {
        walk.run(name);
    }
    walk.expect_accepted();
}

#[test]
fn past_the_ambassador_the_device_waits_for_a_person_and_is_told_why() {
    let walk = Walk::mended();
    walk.ambassador("server-cert.pem", "server-private.key");
    let door = Door::Server {
        server: walk.shown(),
    };
    let server = MenderDouble::start(Config::new(door)).unwrap();
    walk.server.replace(Some(server));
    walk.run("bypass");
    let ran = walk.expect_refused("pending", "mtls_not_requested", "bypassed");
    assert!(ran.contains("HTTP 401"), "{ran}");
    {
        let server = walk.server.borrow();
        let server = server.as_ref().unwrap();
        assert_eq!(server.devices()[0].status(), Some(Status::Pending));
        assert!(server.requests().iter().all(|seen| seen.client.is_none()));
    }
    walk.run("return");
    walk.expect_accepted();
}

#[test]
fn the_certificates_key_signs_and_another_one_is_refused_before_anybody_is_asked() {
    let walk = Walk::mended();
    walk.expect_accepted();
    let key = walk.path("data/mender/mender-cert-private.pem");
    walk.change(|conf| conf["Security"] = json!({ "AuthPrivateKey": key }));
    walk.expect_accepted();

    let other = walk.path("work/other.key");
    let make = "openssl ecparam -genkey -name prime256v1 -noout -out other.key";
    assert_eq!(walk.shell(make).code, Some(0));
    set_mode(&other, 0o600);
    walk.change(|conf| conf["Security"] = json!({ "AuthPrivateKey": other }));
    let asked = walk.asked();
    let ran = walk.attempt("verify");
    assert_eq!(ran.code, Some(78), "{}", ran.out);
    assert!(ran.out.contains("is not the key of"), "{}", ran.out);
    assert!(ran.out.contains("Security.AuthPrivateKey"), "{}", ran.out);
    assert_eq!(walk.asked(), asked, "the ambassador was asked");
    let ran = walk.attempt("check");
    assert_eq!(ran.code, Some(78), "{}", ran.out);
    assert!(walk.check().contains(&"auth_key_differs".to_owned()));
}

#[test]
fn the_documents_certificates_have_no_more_than_the_book_gives_them() {
    let walk = Walk::prepared();
    let has_name = |certificate: &str| {
        let words = format!("openssl x509 -noout -text -in {certificate}");
        walk.shell(&words).out.contains("Subject Alternative Name")
    };
    for certificate in ["ca-cert.pem", "server-cert.pem", "device-cert.pem"] {
        let file: &Path = &walk.path("work").join(certificate);
        assert_eq!(tls::certificates(file).len(), 1);
        assert!(!has_name(certificate), "{certificate}");
    }
    walk.run("mend");
    assert!(has_name("server-cert.pem"));
}
