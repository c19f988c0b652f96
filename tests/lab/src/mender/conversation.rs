//! Carries: one connection, from the handshake to its end.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;
use x509_cert::der::DateTime;

use super::connect;
use super::leaf::Leaf;
use super::state::Decision;
use super::{Recorded, Shared};
use crate::front::handshake;
use crate::http::{Conn, Framing, RawAnswer, Request};
use crate::server::{Socket, lock};

/// How long a refused client may take to read the alert.
const ALERT_LIMIT: Duration = Duration::from_millis(500);
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A stream that can say goodbye.
trait Ends: Read + Write {
    fn goodbye(&mut self) -> io::Result<()>;
}

impl Ends for Socket {
    fn goodbye(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ends for StreamOwned<ServerConnection, Socket> {
    fn goodbye(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.flush()
    }
}

/// What is known of a client before it asks anything.
struct Caller {
    connection: usize,
    tls: Option<String>,
    leaf: Option<Leaf>,
}

/// Serves one accepted socket to its end.
pub(super) fn serve(socket: &Socket, shared: &Shared) -> io::Result<()> {
    let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
    let Some(config) = lock(&shared.tls).as_ref().map(Arc::clone) else {
        let caller = Caller {
            connection,
            tls: None,
            leaf: None,
        };
        return converse(socket.clone(), socket, &caller, shared);
    };
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut wire = socket.clone();
    if let Err(error) = handshake(&mut session, &mut wire) {
        shared.refused.fetch_add(1, Ordering::SeqCst);
        while session.wants_write() && session.write_tls(&mut wire).is_ok() {}
        socket.close_gently(ALERT_LIMIT);
        return Err(error);
    }
    shared.accepted.fetch_add(1, Ordering::SeqCst);
    let caller = Caller {
        connection,
        tls: session
            .protocol_version()
            .map(|version| format!("{version:?}")),
        leaf: session.peer_certificates().and_then(Leaf::of),
    };
    converse(StreamOwned::new(session, wire), socket, &caller, shared)
}

fn converse<S: Ends>(
    stream: S,
    socket: &Socket,
    caller: &Caller,
    shared: &Shared,
) -> io::Result<()> {
    let mut conn = Conn::new(stream);
    while let Some(request) = conn.request()? {
        let (decision, id) = decided(&request, caller, shared);
        let answer = match decision {
            Decision::Answer(answer) => answer,
            Decision::Upgrade(device) => {
                return connect::serve(conn, socket, &request, device, shared);
            }
        };
        let in_order = matches!(
            answer.framing,
            Framing::ContentLength | Framing::Chunked | Framing::UntilClose | Framing::Http10
        );
        let keep = shared.config.keep_alive && !request.wants_close();
        if !conn.answer(&stamped(answer, id), keep)? {
            return if in_order {
                conn.stream().goodbye()
            } else {
                Ok(())
            };
        }
    }
    conn.stream().goodbye()
}

/// Decides and records; the number of the request is its id.
fn decided(request: &Request, caller: &Caller, shared: &Shared) -> (Decision, usize) {
    let forwarded = || Leaf::forwarded(request).filter(|_| shared.config.door.is_behind_a_proxy());
    let leaf = caller.leaf.clone().or_else(forwarded);
    let mut state = lock(&shared.state);
    let mut decision = state.decide(request, leaf.as_ref());
    if let (Decision::Upgrade(_), Some(refusal)) = (&decision, connect::refusal(request)) {
        decision = Decision::Answer(refusal);
    }
    let status = match &decision {
        Decision::Upgrade(_) => Some(101),
        Decision::Answer(answer) => match answer.framing {
            Framing::Silent(_) | Framing::Hangup => None,
            _ => Some(answer.status),
        },
    };
    let id = state.requests.len();
    state.requests.push(Recorded {
        connection: caller.connection,
        tls: caller.tls.clone(),
        client: leaf,
        request: request.clone(),
        status,
    });
    (decision, id)
}

/// Adds what every answer of the server carries.
fn stamped(mut answer: RawAnswer, number: usize) -> RawAnswer {
    let id = format!("3b2f7e0c-0000-4000-8000-{number:012x}");
    let error: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if let Some(Value::Object(mut error)) = error {
        if error.len() == 1 && error.contains_key("error") {
            error.insert("request_id".to_owned(), id.clone().into());
            answer.body = Value::Object(error).to_string().into_bytes();
        }
    }
    answer.headers.push(("Date".to_owned(), date()));
    answer.headers.push(("X-Men-Requestid".to_owned(), id));
    answer
}

/// Now, as HTTP writes it.
fn date() -> String {
    let Ok(now) = DateTime::from_system_time(SystemTime::now()) else {
        return String::new();
    };
    let days = now.unix_duration().as_secs() / 86_400;
    let name = |names: &[&'static str], index: u64| {
        let index = usize::try_from(index).unwrap_or_default() % names.len();
        names.get(index).copied().unwrap_or_default()
    };
    format!(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7),
        now.day(),
        name(&MONTHS, u64::from(now.month()) - 1),
        now.year(),
        now.hour(),
        now.minutes(),
        now.seconds()
    )
}
