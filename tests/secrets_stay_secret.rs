//! Through a life with every kind of trouble, at the most talkative level, no token and no part
//! of a private key is shown to anybody, and what is stored is for its owner alone.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test plants and looks at files, and ends when it cannot"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;

use mtls_lab::cups::answer::{Dialect, Key, Segments, credential, encode};
use mtls_lab::device::{Device, EUI, Scratch, Service, Surroundings};
use mtls_lab::http::{Framing, RawAnswer};
use mtls_lab::lns::Fault;
use mtls_lab::openssl::{Order, Workshop, set_mode};
use mtls_lab::pki::Pair;
use mtls_lab::tls;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
/// Every token of this file begins so.
const TOKEN: &str = "NNSXS.SECRET";

/// All that anybody can see of an agent.
#[derive(Default)]
struct Seen(Vec<u8>);

impl Seen {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'\n');
    }

    fn service(&mut self, service: &Service) {
        self.text(&service.lines().join("\n"));
        for (_, told) in service.told() {
            self.text(&told);
        }
        self.text(&service.status().to_string());
        self.0.extend(service.shown_by_kernel());
    }

    fn commands(&mut self, device: &Device) {
        for words in [
            "status --json",
            "status",
            "credentials --json",
            "credentials",
            "check",
        ] {
            let ran = device.run(words);
            self.text(&ran.out);
            self.text(&ran.log);
        }
    }

    /// What the control socket answers to sense and nonsense.
    fn control(&mut self, device: &Device) {
        for line in ["refresh\n", "reload\n", "show me the key\n", "\n"] {
            let mut stream = UnixStream::connect(device.path("run/control.sock")).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            self.text(&answer);
        }
    }

    fn expect_none_of(&self, keys: &[&Path]) {
        let all = String::from_utf8_lossy(&self.0);
        assert!(!all.contains(TOKEN), "a token in: {}", around(&all, TOKEN));
        for key in keys {
            for form in forms(key) {
                assert!(!all.contains(&form), "a key in: {}", around(&all, &form));
            }
        }
    }
}

/// The line with the text.
fn around<'a>(all: &'a str, text: &str) -> &'a str {
    all.lines().find(|line| line.contains(text)).unwrap_or(all)
}

/// The lines of a PEM key, and pieces of its octets as hex and as Rust shows a list of numbers.
fn forms(key: &Path) -> Vec<String> {
    let pem = fs::read_to_string(key).unwrap();
    let mut forms: Vec<String> = pem
        .lines()
        .filter(|line| !line.starts_with('-') && line.len() > 20)
        .map(str::to_owned)
        .collect();
    assert!(!forms.is_empty());
    let der = tls::private_key(key).secret_der().to_vec();
    // The first octets are the same in all keys.
    for piece in der[32..].chunks_exact(8) {
        let hex: Vec<String> = piece.iter().map(|octet| format!("{octet:02x}")).collect();
        let hex = hex.concat();
        forms.push(hex.to_uppercase());
        forms.push(hex);
        let list: Vec<String> = piece.iter().map(u8::to_string).collect();
        forms.push(list.join(", "));
    }
    forms
}

fn tc(uri: &str, blob: &[u8]) -> Vec<u8> {
    let segments = Segments {
        tc_uri: uri,
        tc_credentials: blob,
        ..Segments::default()
    };
    encode(&segments, Dialect::TheThingsStack)
}

fn der_key(pair: &Pair) -> Vec<u8> {
    tls::private_key(&pair.key).secret_der().to_vec()
}

struct Scene {
    device: Device,
    around: Surroundings,
    workshop: Workshop,
    _scratch: Scratch,
}

fn scene() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let workshop = Workshop::open(&scratch.path().join("workshop"));
    workshop.root("root", "P-256");
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    fs::remove_dir(device.path("data")).unwrap();
    device.set("log.level", "debug");
    device.set("cups.poll_s", 1);
    device.set("identity.key", device.path("device.key").to_str());
    fs::copy(&around.pki.device.key, device.path("device.key")).unwrap();
    Scene {
        device,
        around,
        workshop,
        _scratch: scratch,
    }
}

impl Scene {
    /// Has CUPS give this answer until the agent has taken one, however that ends.
    fn give(&self, service: &Service, answer: RawAnswer) {
        let before = self.around.cups.requests().len();
        self.around.cups.answer_always(Some(answer));
        assert_eq!(self.device.run("refresh").code, Some(0));
        service.until("another request", |_| {
            self.around.cups.requests().len() > before
        });
        self.around.cups.answer_always(None);
        service.until("the end of the cycle", |service| {
            service.show("/cycle/phase") == json!("waiting")
        });
    }

    /// Answers that contain secrets and are refused for as many reasons.
    fn poisons(&self) -> Vec<RawAnswer> {
        let uri = self.around.lns.uri();
        let trust = &self.around.pki.lns.root_der;
        let token = |line: &str| credential(trust, None, Key::Token(line));
        let good = token(&format!("Authorization: {TOKEN}.7\r\n"));
        let whole = tc(&uri, &good);
        let other = self.around.pki.unknown_ca_device();
        let leaf = tls::certificates(&other.certificate)[0].to_vec();
        let strange = der_key(&self.around.pki.device);
        let bodies = [
            tc(&uri, &token(&format!("{TOKEN} without a colon"))),
            tc(
                &uri,
                &token(&format!("Host: {TOKEN}\r\nAuthorization: {TOKEN}\r\n")),
            ),
            tc(&uri, &token(&format!("Authorization: {TOKEN}\u{1}\0\r\n"))),
            tc(&uri, &credential(b"\x30\x82", None, Key::Token(TOKEN))),
            tc(&uri, &credential(trust, Some(&leaf), Key::Der(&strange))),
            tc(
                &uri,
                &credential(trust, Some(&leaf), Key::Der(&strange[..40])),
            ),
            tc("https://wrong.example:1", &good),
            tc(&format!("wss://{TOKEN}@lns.example:1"), &good),
            tc("ws://plain.example:1887", &good),
            whole[..whole.len() - 30].to_vec(),
            [whole.clone(), format!("trailing {TOKEN}").into_bytes()].concat(),
        ];
        let mut answers: Vec<RawAnswer> = bodies.into_iter().map(RawAnswer::octets).collect();
        let cut = RawAnswer::octets(whole.clone());
        answers.push(cut.clone().framed(Framing::CutAfter(whole.len() - 20)));
        answers.push(cut.framed(Framing::ChunkedCutAfter(whole.len() - 20)));
        answers.push(RawAnswer::typed(200, "text/html", whole));
        answers
    }
}

fn expect_private(dir: &Path) {
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            expect_private(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[test]
fn in_a_life_with_rotation_poison_and_broken_files() {
    let scene = scene();
    let mut seen = Seen::default();
    scene.around.offer(&format!("{TOKEN}.1"));
    let service = scene.device.serve();
    service.until("set 1 in use", |service| {
        service.show("/current/number") == json!(1)
    });
    scene.around.cups.rotate_key(EUI, &format!("{TOKEN}.2"));
    service.until("another set in use", |service| {
        service.show("/current/number") == json!(2)
    });
    for answer in scene.poisons() {
        scene.give(&service, answer);
        seen.service(&service);
    }
    scene.around.lns.accept_tokens([]);
    scene.around.cups.rotate_key(EUI, &format!("{TOKEN}.3"));
    assert_eq!(scene.device.run("refresh").code, Some(0));
    service.until("refused by the LNS", |service| {
        service.show("/cycle/last/result") == json!("refused")
    });
    let key = scene.device.path("device.key");
    let whole = fs::read(&key).unwrap();
    for broken in [
        &whole[..whole.len() / 2],
        &whole[60..],
        &[whole.clone(), whole.clone()].concat(),
    ] {
        fs::write(&key, broken).unwrap();
        service.signal("HUP");
        seen.control(&scene.device);
    }
    seen.commands(&scene.device);
    seen.service(&service);
    assert_eq!(service.show("/current/number"), json!(2));
    expect_private(&scene.device.path("data"));
    let tc_key = fs::metadata(scene.device.path("station/tc.key")).unwrap();
    assert_eq!(tc_key.mode() & 0o7777, 0o600);
    let text = fs::read_to_string(scene.device.path("station/tc.key")).unwrap();
    assert_eq!(text, format!("Authorization: {TOKEN}.2\r\n"));
    seen.expect_none_of(&[&scene.around.pki.device.key]);
}

#[test]
fn with_keys_that_cannot_be_used_as_an_identity() {
    let scene = scene();
    let pair = scene.workshop.issue(Order::default());
    scene.workshop.key("large", "P-521");
    scene
        .workshop
        .run("pkcs8 -topk8 -in leaf.key -passout pass:NNSXS.SECRET -out shut.key");
    set_mode(&scene.workshop.path("shut.key"), 0o600);
    let mut seen = Seen::default();
    let mut device = scene.device;
    for name in ["leaf.key", "large.key", "shut.key", "leaf.pem"] {
        device.set("identity.key", scene.workshop.path(name).to_str());
        for words in ["once --json", "once", "check --json", "check"] {
            let ran = device.run(words);
            assert_eq!(ran.code, Some(78), "{name}: {ran:?}");
            seen.text(&format!("{}{}", ran.out, ran.log));
        }
    }
    seen.expect_none_of(&[&pair.key, &scene.workshop.path("large.key")]);
}

#[test]
fn with_a_certificate_and_key_for_the_lns() {
    let scene = scene();
    let pair = scene.around.pki.other_device(EUI);
    let leaf = tls::certificates(&pair.certificate)[0].to_vec();
    scene
        .workshop
        .run(&format!("pkey -in {} -out leaf.key", pair.key.display()));
    scene
        .workshop
        .run("ec -in leaf.key -outform DER -out leaf.der");
    let sec1 = fs::read(scene.workshop.path("leaf.der")).unwrap();
    let blob = credential(&scene.around.pki.lns.root_der, Some(&leaf), Key::Der(&sec1));
    let answer = RawAnswer::octets(tc(&scene.around.lns.uri(), &blob));
    scene.around.cups.answer_next(answer);
    let mut seen = Seen::default();
    let ran = scene.device.run("once --json");
    assert_eq!(ran.text("outcome"), "rotated", "{ran:?}");
    seen.text(&format!("{}{}", ran.out, ran.log));
    seen.commands(&scene.device);
    seen.expect_none_of(&[&pair.key]);
    expect_private(&scene.device.path("data"));
    let home = scene.device.path("station");
    assert_eq!(fs::read(home.join("tc.key")).unwrap(), sec1);
    assert_eq!(
        fs::metadata(home.join("tc.key")).unwrap().mode() & 0o7777,
        0o600
    );
}

#[test]
fn with_servers_that_repeat_what_they_were_told() {
    let scene = scene();
    let token = format!("{TOKEN}.9");
    scene.around.offer(&token);
    let mut seen = Seen::default();
    for fault in [
        Fault::ErrorText(format!("the key {token} is not known")),
        Fault::Text(format!("{{\"uri\": \"wss://lns.example/{token}\"}}")),
        Fault::Uri(format!("wss://lns.example/{token}")),
    ] {
        scene.around.lns.set_fault(fault);
        let ran = scene.device.run("once --json");
        assert_eq!(ran.code, Some(1), "{ran:?}");
        seen.text(&format!("{}{}", ran.out, ran.log));
        seen.commands(&scene.device);
        fs::remove_dir_all(scene.device.path("data")).unwrap();
    }
    seen.expect_none_of(&[]);
}

#[test]
fn a_link_in_the_home_does_not_carry_a_token_elsewhere() {
    let scene = scene();
    scene.around.offer(&format!("{TOKEN}.1"));
    let elsewhere = scene.device.path("elsewhere");
    symlink(&elsewhere, scene.device.path("station/tc.key")).unwrap();
    let ran = scene.device.run("once --json");
    assert!(!elsewhere.exists(), "{ran:?}");
    assert!(ran.log.contains("tc.key"), "{ran:?}");
}
