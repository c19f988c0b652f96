//! Serves: one connection to the network server, from the handshake to its end.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tungstenite::http::{HeaderValue, StatusCode};
use tungstenite::{Message, WebSocket};

use super::traffic::traffic;
use super::{Connection, Discovery, Fault, Shared, State};
use crate::cups::router;
use crate::server::{Socket, lock};

/// What the upgrade request said.
#[derive(Debug, Clone, Default)]
struct Opening {
    path: String,
    host: String,
    token: Option<String>,
}

/// Serves one accepted socket to its end.
pub(super) fn serve(socket: &Socket, shared: &Shared) {
    // Errors are the client's business; the records tell the test what came.
    let _seen_by_client = match &shared.tls {
        None => websocket(socket.clone(), socket, shared),
        Some(tls) => {
            let config = Arc::clone(&lock(tls));
            ServerConnection::new(config)
                .map_err(io::Error::other)
                .and_then(|connection| {
                    websocket(StreamOwned::new(connection, socket.clone()), socket, shared)
                })
        }
    };
    socket.close();
}

fn websocket<S: Read + Write>(stream: S, socket: &Socket, shared: &Shared) -> io::Result<()> {
    let (mut opening, mut session) = (Opening::default(), None);
    let gate = Gate {
        opening: &mut opening,
        session: &mut session,
        socket,
        shared,
    };
    let upgraded =
        tungstenite::accept_hdr(stream, gate).map_err(|error| io::Error::other(error.to_string()));
    let end = upgraded.and_then(|mut websocket| {
        let fault = lock(&shared.state).fault.clone();
        match (&session, fault) {
            (_, Fault::SilentAfterUpgrade(pause)) => {
                thread::sleep(pause);
                Ok(())
            }
            (None, fault) => discovery(&mut websocket, &opening, &fault, shared),
            (Some((number, _)), fault) => traffic(&mut websocket, *number, &fault, shared),
        }
    });
    if let Some((number, eui)) = session {
        lock(&shared.state).closed(&eui, number);
    }
    end
}

/// Decides on the upgrade, as The Things Stack does: traffic before it, discovery after it.
struct Gate<'a> {
    opening: &'a mut Opening,
    /// The place and the gateway of an accepted traffic session.
    session: &'a mut Option<(usize, String)>,
    socket: &'a Socket,
    shared: &'a Shared,
}

impl Callback for Gate<'_> {
    fn on_request(
        self,
        request: &Request,
        mut response: Response,
    ) -> Result<Response, ErrorResponse> {
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        *self.opening = Opening {
            path: request.uri().path().to_owned(),
            host: header("host").unwrap_or_default(),
            token: header("authorization").map(|value| bare(&value)),
        };
        let mut state = lock(&self.shared.state);
        match state.status(self.opening) {
            101 => {
                if traffic_eui(&self.opening.path).is_some() {
                    *self.session = Some(state.opened(self.opening, self.socket));
                    if let Fault::TrafficHeader(name, value) = &state.fault {
                        let value = value.parse().unwrap_or(HeaderValue::from_static("-"));
                        response.headers_mut().insert(*name, value);
                    }
                }
                Ok(response)
            }
            status => {
                state.refused(self.opening, status);
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                if let Fault::DiscoveryBusy(_, wait_s) | Fault::TrafficBusy(_, wait_s) = state.fault
                {
                    refusal.headers_mut().insert("retry-after", wait_s.into());
                }
                if let Fault::TrafficBusyUntil(_, until, date) = state.fault {
                    for (name, text) in [("retry-after", until), ("date", date)] {
                        let value = HeaderValue::from_static(text);
                        refusal.headers_mut().insert(name, value);
                    }
                }
                if let Fault::TrafficRepeatsToken(_) = state.fault {
                    let token = self.opening.token.clone().unwrap_or_default();
                    let text = json!({ "message": format!("the key {token} is unknown") });
                    *refusal.body_mut() = Some(text.to_string());
                }
                Err(refusal)
            }
        }
    }
}

impl State {
    fn status(&self, opening: &Opening) -> u16 {
        if opening.path == "/router-info" {
            return match self.fault {
                Fault::DiscoveryStatus(status) | Fault::DiscoveryBusy(status, _) => status,
                _ => 101,
            };
        }
        if let Fault::TrafficStatus(status)
        | Fault::TrafficBusy(status, _)
        | Fault::TrafficBusyUntil(status, ..)
        | Fault::TrafficRepeatsToken(status) = self.fault
        {
            return status;
        }
        let Some(eui) = traffic_eui(&opening.path) else {
            return 404;
        };
        if eui.len() != 16 || !eui.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return 400;
        }
        match (self.knows(eui), self.accepts(opening.token.as_deref())) {
            (false, _) => 404,
            (true, false) => 401,
            (true, true) => 101,
        }
    }

    fn knows(&self, eui: &str) -> bool {
        self.gateways
            .as_ref()
            .is_none_or(|known| known.contains(eui))
    }

    fn accepts(&self, token: Option<&str>) -> bool {
        let Some(tokens) = &self.accept_tokens else {
            return true;
        };
        token.is_some_and(|token| tokens.contains(token))
    }

    fn refused(&mut self, opening: &Opening, status: u16) {
        let token = opening.token.clone();
        if let Some(eui) = traffic_eui(&opening.path) {
            let eui = eui.to_owned();
            self.connections.push(Connection {
                eui,
                token,
                status,
                version: None,
                open: false,
                messages: 0,
                octets: 0,
                closed: None,
            });
        }
    }

    /// Records an accepted session and ends an older one of the same gateway.
    fn opened(&mut self, opening: &Opening, socket: &Socket) -> (usize, String) {
        let eui = traffic_eui(&opening.path).unwrap_or_default().to_owned();
        let number = self.connections.len();
        self.opened += 1;
        self.connections.push(Connection {
            eui: eui.clone(),
            token: opening.token.clone(),
            status: 101,
            version: None,
            open: true,
            messages: 0,
            octets: 0,
            closed: None,
        });
        let older = self
            .sessions
            .insert(eui.clone(), (number, socket.clone()))
            .filter(|_| !self.manner.keeps_older);
        if let Some((_, older)) = older {
            older.close();
        }
        (number, eui)
    }

    fn closed(&mut self, eui: &str, number: usize) {
        if let Some(connection) = self.connections.get_mut(number) {
            connection.open = false;
        }
        if self
            .sessions
            .get(eui)
            .is_some_and(|(current, _)| *current == number)
        {
            self.sessions.remove(eui);
        }
    }
}

fn discovery<S: Read + Write>(
    websocket: &mut WebSocket<S>,
    opening: &Opening,
    fault: &Fault,
    shared: &Shared,
) -> io::Result<()> {
    let Some(query) = next_text(websocket)? else {
        return Ok(());
    };
    let query: Value = serde_json::from_str(&query).unwrap_or_default();
    let eui = query.get("router").and_then(router::parse);
    let answer = {
        let mut state = lock(&shared.state);
        let error = state.discovery_error(opening, &query, eui);
        state.discoveries.push(Discovery {
            router: query
                .get("router")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            eui: eui.map(router::eui_text),
            token: opening.token.clone(),
            accepted: error.is_none() && *fault == Fault::None,
        });
        match error {
            Some(error) => refusal(error),
            None => found(
                eui.unwrap_or_default(),
                &opening.host,
                shared.scheme(),
                fault,
            ),
        }
    };
    websocket
        .send(Message::text(answer))
        .map_err(io::Error::other)
    // The socket is closed without a close frame, as The Things Stack does.
}

impl State {
    fn discovery_error(
        &self,
        opening: &Opening,
        query: &Value,
        eui: Option<u64>,
    ) -> Option<&'static str> {
        if !query.is_object() {
            return Some("Failed to parse discover query message");
        }
        let Some(eui) = eui.filter(|eui| *eui != 0) else {
            return Some("Empty router EUI provided");
        };
        if !self.knows(&router::eui_text(eui)) {
            return Some("Router not provisioned");
        }
        let good = self.discovery_ignores_token || self.accepts(opening.token.as_deref());
        if good { None } else { Some("Unauthorized") }
    }
}

fn refusal(error: &str) -> String {
    json!({ "router": "::0", "muxs": "::0", "error": error }).to_string()
}

fn found(eui: u64, host: &str, scheme: &str, fault: &Fault) -> String {
    let path = format!("/traffic/eui-{}", router::eui_text(eui));
    let uri = match fault {
        Fault::ErrorText(error) => return refusal(error),
        Fault::Text(text) => return text.clone(),
        Fault::UriWithoutPort => format!("{scheme}://localhost{path}"),
        Fault::Uri(uri) => uri.clone(),
        _ if host.contains(':') => format!("{scheme}://{host}{path}"),
        _ => format!(
            "{scheme}://{host}:{}{path}",
            if scheme == "wss" { 443 } else { 80 }
        ),
    };
    let mut answer = json!({ "router": router::id6_text(eui), "muxs": "muxs-::0", "uri": uri });
    if let (Fault::Oversize(octets), Some(object)) = (fault, answer.as_object_mut()) {
        object.insert("padding".to_owned(), Value::from("x".repeat(*octets)));
    }
    answer.to_string()
}

/// The next text; `None` when the client is gone.
fn next_text<S: Read + Write>(websocket: &mut WebSocket<S>) -> io::Result<Option<String>> {
    loop {
        match websocket.read() {
            Ok(Message::Text(text)) => return Ok(Some(text.as_str().to_owned())),
            Ok(Message::Close(_)) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

fn traffic_eui(path: &str) -> Option<&str> {
    path.strip_prefix("/traffic/eui-")
}

/// A token is told apart from its scheme, because gateways send it without one.
fn bare(value: &str) -> String {
    value
        .strip_prefix("Bearer ")
        .unwrap_or(value)
        .trim()
        .to_owned()
}
