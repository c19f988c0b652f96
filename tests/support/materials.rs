//! Builds: answers out of the vectors' certificates, keys and signatures, and plays them.

use mtls_lab::http::RawAnswer;

use super::gateway::Run;
use super::stage::Stage;
use super::vectors::{Files, Vectors};

/// What blobs and updates are made of.
pub(crate) struct Materials {
    pub(crate) vectors: Vectors,
    pub(crate) root: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Materials {
    pub(crate) fn load() -> Self {
        let vectors = Vectors::load();
        Self {
            root: vectors.material("rootA_der"),
            certificate: vectors.material("client_ec_der"),
            key: vectors.material("client_ec_key_sec1_der"),
            vectors,
        }
    }

    /// Installed signing keys, LNS credentials with a token.
    fn before(&self) -> Files {
        self.vectors
            .before(self.vectors.named("firmware-signed-key0"))
    }
}

/// One cycle with updates on.
pub(crate) fn poll(all: &Materials, answer: RawAnswer) -> (Stage, Run) {
    let mut stage = Stage::new(&all.vectors, &all.before());
    let ran = stage.gateway.dir.join("ran");
    let program = stage.gateway.program(
        "apply",
        &format!("#!/bin/sh\ncp \"$1\" '{}'\n", ran.display()),
    );
    let command = vec![program.to_string_lossy().into_owned()];
    stage.gateway.set("cups", "update_command", command);
    stage.cups.answer_next(answer);
    let run = stage.gateway.once();
    (stage, run)
}

/// The answer is refused with this code; nothing is changed, run or left behind.
pub(crate) fn assert_refused(all: &Materials, body: &[u8], code: &str, name: &str) {
    let (stage, run) = poll(all, RawAnswer::octets(body.to_vec()));
    let (exit, outcome, _, told) = run.verdict();
    assert_eq!(
        (exit, outcome, told),
        (Some(1), "failed", code),
        "{name} {run:?}"
    );
    let mut before = all.before();
    before.retain(|file, octets| file.starts_with("tc") && !octets.is_empty());
    assert_eq!(stage.gateway.tc_files(), before, "{name}");
    assert!(
        !stage.gateway.dir.join("ran").exists() && !stage.gateway.has_update(),
        "{name}"
    );
}
