//! Every kind of malformed address, framing and update that the reference names, and those
//! beside it: the real agent refuses each with its code and changes nothing.

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
use mtls_lab::http::{Framing, RawAnswer};
use support::materials::{Materials, assert_refused, poll};

const NONE: [u8; 4] = [0; 4];
const TOKEN: &[u8] = b"Authorization: NNSXS.EXAMPLE.OTHER\r\n";

#[test]
fn addresses_that_station_cannot_use_are_refused() {
    let all = Materials::load();
    let long = format!("wss://{}.example:8887", "a".repeat(120));
    for (uri, code) in [
        ("https://lns.example.com:8887", "uri_scheme"),
        ("lns.example.com:8887", "uri_scheme"),
        ("wss://lns.example.com", "uri_port"),
        ("wss://lns.example.com:", "uri_port"),
        ("wss://lns.example.com:0", "uri_port"),
        ("wss://lns.example.com:65536", "uri_port"),
        ("wss://lns.example.com:8887/", "uri_path"),
        ("wss://lns.example.com:8887/traffic/x", "uri_path"),
        ("wss://lns.example.com:8887\n", "uri_control"),
        ("wss://lns.example.com:8887\r\nX: y", "uri_control"),
        ("wss://lns.example.com:8887 ", "uri_control"),
        ("wss://lns\u{0}.example.com:8887", "uri_control"),
        ("wss://lns\u{7f}.example.com:8887", "uri_control"),
        ("wss://l\u{e4}ns.example.com:8887", "uri_control"),
        ("wss://user@lns.example.com:8887", "uri_host"),
        (&long, "uri_too_long"),
        ("ws://lns.example.com:1887", "policy_downgrade"),
    ] {
        let segments = Segments {
            tc_uri: uri,
            ..Segments::default()
        };
        assert_refused(&all, &encode(&segments, Dialect::Canonical), code, uri);
    }
    for (uri, code) in [
        ("wss://cups.example.com:8987", "uri_scheme"),
        ("https://cups.example.com", "uri_port"),
        ("https://cups.example.com:8987/update-info", "uri_path"),
        ("http://cups.example.com:80", "policy_downgrade"),
    ] {
        let segments = Segments {
            cups_uri: uri,
            ..Segments::default()
        };
        assert_refused(&all, &encode(&segments, Dialect::TheThingsStack), code, uri);
    }
}

#[test]
fn a_good_part_beside_a_bad_one_is_not_used() {
    let all = Materials::load();
    let good = [&*all.root, &NONE, TOKEN].concat();
    let bad = [&*all.root, &[0, 0, 0, 1], TOKEN].concat();
    let segments = Segments {
        tc_uri: "wss://other.example.com:8887",
        tc_credentials: &good,
        ..Segments::default()
    };
    let whole = encode(&segments, Dialect::Canonical);
    let mixed = encode(
        &Segments {
            tc_credentials: &bad,
            ..segments
        },
        Dialect::Canonical,
    );
    assert_refused(
        &all,
        &mixed,
        "cred_cert_tag",
        "good address, bad credentials",
    );
    let mixed = encode(
        &Segments {
            tc_uri: "wss://x",
            ..segments
        },
        Dialect::Canonical,
    );
    assert_refused(&all, &mixed, "uri_port", "bad address, good credentials");
    for surplus in [&[0][..], &[0; 3], &[0; 5], &[0, 0, 0, 1], &[0; 8]] {
        let more = [&*whole, surplus].concat();
        assert_refused(&all, &more, "trailing_data", &format!("{surplus:?}"));
    }
    assert_eq!(
        poll(&all, RawAnswer::octets([&*whole, &NONE].concat()))
            .1
            .verdict()
            .1,
        "rotated"
    );
}

#[test]
fn updates_that_are_not_signed_by_the_named_key_are_refused() {
    let all = Materials::load();
    let [data, by_0, by_1] =
        ["update_bin", "update_sig0_der", "update_sig1_der"].map(|name| all.vectors.material(name));
    let [crc_0, crc_1] =
        ["sig0_pub_xy", "sig1_pub_xy"].map(|name| crc32(&all.vectors.material(name)));
    let cases: [(u32, &[u8], &[u8]); 5] = [
        (crc_1, &by_0, &data),
        (crc_0, &by_1, &data),
        (0, &by_0, &data),
        (crc_0, &by_0, b"#!/bin/sh\nreboot\n"),
        (crc_0, &[0x30; 70], &data),
    ];
    for (number, (key_crc, der, data)) in cases.into_iter().enumerate() {
        let body = update(Some(Signature { key_crc, der }), data);
        assert_refused(&all, &body, "update_signature", &format!("case {number}"));
    }
    assert_refused(&all, &update(None, &data), "update_unsigned", "unsigned");
    let second = Signature {
        key_crc: crc_1,
        der: &by_1,
    };
    let (_stage, run) = poll(&all, RawAnswer::octets(update(Some(second), &data)));
    assert_eq!(run.verdict(), (Some(0), "unchanged", "-", "-"), "{run:?}");
}

#[test]
fn lengths_that_no_signature_or_update_has_are_refused() {
    let all = Materials::load();
    for der in [&[1; 3][..], &[1; 129]] {
        let body = update(Some(Signature { key_crc: 1, der }), b"x");
        assert_refused(&all, &body, "sig_length", &der.len().to_string());
    }
    // 64 MiB are the limit unless configured otherwise.
    for length in [64 * 1024 * 1024 + 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX] {
        let body = [&[0; 10][..], &length.to_le_bytes()].concat();
        assert_refused(&all, &body, "update_too_large", &length.to_string());
    }
}

fn update(signature: Option<Signature<'_>>, update: &[u8]) -> Vec<u8> {
    let segments = Segments {
        signature,
        update,
        ..Segments::default()
    };
    encode(&segments, Dialect::Canonical)
}

#[test]
fn a_captive_portal_is_refused_whatever_it_calls_its_page() {
    let all = Materials::load();
    let page = b"<!DOCTYPE html><html><head><title>Hotel</title></head></html>".to_vec();
    let (stage, run) = poll(&all, RawAnswer::typed(200, "text/html", page.clone()));
    assert_eq!(
        run.verdict(),
        (Some(1), "failed", "protocol", "http_content_type")
    );
    drop(stage);
    let (_stage, run) = poll(&all, RawAnswer::octets(page).framed(Framing::Chunked));
    assert_eq!((run.code, run.verdict().1), (Some(1), "failed"));
}
