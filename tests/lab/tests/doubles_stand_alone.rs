//! The command line starts each double alone, and it ends when its input ends.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what is missing fails the test"
)]

mod client;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use client::{EUI, Lab, ask, connect};

struct Double {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Double {
    fn start(words: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mtls-lab"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        output.read_line(&mut address).unwrap();
        Self {
            child,
            output,
            address: address.trim().to_owned(),
        }
    }

    fn host(&self) -> &str {
        self.address.split_once("://").expect("an address").1
    }

    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

#[test]
fn a_front_and_a_cups_server_work_together_from_the_command_line() {
    let lab = Lab::new();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let pki = &lab.pki;
    let (issuing, trust) = (text(&pki.client_issuing), text(&pki.lns.root));
    let uri = "wss://localhost:8887";
    let cups = Double::start(&[
        "cups",
        "--ca",
        &issuing,
        "--eui",
        EUI,
        "--lns-uri",
        uri,
        "--lns-trust",
        &trust,
        "--lns-key",
        "NNSXS.ONE",
    ]);
    let (certificate, key) = (text(&pki.server.certificate), text(&pki.server.key));
    let root = text(&pki.client_root);
    let upstream = cups.host().to_owned();
    let front = Double::start(&[
        "front",
        "--cert",
        &certificate,
        "--key",
        &key,
        "--client-root",
        &root,
        "--upstream",
        &upstream,
        "--header",
        "envoy",
    ]);
    let address = front
        .host()
        .replace("localhost", "127.0.0.1")
        .parse()
        .unwrap();
    let mut stream = connect(address, &pki.server_root, Some(&pki.device)).unwrap();
    let body = r#"{"router":"123:4567:89ab:cdef"}"#;
    assert_eq!(
        ask(&mut stream, "POST", "/update-info", "", body)
            .unwrap()
            .0,
        200
    );
    let said = cups.end();
    assert!(
        said.starts_with(&format!("POST /update-info ({EUI}) -> 200")),
        "{said}"
    );
    assert!(!said.contains("NNSXS"), "{said}");
    assert!(front.end().contains("handshakes: 1 done, 0 failed"));
}

#[test]
fn a_mender_server_and_its_ambassador_stand_alone() {
    let lab = Lab::new();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let pki = &lab.pki;
    let (certificate, key) = (text(&pki.server.certificate), text(&pki.server.key));
    let root = text(&pki.client_root);
    let double = Double::start(&[
        "mender",
        "--cert",
        &certificate,
        "--key",
        &key,
        "--client-root",
        &root,
        "--token-life",
        "60",
    ]);
    let address = double.host().replace("localhost", "127.0.0.1");
    let address = address.parse().unwrap();
    let mut stream = connect(address, &pki.server_root, Some(&pki.device)).unwrap();
    assert_eq!(ask(&mut stream, "GET", "/status", "", "").unwrap().0, 200);
    let said = double.end();
    assert!(
        said.starts_with(&format!("GET /status (CN={EUI}) -> 200")),
        "{said}"
    );
}

#[test]
fn a_wrong_command_line_is_a_usage_error_and_help_is_not() {
    let code = |words: &[&str]| {
        let command = &mut Command::new(env!("CARGO_BIN_EXE_mtls-lab"));
        command.args(words).output().unwrap().status.code()
    };
    assert_eq!(code(&["demo", "--help"]), Some(0));
    assert_eq!(code(&["nonsense"]), Some(2));
    assert_eq!(code(&["demo", "--agent", "/nonexistent"]), Some(2));
    assert_eq!(code(&["pki"]), Some(2));
    assert_eq!(code(&["mender", "--token-life", "long"]), Some(2));
}
