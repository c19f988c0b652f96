//! Upgraded connections pass both ways until either side ends them, several at a time.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use mtls_agent::daemon::mender::forwarder::Patience;
use mtls_lab::mender::{At, Config, Frame, MenderDouble, Trouble};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::stand::{PATIENCE, Stand};

const CONNECT: &str = "/api/devices/v1/deviceconnect/connect";

struct Terminals {
    stand: Stand,
    double: MenderDouble,
    token: String,
}

impl Terminals {
    fn new() -> Self {
        Self::with(Patience::default())
    }

    fn with(patience: Patience) -> Self {
        let stand = Stand::with(patience);
        let double = MenderDouble::start(Config::of(&stand.pki)).unwrap();
        let token = stand.token(&double.uri());
        stand.lend(&double.uri(), &token);
        Self {
            stand,
            double,
            token,
        }
    }

    /// Connects as mender-connect does; the status of a refusal.
    fn open(&self) -> Result<WebSocket<TcpStream>, u16> {
        let url = format!("ws://{}{CONNECT}", self.stand.address());
        let mut request = url.into_client_request().unwrap();
        let token = HeaderValue::from_str(&format!("Bearer {}", self.token)).unwrap();
        request.headers_mut().insert("Authorization", token);
        match tungstenite::client(request, self.stand.connect()) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < limit, "{}", self.stand.forwarder.figures());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn frames_pass_both_ways_and_the_server_s_close_is_heard() {
    let terminals = Terminals::new();
    let mut socket = terminals.open().unwrap();
    socket.send(Message::text("up")).unwrap();
    let large = vec![7; 300_000];
    socket.send(Message::binary(large.clone())).unwrap();
    terminals.until(|it| it.double.connects()[0].frames.len() == 2);
    let frames = &terminals.double.connects()[0].frames;
    assert_eq!(frames[0], Frame::Text("up".to_owned()));
    assert!(frames[1] == Frame::Binary(large.clone()));
    terminals.double.send_frame(&Frame::Binary(large.clone()));
    assert!(socket.read().unwrap() == Message::binary(large));
    terminals.double.send_frame(&Frame::Close(Some(1001)));
    let Message::Close(Some(close)) = socket.read().unwrap() else {
        panic!("no close");
    };
    assert_eq!(close.code, CloseCode::Away);
    while socket.read().is_ok() {}
    terminals.until(|it| !it.double.connects()[0].open);
    drop(socket);
    terminals.until(|it| it.stand.figure("websockets") == 0);
}

#[test]
fn the_program_s_close_is_heard_by_the_server() {
    let terminals = Terminals::new();
    let mut socket = terminals.open().unwrap();
    let close = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    socket.close(Some(close)).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    terminals.until(|it| !it.double.connects()[0].open);
    let frames = &terminals.double.connects()[0].frames;
    assert_eq!(frames.as_slice(), [Frame::Close(Some(1000))]);
    terminals.until(|it| it.stand.figure("connections") == 0);
}

#[test]
fn an_end_without_a_close_passes_both_ways() {
    let terminals = Terminals::new();
    let socket = terminals.open().unwrap();
    drop(socket);
    terminals.until(|it| !it.double.connects()[0].open);
    let mut socket = terminals.open().unwrap();
    terminals.until(|it| it.double.connects().len() == 2);
    terminals.double.cut_connects();
    assert!(socket.read().is_err());
    drop(socket);
    terminals.until(|it| it.stand.figure("websockets") == 0);
}

#[test]
fn several_last_beside_each_other_and_too_many_are_told_to_come_back() {
    let terminals = Terminals::new();
    let mut open: Vec<_> = (0..8).map(|_| terminals.open().unwrap()).collect();
    assert_eq!(terminals.open().unwrap_err(), 503);
    for (number, socket) in open.iter_mut().enumerate() {
        socket.send(Message::text(number.to_string())).unwrap();
    }
    terminals.until(|it| {
        it.double
            .connects()
            .iter()
            .all(|connect| connect.frames.len() == 1)
    });
    drop(open.pop());
    terminals.until(|it| it.stand.figure("websockets") == 7);
    assert!(terminals.open().is_ok());
}

#[test]
fn a_websocket_with_a_refused_token_waits_for_the_next() {
    let terminals = Terminals::new();
    let word = Trouble::Unauthorized(Some("unauthorized"));
    terminals.double.trouble(At::Connect, 1, word);
    thread::scope(|scope| {
        let opening = scope.spawn(|| terminals.open());
        terminals.stand.refusal();
        let uri = terminals.double.uri();
        let next = terminals.stand.token(&uri);
        terminals.stand.lend(&uri, &next);
        assert!(opening.join().unwrap().is_ok());
    });
    let requests = terminals.double.requests();
    let connects = requests.iter().filter(|seen| seen.request.path == CONNECT);
    let statuses: Vec<_> = connects.map(|seen| seen.status).collect();
    assert_eq!(statuses, [Some(401), Some(101)]);
}

#[test]
fn an_open_websocket_outlasts_a_change_of_token() {
    let terminals = Terminals::new();
    let mut socket = terminals.open().unwrap();
    terminals.stand.forwarder.lend(None);
    terminals.stand.lend("https://localhost:1", "e30.e30.aaaa");
    socket.send(Message::text("still here")).unwrap();
    terminals.until(|it| it.double.connects()[0].frames.len() == 1);
}

#[test]
fn a_silent_one_is_given_up_and_one_that_pings_is_not() {
    let terminals = Terminals::with(Patience {
        idle: Duration::from_secs(2),
        ..Patience::default()
    });
    let mut pinging = terminals.open().unwrap();
    let mut silent = terminals.open().unwrap();
    for _ in 0..8 {
        pinging.send(Message::Ping(Vec::new().into())).unwrap();
        assert!(matches!(pinging.read(), Ok(Message::Pong(_))));
        thread::sleep(Duration::from_millis(500));
    }
    assert!(silent.read().is_err());
    terminals.until(|it| it.stand.figure("websockets") == 1);
    pinging.send(Message::text("still here")).unwrap();
    terminals.until(|it| {
        let frames = &it.double.connects()[0].frames;
        frames.contains(&Frame::Text("still here".to_owned()))
    });
}
