//! Servers that never behave misbehave in the way their name says.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what is missing fails the test"
)]

mod client;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use client::{Lab, ask, connect};
use mtls_lab::faults::{Fault, Misbehaving};
use mtls_lab::tls::{self, Versions};

/// What a client without TLS gets back for its first octets.
fn speak(fault: Fault) -> (Result<usize, ErrorKind>, Vec<u8>) {
    let server = Misbehaving::start(fault).unwrap();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = Vec::new();
    let end = stream
        .read_to_end(&mut answer)
        .map_err(|error| error.kind());
    (end, answer)
}

#[test]
fn a_reset_is_a_reset_and_an_end_is_an_end() {
    assert_eq!(
        speak(Fault::Reset),
        (Err(ErrorKind::ConnectionReset), Vec::new())
    );
    assert_eq!(speak(Fault::End), (Ok(0), Vec::new()));
}

#[test]
fn garbage_and_a_captive_portal_are_no_tls() {
    assert_eq!(speak(Fault::Garbage(vec![1, 2, 3])).1, [1, 2, 3]);
    let page = speak(Fault::PlainHttp("<html>".to_owned())).1;
    let page = String::from_utf8(page).unwrap();
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("<html>"),
        "{page}"
    );
}

#[test]
fn a_server_may_close_or_hang_after_the_handshake() {
    let lab = Lab::new();
    let server = &lab.pki.server;
    let config = tls::server(&server.certificate, &server.key, Versions::Both);
    let pause = Duration::from_millis(300);
    for (fault, least) in [
        (Fault::CloseAfterHandshake(config.clone()), Duration::ZERO),
        (Fault::HangAfterHandshake(config, pause), pause),
    ] {
        let double = Misbehaving::start(fault).unwrap();
        let mut stream = connect(double.address(), &lab.pki.server_root, None).unwrap();
        let start = Instant::now();
        assert!(ask(&mut stream, "GET", "/", "", "").is_err());
        assert!(start.elapsed() >= least);
    }
}
