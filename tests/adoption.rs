//! What Basic Station has in its home is taken over as it is, octet for octet, and stays so
//! while CUPS has nothing new.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test plants and looks at files, and ends when it cannot"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use mtls_lab::cups::answer::crc32;
use mtls_lab::device::{Device, EUI, Ran, Scratch, Surroundings};
use mtls_lab::http::RawAnswer;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
const TOKEN_CRLF: &[u8] = b"Authorization: Bearer NNSXS.ADOPTED\r\n";
const TOKEN_LF: &[u8] = b"Authorization: Bearer NNSXS.ADOPTED\n";

struct Scene {
    device: Device,
    around: Surroundings,
    _scratch: Scratch,
}

/// CUPS has nothing new, whatever is asked.
fn scene() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    around
        .cups
        .answer_always(Some(RawAnswer::octets(vec![0; 18])));
    let device = Device::new(BINARY, &around.pki, around.front.address());
    Scene {
        device,
        around,
        _scratch: scratch,
    }
}

/// Contents, and all that a rewrite would change.
fn look(home: &Path) -> BTreeMap<String, (Vec<u8>, u64, i64, i64)> {
    let look = |entry: fs::DirEntry| {
        let facts = entry.metadata().unwrap();
        let octets = fs::read(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        (
            name,
            (octets, facts.ino(), facts.mtime(), facts.mtime_nsec()),
        )
    };
    fs::read_dir(home)
        .unwrap()
        .map(|entry| look(entry.unwrap()))
        .collect()
}

/// The CRC that station and server compare: an absent part counts as four zero octets.
fn crc(parts: [&[u8]; 3]) -> u32 {
    let zero = [0; 4];
    let part = |part| {
        if <[u8]>::is_empty(part) {
            &zero[..]
        } else {
            part
        }
    };
    crc32(&parts.map(part).concat())
}

impl Scene {
    fn plant(&self, files: &[(&str, &[u8])]) {
        for (name, octets) in files {
            fs::write(self.device.path("station").join(name), octets).unwrap();
        }
    }

    fn expect_first_request(&self, tc_uri: &str, tc_crc: u32) {
        let requests = self.around.cups.requests();
        let body: Value = serde_json::from_slice(&requests[0].request.body).unwrap();
        assert_eq!(body["tcUri"], json!(tc_uri), "{body}");
        assert_eq!(body["tcCredCrc"], json!(tc_crc), "{body}");
    }

    fn expect_set_1(&self, ran: &Ran) {
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.text("outcome"), "unchanged", "{ran:?}");
        assert_eq!(ran.said["set"], json!(1), "{ran:?}");
        let sets = self.device.run("credentials --json").said;
        assert_eq!(sets.as_array().map(Vec::len), Some(1), "{sets}");
        assert_eq!(sets[0]["origin"], json!("adopted"));
    }

    /// Everything is taken over and nothing is touched, the first time and later.
    fn expect_adopted(&self, parts: [&[u8]; 3]) {
        let home = self.device.path("station");
        let before = look(&home);
        for _ in 0..3 {
            self.expect_set_1(&self.device.run("once --json"));
            assert_eq!(look(&home), before);
        }
        self.expect_first_request(&self.around.lns.uri(), crc(parts));
    }
}

#[test]
fn der_trust_and_a_token_ended_by_lf_or_crlf() {
    for token in [TOKEN_LF, TOKEN_CRLF] {
        let scene = scene();
        let uri = scene.around.lns.uri();
        let trust = scene.around.pki.lns.root_der.clone();
        scene.plant(&[
            ("tc.uri", uri.as_bytes()),
            ("tc.trust", &trust),
            ("tc.crt", b""),
            ("tc.key", token),
        ]);
        scene.expect_adopted([&trust, b"", token]);
        let shown = scene.around.lns.discoveries();
        assert!(shown.iter().all(|seen| seen.accepted), "{shown:?}");
        assert!(!shown.is_empty(), "the set was tried");
    }
}

#[test]
fn pem_trust_and_no_certificate_file() {
    let scene = scene();
    let uri = format!("{}\n", scene.around.lns.uri());
    let trust = fs::read(&scene.around.pki.lns.root).unwrap();
    scene.plant(&[
        ("tc.uri", uri.as_bytes()),
        ("tc.trust", &trust),
        ("tc.key", TOKEN_LF),
    ]);
    scene.expect_adopted([&trust, b"", TOKEN_LF]);
}

#[test]
fn pem_certificate_and_key() {
    let scene = scene();
    let uri = scene.around.lns.uri();
    let pair = scene.around.pki.other_device(EUI);
    let files = [&scene.around.pki.lns.root, &pair.certificate, &pair.key];
    let [trust, certificate, key] = files.map(|file| fs::read(file).unwrap());
    scene.plant(&[
        ("tc.uri", uri.as_bytes()),
        ("tc.trust", &trust),
        ("tc.crt", &certificate),
        ("tc.key", &key),
    ]);
    scene.expect_adopted([&trust, &certificate, &key]);
}

#[test]
fn a_set_that_station_was_about_to_install_counts_as_installed() {
    let scene = scene();
    let uri = scene.around.lns.uri();
    let trust = scene.around.pki.lns.root_der.clone();
    scene.plant(&[
        ("tc.uri", b"wss://old.example:8887"),
        ("tc.trust", b"old"),
        ("tc.key", b"Authorization: Bearer old\r\n"),
        ("tc-temp.uri", uri.as_bytes()),
        ("tc-temp.trust", &trust),
        ("tc-temp.crt", b""),
        ("tc-temp.key", TOKEN_CRLF),
        ("tc-temp.upd", b""),
    ]);
    scene.expect_set_1(&scene.device.run("once --json"));
    scene.expect_first_request(&uri, crc([&trust, b"", TOKEN_CRLF]));
    let home = look(&scene.device.path("station"));
    let names: Vec<&str> = home.keys().map(String::as_str).collect();
    assert_eq!(names, ["tc.crt", "tc.key", "tc.trust", "tc.uri"]);
    assert_eq!(home["tc.key"].0, TOKEN_CRLF);
    assert_eq!(home["tc.trust"].0, trust);
    assert_eq!(home["tc.uri"].0, uri.as_bytes());
}

#[test]
fn other_files_of_the_home_are_left_alone_and_an_active_cups_client_is_named() {
    let scene = scene();
    let uri = scene.around.lns.uri();
    let trust = scene.around.pki.lns.root_der.clone();
    scene.plant(&[
        ("tc.uri", uri.as_bytes()),
        ("tc.trust", &trust),
        ("tc.crt", b""),
        ("tc.key", TOKEN_LF),
        ("cups.uri", b"https://cups.example:443"),
        ("cups.trust", b"x"),
        ("station.conf", b"{}"),
        ("notes.txt", b"mine"),
    ]);
    scene.expect_adopted([&trust, b"", TOKEN_LF]);
    let check = scene.device.run("check");
    assert!(check.out.contains("cups.uri, cups.trust"), "{check:?}");
}

#[test]
fn an_empty_home_is_no_set() {
    let scene = scene();
    let ran = scene.device.run("once --json");
    assert_eq!(
        (ran.code, &ran.said["set"]),
        (Some(0), &Value::Null),
        "{ran:?}"
    );
    scene.expect_first_request("", crc([b"", b"", b""]));
    assert!(look(&scene.device.path("station")).is_empty());
}
