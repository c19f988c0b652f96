//! Of several servers the first that gives a token is used, and kept until the next renewal; what
//! a server says instead of a token is named, and never leads anywhere else.

use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use super::scene::{Scene, side_by_side};
use mtls_lab::device::Ran;
use mtls_lab::http::RawAnswer;
use mtls_lab::mender::{At, Config, MenderDouble, Trouble};
use mtls_lab::pki::Pki;

const ALWAYS: usize = usize::MAX;

/// Another ambassador of the same operator.
fn another(pki: &Pki) -> MenderDouble {
    MenderDouble::start(Config::of(pki)).unwrap()
}

/// What is said of a server that gives this answer to an auth request.
fn said_of(trouble: &Trouble) -> Ran {
    let scene = Scene::new();
    scene.mender.trouble(At::Auth, ALWAYS, trouble.clone());
    let ran = scene.once();
    assert_eq!(scene.auths().len(), 1, "{}", ran.log);
    ran
}

fn expect(trouble: &Trouble, class: &str, code: &str, words: &str) {
    let ran = said_of(trouble);
    let found = (ran.text("class"), ran.text("code"));
    assert_eq!(found, (class, code), "{trouble:?}: {}", ran.out);
    assert_eq!(ran.code, Some(1), "{trouble:?}: {}", ran.out);
    let text = format!("{} {}", ran.text("message"), ran.text("hint"));
    assert!(text.contains(words), "{trouble:?}: {text}");
}

#[test]
fn the_first_server_that_gives_a_token_is_used() {
    let mut scene = Scene::new();
    // Nobody takes what comes to this port, and nothing is at the other.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = |listener: &TcpListener| {
        format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        )
    };
    let (silent_uri, gone_uri) = (uri(&silent), uri(&gone));
    drop(gone);
    let broken = another(&scene.pki);
    broken.trouble(At::Auth, ALWAYS, Trouble::ServerError);
    scene.device.without("ServerURL");
    let good = scene.mender.uri();
    scene
        .device
        .servers(&[&gone_uri, &broken.uri(), &silent_uri, &good]);
    scene.device.set("network.connect_s", 1);
    let ran = scene.once();
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.log);
    assert_eq!((broken.requests().len(), scene.auths().len()), (1, 1));
    assert_eq!(scene.inventories().len(), 1);
}

fn a_server_that_serves_is_kept_and_the_first_tried_at_the_renewal() {
    let mut scene = Scene::new();
    let first = another(&scene.pki);
    first.trouble(At::Auth, 1, Trouble::ServerError);
    scene.device.without("ServerURL");
    let second = scene.mender.uri();
    scene.device.servers(&[&first.uri(), &second]);
    scene.device.conf("InventoryPollIntervalSeconds", 5);
    let runs = scene.device.path("runs").display().to_string();
    let script = scene.counted("runs", &format!("echo number=$(wc -l < {runs})"));
    scene.device.inventory_script("number", &script);
    let service = scene.serve_until("authorised");
    assert_eq!(service.show("/server"), second);
    // A token that is gone is asked for where it came from.
    scene.mender.delete_token(&scene.set());
    service.until("a new token", |_| scene.auths().len() == 2);
    assert_eq!(first.requests().len(), 1);
    // A renewal looks whether the first is back.
    service.until("authorised", |service| {
        service.show("/cycle/state") == "authorised"
    });
    scene.device.refresh();
    service.until("the first", |service| {
        service.show("/server") == first.uri()
    });
    assert_eq!(scene.auths().len(), 2);
}

fn a_token_is_shown_only_to_the_server_that_gave_it() {
    let mut scene = Scene::new();
    let other = another(&scene.pki);
    other.trouble(At::Auth, ALWAYS, Trouble::ServerError);
    scene.device.conf("InventoryPollIntervalSeconds", 5);
    let script = scene.counted("runs", "date +number=%s%N");
    scene.device.inventory_script("number", &script);
    let service = scene.serve_until("authorised");
    service.until("inventory", |_| !scene.inventories().is_empty());
    scene.device.conf("ServerURL", other.uri());
    scene.device.configure();
    service.until("a renewal elsewhere", |_| !other.requests().is_empty());
    let before = scene.count("runs");
    service.until("two inventories more", |_| {
        scene.count("runs") >= before + 2
    });
    let shown = |recorded: &mtls_lab::mender::Recorded| {
        recorded
            .request
            .header("authorization")
            .is_some_and(|value| value.starts_with("Bearer "))
    };
    assert!(
        !other.requests().iter().any(shown),
        "{:?}",
        other.requests()
    );
}

#[test]
fn a_token_stays_with_its_server() {
    side_by_side(&[
        (
            "a_server_that_serves_is_kept_and_the_first_tried_at_the_renewal",
            a_server_that_serves_is_kept_and_the_first_tried_at_the_renewal,
        ),
        (
            "a_token_is_shown_only_to_the_server_that_gave_it",
            a_token_is_shown_only_to_the_server_that_gave_it,
        ),
    ]);
}

#[test]
fn a_redirect_is_never_followed() {
    let scene = Scene::new();
    let elsewhere = another(&scene.pki);
    for status in [301, 302, 307, 308] {
        let place = format!(
            "{}/api/devices/v1/authentication/auth_requests",
            elsewhere.uri()
        );
        scene
            .mender
            .trouble(At::Auth, 1, Trouble::Redirect(status, place));
        let ran = scene.once();
        assert_eq!(
            (ran.code, ran.text("code")),
            (Some(1), "redirect"),
            "{}",
            ran.out
        );
        assert!(ran.text("message").contains("localhost"), "{}", ran.out);
    }
    assert_eq!((elsewhere.requests().len(), elsewhere.handshakes()), (0, 0));
}

#[test]
fn a_server_that_wants_patience_gets_it() {
    let date = |s: u64| {
        let then = SystemTime::now() + Duration::from_secs(s);
        httpdate(then)
    };
    for (wait, at_least_s) in [("3600".to_owned(), 3500), (date(7200), 7000)] {
        let scene = Scene::new();
        scene
            .mender
            .trouble(At::Auth, ALWAYS, Trouble::TooMany(Some(wait)));
        let service = scene.serve_until("waiting");
        service.until("busy", |service| service.show("/cycle/why/class") == "busy");
        let in_s = service.show("/cycle/next/in_s").as_u64().unwrap();
        assert!((at_least_s..at_least_s * 2).contains(&in_s), "{in_s}");
    }
    expect(&Trouble::TooMany(None), "busy", "busy", "429");
}

#[test]
fn what_a_server_says_instead_of_a_token_is_named() {
    expect(
        &Trouble::Pending,
        "pending",
        "pending",
        "waiting for acceptance",
    );
    let limit = Trouble::Unauthorized(Some("unauthorized"));
    expect(
        &limit,
        "not_authorised",
        "mender_device_limit",
        "number of devices",
    );
    let signature = Trouble::Unauthorized(Some("signature verification failed"));
    expect(&signature, "not_authorised", "mender_signature", "auth key");
    let empty = RawAnswer {
        status: 400,
        ..RawAnswer::default()
    };
    let key = "Security.AuthPrivateKey must be the key of HttpsClient.Certificate";
    expect(
        &Trouble::Other(empty),
        "configuration",
        "gateway_key_mismatch",
        key,
    );
    expect(
        &Trouble::ServerError,
        "server_fault",
        "server_fault",
        "internal error",
    );
    expect(
        &Trouble::EmptyServerError,
        "server_fault",
        "server_fault",
        "preauthorise",
    );
    expect(
        &Trouble::HtmlBadGateway,
        "server_fault",
        "server_fault",
        "502",
    );
    expect(&Trouble::Hangup, "network", "closed", "localhost");
}

#[test]
fn what_is_no_token_is_not_taken_for_one() {
    let with = |body: Vec<u8>| Trouble::Other(RawAnswer::typed(200, "application/jwt", body));
    let page = "<html>Welcome to our network. Please log in.</html>".into();
    let two_parts = b"eyJhbGciOiJSUzI1NiJ9.e30".to_vec();
    let line_inside = b"a.b\r\nX-Evil: 1.c".to_vec();
    for trouble in [
        Trouble::EmptyOk,
        with(page),
        with(two_parts),
        with(line_inside),
        with(vec![0xFF, 0xFE, b'.', b'.']),
    ] {
        expect(&trouble, "protocol", "mender_token", "ServerURL");
    }
    expect(
        &with(vec![b'a'; 80 * 1024]),
        "protocol",
        "http_body",
        "more than",
    );
    let cut = said_of(&Trouble::CutOff);
    assert_eq!(
        (cut.code, cut.text("outcome")),
        (Some(1), "failed"),
        "{}",
        cut.out
    );
}

#[test]
fn a_token_is_taken_in_every_form_that_http_has() {
    let scene = Scene::new();
    for trouble in [Trouble::NewlineAfter, Trouble::Chunked, Trouble::Http10] {
        scene.mender.trouble(At::Auth, 1, trouble.clone());
        let ran = scene.once();
        assert_eq!(ran.code, Some(0), "{trouble:?}: {}{}", ran.out, ran.log);
    }
    assert!(
        scene
            .inventories()
            .iter()
            .all(|(_, status)| *status == Some(200))
    );
}

/// RFC 9110 section 5.6.7.
fn httpdate(at: SystemTime) -> String {
    let s = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{s}"), "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}
