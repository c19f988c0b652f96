//! Clients that stall, flood or come in crowds take nothing from the others, nor from the link.

#![cfg(feature = "daemon")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails, and looks at processes"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mtls_lab::device::{EUI, Service};
use mtls_lab::lns::Fault;
use mtls_lab::relay::{Scene, address, discover, echo, figure, head, link, raw, traffic};
use serde_json::json;
use tungstenite::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

/// Writes the same octets again and again from three threads, until the other side ends it.
fn flood(stream: &TcpStream, octets: &[u8]) -> Vec<thread::JoinHandle<()>> {
    let one = |_| {
        let (mut stream, octets) = (stream.try_clone().unwrap(), octets.to_vec());
        thread::spawn(move || while stream.write_all(&octets).is_ok() {})
    };
    (0..3).map(one).collect()
}

/// Waits until all have been ended.
fn until_over(service: &Service, floods: Vec<thread::JoinHandle<()>>) {
    service.until("the flood is cut", |_| {
        floods.iter().all(thread::JoinHandle::is_finished)
    });
    for one in floods {
        one.join().unwrap();
    }
}

#[test]
fn a_client_that_talks_on_after_its_refusal_is_cut_and_others_are_served_meanwhile() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let mut good = traffic(&address);
    let mut bad = TcpStream::connect(&address).unwrap();
    bad.write_all(b"nonsense\r\n\r\n").unwrap();
    let floods = flood(&bad, &[b'x'; 8192]);
    for number in 0..100 {
        echo(&mut good, &number.to_string());
    }
    until_over(&service, floods);
    echo(&mut good, "after");
}

#[test]
fn a_client_that_pings_instead_of_asking_is_let_go_and_others_are_served_meanwhile() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let mut good = traffic(&address);
    let mut bad = TcpStream::connect(&address).unwrap();
    bad.write_all(head("/router-info").as_bytes()).unwrap();
    // The answers are read, so that nothing but the relay can end it.
    let mut answers = bad.try_clone().unwrap();
    let reader = thread::spawn(move || while matches!(answers.read(&mut [0; 4096]), Ok(1..)) {});
    let floods = flood(&bad, &[0x89, 0x80, 0, 0, 0, 0].repeat(1000));
    for number in 0..100 {
        echo(&mut good, &number.to_string());
    }
    until_over(&service, floods);
    reader.join().unwrap();
    echo(&mut good, "after");
}

#[test]
fn a_head_that_does_not_end_in_time_is_408_even_if_it_trickles() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let mut silent = TcpStream::connect(&address).unwrap();
    silent.write_all(b"GET /router-info HT").unwrap();
    let mut trickling = TcpStream::connect(&address).unwrap();
    let mut drops = trickling.try_clone().unwrap();
    let trickle = thread::spawn(move || {
        for octet in head("/router-info").bytes() {
            if drops.write_all(&[octet]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
    });
    for stream in [&mut silent, &mut trickling] {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408 Req");
    }
    drop((silent, trickling));
    trickle.join().unwrap();
    service.until("both forgotten", |service| {
        figure(service, "connections") == 0
    });
}

#[test]
fn odd_heads_and_questions_end_their_client_and_never_reach_the_lns() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let (asked, dialled) = (
        scene.around.lns.discoveries().len(),
        scene.around.lns.connections().len(),
    );
    let with = |line: &str| {
        let target = format!("/traffic/eui-{EUI}");
        head(&target).replace("Host: x\r\n", &format!("Host: x\r\n{line}\r\n"))
    };
    let wide = format!("Sec-WebSocket-Protocol: {}", "x".repeat(4000));
    let many = "Sec-WebSocket-Extensions: x\r\n".repeat(20);
    for line in [
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        wide.as_str(),
        many.trim_end(),
    ] {
        let answer = raw(&address, with(line).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{line}: {answer}");
    }
    // Text that is no UTF-8; a frame without a mask; a frame of 2^63 octets; the opcode 15.
    let questions: [&[u8]; 4] = [
        &[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe],
        &[0x81, 0x01, b'x'],
        &[
            0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0,
        ],
        &[0x8f, 0x80, 0, 0, 0, 0],
    ];
    for question in questions {
        let mut octets = head("/router-info").into_bytes();
        octets.extend_from_slice(question);
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(&octets).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{question:?}");
    }
    service.until("all forgotten", |service| {
        figure(service, "connections") == 0
    });
    assert_eq!(scene.around.lns.discoveries().len(), asked);
    assert_eq!(scene.around.lns.connections().len(), dialled);
    assert_eq!(link(&service), "up");
}

#[test]
fn a_second_question_on_one_connection_is_not_answered_and_harms_nothing() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let asked = scene.around.lns.discoveries().len();
    let uri = format!("ws://{address}/router-info");
    let mut socket = mtls_lab::relay::open(&uri, &[]).unwrap();
    let question = json!({ "router": EUI }).to_string();
    for _ in 0..2 {
        socket.send(Message::text(question.as_str())).unwrap();
    }
    assert!(socket.read().unwrap().is_text());
    while socket.read().is_ok_and(|message| !message.is_text()) {}
    assert_eq!(scene.around.lns.discoveries().len(), asked + 1);
    drop(traffic(&address));
}

#[test]
fn clients_that_reset_at_any_point_are_forgotten() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let beginnings = [
        String::new(),
        "GET /rou".to_owned(),
        head("/router-info"),
        head(&format!("/traffic/eui-{EUI}")),
        "nonsense\r\n\r\n".to_owned(),
    ];
    for beginning in &beginnings {
        for pause in [0, 1, 20] {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(beginning.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(pause));
            // Unread answers make the kernel send a reset.
            drop(stream);
        }
    }
    for _ in 0..5 {
        let mut socket = traffic(&address);
        for _ in 0..50 {
            socket.send(Message::binary(vec![7; 4096])).unwrap();
        }
        drop(socket);
    }
    service.until("all forgotten", |service| {
        figure(service, "connections") == 0
    });
    echo(&mut traffic(&address), "still here");
    assert_eq!(link(&service), "up");
}

#[test]
fn a_client_that_comes_back_a_hundred_times_is_served_every_time() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    for number in 0..100 {
        echo(&mut traffic(&address), &number.to_string());
    }
    service.until("all forgotten", |service| {
        figure(service, "connections") == 0
    });
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn descriptors_that_run_out_keep_nobody_from_their_traffic_and_are_told_of_once() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let mut good = traffic(&address);
    allow_files(&service, 80);
    let crowd: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    service.until("it is told", |service| {
        service.count("the relay takes no more clients for now") == 1
    });
    for number in 0..20 {
        echo(&mut good, &number.to_string());
    }
    assert_eq!(link(&service), "up", "the agent itself has what it needs");
    drop(crowd);
    echo(&mut traffic(&address), "after");
    // Fewer than are open: the kernel does not even poll them any more.
    allow_files(&service, 8);
    let before = relay_ticks(&service);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        echo(&mut good, "still here");
        thread::sleep(Duration::from_millis(50));
    }
    let spent = relay_ticks(&service) - before;
    assert!(spent < 60, "{spent} of 200 ticks: it spins");
    allow_files(&service, 1024);
    echo(&mut traffic(&address), "again");
    assert!(service.count("the relay takes no more clients for now") <= 3);
}

fn allow_files(service: &Service, limit: u32) {
    let mut command = Command::new("prlimit");
    command.arg(format!("--pid={}", service.pid()));
    let status = command.arg(format!("--nofile={limit}:")).status().unwrap();
    assert!(status.success());
}

/// Hundredths of a second of CPU that the relay's thread has used.
fn relay_ticks(service: &Service) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap();
    let stats = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")));
    let stat = stats
        .map(Result::unwrap)
        .find(|stat| stat.contains("(relay)"))
        .unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_lns_that_takes_no_new_connections_for_a_while_ends_none_of_many() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let uri = format!("ws://{}/traffic/eui-{EUI}", address(&service));
    let mut sockets: Vec<_> = (0..520)
        .map(|_| mtls_lab::relay::open(&uri, &[]).unwrap())
        .collect();
    scene.around.lns.set_fault(Fault::TrafficStatus(503));
    assert!(mtls_lab::relay::open(&uri, &[]).is_err());
    service.until("the link is lost", |service| {
        service.count("the LNS link is lost") == 1
    });
    scene.around.lns.set_fault(Fault::None);
    service.until("the link is up", |service| link(service) == "up");
    for socket in &mut sockets {
        echo(socket, "lives on");
    }
    assert_eq!(
        figure(&service, "old_connections"),
        0,
        "the key is the same"
    );
}

#[test]
fn of_connections_with_an_old_key_the_longest_lived_end_when_there_are_too_many() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let address = address(&service);
    let uri = discover(&address, &json!(EUI))["uri"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut sockets: Vec<_> = (0..520)
        .map(|_| mtls_lab::relay::open(&uri, &[]).unwrap())
        .collect();
    scene.rotate(&service, "second");
    service.until("old ones are counted", |service| {
        figure(service, "old_connections") == 512
    });
    for socket in &mut sockets[..8] {
        assert!(socket.read().is_err());
    }
    for socket in &mut sockets[8..] {
        echo(socket, "lives on");
    }
    // A second rotation before the first is drained.
    scene.rotate(&service, "third");
    assert_eq!(figure(&service, "old_connections"), 512);
    let mut fresh = traffic(&address);
    echo(&mut fresh, "new");
    let seen = scene.around.lns.connections();
    assert_eq!(seen.last().unwrap().token.as_deref(), Some("third"));
    echo(&mut sockets[519], "lives on");
}
