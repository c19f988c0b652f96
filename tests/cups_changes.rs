//! CUPS may move a gateway to another CUPS server or give it CUPS credentials only where the
//! operator allows it, only after the new server has answered, and never at the cost of the
//! device's own identity.

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
    pub(crate) mod vectors;
}

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mtls_lab::cups::answer::{
    Dialect, Key, Segments, Signature, crc32, credential, encode, token_credential,
};
use mtls_lab::cups::{Config, CupsDouble};
use mtls_lab::front::{self, Front};
use mtls_lab::http::RawAnswer;
use mtls_lab::pki::Pki;
use mtls_lab::tls;
use serde_json::Value;
use support::gateway::Gateway;
use support::vectors::Vectors;

const EUI: &str = "0123456789ABCDEF";
const KEY: &str = "Bearer NNSXS.EXAMPLE.KEYOFTHENEWSERVER";

/// A proxy and the CUPS behind it.
struct Server {
    front: Front,
    cups: CupsDouble,
}

/// A gateway, its CUPS, and another CUPS with authorities of its own.
struct Scene {
    gateway: Gateway,
    old: Server,
    new: Server,
    new_pki: Pki,
    identity: BTreeMap<String, Vec<u8>>,
}

#[test]
fn a_move_is_proved_at_the_new_server_and_used_from_then_on() {
    let scene = Scene::new(false);
    let blob = token_credential(&scene.new_root(), KEY);
    scene.old.offer(&scene.new.front.uri(), &blob);
    scene.new.no_change();
    let run = scene.gateway.once();
    assert_eq!(run.verdict(), (Some(0), "rotated", "-", "-"), "{run:?}");
    assert_eq!(scene.counts(), (1, 1), "asked once, proved once");
    scene.new.no_change();
    assert_eq!(scene.gateway.once().verdict().1, "unchanged");
    assert_eq!(
        scene.counts(),
        (1, 2),
        "the old server is not asked any more"
    );
    for request in scene.new.cups.requests() {
        assert_eq!(request.request.header("authorization"), Some(KEY));
        let json: Value = serde_json::from_slice(&request.request.body).unwrap();
        assert_eq!(json["cupsUri"], scene.new.front.uri());
        assert_eq!(json["cupsCredCrc"], crc32(&blob));
    }
    scene.assert_identity_untouched();
}

#[test]
fn a_move_is_proved_even_where_the_lns_is_not() {
    let mut scene = Scene::new(false);
    scene.gateway.set("lns", "prove", false);
    let blob = token_credential(&scene.new_root(), KEY);
    scene.old.offer(&scene.new.front.uri(), &blob);
    scene
        .new
        .cups
        .answer_next(RawAnswer::typed(401, "text/plain", Vec::new()));
    let run = scene.gateway.once();
    assert_eq!(
        run.verdict(),
        (Some(1), "failed", "not_authorised", "http_status")
    );
    scene.assert_stays_with_old();
}

#[test]
fn a_new_server_that_does_not_answer_is_not_moved_to() {
    let mut scene = Scene::new(false);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("https://localhost:{}", dead.local_addr().unwrap().port());
    drop(dead);
    for prove in [true, false] {
        scene.gateway.set("lns", "prove", prove);
        scene.old.offer(&uri, &[]);
        let run = scene.gateway.once();
        let (exit, outcome, class, _) = run.verdict();
        assert_eq!(
            (exit, outcome, class),
            (Some(1), "failed", "network"),
            "{run:?}"
        );
        // The offer is kept and proved on; the old server is the one that is asked.
        let (old, _) = scene.counts();
        scene.old.no_change();
        let run = scene.gateway.once();
        assert_eq!(run.verdict().2, "network", "{run:?}");
        assert_eq!(scene.counts(), (old + 1, 0));
        scene.assert_identity_untouched();
    }
}

#[test]
fn a_new_server_that_is_not_trusted_or_speaks_nonsense_is_not_moved_to() {
    let scene = Scene::new(false);
    scene.old.offer(&scene.new.front.uri(), &[]);
    let run = scene.gateway.once();
    assert_eq!(run.verdict().2, "server_untrusted", "{run:?}");
    scene.assert_stays_with_old();

    let scene = Scene::new(false);
    let blob = token_credential(&scene.new_root(), KEY);
    scene.old.offer(&scene.new.front.uri(), &blob);
    scene.new.cups.answer_next(RawAnswer::octets(vec![0; 13]));
    let run = scene.gateway.once();
    assert_eq!(run.verdict(), (Some(1), "failed", "protocol", "truncated"));
    scene.assert_stays_with_old();
}

#[test]
fn mutual_credentials_for_cups_are_presented_from_the_proof_on() {
    // The new proxy takes only certificates of its own authority.
    let scene = Scene::new(true);
    let new = &scene.new_pki;
    let blob = credential(
        &scene.new_root(),
        Some(&tls::certificates(&new.device.certificate)[0]),
        Key::Der(tls::private_key(&new.device.key).secret_der()),
    );
    scene.old.offer(&scene.new.front.uri(), &blob);
    scene.new.no_change();
    let run = scene.gateway.once();
    assert_eq!(run.verdict(), (Some(0), "rotated", "-", "-"), "{run:?}");
    scene.new.no_change();
    assert_eq!(scene.gateway.once().verdict().1, "unchanged");
    assert_eq!(
        (scene.counts(), scene.new.front.handshake_failures()),
        ((1, 2), 0)
    );
    scene.assert_identity_untouched();
}

#[test]
fn a_refused_proof_leaves_the_identity_that_works() {
    // The device's own certificate is refused by the new proxy, and none is delivered.
    let scene = Scene::new(true);
    let blob = token_credential(&scene.new_root(), KEY);
    scene.old.offer(&scene.new.front.uri(), &blob);
    let run = scene.gateway.once();
    assert_eq!(run.verdict().2, "client_cert_refused", "{run:?}");
    scene.assert_stays_with_old();
}

#[test]
fn without_the_setting_nothing_of_cups_changes_and_the_way_back_is_open() {
    let mut scene = Scene::new(false);
    let blob = token_credential(&scene.new_root(), KEY);
    scene.gateway.set("cups", "allow_cups_changes", false);
    scene.old.offer(&scene.new.front.uri(), &blob);
    let run = scene.gateway.once();
    assert_eq!(
        run.verdict(),
        (Some(0), "unchanged", "-", "policy_cups_change")
    );
    assert_eq!(scene.counts(), (1, 0));

    scene.gateway.set("cups", "allow_cups_changes", true);
    scene.old.offer(&scene.new.front.uri(), &blob);
    scene.new.no_change();
    assert_eq!(scene.gateway.once().verdict().1, "rotated");
    scene.gateway.set("cups", "allow_cups_changes", false);
    scene.assert_stays_with_old();
}

#[test]
fn hosts_that_are_not_allowed_refuse_the_whole_answer() {
    let mut scene = Scene::new(false);
    scene
        .gateway
        .set("cups", "allowed_hosts", vec!["cups.example.com"]);
    scene.old.offer(&scene.new.front.uri(), &[]);
    let run = scene.gateway.once();
    assert_eq!(run.verdict(), (Some(1), "failed", "policy", "policy_host"));
    assert_eq!(scene.counts(), (1, 0));
}

#[test]
fn what_the_new_server_answers_to_the_proof_does_not_touch_the_update() {
    let mut scene = Scene::new(false);
    let vectors = Vectors::load();
    let (key, ran) = (
        vectors.material("sig0_pub_xy"),
        scene.gateway.dir.join("ran"),
    );
    scene.gateway.write("station/sig-0.key", &key);
    let text = format!("#!/bin/sh\ncp \"$1\" '{}'\n", ran.display());
    let program = scene.gateway.program("apply", &text);
    let command = vec![program.to_string_lossy().into_owned()];
    scene.gateway.set("cups", "update_command", command);
    let segments = Segments {
        cups_uri: &scene.new.front.uri(),
        cups_credentials: &token_credential(&scene.new_root(), KEY),
        signature: Some(Signature {
            key_crc: crc32(&key),
            der: &vectors.material("update_sig0_der"),
        }),
        update: &vectors.material("update_bin"),
        ..Segments::default()
    };
    let answer = |segments| RawAnswer::octets(encode(&segments, Dialect::Canonical));
    scene.old.cups.answer_next(answer(segments));
    let unsigned = Segments {
        update: b"#!/bin/sh\nreboot\n",
        ..Segments::default()
    };
    scene.new.cups.answer_next(answer(unsigned));
    let run = scene.gateway.once();
    assert_eq!(run.verdict().1, "rotated", "{run:?}");
    assert_eq!(fs::read(ran).unwrap(), vectors.material("update_bin"));
}

impl Scene {
    fn new(new_takes_only_its_own: bool) -> Self {
        let mut gateway = Gateway::new();
        let pki = Pki::make(&gateway.dir.join("pki"), EUI);
        let new_pki = Pki::make(&gateway.dir.join("new-pki"), EUI);
        for (name, from) in [
            ("cups.crt", &pki.device.certificate),
            ("cups.key", &pki.device.key),
            ("cups.trust", &pki.server_root),
        ] {
            gateway.write(name, &fs::read(from).unwrap());
        }
        // A blob holds the leaf alone, so the proxy must know the issuing authority itself.
        let clients = if new_takes_only_its_own {
            &new_pki.client_issuing
        } else {
            &pki.client_root
        };
        let new = Server::start(&new_pki, clients);
        let old = Server::start(&pki, &pki.client_root);
        gateway.set("cups", "uri", old.front.uri());
        gateway.set("cups", "allow_cups_changes", true);
        gateway.set("lns", "prove", true);
        let identity = gateway.identity_files();
        Self {
            gateway,
            old,
            new,
            new_pki,
            identity,
        }
    }

    fn new_root(&self) -> Vec<u8> {
        tls::certificates(&self.new_pki.server_root)[0].to_vec()
    }

    /// Requests to the old and to the new CUPS.
    fn counts(&self) -> (usize, usize) {
        (
            self.old.cups.requests().len(),
            self.new.cups.requests().len(),
        )
    }

    fn assert_identity_untouched(&self) {
        assert_eq!(self.gateway.identity_files(), self.identity);
        assert_eq!(self.identity.len(), 3);
    }

    fn assert_stays_with_old(&self) {
        let (old, new) = self.counts();
        self.old.no_change();
        let run = self.gateway.once();
        assert_eq!(run.verdict(), (Some(0), "unchanged", "-", "-"), "{run:?}");
        assert_eq!(self.counts(), (old + 1, new));
        let sent = self.old.cups.requests().pop().unwrap().request;
        let json: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(json["cupsUri"], self.old.front.uri());
        assert_eq!(sent.header("authorization"), None);
        self.assert_identity_untouched();
    }
}

impl Server {
    fn start(pki: &Pki, client_root: &Path) -> Self {
        let cups = CupsDouble::start(&Config::default()).unwrap();
        let mut config = front::Config::new(pki, cups.address());
        client_root.clone_into(&mut config.client_root);
        let front = Front::start(config).unwrap();
        Self { front, cups }
    }

    /// Answers the next request with a move.
    fn offer(&self, cups_uri: &str, cups_credentials: &[u8]) {
        let segments = Segments {
            cups_uri,
            cups_credentials,
            ..Segments::default()
        };
        let body = encode(&segments, Dialect::TheThingsStack);
        self.cups.answer_next(RawAnswer::octets(body));
    }

    fn no_change(&self) {
        self.cups.answer_next(RawAnswer::octets(vec![0; 18]));
    }
}
