//! Serves: plain WebSocket upgrades with whatever octets follow in the same write.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use tungstenite::handshake::derive_accept_key;

/// What follows an upgrade: first octets, in one write with it, then others for ever, unless
/// there are none.
#[derive(Clone, Default)]
pub(crate) struct After {
    pub(crate) first: Vec<u8>,
    pub(crate) forever: Vec<u8>,
}

/// An LNS at `ws://localhost:port` that never reads after an upgrade. It ends with the test.
pub(crate) fn start(discovery: impl FnOnce(SocketAddr) -> After, traffic: After) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let discovery = discovery(address);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (discovery, traffic) = (discovery.clone(), traffic.clone());
            thread::spawn(move || serve(stream.unwrap(), &discovery, &traffic));
        }
    });
    address
}

fn serve(mut stream: TcpStream, discovery: &After, traffic: &After) {
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet).unwrap();
        request.extend(octet);
    }
    let request = String::from_utf8(request).unwrap();
    let key = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    let after = if request.starts_with("GET /router-info ") {
        discovery
    } else {
        traffic
    };
    stream
        .write_all(&[head.as_bytes(), &after.first].concat())
        .unwrap();
    while !after.forever.is_empty() && stream.write_all(&after.forever).is_ok() {}
    // Stays open until the gateway has had enough.
    while stream.peek(&mut octet).is_ok_and(|count| count > 0) {
        thread::park_timeout(std::time::Duration::from_millis(50));
    }
}
