//! Serves: the WebSocket of a terminal session, and records its frames.

use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tungstenite::{Error, Message, WebSocket};

use super::Shared;
use crate::http::{Conn, RawAnswer, Request};
use crate::server::{Socket, lock};

/// How often frames to send are looked for.
const GLANCE: Duration = Duration::from_millis(20);

/// One frame, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Text.
    Text(String),
    /// Octets.
    Binary(Vec<u8>),
    /// A ping; it is answered without being asked.
    Ping(Vec<u8>),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// A close with its code, if it had one.
    Close(Option<u16>),
}

/// One WebSocket, open or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The device's id.
    pub device: String,
    /// Whether it still lasts.
    pub open: bool,
    /// What the device sent, oldest first.
    pub frames: Vec<Frame>,
    /// What waits to be sent to it.
    pub(super) outgoing: Vec<Frame>,
    /// To be ended without a close frame.
    pub(super) cut: bool,
}

/// Answers the upgrade and carries frames until either side ends it.
pub(super) fn serve<S: Read + Write>(
    conn: Conn<S>,
    socket: &Socket,
    request: &Request,
    device: String,
    shared: &Shared,
) -> io::Result<()> {
    let (mut stream, early) = conn.into_parts();
    let key = request.header("sec-websocket-key").unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    let number = {
        let connects = &mut lock(&shared.state).connects;
        connects.push(Connected {
            device,
            open: true,
            frames: Vec::new(),
            outgoing: Vec::new(),
            cut: false,
        });
        connects.len() - 1
    };
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    stream.flush()?;
    socket.stream().set_read_timeout(Some(GLANCE))?;
    let mut websocket = WebSocket::from_partially_read(stream, early, Role::Server, None);
    let end = carry(&mut websocket, number, shared);
    if let Some(connected) = lock(&shared.state).connects.get_mut(number) {
        connected.open = false;
    }
    end
}

/// The answer to a request for this that is no upgrade.
pub(super) fn refusal(request: &Request) -> Option<RawAnswer> {
    let upgrade = request.header("upgrade").unwrap_or_default();
    let known = upgrade.eq_ignore_ascii_case("websocket")
        && request.header("sec-websocket-version") == Some("13")
        && request.header("sec-websocket-key").is_some();
    (!known).then(|| super::trouble::error(400, "not a WebSocket handshake"))
}

fn carry<S: Read + Write>(
    websocket: &mut WebSocket<S>,
    number: usize,
    shared: &Shared,
) -> io::Result<()> {
    loop {
        let (outgoing, cut) = {
            let mut state = lock(&shared.state);
            let connected = state.connects.get_mut(number).ok_or(ErrorKind::NotFound)?;
            (core::mem::take(&mut connected.outgoing), connected.cut)
        };
        if cut {
            return Ok(());
        }
        for frame in outgoing {
            ended(websocket.send(message(frame)))?;
        }
        match websocket.read() {
            Ok(message) => {
                if let Some(frame) = frame(message) {
                    let mut state = lock(&shared.state);
                    if let Some(connected) = state.connects.get_mut(number) {
                        connected.frames.push(frame);
                    }
                }
                ended(websocket.flush())?;
            }
            Err(Error::Io(error)) if passes(&error) => {}
            Err(Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// A connection that has ended meanwhile is seen by the next read.
fn ended(result: Result<(), Error>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::text(text),
        Frame::Binary(octets) => Message::binary(octets),
        Frame::Ping(octets) => Message::Ping(octets.into()),
        Frame::Pong(octets) => Message::Pong(octets.into()),
        Frame::Close(code) => Message::Close(code.map(|code| CloseFrame {
            code: CloseCode::from(code),
            reason: "".into(),
        })),
    }
}

fn frame(message: Message) -> Option<Frame> {
    Some(match message {
        Message::Text(text) => Frame::Text(text.as_str().to_owned()),
        Message::Binary(octets) => Frame::Binary(octets.to_vec()),
        Message::Ping(octets) => Frame::Ping(octets.to_vec()),
        Message::Pong(octets) => Frame::Pong(octets.to_vec()),
        Message::Close(close) => Frame::Close(close.map(|close| close.code.into())),
        Message::Frame(_) => return None,
    })
}
