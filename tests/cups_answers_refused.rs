//! Answers that no vector has: framings, sizes, statuses and headers. Each gets its class and
//! code, and what Basic Station uses stays as it was.

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

use std::io::Write;

use mtls_lab::cups::answer::{Dialect, Key, Segments, credential, encode};
use mtls_lab::cups::{Config, CupsDouble};
use mtls_lab::http::{Conn, Framing, RawAnswer};
use mtls_lab::server::Listener;
use support::gateway::Run;
use support::stage::Stage;
use support::vectors::Vectors;

const STATE: &str = "no-change-canonical";

#[test]
fn a_large_answer_is_taken_in_every_framing() {
    let vectors = Vectors::load();
    let answer = large_answer(&vectors);
    assert!(answer.len() > 3000);
    for framing in [
        Framing::ContentLength,
        Framing::Chunked,
        Framing::UntilClose,
    ] {
        let stage = Stage::new(&vectors, &vectors.before(vectors.named(STATE)));
        let run = poll(&stage, octets(answer.clone()).framed(framing));
        assert_eq!(run.verdict().1, "rotated", "{framing:?} {run:?}");
        let files = stage.gateway.tc_files();
        assert_eq!(files.get("tc.trust"), Some(&vectors.material("rootC_der")));
        assert_eq!(
            files.get("tc.key"),
            Some(&vectors.material("client_rsa_key_pkcs1_der"))
        );
    }
}

#[test]
fn an_answer_that_is_cut_is_truncated_in_every_framing() {
    let vectors = Vectors::load();
    let answer = large_answer(&vectors);
    for framing in [
        Framing::CutAfter(2000),
        Framing::ChunkedCutAfter(2048),
        Framing::CutAfter(0),
    ] {
        assert_refused(
            &vectors,
            octets(answer.clone()).framed(framing),
            ("protocol", "truncated"),
        );
    }
    let cut = octets(answer[..2000].to_vec()).framed(Framing::UntilClose);
    assert_refused(&vectors, cut, ("protocol", "truncated"));
}

#[test]
fn an_answer_above_132_kib_is_too_large() {
    let vectors = Vectors::load();
    for framing in [
        Framing::ContentLength,
        Framing::Chunked,
        Framing::UntilClose,
    ] {
        let answer = octets(vec![0; 132 * 1024 + 1]).framed(framing);
        assert_refused(&vectors, answer, ("protocol", "too_large"));
    }
}

#[test]
fn an_answer_that_never_ends_is_given_up() {
    let vectors = Vectors::load();
    let endless = Listener::start(0, |socket| {
        let mut conn = Conn::new(socket);
        let _request = conn.request();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";
        let mut is_open = conn.stream().write_all(head.as_bytes()).is_ok();
        while is_open {
            is_open = conn.stream().write_all(&[0; 8192]).is_ok();
        }
    })
    .unwrap();
    let before = vectors.before(vectors.named(STATE));
    let unused = CupsDouble::start(&Config::default()).unwrap();
    let stage = Stage::before(endless.address(), unused, &vectors, &before);
    let run = stage.gateway.once();
    let refused = (Some(1), "failed", "protocol", "too_large");
    assert_eq!(run.verdict(), refused, "{run:?}");
}

#[test]
fn something_else_than_cups_is_told_by_its_content_type() {
    let vectors = Vectors::load();
    let page = b"<html>Welcome to the hotel. Please log in.</html>".to_vec();
    for kind in [
        "text/html",
        "text/html; charset=utf-8",
        "TEXT/plain",
        "application/json",
    ] {
        let answer = RawAnswer::typed(200, kind, page.clone());
        assert_refused(&vectors, answer, ("protocol", "http_content_type"));
    }
    for kind in ["application/octet-stream", "Application/Octet-Stream; x=y"] {
        let stage = Stage::new(&vectors, &vectors.before(vectors.named(STATE)));
        let run = poll(&stage, RawAnswer::typed(200, kind, vec![0; 14]));
        assert_eq!(run.verdict().1, "unchanged", "{kind}");
    }
    let stage = Stage::new(&vectors, &vectors.before(vectors.named(STATE)));
    let bare = RawAnswer {
        status: 200,
        body: vec![0; 18],
        ..RawAnswer::default()
    };
    assert_eq!(poll(&stage, bare).verdict().1, "unchanged");
}

#[test]
fn an_encoding_that_nobody_asked_for_is_refused() {
    let vectors = Vectors::load();
    for coding in ["gzip", "deflate", "br"] {
        let answer = with(octets(vec![0; 14]), "Content-Encoding", coding);
        assert_refused(&vectors, answer, ("protocol", "http_body"));
    }
    let stage = Stage::new(&vectors, &vectors.before(vectors.named(STATE)));
    let plain = with(octets(vec![0; 14]), "Content-Encoding", "identity");
    assert_eq!(poll(&stage, plain).verdict().1, "unchanged");
}

#[test]
fn every_status_but_200_has_its_class() {
    let vectors = Vectors::load();
    // A body that would be a change, were the status not what it is.
    let change = large_answer(&vectors);
    for (status, class) in [
        (201, "protocol"),
        (204, "protocol"),
        (206, "protocol"),
        (301, "configuration"),
        (302, "configuration"),
        (400, "protocol"),
        (401, "not_authorised"),
        (403, "not_authorised"),
        (404, "not_registered"),
        (409, "protocol"),
        (421, "configuration"),
        (429, "busy"),
        (431, "configuration"),
        (500, "server_fault"),
        (502, "server_fault"),
        (503, "server_fault"),
        (504, "server_fault"),
    ] {
        let kind = "application/octet-stream";
        let body = if status == 204 {
            Vec::new()
        } else {
            change.clone()
        };
        let answer = with(
            RawAnswer::typed(status, kind, body),
            "Location",
            "https://evil.example/",
        );
        assert_refused(&vectors, answer, (class, "http_status"));
    }
}

#[test]
fn the_servers_own_time_makes_it_busy() {
    let vectors = Vectors::load();
    for (status, header) in [
        (429, "x-rate-limit-retry"),
        (429, "Retry-After"),
        (503, "Retry-After"),
    ] {
        let answer = with(
            RawAnswer::typed(status, "text/plain", Vec::new()),
            header,
            "120",
        );
        assert_refused(&vectors, answer, ("busy", "http_status"));
    }
}

#[test]
fn each_404_of_the_things_stack_is_told_by_its_name() {
    let vectors = Vectors::load();
    for (name, class, code) in [
        (
            "cups:lns_credentials_not_found",
            "not_registered",
            "lns_credentials_not_found",
        ),
        (
            "cups:target_cups_credentials_not_found",
            "not_registered",
            "target_cups_credentials_not_found",
        ),
        ("cups:server_trust", "server_fault", "server_trust"),
        ("webui:route_not_found", "configuration", "route_not_found"),
        (
            "identityserver:gateway_eui_not_found",
            "not_registered",
            "http_status",
        ),
    ] {
        let body = format!(
            "{{\"code\":5,\"message\":\"error:pkg/{name} (told by the server)\",\
             \"details\":[{{\"correlation_id\":\"c0ffee\"}}]}}"
        );
        let answer = RawAnswer::typed(404, "application/json", body.into_bytes());
        let run = assert_refused(&vectors, answer, (class, code));
        let message = run.said["message"].as_str().unwrap();
        assert!(message.contains("told by the server"), "{message}");
        assert!(message.contains("c0ffee"), "{message}");
    }
}

/// LNS credentials of more than 3000 octets: an RSA-4096 root, a certificate and an RSA key.
fn large_answer(vectors: &Vectors) -> Vec<u8> {
    let blob = credential(
        &vectors.material("rootC_der"),
        Some(&vectors.material("client_rsa_der")),
        Key::Der(&vectors.material("client_rsa_key_pkcs1_der")),
    );
    let segments = Segments {
        tc_credentials: &blob,
        ..Segments::default()
    };
    encode(&segments, Dialect::TheThingsStack)
}

fn octets(body: Vec<u8>) -> RawAnswer {
    RawAnswer::octets(body)
}

fn with(mut answer: RawAnswer, name: &str, value: &str) -> RawAnswer {
    answer.headers.push((name.to_owned(), value.to_owned()));
    answer
}

fn poll(stage: &Stage, answer: RawAnswer) -> Run {
    stage.cups.answer_next(answer);
    stage.gateway.once()
}

fn assert_refused(vectors: &Vectors, answer: RawAnswer, expected: (&str, &str)) -> Run {
    let told = format!(
        "{} {:?} {:?}",
        answer.status, answer.headers, answer.framing
    );
    let stage = Stage::new(vectors, &vectors.before(vectors.named(STATE)));
    let before = stage.gateway.tc_files();
    let run = poll(&stage, answer);
    let (class, code) = expected;
    assert_eq!(
        run.verdict(),
        (Some(1), "failed", class, code),
        "{told} {run:?}"
    );
    assert_eq!(stage.gateway.tc_files(), before, "{told}");
    assert_eq!(stage.cups.requests().len(), 1, "{told}");
    run
}
