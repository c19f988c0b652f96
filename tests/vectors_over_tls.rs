//! Every vector of CUPS, served over mutual TLS, leaves the real agent and Basic Station's
//! home as the vector says; what is refused changes nothing.

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
    pub(crate) mod stage;
    pub(crate) mod vectors;
}

use mtls_lab::http::{Framing, RawAnswer};
use serde_json::Value;
use support::gateway::Run;
use support::stage::{Stage, http_answer};
use support::vectors::{Files, Vectors, body, files, text};

/// Signed updates, and the code that a refused one gets.
const UPDATES: [(&str, &str); 2] = [
    ("update-unsigned", "update_unsigned"),
    ("update-bad-signature", "update_signature"),
];

#[test]
fn every_good_answer_is_taken_and_the_next_request_says_so() {
    let vectors = Vectors::load();
    for vector in vectors.positive() {
        let mut stage = Stage::new(&vectors, &vectors.before(vector));
        stage.gateway.set("cups", "allow_plain", true);
        let run = poll(&stage, vector);
        let tc = tc_only(&vectors.before(vector), Some(&vector["state_after"]));
        let name = text(&vector["name"]);
        let has_change = tc != tc_only(&vectors.before(vector), None);
        let outcome = if has_change { "rotated" } else { "unchanged" };
        let code = code_of_ignored(vector);
        assert_eq!(
            run.verdict(),
            (Some(0), outcome, "-", code),
            "{name} {run:?}"
        );
        assert_eq!(stage.gateway.tc_files(), tc, "{name}");
        assert_request(&stage, vector);

        stage.cups.answer_next(RawAnswer::octets(vec![0; 14]));
        assert_eq!(stage.gateway.once().verdict().1, "unchanged", "{name}");
        let next = stage.last_json();
        for field in ["tcUri", "tcCredCrc"] {
            assert_eq!(next[field], vector["next_request"][field], "{name} {field}");
        }
    }
}

#[test]
fn every_malformed_answer_is_refused_whole() {
    let vectors = Vectors::load();
    for vector in vectors.malformed() {
        let before = vectors.before(vector);
        let mut stage = Stage::new(&vectors, &before);
        let ran = turn_updates_on(&mut stage);
        let run = poll(&stage, vector);
        let (name, code) = (text(&vector["name"]), text(&vector["expect_code"]));
        let identity = stage.gateway.identity_files();
        if code == "ok" {
            assert_eq!(
                (run.code, run.verdict().1),
                (Some(0), "rotated"),
                "{name} {run:?}"
            );
            assert_ne!(stage.gateway.tc_files(), tc_only(&before, None), "{name}");
            continue;
        }
        let (exit, outcome, _, told) = run.verdict();
        assert_eq!(
            (exit, outcome, told),
            (Some(1), "failed", code),
            "{name} {run:?}"
        );
        assert_eq!(stage.gateway.tc_files(), tc_only(&before, None), "{name}");
        assert!(!ran.exists() && !stage.gateway.has_update(), "{name}");
        for (file, octets) in &identity {
            assert_eq!(before.get(file), Some(octets), "{name} {file}");
        }
    }
}

#[test]
fn a_request_is_the_vectors_octet_for_octet() {
    let vectors = Vectors::load();
    for vector in vectors.positive() {
        let stage = Stage::new(&vectors, &vectors.before(vector));
        poll(&stage, vector);
        let request = stage.last_request();
        let sent = String::from_utf8(request.body.clone()).unwrap();
        let (ours, theirs) = (stage.last_json(), &vector["request"]["json"]);
        let same = sent
            .replace(&stage.front.uri(), text(&theirs["cupsUri"]))
            .replace(text(&ours["station"]), text(&theirs["station"]));
        assert_eq!(same, text(&vector["request"]["body"]), "{}", vector["name"]);
        assert_eq!((&*request.method, &*request.path), ("POST", "/update-info"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), None);
        let client = stage.cups.requests().pop().unwrap().client_cn;
        assert_eq!(client.as_deref(), Some("0123456789ABCDEF"));
    }
}

#[test]
fn a_plain_lns_is_refused_unless_plain_is_allowed() {
    let vectors = Vectors::load();
    let vector = vectors.named("ws-plain-uri");
    let stage = Stage::new(&vectors, &vectors.before(vector));
    let run = poll(&stage, vector);
    assert_eq!(run.verdict(), (Some(1), "failed", "policy", "policy_plain"));
    assert!(stage.gateway.tc_files().is_empty());
}

#[test]
fn a_cups_move_to_a_server_that_does_not_answer_is_not_made() {
    let vectors = Vectors::load();
    for name in ["new-cups-uri", "cups-redirect-token"] {
        let vector = vectors.named(name);
        let before = vectors.before(vector);
        let mut stage = Stage::new(&vectors, &before);
        stage.gateway.set("cups", "allow_cups_changes", true);
        stage.gateway.config["network"] = serde_json::json!({ "connect_s": 3 });
        let run = poll(&stage, vector);
        assert_eq!(
            (run.code, run.verdict().1),
            (Some(1), "failed"),
            "{name} {run:?}"
        );
        assert_eq!(stage.gateway.tc_files(), tc_only(&before, None));
        stage.cups.answer_next(RawAnswer::octets(vec![0; 14]));
        // It is kept and proved on, and the server in use is the one that is asked.
        assert_eq!(stage.gateway.once().verdict().1, "failed", "{name}");
        assert_eq!(stage.gateway.tc_files(), tc_only(&before, None));
        assert_request(&stage, vector);
    }
}

#[test]
fn updates_that_are_off_are_named_and_change_nothing() {
    let vectors = Vectors::load();
    for (name, code) in UPDATES {
        let mut all = vectors.malformed().iter();
        let vector = all.find(|vector| vector["name"] == name).unwrap();
        let before = vectors.before(vector);
        let stage = Stage::new(&vectors, &before);
        let run = poll(&stage, vector);
        assert_eq!(run.verdict(), (Some(0), "unchanged", "-", code), "{name}");
        assert_eq!(stage.gateway.tc_files(), tc_only(&before, None));
        assert!(!stage.gateway.has_update(), "{name}");
    }
}

#[test]
fn a_signed_update_runs_with_exactly_its_octets() {
    let vectors = Vectors::load();
    let vector = vectors.named("firmware-signed-key0");
    let mut stage = Stage::new(&vectors, &vectors.before(vector));
    let ran = turn_updates_on(&mut stage);
    let run = poll(&stage, vector);
    assert_eq!(run.verdict(), (Some(0), "unchanged", "-", "-"), "{run:?}");
    assert_eq!(std::fs::read(ran).unwrap(), vectors.material("update_bin"));
}

#[test]
fn an_update_whose_end_is_missing_or_followed_leaves_no_file() {
    let vectors = Vectors::load();
    let vector = vectors.named("firmware-signed-key0");
    let whole = body(vector);
    let cut = RawAnswer::octets(whole.clone()).framed(Framing::CutAfter(whole.len() - 1));
    let short = RawAnswer::octets(whole[..whole.len() - 1].to_vec());
    let long = RawAnswer::octets([whole, vec![0]].concat());
    for (answer, code) in [
        (cut, "truncated"),
        (short, "truncated"),
        (long, "trailing_data"),
    ] {
        let mut stage = Stage::new(&vectors, &vectors.before(vector));
        let ran = turn_updates_on(&mut stage);
        stage.cups.answer_next(answer);
        let run = stage.gateway.once();
        assert_eq!(run.verdict(), (Some(1), "failed", "protocol", code));
        assert!(!ran.exists() && !stage.gateway.has_update(), "{code}");
    }
}

fn poll(stage: &Stage, vector: &Value) -> Run {
    stage.cups.answer_next(http_answer(vector));
    let run = stage.gateway.once();
    assert_eq!(stage.front.handshakes(), 1, "{} {run:?}", vector["name"]);
    run
}

/// The request but for what names the place: CUPS' address and our version.
fn assert_request(stage: &Stage, vector: &Value) {
    let (mut sent, expected) = (stage.last_json(), &vector["request"]["json"]);
    assert_eq!(sent["cupsUri"], stage.front.uri());
    assert!(text(&sent["station"]).starts_with("mtls-agent "));
    for field in ["cupsUri", "station"] {
        sent[field] = expected[field].clone();
    }
    assert_eq!(&sent, expected, "{}", vector["name"]);
}

/// What CUPS asks for and nobody has allowed.
fn code_of_ignored(vector: &Value) -> &'static str {
    let segments = &vector["segments"];
    if segments["cups_uri"] != "" || !segments["cups_cred"].is_null() {
        "policy_cups_change"
    } else if segments["update_len"] != 0 {
        "update_ignored"
    } else {
        "-"
    }
}

fn turn_updates_on(stage: &mut Stage) -> std::path::PathBuf {
    let ran = stage.gateway.dir.join("ran");
    let text = format!("#!/bin/sh\ncp \"$1\" '{}'\n", ran.display());
    let program = stage.gateway.program("apply", &text);
    let command = vec![program.to_string_lossy().into_owned()];
    stage.gateway.set("cups", "update_command", command);
    ran
}

fn tc_only(before: &Files, after: Option<&Value>) -> Files {
    let mut all = before.clone();
    all.extend(after.map(files).unwrap_or_default());
    all.retain(|name, octets| name.starts_with("tc") && !octets.is_empty());
    all
}
