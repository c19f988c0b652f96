//! The acts in which something is set up wrong, and the agent says what.
#![expect(clippy::unnecessary_wraps, reason = "all acts have one type")]

use std::io;

use mtls_lab::device::Ran;
use mtls_lab::front::{self, Front};
use mtls_lab::mender::{Config, Door, MenderDouble};
use mtls_lab::openssl::{Order, Workshop};
use serde_json::json;

use super::stage::{Stage, scene_of};
use crate::Failure;
use crate::demo::tell::{Checks, Scene};

/// The document's own commands make certificates of version 1.
pub(super) fn server_by_the_book(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    if !is_there("openssl") {
        return Ok(None);
    }
    let workshop = Workshop::open(&stage.dir.join("book"));
    workshop.root("root", "P-256");
    let server = workshop.issue(Order {
        name: "ambassador",
        subject: "/CN=localhost",
        extensions: None,
        ..Order::default()
    });
    let front = Front::start(front::Config {
        certificate: server.certificate,
        key: server.key,
        ..front::Config::new(&stage.pki, stage.server.address())
    })
    .map_err(|error| cannot(&error))?;
    let ran = stage.once(|conf| {
        conf["Servers"] = json!([{ "ServerURL": front.uri() }]);
        conf["ServerCertificate"] = json!(workshop.path("root.pem"));
    });
    let mut checks = failed(&ran, "server_untrusted");
    checks.that(
        "the words that mend it are said",
        ran.text("hint").contains("v3"),
    );
    checks.that(
        "nothing reached the server",
        stage.server.requests().is_empty(),
    );
    Ok(Some(Scene {
        title: "The ambassador's certificate, made by the book",
        offered: "openssl x509 -req without extensions, as the document has it: X.509v1".into(),
        ..scene_of(&ran, checks)
    }))
}

/// With two keys the ambassador would answer an empty 400.
pub(super) fn other_key(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    let other = stage.pki.other_device("FEDCBA9876543210");
    let ran = stage.once(|conf| {
        conf["Security"] = json!({ "AuthPrivateKey": other.key });
    });
    let mut checks = failed(&ran, "identity_invalid");
    checks.is("code", "auth_key_differs", ran.text("code"));
    let files = [&other.key, &stage.pki.device.certificate];
    let files = files.map(|path| path.display().to_string());
    let both = files.iter().all(|file| ran.text("message").contains(file));
    checks.that("both files are named", both);
    checks.that(
        "nothing reached the server",
        stage.server.requests().is_empty(),
    );
    Ok(Some(Scene {
        title: "A key that is not the certificate's",
        offered: "Security.AuthPrivateKey names the key of another device".into(),
        ..scene_of(&ran, checks)
    }))
}

/// The hosted server itself asks for no certificate.
pub(super) fn past_the_ambassador(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    let server = stage.pki.server.clone();
    let hosted = MenderDouble::start(Config::new(Door::Server { server }))
        .map_err(|error| cannot(&error))?;
    let ran = stage.once(|conf| {
        conf["Servers"] = json!([{ "ServerURL": hosted.uri() }]);
    });
    let mut checks = Checks::default();
    checks.is("outcome", "pending", ran.text("outcome"));
    checks.is("code", "mtls_not_requested", ran.text("code"));
    let hint = ran
        .text("hint")
        .contains("ServerURL does not lead to the mTLS ambassador");
    checks.that("the hint names ServerURL", hint);
    Ok(Some(Scene {
        title: "A ServerURL that leads past the ambassador",
        offered: "the server itself, which asks for no certificate and knows nobody".into(),
        ..scene_of(&ran, checks)
    }))
}

fn failed(ran: &Ran, class: &str) -> Checks {
    let mut checks = Checks::default();
    checks.is("outcome", "failed", ran.text("outcome"));
    checks.is("class", class, ran.text("class"));
    checks
}

/// Whether a program is on the path.
pub(super) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn cannot(error: &io::Error) -> Failure {
    Failure::work("cannot set the stage", error)
}
