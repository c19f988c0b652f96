//! Plays: an agent that relays, the LNS behind it, and WebSocket clients in front of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::device::{Device, EUI, Scratch, Service, Surroundings};
use crate::lns::{Fault, Manner};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::{Error, HandshakeError, Message, WebSocket, client};

/// Longer than anything a test waits for, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway whose agent relays.
#[derive(Debug)]
pub struct Scene {
    /// The gateway.
    pub device: Device,
    /// CUPS and LNS.
    pub around: Surroundings,
    _scratch: Scratch,
}

/// A WebSocket through the relay.
pub type Socket = WebSocket<TcpStream>;

impl Scene {
    /// CUPS offers the key `first`; the LNS sends traffic back.
    ///
    /// # Panics
    /// No port is left.
    #[must_use]
    pub fn new(binary: &str) -> Self {
        let scratch = Scratch::new();
        let around = Surroundings::start(scratch.path());
        around.offer("first");
        around.lns.set_manner(Manner {
            echo: true,
            keeps_older: true,
            pause: Duration::ZERO,
        });
        let mut device = Device::new(binary, &around.pki, around.front.address());
        device.set("lns.mode", "relay");
        device.set("relay.listen", "127.0.0.1:0");
        device.set("cups.poll_s", 1);
        Self {
            device,
            around,
            _scratch: scratch,
        }
    }

    /// Starts the agent and waits for its link.
    #[must_use]
    pub fn serve(&self) -> Service {
        let service = self.device.serve();
        service.until("the link is up", |service| link(service) == "up");
        service
    }

    /// Has CUPS offer another key and waits until the relay uses it.
    pub fn rotate(&self, service: &Service, key: &str) {
        let ups = service.count("the LNS link is up");
        self.around.cups.rotate_key(EUI, key);
        service.until("the link uses the new key", |service| {
            service.count("the LNS link is up") > ups
        });
    }
}

impl Scene {
    /// Waits until the link is lost, ends the fault, and sees the next try bring it back.
    ///
    /// # Panics
    /// It does not.
    pub fn comes_back(&self, service: &Service, address: &str) {
        service.until("the link is lost", |service| {
            service.count("the LNS link is lost") == 1
        });
        self.around.lns.set_fault(Fault::None);
        self.rotate(service, "another");
        echo(&mut traffic(address), "back");
    }
}

/// State of the link.
#[must_use]
pub fn link(service: &Service) -> String {
    service
        .show("/lns/link/state")
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// A number of the relay's own status.
#[must_use]
pub fn figure(service: &Service, name: &str) -> u64 {
    service
        .show(&format!("/lns/holder/{name}"))
        .as_u64()
        .unwrap_or_default()
}

/// Where the relay listens: `127.0.0.1:port`.
///
/// # Panics
/// There is no relay.
#[must_use]
pub fn address(service: &Service) -> String {
    let listen = service.show("/lns/holder/listen");
    listen.as_str().expect("the relay listens").to_owned()
}

/// Opens a WebSocket; the error is the answer if there was one.
///
/// # Panics
/// Nobody answers.
pub fn open(uri: &str, lines: &[(&'static str, &str)]) -> Result<Socket, Box<Response>> {
    let authority = uri
        .trim_start_matches("ws://")
        .split('/')
        .next()
        .expect("a host");
    let stream = TcpStream::connect(authority).expect("the relay listens");
    stream.set_nodelay(true).expect("it is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is open");
    let mut request = uri.into_client_request().expect("a good address");
    for (name, value) in lines {
        request
            .headers_mut()
            .insert(*name, value.parse().expect("a good line"));
    }
    match client(request, stream) {
        Err(HandshakeError::Failure(Error::Http(response))) => {
            let (parts, body) = response.into_parts();
            Err(Box::new(Response::from_parts(parts, body)))
        }
        answered => Ok(answered.expect("an answer from the relay").0),
    }
}

/// Does discovery and gives the answer.
///
/// # Panics
/// There is none.
#[must_use]
pub fn discover(address: &str, router: &Value) -> Value {
    let mut socket = open(&format!("ws://{address}/router-info"), &[]).expect("an upgrade");
    socket
        .send(Message::text(json!({ "router": router }).to_string()))
        .expect("it is open");
    let answer = socket.read().expect("an answer");
    serde_json::from_str(answer.to_text().expect("a text")).expect("JSON")
}

/// Discovery, then traffic, of the gateway itself.
///
/// # Panics
/// One of them fails.
#[must_use]
pub fn traffic(address: &str) -> Socket {
    let answer = discover(address, &json!(EUI));
    let uri = answer
        .get("uri")
        .and_then(Value::as_str)
        .expect("an address");
    open(uri, &[]).expect("traffic is open")
}

/// Sends raw octets and gives what comes until the end.
///
/// # Panics
/// Nobody listens, or the end is a reset.
#[must_use]
pub fn raw(address: &str, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the relay listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is open");
    stream.write_all(octets).expect("it is open");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("a clean end");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request for a WebSocket, as far as it goes without lines of the client's own.
#[must_use]
pub fn head(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Sends a text through an LNS that sends it back, and waits for it.
///
/// # Panics
/// Something else comes back, or nothing.
pub fn echo<S: Read + Write>(socket: &mut WebSocket<S>, text: &str) {
    socket.send(Message::text(text)).expect("it is open");
    let back = socket.read().expect("it is open");
    assert_eq!(back, Message::text(text));
}

/// Asks for the address and gives the socket, whatever comes.
///
/// # Panics
/// There is no upgrade.
#[must_use]
pub fn ask(address: &str) -> Socket {
    let mut socket = open(&format!("ws://{address}/router-info"), &[]).expect("an upgrade");
    socket
        .send(Message::text(json!({ "router": EUI }).to_string()))
        .expect("it is open");
    socket
}

/// Whether the relay asks its client to come back later: 1013.
#[must_use]
pub fn is_put_off(mut socket: Socket) -> bool {
    matches!(socket.read(), Ok(Message::Close(Some(frame))) if u16::from(frame.code) == 1013)
}
