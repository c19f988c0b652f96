//! Whatever the server answers, and however it fails, the program gets an answer it can trust.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::process::Command;
use std::thread;
use std::time::Duration;

use mtls_agent::daemon::mender::gathering::Authorised;
use mtls_lab::faults::{Fault, Misbehaving};
use nix::libc::linger;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;

use super::stand::{Scripted, Stand, TOKEN, Wire, body, heard, read_until, request, status};

const GET: &str = "GET /api/devices/v1/x";
const POST: &str = "POST /api/devices/v1/x";

fn stand(
    script: impl Fn(&mut Wire, &str, usize) -> io::Result<()> + Send + Sync + 'static,
) -> (Stand, Scripted) {
    let stand = Stand::new();
    let server = Scripted::start(&stand.pki, script);
    stand.lend(&server.uri(), TOKEN);
    (stand, server)
}

/// A server with this one answer.
fn answering(answer: &'static str) -> (Stand, Scripted) {
    stand(move |wire, _, _| wire.write_all(answer.as_bytes()))
}

fn cut() -> io::Error {
    io::ErrorKind::Other.into()
}

#[test]
fn bodies_of_every_framing_arrive_whole() {
    for (answer, heard) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X\r\nX: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.0 200 OK\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        ),
        (
            "HTTP/1.1 204 No Content\r\nX-Men-Requestid: 1\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nX-Men-Requestid: 1\r\nConnection: close\r\n\r\n",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nConnection: close\r\nContent-Length: 9\r\n\r\n",
        ),
        (
            "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n\r\n{}",
            "HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        ),
    ] {
        let (stand, _server) = answering(answer);
        assert_eq!(stand.ask(GET, TOKEN, ""), heard);
    }
}

#[test]
fn the_answer_to_head_has_a_length_and_no_body() {
    let (stand, _server) = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(
        stand.ask("HEAD /api/devices/v1/x", TOKEN, ""),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    );
}

#[test]
fn an_old_program_gets_chunks_without_their_framing() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (stand, _server) = answering(answer);
    let old = format!("{GET} HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    assert_eq!(
        stand.say(old.as_bytes()),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    );
}

#[test]
fn answers_in_advance_come_before_the_answer() {
    let (stand, server) = stand(|wire, _, _| {
        wire.write_all(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")?;
        wire.flush()?;
        wire.read_exact(&mut [0; 5])?;
        wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut stream = stand.connect();
    let head = request(
        POST,
        TOKEN,
        "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    stream.write_all(head.as_bytes()).unwrap();
    let early = read_until(&mut stream, "100 Continue\r\n\r\n").unwrap();
    assert_eq!(
        early,
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"hello").unwrap();
    assert_eq!(body(&heard(&mut stream)), "ok");
    assert!(server.heads()[0].contains("Expect: 100-continue\r\n"));
}

#[test]
fn both_ways_pass_at_the_same_time_however_much_it_is() {
    // The server answers each piece before it reads the next: without both ways at once all stop.
    let (stand, _server) = stand(|wire, _, _| {
        wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let mut piece = vec![0; 50_000];
        for _ in 0..40 {
            wire.read_exact(&mut piece)?;
            write!(wire, "{:x}\r\n", piece.len())?;
            wire.write_all(&piece)?;
            wire.write_all(b"\r\n")?;
            wire.flush()?;
        }
        wire.write_all(b"0\r\n\r\n")
    });
    let mut stream = stand.connect();
    let mut writer = stream.try_clone().unwrap();
    let head = request(POST, TOKEN, "Content-Length: 2000000\r\n\r\n");
    let writing = thread::spawn(move || {
        writer.write_all(head.as_bytes()).unwrap();
        writer.write_all(&vec![b'x'; 2_000_000]).unwrap();
    });
    let answer = heard(&mut stream);
    writing.join().unwrap();
    assert_eq!(body(&answer).matches('x').count(), 2_000_000);
    assert!(answer.ends_with("0\r\n\r\n"));
}

#[test]
fn a_program_that_ends_its_side_still_gets_its_answer() {
    let (stand, _server) = stand(|wire, _, _| {
        thread::sleep(Duration::from_millis(300));
        wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut stream = stand.connect();
    stream
        .write_all(request(GET, TOKEN, "").as_bytes())
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(body(&heard(&mut stream)), "ok");
}

#[test]
fn a_request_that_is_cut_off_never_looks_whole_to_the_server() {
    let (stand, _server) = stand(|wire, _, _| {
        assert!(wire.read_exact(&mut [0; 10]).is_err());
        Ok(())
    });
    let mut stream = stand.connect();
    let octets = request(POST, TOKEN, "Content-Length: 10\r\n\r\nhello");
    stream.write_all(octets.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(heard(&mut stream), "[reset]");
}

#[test]
fn an_early_answer_reaches_a_program_that_is_still_sending() {
    let (stand, _server) = answering("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}");
    let rest = format!("Content-Length: 90000000\r\n\r\n{}", "x".repeat(100_000));
    let answer = stand.ask(POST, TOKEN, &rest);
    assert_eq!((status(&answer), body(&answer)), (413, "{}"));
}

#[test]
fn an_answer_that_breaks_off_is_a_reset_for_the_program_too() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
    ] {
        let (stand, _server) = answering(answer);
        let answer = stand.ask(GET, TOKEN, "");
        assert!(answer.ends_with("[reset]"), "{answer}");
        assert_eq!(stand.figure("failed"), 1);
    }
}

#[test]
fn a_reset_in_the_middle_of_an_answer_is_passed_on() {
    let (stand, _server) = stand(|wire, _, _| {
        wire.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello")?;
        wire.flush()?;
        thread::sleep(Duration::from_millis(300));
        let at_once = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(wire.sock.stream(), Linger, &at_once)?;
        Err(cut())
    });
    let answer = stand.ask(GET, TOKEN, "");
    assert!(answer.ends_with("[reset]"), "{answer}");
}

#[test]
fn a_server_that_says_nothing_sensible_is_a_502_with_a_reason() {
    for (answer, reason) in [
        ("SSH-2.0-x\r\n\r\n", "no HTTP"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "nobody asked for",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "two lengths",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "both",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
            "odd length",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
            "coding",
        ),
        ("HTTP/1.1 999 X\r\n\r\n", "does not exist"),
        ("HTTP/1.1 200", ""),
        ("", ""),
    ] {
        let (stand, _server) = answering(answer);
        let heard = stand.ask(GET, TOKEN, "");
        assert_eq!(status(&heard), 502, "{answer:?}: {heard}");
        let told: serde_json::Value = serde_json::from_str(body(&heard)).unwrap();
        let error = told["error"].as_str().unwrap();
        assert!(
            error.contains(reason) && !error.is_empty(),
            "{answer:?}: {error}"
        );
        assert!(heard.contains("Connection: close\r\n"));
    }
    let endless =
        Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(40_000)).into_boxed_str());
    let (stand, _server) = answering(endless);
    assert_eq!(status(&stand.ask(GET, TOKEN, "")), 502);
    let advance = Box::leak(
        "HTTP/1.1 102 Processing\r\n\r\n"
            .repeat(50)
            .into_boxed_str(),
    );
    let (stand, _server) = answering(advance);
    assert_eq!(status(&stand.ask(GET, TOKEN, "")), 502);
}

#[test]
fn a_server_that_cannot_be_reached_or_is_silent_is_a_502_in_time() {
    let mut stand = Stand::new();
    stand.network.response_s = 1;
    stand.network.connect_s = 1;
    let silent = Scripted::start(&stand.pki, |_, _, _| {
        thread::sleep(Duration::from_secs(5));
        Err(cut())
    });
    let dead = Misbehaving::start(Fault::Hang(Duration::from_secs(5))).unwrap();
    let plain = Misbehaving::start(Fault::PlainHttp("login".to_owned())).unwrap();
    for uri in [
        silent.uri(),
        dead.uri(),
        plain.uri(),
        "https://localhost:1".to_owned(),
    ] {
        stand.lend(&uri, TOKEN);
        let answer = stand.ask(GET, TOKEN, "");
        assert_eq!(status(&answer), 502, "{uri}");
        assert!(body(&answer).starts_with(r#"{"error":""#), "{answer}");
        assert!(!answer.contains(TOKEN));
    }
    assert_eq!(stand.figure("failed"), 4);
}

#[test]
fn a_certificate_that_the_server_refuses_is_named() {
    let stand = Stand::new();
    let server = Scripted::start(&stand.pki, |_, _, _| Ok(()));
    let mut lent: Authorised = stand.lent(&server.uri(), TOKEN);
    lent.access.tls.certified = None;
    stand.forwarder.lend(Some(lent));
    let answer = stand.ask(GET, TOKEN, "");
    assert_eq!(status(&answer), 502);
    assert!(body(&answer).contains("certificate"), "{answer}");
}

#[test]
fn a_program_that_stops_sending_its_body_is_told_so() {
    let mut stand = Stand::new();
    stand.network.response_s = 1;
    let server = Scripted::start(&stand.pki, |wire, _, _| wire.read_exact(&mut [0; 10]));
    stand.lend(&server.uri(), TOKEN);
    let answer = stand.ask(POST, TOKEN, "Content-Length: 10\r\n\r\nhello");
    assert_eq!(status(&answer), 408);
}

#[test]
fn curl_gets_its_answers_as_from_any_server() {
    let (stand, _server) = stand(|wire, head, _| {
        if head.contains("Transfer-Encoding") {
            let sent = read_until(wire, "0\r\n\r\n")?;
            assert!(sent.contains("hello"));
        }
        wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    });
    let url = format!("{}/api/devices/v1/x", stand.forwarder.url());
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for more in [
        &[][..],
        &["--http1.0"],
        &["-H", "Transfer-Encoding: chunked", "-d", "hello"],
    ] {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "-H",
                &bearer,
            ])
            .args(more)
            .arg(&url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"ok", "{more:?}");
    }
}
