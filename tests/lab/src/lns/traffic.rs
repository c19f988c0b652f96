//! Serves: the traffic socket, from the `version` message to its end.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Bytes, Message, WebSocket};

use super::{Fault, Shared, Speech};
use crate::server::lock;

/// Serves one traffic socket to its end.
pub(super) fn traffic<S: Read + Write>(
    websocket: &mut WebSocket<S>,
    number: usize,
    fault: &Fault,
    shared: &Shared,
) -> io::Result<()> {
    let manner = lock(&shared.state).manner;
    while let Some(message) = next_heard(websocket, number, manner.pause, shared)? {
        if let Some(connection) = lock(&shared.state).connections.get_mut(number) {
            connection.messages += 1;
            connection.octets += message.len() as u64;
        }
        let text = message.to_text().unwrap_or_default().to_owned();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        match value.get("msgtype").and_then(Value::as_str) {
            Some("version") => greet(websocket, number, text, fault, shared)?,
            // A word to the double itself: end the session with this code.
            Some("close") => {
                let code = value.get("code").and_then(Value::as_u64).unwrap_or(1000);
                let code = u16::try_from(code).unwrap_or(1000);
                say(websocket, &Speech::Close(code, "asked for".to_owned()))?;
            }
            _ if manner.echo => websocket.send(message).map_err(io::Error::other)?,
            _ => lock(&shared.state).uplinks.push(text),
        }
    }
    Ok(())
}

/// Answers the gateway's `version`, and says what the fault wants said.
fn greet<S: Read + Write>(
    websocket: &mut WebSocket<S>,
    number: usize,
    version: String,
    fault: &Fault,
    shared: &Shared,
) -> io::Result<()> {
    if let Some(connection) = lock(&shared.state).connections.get_mut(number) {
        connection.version = Some(version);
    }
    if !matches!(fault, Fault::NoRouterConfig | Fault::SaysFirst(_)) {
        say(websocket, &Speech::Text(router_config().to_string()))?;
    }
    if let Fault::Says(speeches) | Fault::SaysFirst(speeches) = fault {
        for speech in speeches {
            say(websocket, speech)?;
        }
    }
    Ok(())
}

fn say<S: Read + Write>(websocket: &mut WebSocket<S>, speech: &Speech) -> io::Result<()> {
    let message = match speech {
        Speech::Text(text) => Message::text(text.as_str()),
        Speech::Ping => Message::Ping(Bytes::from_static(b"there?")),
        Speech::Close(code, reason) => Message::Close(Some(CloseFrame {
            code: (*code).into(),
            reason: reason.as_str().into(),
        })),
        Speech::CloseMute => Message::Close(None),
        Speech::Deaf(pause) => {
            thread::sleep(*pause);
            return Ok(());
        }
        Speech::Raw(octets) => {
            websocket.get_mut().write_all(octets)?;
            return websocket.get_mut().flush();
        }
        Speech::Flood(octets) => loop {
            websocket.get_mut().write_all(octets)?;
            websocket.get_mut().flush()?;
        },
        Speech::Drip(octets, pause) => {
            for octet in octets {
                websocket.get_mut().write_all(&[*octet])?;
                websocket.get_mut().flush()?;
                thread::sleep(*pause);
            }
            return Ok(());
        }
        Speech::Fragments(text, octets, pause) => {
            let count = text.len().div_ceil(*octets);
            for (index, part) in text.as_bytes().chunks(*octets).enumerate() {
                let kind = if index == 0 {
                    Data::Text
                } else {
                    Data::Continue
                };
                let part = Bytes::copy_from_slice(part);
                let frame = Frame::message(part, OpCode::Data(kind), index + 1 == count);
                websocket
                    .send(Message::Frame(frame))
                    .map_err(io::Error::other)?;
                thread::sleep(*pause);
            }
            return Ok(());
        }
    };
    websocket.send(message).map_err(io::Error::other)
}

/// The same on the traffic socket, where pongs are counted.
fn next_heard<S: Read + Write>(
    websocket: &mut WebSocket<S>,
    number: usize,
    pause: Duration,
    shared: &Shared,
) -> io::Result<Option<Message>> {
    loop {
        thread::sleep(pause);
        match websocket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => return Ok(Some(message)),
            Ok(Message::Close(frame)) => {
                if let Some(connection) = lock(&shared.state).connections.get_mut(number) {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    connection.closed = Some(code);
                }
                return Ok(None);
            }
            Ok(Message::Pong(_)) => lock(&shared.state).pongs += 1,
            // The pong goes out at once, not with the next message.
            Ok(_) => websocket.flush().map_err(io::Error::other)?,
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

fn router_config() -> Value {
    let channel = |offset: i64| json!({ "enable": true, "radio": 0, "if": offset });
    json!({
        "msgtype": "router_config",
        "region": "EU863",
        "hwspec": "sx1301/1",
        "freq_range": [863_000_000, 870_000_000],
        "DRs": [[12, 125, 0], [11, 125, 0], [10, 125, 0], [9, 125, 0], [8, 125, 0], [7, 125, 0]],
        "sx1301_conf": [{
            "radio_0": { "enable": true, "freq": 868_300_000 },
            "radio_1": { "enable": false, "freq": 0 },
            "chan_multiSF_0": channel(-200_000),
            "chan_multiSF_1": channel(0),
            "chan_multiSF_2": channel(200_000),
        }],
        "nocca": true,
        "nodc": true,
        "nodwell": true,
    })
}
