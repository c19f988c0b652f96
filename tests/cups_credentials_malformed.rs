//! Every kind of malformed credentials that the reference names, and those beside it: the real
//! agent refuses each with its code and changes nothing; every good kind it takes.

#![cfg(feature = "updates")]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that ends when its own files, programs or vectors are not as expected"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod gateway;
    pub(crate) mod materials;
    pub(crate) mod stage;
    pub(crate) mod vectors;
}

use mtls_lab::cups::answer::{Dialect, Segments, Signature, crc32, encode};
use mtls_lab::http::RawAnswer;
use support::materials::{Materials, assert_refused, poll};

const NONE: [u8; 4] = [0; 4];
const TOKEN: &[u8] = b"Authorization: NNSXS.EXAMPLE.OTHER\r\n";

type Case<'a> = (&'a str, Vec<&'a [u8]>, &'a str);

#[test]
fn a_trust_part_that_is_no_anchor_is_refused() {
    let all = Materials::load();
    let (root, certificate) = (&*all.root, &*all.certificate);
    let pem = all.vectors.material("rootA_pem");
    let no_certificate = &[0x30, 3, 2, 1, 1][..];
    let not_minimal = &[0x30, 0x81, 5, 1, 2, 3, 4, 5][..];
    let cases: [Case<'_>; 8] = [
        ("PEM", vec![&pem, &NONE, TOKEN], "cred_trust_tag"),
        (
            "overrun",
            vec![&[0x30, 0x82, 0x7F, 0xFF], root],
            "cred_trust_der_overrun",
        ),
        (
            "indefinite",
            vec![&[0x30, 0x80], root],
            "cred_trust_der_overrun",
        ),
        (
            "not minimal",
            vec![not_minimal, &NONE],
            "cred_trust_der_overrun",
        ),
        (
            "no certificate",
            vec![no_certificate, &NONE, TOKEN],
            "cred_trust_tag",
        ),
        (
            "a leaf",
            vec![certificate, &NONE, TOKEN],
            "cred_trust_not_ca",
        ),
        ("absent", vec![&NONE, &NONE, TOKEN], "cred_trust_tag"),
        ("alone", vec![root], "cred_cert_tag"),
    ];
    assert_each_refused(&all, &cases);
}

#[test]
fn a_certificate_part_that_is_neither_whole_nor_marked_absent_is_refused() {
    let all = Materials::load();
    let (root, certificate, key) = (&*all.root, &*all.certificate, &*all.key);
    let cases: [Case<'_>; 9] = [
        (
            "marker dirty",
            vec![root, &[0, 0, 0, 1], TOKEN],
            "cred_cert_tag",
        ),
        (
            "marker dirty, no key",
            vec![root, &[0, 1, 0, 0]],
            "cred_cert_tag",
        ),
        ("marker short", vec![root, &[0, 0], TOKEN], "cred_cert_tag"),
        (
            "marker short, no key",
            vec![root, &[0, 0, 0]],
            "cred_cert_tag",
        ),
        ("no marker", vec![root, TOKEN], "cred_cert_tag"),
        (
            "bad tag",
            vec![root, &[0x31], certificate, key],
            "cred_cert_tag",
        ),
        (
            "overrun",
            vec![root, &[0x30, 0x82, 16, 0], certificate],
            "cred_cert_der_overrun",
        ),
        (
            "no certificate",
            vec![root, &[0x30, 3, 2, 1, 1], key],
            "cred_certificate",
        ),
        (
            "absent, with a key",
            vec![root, &NONE, key],
            "cred_cert_tag",
        ),
    ];
    assert_each_refused(&all, &cases);
}

#[test]
fn a_private_key_that_is_missing_or_not_the_certificates_is_refused() {
    let all = Materials::load();
    let (root, certificate, key) = (&*all.root, &*all.certificate, &*all.key);
    let pem = all.vectors.material("client_ec_key_pem");
    let rsa = all.vectors.material("client_rsa_key_pkcs1_der");
    let cases: [Case<'_>; 8] = [
        ("missing", vec![root, certificate], "cred_key_missing"),
        (
            "marked missing",
            vec![root, certificate, &NONE],
            "cred_key_missing",
        ),
        ("PEM", vec![root, certificate, &pem], "cred_key_tag"),
        ("a token", vec![root, certificate, TOKEN], "cred_key_tag"),
        (
            "nonsense",
            vec![root, certificate, &[0x30, 3, 2, 1, 1]],
            "cred_key_tag",
        ),
        (
            "cut",
            vec![root, certificate, &key[..100]],
            "cred_key_der_overrun",
        ),
        (
            "and more",
            vec![root, certificate, key, &[0]],
            "cred_key_der_overrun",
        ),
        (
            "another",
            vec![root, certificate, &rsa],
            "cred_key_mismatch",
        ),
    ];
    assert_each_refused(&all, &cases);
}

#[test]
fn tokens_that_could_smuggle_are_refused() {
    let all = Materials::load();
    for token in [
        &b"NNSXS.BARE.KEY"[..],
        b"Authorization: A\0B\r\n",
        b"\0Authorization: A\r\n",
        b"Authorization: A\r\n\0",
        b"Authorization: A\r\n\r\n",
        b"Authorization: A\r\n\r\nGET / HTTP/1.1\r\n",
        b"Authorization: A\r\nContent-Length: 0\r\n",
        b"Authorization: A\r\nTransfer-Encoding: chunked\r\n",
        b"Host: evil.example\r\n",
        b"Connection: close\r\n",
        b"Sec-WebSocket-Protocol: x\r\n",
        b"Authorization:A\r\n",
        b"Authorization: A\rX: B\r\n",
        b"Authorization: \xC3\xA9\r\n",
        b"Authorization: \r\n",
        b" Authorization: A\r\n",
        b"\r\n",
        b"\0\0\0\0\0",
    ] {
        let blob = [&*all.root, &NONE, token].concat();
        let name = String::from_utf8_lossy(token).into_owned();
        assert_refused(&all, &lns(&blob), "cred_token", &name);
    }
}

#[test]
fn every_kind_of_good_credentials_is_taken_in_one_answer_with_everything() {
    let all = Materials::load();
    let rsa = ["client_rsa_der", "client_rsa_key_pkcs1_der"].map(|name| all.vectors.material(name));
    let root = all.vectors.material("rootC_der");
    let data = all.vectors.material("update_bin");
    let der = all.vectors.material("update_sig0_der");
    let key_crc = crc32(&all.vectors.material("sig0_pub_xy"));
    for (name, blob) in [
        ("RSA, PKCS#1", [&*root, &*rsa[0], &*rsa[1]].concat()),
        ("EC, SEC1", [&*root, &*all.certificate, &*all.key].concat()),
        (
            "token with LF",
            [&*root, &NONE, &b"Authorization: Bearer A.B\n"[..]].concat(),
        ),
        (
            "token without end",
            [&*root, &NONE, &b"Authorization: A.B"[..]].concat(),
        ),
        (
            "two lines",
            [&*root, &NONE, &b"Authorization: A\r\nX-Y: z\r\n"[..]].concat(),
        ),
        ("server only", [&*root, &NONE, &NONE].concat()),
        ("server only, no key at all", [&*root, &NONE].concat()),
    ] {
        let everything = Segments {
            cups_uri: "https://cups2.example.com:443",
            tc_uri: "wss://lns2.example.com:8887",
            cups_credentials: &[&*root, &NONE, TOKEN].concat(),
            tc_credentials: &blob,
            signature: Some(Signature { key_crc, der: &der }),
            update: &data,
        };
        let body = encode(&everything, Dialect::Canonical);
        let (stage, run) = poll(&all, RawAnswer::octets(body));
        assert_eq!(
            run.verdict(),
            (Some(0), "rotated", "-", "policy_cups_change"),
            "{name} {run:?}"
        );
        assert_eq!(
            stage.gateway.tc_files()["tc.uri"],
            b"wss://lns2.example.com:8887",
            "{name}"
        );
        stage.cups.answer_next(RawAnswer::octets(vec![0; 14]));
        assert_eq!(stage.gateway.once().verdict().1, "unchanged");
        assert_eq!(stage.last_json()["tcCredCrc"], crc32(&blob), "{name}");
    }
}

fn assert_each_refused(all: &Materials, cases: &[Case<'_>]) {
    for (name, parts, code) in cases {
        let blob = parts.concat();
        assert_refused(all, &lns(&blob), code, name);
        // CUPS credentials are judged before policy ignores them.
        assert_refused(all, &cups(&blob), code, name);
    }
}

fn lns(blob: &[u8]) -> Vec<u8> {
    let segments = Segments {
        tc_credentials: blob,
        ..Segments::default()
    };
    encode(&segments, Dialect::Canonical)
}

fn cups(blob: &[u8]) -> Vec<u8> {
    let segments = Segments {
        cups_credentials: blob,
        ..Segments::default()
    };
    encode(&segments, Dialect::TheThingsStack)
}
