//! Every frame arrives once and in order: over a rotation, in pieces, large, against a slow
//! reader, with both sides full.

#![cfg(feature = "daemon")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails, and may pause"
)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mtls_lab::device::EUI;
use mtls_lab::lns::Manner;
use mtls_lab::relay::{Scene, Socket, address, figure, traffic};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, WebSocket};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

const STREAMS: u64 = 10;
/// Frames of each stream in each direction: 100,000 and more in all.
const FRAMES: u64 = 10_500;
/// Frames sent before the echo of the first is read.
const WINDOW: u64 = 64;

/// Sends numbered frames, at least [`FRAMES`] and until it may stop; checks that each comes
/// back once, in order.
fn converse(socket: &mut Socket, name: u64, may_stop: &AtomicBool, progress: &AtomicU64) {
    let (mut sent, mut back) = (0, 0);
    loop {
        let is_enough = sent >= FRAMES && may_stop.load(Ordering::Relaxed);
        if is_enough && back == sent {
            return;
        }
        if !is_enough {
            let padding = "x".repeat(usize::try_from(sent % 97).unwrap());
            let text = format!("{name} {sent} {padding}");
            socket.send(Message::text(text)).unwrap();
            sent += 1;
        }
        if is_enough || sent - back > WINDOW {
            let message = socket.read().unwrap();
            let expected = format!("{name} {back} ");
            assert!(
                message.to_text().unwrap().starts_with(&expected),
                "{message} for {expected}"
            );
            back += 1;
            progress.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_hundred_thousand_frames_arrive_once_and_in_order_across_a_rotation() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let (progress, is_rotated) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let streams: Vec<_> = (0..STREAMS)
        .map(|name| {
            let mut socket = traffic(&address);
            let (progress, is_rotated) = (Arc::clone(&progress), Arc::clone(&is_rotated));
            thread::spawn(move || {
                converse(&mut socket, name, &is_rotated, &progress);
                socket
            })
        })
        .collect();
    scene.rotate(&service, "second");
    // A new connection uses the new key while the old ones go on.
    let mut fresh = traffic(&address);
    let seen = scene.around.lns.connections();
    assert_eq!(seen.last().unwrap().token.as_deref(), Some("second"));
    is_rotated.store(true, Ordering::Relaxed);
    converse(&mut fresh, 99, &is_rotated, &progress);
    let sockets: Vec<Socket> = streams
        .into_iter()
        .map(|stream| stream.join().unwrap())
        .collect();
    let total = progress.load(Ordering::Relaxed);
    assert!(total >= (STREAMS + 1) * FRAMES);
    assert_eq!(figure(&service, "old_connections"), STREAMS);
    let seen = scene.around.lns.connections();
    let came: u64 = seen.iter().map(|seen| seen.messages).sum();
    assert_eq!(came, total, "none lost, none doubled");
    drop((sockets, fresh));
}

#[test]
fn fragments_large_frames_and_single_octets_pass_as_they_are() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let mut socket = traffic(&address(&service));
    let large = Message::binary(vec![7_u8; 64 * 1024]);
    for _ in 0..20 {
        socket.send(large.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), large);
    }
    let parts = [
        ("frag", Data::Text, false),
        ("men", Data::Continue, false),
        ("ted", Data::Continue, true),
    ];
    for (text, kind, is_last) in parts {
        let frame = Frame::message(text.as_bytes().to_vec(), OpCode::Data(kind), is_last);
        socket.send(Message::Frame(frame)).unwrap();
    }
    assert_eq!(socket.read().unwrap(), Message::text("fragmented"));
    // A masked text of five octets, one octet a packet.
    let frame = [0x81, 0x85, 0, 0, 0, 0, b'o', b'c', b't', b'e', b't'];
    for octet in frame {
        socket.get_mut().write_all(&[octet]).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(socket.read().unwrap(), Message::text("octet"));
    socket.send(Message::Ping(vec![1, 2, 3].into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(vec![1, 2, 3].into()));
}

#[test]
fn both_sides_full_hold_each_other_back_and_then_all_arrives() {
    const MEGABYTES: u64 = 48;
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let socket = traffic(&address(&service));
    let stream = socket.get_ref().try_clone().unwrap();
    let mut sending = WebSocket::from_raw_socket(stream, tungstenite::protocol::Role::Client, None);
    let is_sent = Arc::new(AtomicBool::new(false));
    let sent = Arc::clone(&is_sent);
    let sender = thread::spawn(move || {
        for number in 0..MEGABYTES * 16 {
            let mut octets = vec![0_u8; 64 * 1024];
            octets[..8].copy_from_slice(&number.to_be_bytes());
            sending.send(Message::binary(octets)).unwrap();
        }
        sent.store(true, Ordering::SeqCst);
    });
    // Nobody reads: everything between the ends fills up.
    thread::sleep(Duration::from_secs(2));
    assert!(
        !is_sent.load(Ordering::SeqCst),
        "48 MB vanished into somebody's memory"
    );
    let mut reading = socket;
    for number in 0..MEGABYTES * 16 {
        let back = reading.read().unwrap().into_data();
        assert_eq!(back.len(), 64 * 1024);
        assert_eq!(back[..8], number.to_be_bytes());
    }
    sender.join().unwrap();
    assert!(
        peak_kb(service.pid()) < 24_000,
        "{} kB",
        peak_kb(service.pid())
    );
}

#[test]
fn a_client_that_ends_its_side_still_hears_what_the_slow_lns_says() {
    let scene = Scene::new(BINARY);
    scene.around.lns.set_manner(Manner {
        echo: true,
        keeps_older: true,
        pause: Duration::from_millis(20),
    });
    let service = scene.serve();
    let mut socket = traffic(&address(&service));
    for number in 0..50 {
        socket.send(Message::text(number.to_string())).unwrap();
    }
    socket.get_ref().shutdown(Shutdown::Write).unwrap();
    for number in 0..50 {
        assert_eq!(socket.read().unwrap(), Message::text(number.to_string()));
    }
    let mut rest = Vec::new();
    assert_eq!(
        socket.get_mut().read_to_end(&mut rest).unwrap_or_default(),
        0
    );
}

#[test]
fn what_a_client_said_before_it_went_still_reaches_the_lns() {
    let scene = Scene::new(BINARY);
    let pause = Duration::from_millis(1);
    // No answers: a client that leaves some unread has its own kernel drop what it had said.
    let manner = Manner {
        echo: false,
        keeps_older: true,
        pause,
    };
    scene.around.lns.set_manner(manner);
    let service = scene.serve();
    let mut socket = traffic(&address(&service));
    for number in 0..500 {
        socket.send(Message::text(number.to_string())).unwrap();
    }
    drop(socket);
    service.until("all messages came", |_| {
        scene.around.lns.connections().last().unwrap().messages == 500
    });
}

#[test]
fn five_hundred_connections_are_held_at_once_in_little_memory() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let before = anonymous_kb(service.pid());
    let answer = mtls_lab::relay::discover(&address, &serde_json::json!(EUI));
    let uri = answer["uri"].as_str().unwrap();
    let mut sockets: Vec<Socket> = (0..500)
        .map(|_| mtls_lab::relay::open(uri, &[]).unwrap())
        .collect();
    service.until("500 connections", |service| {
        figure(service, "connections") >= 500
    });
    let grown = anonymous_kb(service.pid()) - before;
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.send(Message::text(number.to_string())).unwrap();
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(socket.read().unwrap(), Message::text(number.to_string()));
    }
    assert!(grown <= 500 * 16, "{grown} kB for 500 connections");
    drop(sockets);
    service.until("all forgotten", |service| {
        figure(service, "connections") == 0
    });
}

fn anonymous_kb(pid: u32) -> u64 {
    status_kb(pid, "RssAnon:")
}

fn peak_kb(pid: u32) -> u64 {
    status_kb(pid, "VmHWM:")
}

fn status_kb(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_client_that_sends_before_it_is_let_through_loses_nothing() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let mut stream = TcpStream::connect(&address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let head = format!(
        "GET /traffic/eui-{EUI} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let mut octets = head.into_bytes();
    for _ in 0..1000 {
        octets.extend_from_slice(&[0x81, 0x85, 0, 0, 0, 0, b'e', b'a', b'r', b'l', b'y']);
    }
    stream.write_all(&octets).unwrap();
    service.until("all messages came", |_| {
        scene
            .around
            .lns
            .connections()
            .last()
            .is_some_and(|seen| seen.messages == 1000)
    });
}
