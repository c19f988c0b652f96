//! When the server refuses the token, the request waits for another and is sent once more.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use mtls_agent::daemon::mender::forwarder::Patience;
use mtls_lab::http::RawAnswer;
use mtls_lab::mender::{At, Config, MenderDouble, Trouble};

use super::stand::{
    INVENTORY, NEXT_TOKEN, Scripted, Stand, TOKEN, body, heard, read_until, request, status,
};

const BODY: &str = r#"[{"name":"hostname","value":"gateway"}]"#;

fn inventory(token: &str) -> String {
    let rest = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    request(&format!("PUT {INVENTORY}"), token, &rest)
}

/// A forwarder before the double, with a token of it.
fn stand() -> (Stand, MenderDouble, String) {
    let stand = Stand::new();
    let double = MenderDouble::start(Config::of(&stand.pki)).unwrap();
    let token = stand.token(&double.uri());
    stand.lend(&double.uri(), &token);
    (stand, double, token)
}

/// Statuses of all inventory requests at the double, and whether each showed this certificate.
fn seen(double: &MenderDouble) -> Vec<(Option<u16>, Vec<u8>)> {
    let requests = double.requests().into_iter();
    let inventories = requests.filter(|seen| seen.request.path == INVENTORY);
    inventories
        .map(|seen| {
            assert!(seen.client.is_some());
            (seen.status, seen.request.body)
        })
        .collect()
}

#[test]
fn inventory_of_another_program_arrives_with_the_device_s_identity() {
    let (stand, double, token) = stand();
    assert_eq!(status(&stand.say(inventory(&token).as_bytes())), 200);
    assert_eq!(seen(&double), [(Some(200), BODY.as_bytes().to_vec())]);
    let device = &double.devices()[0].id;
    assert!(double.inventory(device).is_some());
}

#[test]
fn head_and_body_may_come_in_separate_writes() {
    let (stand, double, token) = stand();
    let octets = inventory(&token);
    let (head, rest) = octets.split_at(octets.len() - BODY.len());
    let mut stream = stand.connect();
    for part in [&head[..20], &head[20..], &rest[..5], &rest[5..]] {
        stream.write_all(part.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(status(&heard(&mut stream)), 200);
    assert_eq!(seen(&double), [(Some(200), BODY.as_bytes().to_vec())]);
}

#[test]
fn a_refused_token_is_replaced_and_the_request_sent_once_more() {
    let (stand, double, token) = stand();
    let jti = double.devices()[0].sets[0].id.clone();
    double.delete_token(&jti);
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| stand.say(inventory(&token).as_bytes()));
        stand.refusal();
        stand.forwarder.lend(None);
        let next = stand.token(&double.uri());
        stand.lend(&double.uri(), &next);
        asking.join().unwrap()
    });
    assert_eq!(status(&answer), 200, "{answer}");
    let body = BODY.as_bytes().to_vec();
    assert_eq!(
        seen(&double),
        [(Some(401), body.clone()), (Some(200), body)]
    );
    assert_eq!(stand.figure("repeated"), 1);
}

#[test]
fn a_second_refusal_is_passed_on_without_a_body_and_is_not_repeated() {
    let (stand, double, token) = stand();
    double.trouble(
        At::Inventory,
        2,
        Trouble::Unauthorized(Some("unauthorized")),
    );
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| stand.say(inventory(&token).as_bytes()));
        stand.refusal();
        stand.lend(&double.uri(), NEXT_TOKEN);
        asking.join().unwrap()
    });
    assert_eq!(
        answer,
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(seen(&double).len(), 2);
    assert!(!stand.forwarder.take_refusal());
}

#[test]
fn a_request_does_not_wait_for_a_token_that_will_not_come() {
    let (stand, double, token) = stand();
    double.trouble(
        At::Inventory,
        1,
        Trouble::Unauthorized(Some("unauthorized")),
    );
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| stand.say(inventory(&token).as_bytes()));
        stand.refusal();
        stand.forwarder.give_up();
        asking.join().unwrap()
    });
    assert_eq!((status(&answer), body(&answer)), (401, ""));
    assert_eq!(seen(&double).len(), 1);
}

#[test]
fn a_request_does_not_wait_for_a_token_for_ever() {
    let stand = Stand::with(Patience {
        token: Duration::from_secs(1),
        ..Patience::default()
    });
    let server = Scripted::start(&stand.pki, |wire, _, _| {
        wire.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")
    });
    stand.lend(&server.uri(), TOKEN);
    let answer = stand.ask("GET /api/devices/v1/x", TOKEN, "");
    assert_eq!((status(&answer), body(&answer)), (401, ""));
    assert_eq!(server.heads().len(), 1);
}

#[test]
fn a_403_asks_for_another_token_once_and_is_then_passed_on_as_it_is() {
    let (stand, double, token) = stand();
    let word = r#"{"error":"add-on not in plan"}"#;
    let refused = RawAnswer::typed(403, "application/json", word.into());
    double.trouble(At::Inventory, usize::MAX, Trouble::Other(refused));
    let next = thread::scope(|scope| {
        let asking = scope.spawn(|| stand.say(inventory(&token).as_bytes()));
        stand.refusal();
        let next = stand.token(&double.uri());
        stand.lend(&double.uri(), &next);
        let answer = asking.join().unwrap();
        assert_eq!(status(&answer), 403);
        assert!(body(&answer).contains("add-on not in plan"), "{answer}");
        next
    });
    assert_eq!(seen(&double).len(), 2);
    assert_eq!(status(&stand.say(inventory(&next).as_bytes())), 403);
    assert_eq!(seen(&double).len(), 3);
    assert!(!stand.forwarder.take_refusal());
    // A path that works again may be the token's fault once more.
    double.lift_troubles();
    assert_eq!(status(&stand.say(inventory(&next).as_bytes())), 200);
}

#[test]
fn a_body_too_long_to_be_kept_gets_an_empty_401_at_once_and_a_token_is_asked_for() {
    let stand = Stand::new();
    let server = Scripted::start(&stand.pki, |wire, _, _| {
        wire.read_exact(&mut vec![0; 2_000_000])?;
        wire.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")
    });
    stand.lend(&server.uri(), TOKEN);
    let rest = format!("Content-Length: 2000000\r\n\r\n{}", "x".repeat(2_000_000));
    let answer = stand.ask("POST /api/devices/v1/x", TOKEN, &rest);
    assert_eq!((status(&answer), body(&answer)), (401, ""));
    stand.refusal();
}

#[test]
fn a_body_that_has_come_only_in_part_goes_on_at_the_second_try() {
    let stand = Stand::new();
    let server = Scripted::start(&stand.pki, |wire, _, number| {
        if number == 0 {
            read_until(wire, "hello")?;
            return wire.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}");
        }
        let whole = read_until(wire, "0\r\n\r\n")?;
        assert_eq!(whole, "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n");
        wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    stand.lend(&server.uri(), TOKEN);
    let mut stream = stand.connect();
    let rest = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let head = request("POST /api/devices/v1/x", TOKEN, rest);
    stream.write_all(head.as_bytes()).unwrap();
    stand.refusal();
    stand.lend(&server.uri(), NEXT_TOKEN);
    stream.write_all(b"5\r\nworld\r\n0\r\n\r\n").unwrap();
    assert_eq!(body(&heard(&mut stream)), "ok");
    assert!(server.heads()[1].contains(NEXT_TOKEN));
}

#[test]
fn many_programs_with_a_refused_token_wake_main_once() {
    let (stand, double, token) = stand();
    let jti = double.devices()[0].sets[0].id.clone();
    double.delete_token(&jti);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| stand.say(inventory(&token).as_bytes())))
            .collect();
        while seen(&double).len() < 6 {
            thread::sleep(Duration::from_millis(10));
        }
        stand.refusal();
        let next = stand.token(&double.uri());
        stand.lend(&double.uri(), &next);
        for asking in asking {
            assert_eq!(status(&asking.join().unwrap()), 200);
        }
    });
    assert_eq!(seen(&double).len(), 12);
    assert!(!stand.forwarder.take_refusal());
}
