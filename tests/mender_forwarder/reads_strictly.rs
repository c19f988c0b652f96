//! Nobody without the token, nothing but the device APIs, and no request that two readers could
//! understand differently gets through the forwarder.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::stand::{NEXT_TOKEN, Scripted, Stand, TOKEN, body, heard, request, status};
use mtls_agent::daemon::mender::forwarder::{Forwarder, Patience};

const GET: &str = "GET /api/devices/v1/x";
const EMPTY_401: &str =
    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A forwarder before a server that says `ok` to everything.
fn stand() -> (Stand, Scripted) {
    stand_with(Patience::default())
}

fn stand_with(patience: Patience) -> (Stand, Scripted) {
    let stand = Stand::with(patience);
    let server = Scripted::start(&stand.pki, |wire, _, _| {
        wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    stand.lend(&server.uri(), TOKEN);
    (stand, server)
}

#[test]
fn only_the_current_token_and_the_one_before_open_the_door() {
    let (stand, server) = stand();
    assert_eq!(body(&stand.ask(GET, TOKEN, "")), "ok");
    for answer in [
        stand.ask(GET, "e30.e30.aaab", ""),
        stand.ask(GET, "e30.e30.aaaaa", ""),
        stand.ask(GET, "e30.e30.aaa", ""),
        stand.ask(GET, "", ""),
        stand.say(format!("{GET} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()),
        stand.say(
            format!("{GET} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {TOKEN}\r\n\r\n").as_bytes(),
        ),
        stand
            .say(format!("{GET} HTTP/1.1\r\nHost: x\r\nAuthorization: {TOKEN}\r\n\r\n").as_bytes()),
    ] {
        assert_eq!(answer, EMPTY_401);
    }
    stand.lend(&server.uri(), NEXT_TOKEN);
    assert_eq!(body(&stand.ask(GET, TOKEN, "")), "ok");
    assert_eq!(body(&stand.ask(GET, NEXT_TOKEN, "")), "ok");
    stand.lend(&server.uri(), "e30.e30.cccc");
    assert_eq!(stand.ask(GET, TOKEN, ""), EMPTY_401);
    let heads = server.heads();
    assert_eq!(heads.len(), 3);
    assert!(heads[0].contains(&format!("Authorization: Bearer {TOKEN}\r\n")));
    for head in &heads[1..] {
        assert!(
            head.contains(&format!("Authorization: Bearer {NEXT_TOKEN}\r\n")),
            "{head}"
        );
        assert!(!head.contains(TOKEN), "{head}");
    }
}

#[test]
fn without_a_token_to_lend_everybody_gets_an_empty_401() {
    let stand = Stand::new();
    assert_eq!(stand.ask(GET, TOKEN, ""), EMPTY_401);
    let (stand, server) = self::stand();
    stand.forwarder.lend(None);
    assert_eq!(stand.ask(GET, TOKEN, ""), EMPTY_401);
    assert!(server.heads().is_empty());
    stand.lend(&server.uri(), NEXT_TOKEN);
    assert_eq!(body(&stand.ask(GET, TOKEN, "")), "ok");
}

#[test]
fn nothing_but_the_device_apis_is_reached_and_no_auth_request_passes() {
    let (stand, server) = stand();
    let base = server.uri();
    for target in [
        "/api/devices/v1/authentication/auth_requests",
        "/api/devices/v1/authentication/auth_requests?x=1",
        "/api/devices/v1/%61uthentication/auth_requests",
        "/api/devices/../management/v1/useradm/auth/login",
        "/api/devices/x/%2e%2e/%2e%2e/management",
        "/api/devices//x",
        "/api/devices/v1/x#y",
        "//api/devices/v1/x",
        "/",
        "/api/management/v1/x",
        &format!("{base}/api/devices/v1/x"),
        "http://elsewhere/api/devices/v1/x",
    ] {
        let answer = stand.ask(&format!("GET {target}"), TOKEN, "");
        assert_eq!(status(&answer), 403, "{target}");
        assert_eq!(body(&answer), "", "{target}");
    }
    assert_eq!(status(&stand.ask("CONNECT elsewhere:443", TOKEN, "")), 403);
    assert_eq!(
        status(&stand.ask("TRACE /api/devices/v1/x", TOKEN, "")),
        403
    );
    assert!(server.heads().is_empty());
    assert_eq!(stand.figure("turned_away"), 14);
}

#[test]
fn requests_that_could_smuggle_another_are_refused() {
    let (stand, server) = stand();
    let post = "POST /api/devices/v1/x";
    for rest in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: 5, 5\r\n\r\nhello",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: 0x5\r\n\r\nhello",
        "Content-Length: -1\r\n\r\nhello",
        "Content-Length:\r\n\r\nhello",
        "Content-Length: 18446744073709551616\r\n\r\nhello",
        "Content-Length : 5\r\n\r\nhello",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n\tb\r\n\r\n",
        "X: a\nY: b\r\n\r\n",
        "X: a\rY: b\r\n\r\n",
        "X: a\r\n\n",
        "X: a\0b\r\n\r\n",
        "X Y: a\r\n\r\n",
        "Host: other\r\n\r\n",
        "Authorization: Bearer e30.e30.bbbb\r\n\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
    ] {
        assert_eq!(status(&stand.ask(post, TOKEN, rest)), 400, "{rest:?}");
    }
    let old = format!(
        "{post} HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    assert_eq!(status(&stand.say(old.as_bytes())), 400);
    assert_eq!(
        status(&stand.ask(post, TOKEN, "Expect: something\r\n\r\n")),
        417
    );
    // Malformed chunks are seen only when the head has gone already.
    assert!(server.heads().len() <= 2);
    let second = format!("{}{}", request(GET, TOKEN, ""), request(GET, TOKEN, ""));
    assert_eq!(stand.say(second.as_bytes()).matches("HTTP/1.1").count(), 1);
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let (stand, server) = stand();
    let long = format!("X: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(status(&stand.ask(GET, TOKEN, &long)), 431);
    let endless = "x".repeat(20_000);
    assert_eq!(status(&stand.ask(GET, TOKEN, &endless)), 431);
    let many = format!("{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(status(&stand.ask(GET, TOKEN, &many)), 431);
    assert!(server.heads().is_empty());
}

#[test]
fn a_program_that_never_ends_its_head_is_sent_away_while_others_are_served() {
    let (stand, _server) = stand_with(Patience {
        head: Duration::from_secs(2),
        ..Patience::default()
    });
    let mut slow = stand.connect();
    let octets = request(GET, TOKEN, "");
    let writer = slow.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        for octet in octets.bytes() {
            if (&writer).write_all(&[octet]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    assert_eq!(body(&stand.ask(GET, TOKEN, "")), "ok");
    assert_eq!(status(&heard(&mut slow)), 408);
    drop(slow);
    drip.join().unwrap();
}

#[test]
fn more_programs_than_there_are_threads_for_hear_when_to_come_back() {
    let (stand, _server) = stand();
    let idle: Vec<_> = (0..32).map(|_| stand.connect()).collect();
    while stand.figure("connections") < 32 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let answer = heard(&mut stand.connect());
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("Retry-After: 10\r\n"));
    drop(idle);
    while stand.figure("connections") > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(body(&stand.ask(GET, TOKEN, "")), "ok");
}

#[test]
fn the_forwarder_listens_on_loopback_only_and_no_longer_than_it_lives() {
    let (_near, far) = UnixStream::pair().unwrap();
    let error = Forwarder::start("0.0.0.0:0".parse().unwrap(), far).unwrap_err();
    assert!(error.contains("loopback only"), "{error}");
    let stand = Stand::new();
    let address = stand.address();
    let url = stand.forwarder.url();
    stand.lend("https://localhost:1", TOKEN);
    assert_eq!(stand.forwarder.url(), url);
    drop(stand);
    let is_closed = || std::net::TcpStream::connect(&address).is_err();
    while !is_closed() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn lines_of_one_connection_stay_on_it_and_the_rest_is_passed_on() {
    let (stand, server) = stand();
    let lines = "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nContent-Type: application/json\r\nX-Stays: a, b\r\n\r\n";
    let uri = format!("{}/base/", server.uri());
    stand.lend(&uri, TOKEN);
    assert_eq!(
        body(&stand.ask("GET /api/devices/v1/x?y=%2e", TOKEN, lines)),
        "ok"
    );
    let authority = server.uri().replace("https://", "");
    assert_eq!(
        server.heads(),
        [format!(
            "GET /base/api/devices/v1/x?y=%2e HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\nContent-Type: application/json\r\nX-Stays: a, b\r\n\r\n"
        )]
    );
}

#[test]
fn the_token_before_the_current_one_is_taken_for_a_while_only() {
    let (stand, server) = stand_with(Patience {
        grace: Duration::from_secs(2),
        ..Patience::default()
    });
    stand.lend(&server.uri(), NEXT_TOKEN);
    assert_eq!(body(&stand.ask(GET, TOKEN, "")), "ok");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(stand.ask(GET, TOKEN, ""), EMPTY_401);
    assert_eq!(body(&stand.ask(GET, NEXT_TOKEN, "")), "ok");
}
