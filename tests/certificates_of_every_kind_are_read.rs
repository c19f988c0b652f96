//! Proves: what `openssl` makes is read right, and what is broken never ends the process.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that makes certificates with openssl, and ends when it cannot"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use mtls_agent::wire::x509::{Facts, KeyKind, public_key_octets};

#[test]
fn every_kind_of_key_is_told_apart() {
    let kinds: [(&[&str], KeyKind, usize); 8] = [
        (&["rsa:1024"], KeyKind::Rsa(1024), 140),
        (&["rsa:2048"], KeyKind::Rsa(2048), 270),
        (&["rsa:4096"], KeyKind::Rsa(4096), 526),
        (&["ec", "ec_paramgen_curve:P-256"], KeyKind::P256, 65),
        (&["ec", "ec_paramgen_curve:P-384"], KeyKind::P384, 97),
        (&["ec", "ec_paramgen_curve:P-521"], KeyKind::P521, 133),
        (&["ed25519"], KeyKind::Ed25519, 32),
        (&["ec", "ec_paramgen_curve:secp256k1"], KeyKind::Other, 65),
    ];
    for (key, kind, octets) in kinds {
        let folder = Folder::new();
        let facts = folder.certificate(key, &["-subj", "/CN=gw"]);
        assert_eq!(facts.key, kind);
        assert_eq!(facts.public_key.len(), octets, "{kind}");
        let spki = folder.openssl(&["pkey", "-in", "key", "-pubout", "-outform", "DER"]);
        assert_eq!(public_key_octets(&spki), Some(facts.public_key), "{kind}");
    }
}

#[test]
fn the_subject_is_written_most_specific_part_first() {
    let facts = certificate(&["-subj", "/C=CH/ST=ZH/L=Z/O=A, B/OU=U/CN=00-80"]);
    assert_eq!(facts.subject, r"CN=00-80,OU=U,O=A\, B,L=Z,ST=ZH,C=CH");
    assert_eq!(facts.issuer, facts.subject);
    assert_eq!(facts.common_name.as_deref(), Some("00-80"));
    assert!(facts.is_self_issued());
    assert_eq!(facts.version, 3);
}

#[test]
fn a_subject_in_another_script_leaves_blanks_and_keeps_the_common_name() {
    let facts = certificate(&["-utf8", "-subj", "/O=Züri 日本/CN=gw"]);
    assert_eq!(facts.subject, "CN=gw,O=Z ri");
    assert_eq!(facts.common_name.as_deref(), Some("gw"));
}

#[test]
fn a_certificate_without_a_common_name_has_none() {
    let facts = certificate(&["-subj", "/O=Field"]);
    assert_eq!(facts.common_name, None);
    assert_eq!(facts.subject, "O=Field");
}

#[test]
fn purposes_and_authority_are_found_among_other_extensions() {
    let with = |extensions: &[&str]| {
        let mut options = vec!["-subj", "/CN=gw"];
        for extension in extensions {
            options.extend(["-addext", extension]);
        }
        let facts = certificate(&options);
        (facts.client_auth, facts.is_authority)
    };
    // `openssl req -x509` makes authorities unless it is told otherwise.
    assert_eq!(with(&[]), (None, true));
    let leaf = "basicConstraints=critical,CA:FALSE";
    assert_eq!(with(&[leaf]), (None, false));
    let usage = "extendedKeyUsage=serverAuth,clientAuth";
    assert_eq!(with(&[leaf, usage]), (Some(true), false));
    let names = "subjectAltName=DNS:gw.example";
    let usage = "extendedKeyUsage=serverAuth";
    assert_eq!(with(&[names, usage, leaf]), (Some(false), false));
    let usage = "extendedKeyUsage=critical,anyExtendedKeyUsage";
    assert_eq!(with(&[leaf, usage]), (Some(true), false));
}

#[test]
fn versions_1_and_3_without_extensions_are_read() {
    let folder = Folder::new();
    folder.request("v1");
    let der = folder.openssl(&[
        "x509", "-req", "-in", "request", "-signkey", "key", "-days", "9", "-outform", "DER",
    ]);
    let facts = Facts::read(&der).unwrap();
    assert_eq!((facts.version, facts.key), (1, KeyKind::Rsa(2048)));
    assert_eq!(facts.subject, "CN=v1");
    assert_eq!((facts.client_auth, facts.is_authority), (None, false));

    let mut version_3 = vec![0xA0, 3, 2, 1, 2];
    version_3.extend_from_slice(&der[8..]);
    let resized = [
        &[0x30, 0x82][..],
        &length(&der[2..4], 5),
        &[0x30, 0x82],
        &length(&der[6..8], 5),
        &version_3,
    ];
    let facts = Facts::read(&resized.concat()).unwrap();
    assert_eq!((facts.version, facts.subject.as_str()), (3, "CN=v1"));
}

#[test]
fn the_issuer_is_told_from_the_subject() {
    let folder = Folder::new();
    folder.request("gw");
    let authority = Folder::new();
    authority.certificate(&P256, &["-subj", "/CN=Field Root"]);
    let root = authority.path.join("certificate");
    let key = authority.path.join("key");
    let der = folder.openssl(&[
        "x509",
        "-req",
        "-in",
        "request",
        "-CA",
        root.to_str().unwrap(),
        "-CAform",
        "DER",
        "-CAkey",
        key.to_str().unwrap(),
        "-set_serial",
        "7",
        "-outform",
        "DER",
    ]);
    let leaf = Facts::read(&der).unwrap();
    let root = Facts::read(&fs::read(root).unwrap()).unwrap();
    assert_eq!(leaf.issuer, "CN=Field Root");
    assert_eq!(leaf.issuer_der, root.subject_der);
    assert!(!leaf.is_self_issued());
}

#[test]
fn dates_before_and_after_2050_are_seconds_since_1970() {
    let folder = Folder::new();
    folder.request("gw");
    fs::write(folder.path.join("index"), "").unwrap();
    fs::write(
        folder.path.join("ca.cnf"),
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nnew_certs_dir=.\ndefault_md=sha256\n\
         policy=any\nrand_serial=yes\n[any]\ncommonName=supplied\n",
    )
    .unwrap();
    let dated = |start: &str, end: &str| {
        folder.openssl(&[
            "ca",
            "-config",
            "ca.cnf",
            "-selfsign",
            "-keyfile",
            "key",
            "-in",
            "request",
            "-out",
            "dated",
            "-batch",
            "-notext",
            "-startdate",
            start,
            "-enddate",
            end,
        ]);
        fs::write(folder.path.join("index"), "").unwrap();
        let der = folder.openssl(&["x509", "-in", "dated", "-outform", "DER"]);
        let facts = Facts::read(&der).unwrap();
        (facts.not_before_s, facts.not_after_s)
    };
    assert_eq!(
        dated("20240229120000Z", "20491231235959Z"),
        (1_709_208_000, 2_524_607_999)
    );
    assert_eq!(
        dated("20500101000000Z", "99991231235959Z"),
        (2_524_608_000, 253_402_300_799)
    );
    assert_eq!(dated("19600101000000Z", "19700101000001Z"), (0, 1));
}

#[test]
fn no_prefix_and_no_surplus_is_a_certificate() {
    for der in specimens() {
        for end in 0..der.len() {
            assert_eq!(Facts::read(&der[..end]), None, "{end} octets");
        }
        let surplus = [&der[..], &[0]].concat();
        assert_eq!(Facts::read(&surplus), None);
    }
}

#[test]
fn every_corruption_of_an_octet_is_survived() {
    for der in specimens() {
        let mut broken = der.clone();
        for place in 0..der.len() {
            for octet in 0..=u8::MAX {
                broken[place] = octet;
                if let Some(facts) = Facts::read(&broken) {
                    assert!(!facts.subject.chars().any(char::is_control));
                    assert!(!facts.issuer.chars().any(char::is_control));
                }
                let _ = public_key_octets(&broken);
            }
            broken[place] = der[place];
        }
    }
}

const P256: [&str; 2] = ["ec", "ec_paramgen_curve:P-256"];

fn certificate(options: &[&str]) -> Facts {
    Folder::new().certificate(&P256, options)
}

fn length(octets: &[u8], more: u16) -> [u8; 2] {
    (u16::from_be_bytes(octets.try_into().unwrap()) + more).to_be_bytes()
}

/// Certificates small enough to be broken in every way, with all that is read of one.
fn specimens() -> Vec<Vec<u8>> {
    let options = [
        "-utf8",
        "-subj",
        "/DC=x/C=CH/serialNumber=7/O=Ü+emailAddress=a@b/CN=gw",
        "-multivalue-rdn",
        "-addext",
        "extendedKeyUsage=serverAuth,clientAuth",
    ];
    [&P256[..], &["rsa:1024"]]
        .into_iter()
        .map(|key| {
            let folder = Folder::new();
            folder.certificate(key, &options);
            fs::read(folder.path.join("certificate")).unwrap()
        })
        .collect()
}

/// A place of its own for the files of `openssl`.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mtls-agent-x509-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    /// A self-signed certificate in the file `certificate`, its key in `key`.
    fn certificate(&self, key: &[&str], options: &[&str]) -> Facts {
        let mut arguments = vec!["req", "-x509", "-nodes", "-keyout", "key", "-newkey"];
        arguments.push(key[0]);
        for option in &key[1..] {
            arguments.extend(["-pkeyopt", option]);
        }
        arguments.extend(["-outform", "DER", "-out", "certificate"]);
        arguments.extend(options);
        self.openssl(&arguments);
        Facts::read(&fs::read(self.path.join("certificate")).unwrap()).unwrap()
    }

    /// A signing request in the file `request`, its key in `key`.
    fn request(&self, common_name: &str) {
        let subject = format!("/CN={common_name}");
        self.openssl(&[
            "req", "-nodes", "-newkey", "rsa:2048", "-keyout", "key", "-out", "request", "-subj",
            &subject,
        ]);
    }

    fn openssl(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        output.stdout
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
