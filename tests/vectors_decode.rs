//! Every vector of CUPS, good and malformed, is judged by the parsers, the checks of received
//! credentials, the policy and the signature as the vector says.

#![cfg(feature = "updates")]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that ends when its own files, programs or vectors are not as expected"
)]

mod support {
    pub(crate) mod vectors;
}

use mtls_agent::daemon::accept;
use mtls_agent::daemon::clock::Effective;
use mtls_agent::daemon::update::{Sink, SinkError};
use mtls_agent::wire::credential::{Credential, Method, crc_of_nothing};
use mtls_agent::wire::cups::answer::{Answer, Layout, Signature};
use mtls_agent::wire::cups::request::Request;
use mtls_agent::wire::der;
use mtls_agent::wire::error::Code;
use mtls_agent::wire::eui::Eui64;
use mtls_agent::wire::policy::{InForce, Policy};
use mtls_agent::wire::uri::{ServerUri, Service};
use mtls_agent::wire::x509::Facts;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use support::vectors::{Files, Vectors, base64, body, files, hex, text};

#[test]
fn every_good_answer_has_the_segments_of_its_vector() {
    for vector in Vectors::load().positive() {
        let (name, octets) = (&vector["name"], body(vector));
        let (answer, update) = Answer::parse(&octets).unwrap();
        let expected = &vector["segments"];
        let uri = |uri: &Option<ServerUri>| uri.as_ref().map(ToString::to_string);
        assert_eq!(
            uri(&answer.cups_uri).unwrap_or_default(),
            expected["cups_uri"]
        );
        assert_eq!(uri(&answer.tc_uri).unwrap_or_default(), expected["tc_uri"]);
        for (credential, part) in [(&answer.cups, "cups_cred"), (&answer.tc, "tc_cred")] {
            assert_eq!(
                lengths(credential.as_ref()),
                lengths_of(&expected[part]),
                "{name} {part}"
            );
        }
        let signature = answer.signature.map_or(
            Value::Null,
            |signature| json!({ "key_crc": signature.key_crc, "der_len": signature.der.len() }),
        );
        assert_eq!(signature, expected["sig"], "{name}");
        assert_eq!(update.len(), expected["update_len"], "{name}");
        if let Some(digest) = expected["update_sha512"].as_str() {
            assert_eq!(Sha512::digest(update).to_vec(), hex(digest), "{name}");
        }
    }
}

#[test]
fn every_good_answer_passes_every_check() {
    let vectors = Vectors::load();
    for vector in vectors.positive() {
        let verdict = judge(&body(vector), &vectors.before(vector), true);
        assert_eq!(verdict, Ok(()), "{}", vector["name"]);
    }
}

#[test]
fn every_malformed_answer_is_refused_with_its_code() {
    let vectors = Vectors::load();
    for vector in vectors.malformed() {
        let response = &vector["response"];
        let is_octets = response["content_type"] == "application/octet-stream";
        if response["status"] != 200 || !is_octets {
            continue;
        }
        let verdict = judge(&body(vector), &vectors.before(vector), false);
        let code = verdict.map_or_else(Code::name, |()| "ok");
        assert_eq!(code, vector["expect_code"], "{}", vector["name"]);
    }
}

#[test]
fn every_prefix_of_an_answer_is_short_until_its_head_is_whole() {
    for vector in Vectors::load().positive() {
        let octets = body(vector);
        let whole = Layout::find(&octets).unwrap().unwrap();
        for end in 0..octets.len() {
            let found = Layout::find(&octets[..end]).unwrap();
            let expected = (end >= whole.update_start).then(|| whole.clone());
            assert_eq!(found, expected, "{} cut at {end}", vector["name"]);
        }
    }
}

#[test]
fn the_files_of_an_answer_and_the_next_crcs_are_those_of_its_vector() {
    let vectors = Vectors::load();
    for vector in vectors.positive() {
        let mut after = vectors.before(vector);
        after.extend(files(&vector["state_after"]));
        let octets = body(vector);
        let (answer, _) = Answer::parse(&octets).unwrap();
        for (received, set, crc) in [
            (&answer.cups, "cups", "cupsCredCrc"),
            (&answer.tc, "tc", "tcCredCrc"),
        ] {
            let part = |ending| file(&after, &format!("{set}.{ending}"));
            let stored = Credential::from_parts(part("trust"), part("crt"), part("key"));
            assert_eq!(
                stored.crc(),
                vector["next_request"][crc],
                "{} {crc}",
                vector["name"]
            );
            let Some(received) = received else { continue };
            assert_eq!(received.crc(), stored.crc(), "{} {crc}", vector["name"]);
            assert_eq!(received.trust(), part("trust"));
            assert_eq!(received.certificate(), part("crt"));
            assert_eq!(received.key(), part("key"));
        }
    }
}

#[test]
fn every_request_is_written_as_its_vector_octet_for_octet() {
    for vector in Vectors::load().positive() {
        let json = &vector["request"]["json"];
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
        let owned = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let request = Request {
            router: Eui64::from_any(text(&json["router"])).unwrap(),
            cups_uri: owned("cupsUri"),
            tc_uri: owned("tcUri"),
            cups_crc: number(&json["cupsCredCrc"]),
            tc_crc: number(&json["tcCredCrc"]),
            station: owned("station"),
            model: owned("model"),
            package: json["package"].as_str().map(str::to_owned),
            key_crcs: json["keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(number)
                .collect(),
        };
        assert_eq!(
            request.body(),
            text(&vector["request"]["body"]),
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn the_sample_numbers_are_ours() {
    let vectors = Vectors::load();
    let crcs: Vec<u64> = vectors.0["crc_examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|example| example["crc"].as_u64().unwrap())
        .collect();
    let of_key = |name| u64::from(mtls_lab::cups::answer::crc32(&vectors.material(name)));
    let ours = [
        u64::from(crc_of_nothing()),
        of_key("sig0_pub_xy"),
        of_key("sig1_pub_xy"),
    ];
    assert_eq!(crcs, ours);
    for sample in vectors.0["der_length"].as_array().unwrap() {
        let length = der::total_length(&hex(text(&sample["hex"])));
        assert_eq!(
            length.map(|length| length as u64),
            sample["total"].as_u64(),
            "{sample}"
        );
    }
}

#[test]
fn every_eui_reads_and_prints_as_its_id6() {
    let vectors = Vectors::load();
    for pair in vectors.0["id6"].as_array().unwrap() {
        let eui = Eui64::from_hex(text(&pair["eui"])).unwrap();
        assert_eq!(eui.id6().to_string(), pair["id6"]);
        assert_eq!(Eui64::from_any(text(&pair["id6"])), Ok(eui));
    }
    let forms = vectors.0["router_forms_accepted_by_the_things_stack"].as_object();
    for (form, eui) in forms
        .unwrap()
        .iter()
        .filter(|(form, _)| !form.starts_with("router-"))
    {
        if let Some(eui) = eui.as_str() {
            assert_eq!(
                Eui64::from_any(form),
                Ok(Eui64::from_hex(eui).unwrap()),
                "{form}"
            );
        }
    }
}

#[test]
fn an_update_needs_the_very_key_its_signature_names() {
    let vectors = Vectors::load();
    let data = vectors.material("update_bin");
    let keys = [
        vectors.material("sig0_pub_xy"),
        vectors.material("sig1_pub_xy"),
    ];
    let crcs = [
        mtls_lab::cups::answer::crc32(&keys[0]),
        mtls_lab::cups::answer::crc32(&keys[1]),
    ];
    let [by_0, by_1] = ["update_sig0_der", "update_sig1_der"].map(|name| vectors.material(name));
    let code = |data: &[u8], key_crc, der: &[u8], keys: &[Vec<u8>]| {
        let der = der.to_vec();
        verify(data, Some(&Signature { key_crc, der }), keys).err()
    };
    assert_eq!(code(&data, crcs[0], &by_0, &keys), None);
    assert_eq!(code(&data, crcs[1], &by_1, &keys), None);
    let refused = Some(Code::UpdateSignature);
    assert_eq!(
        code(&data, crcs[1], &by_0, &keys),
        refused,
        "another key's name"
    );
    assert_eq!(code(&data, crcs[0], &by_1, &keys), refused, "another key");
    assert_eq!(code(&data, 1, &by_0, &keys), refused, "an unknown key");
    assert_eq!(
        code(&data, crcs[1], &by_1, &keys[..1]),
        refused,
        "a key not installed"
    );
    assert_eq!(
        code(&data[1..], crcs[0], &by_0, &keys),
        refused,
        "other data"
    );
    assert_eq!(code(&data, crcs[0], &by_0[1..], &keys), refused, "no DER");
    assert_eq!(
        code(&data, crcs[0], &[], &keys),
        refused,
        "an empty signature"
    );
    assert_eq!(verify(&data, None, &keys), Err(Code::UpdateUnsigned));
    assert_eq!(
        verify(&data, None, &[]),
        Err(Code::UpdateUnsigned),
        "no key installed"
    );
}

#[test]
fn a_trust_anchor_must_be_valid_now_and_for_an_hour() {
    let root = Vectors::load().material("rootA_der");
    let code = |root: &[u8], passed_s: u64| {
        let set = Credential::parse(&[root, &[0; 8]].concat()).unwrap();
        let verdict = accept::check(&set, Effective::from_passed(&[passed_s]));
        verdict.map_err(|error| error.code)
    };
    let end_s = Facts::read(&root).unwrap().not_after_s;
    assert_eq!(code(&root, end_s - 3700), Ok(()));
    assert_eq!(code(&root, end_s - 3500), Err(Code::CredTrustValidity));
    assert_eq!(code(&root, end_s + 1), Err(Code::CredTrustValidity));

    let begin = b"200101000000Z";
    let place = root.windows(13).position(|text| text == begin).unwrap();
    let mut later = root.clone();
    later[place..place + 2].copy_from_slice(b"48");
    assert_eq!(code(&later, 0), Err(Code::CredTrustValidity));
    // A clock that is known to be behind cannot say that something has not begun.
    let far_s = Facts::read(&later).unwrap().not_before_s - 86_400;
    assert_eq!(code(&later, far_s), Ok(()));
}

/// Passes an answer through everything that judges it, in the order of the exchange.
fn judge(octets: &[u8], before: &Files, allow: bool) -> Result<(), Code> {
    let (answer, update) = Answer::parse(octets).map_err(|error| error.code)?;
    let update_length = answer.update_length;
    for credential in [&answer.cups, &answer.tc].into_iter().flatten() {
        accept::check(credential, Effective::from_passed(&[])).map_err(|error| error.code)?;
    }
    let signature = answer.signature.clone();
    let uri = |name: &str, service| {
        let octets = core::str::from_utf8(file(before, name)).unwrap();
        ServerUri::parse(octets, service).ok()
    };
    let cups_uri = uri("cups.uri", Service::Cups).unwrap();
    let tc_uri = uri("tc.uri", Service::Lns);
    let in_force = InForce {
        cups_uri: &cups_uri,
        tc_uri: tc_uri.as_ref(),
    };
    let policy = Policy {
        allow_cups_changes: allow,
        allow_plain: allow,
        ..Policy::default()
    };
    policy.apply(answer, in_force).map_err(|error| error.code)?;
    if update_length == 0 {
        return Ok(());
    }
    let keys = ["sig-0.key", "sig-1.key"].map(|name| file(before, name).to_vec());
    verify(update, signature.as_ref(), &keys)
}

fn verify(data: &[u8], signature: Option<&Signature>, keys: &[Vec<u8>]) -> Result<(), Code> {
    let mut sink = Sink::open(None).unwrap();
    for piece in data.chunks(7) {
        sink.take(piece).unwrap();
    }
    sink.finish(signature, keys)
        .map(drop)
        .map_err(|error| match error {
            SinkError::Refused(error) => error.code,
            SinkError::Storage(error) => unreachable!("nothing is stored: {error}"),
        })
}

fn file<'a>(files: &'a Files, name: &str) -> &'a [u8] {
    files.get(name).map(Vec::as_slice).unwrap_or_default()
}

/// Octets of trust, certificate and key, and the kind of key.
fn lengths(credential: Option<&Credential>) -> Option<([usize; 3], &'static str)> {
    credential.map(|set| {
        let kind = match set.method() {
            Method::Server => "none",
            Method::Token => "token",
            Method::Mutual => "der",
        };
        let parts = [set.trust(), set.certificate(), set.key()];
        (parts.map(<[u8]>::len), kind)
    })
}

fn lengths_of(part: &Value) -> Option<([usize; 3], &'static str)> {
    let length = |name: &str| usize::try_from(part[name].as_u64().unwrap()).unwrap();
    (!part.is_null()).then(|| {
        let kind = match part["key_kind"].as_str() {
            Some("token") => "token",
            Some("der") => "der",
            _ => "none",
        };
        (["trust_len", "cert_len", "key_len"].map(length), kind)
    })
}

#[test]
fn the_helpers_read_what_others_wrote() {
    assert_eq!(base64("aHR0cHM6Ly8="), b"https://");
    assert_eq!(hex("00ff1a"), [0, 255, 26]);
}
