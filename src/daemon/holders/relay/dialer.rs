//! Acts: the few threads that do what blocks, discovery and new connections to the LNS.
//!
//! They are started when there is work and end when there is none for a while.

use core::time::Duration;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tungstenite::http::{HeaderName, HeaderValue, Response};

use super::head::{Opening, refusal};
use super::remote::Remote;
use super::serve::{Attempt, Note, Notes};
use super::silence::Silence;
use crate::agent::ExchangeId;
use crate::agent::evidence::Stage;
use crate::agent::failure::{Class, Failure};
use crate::daemon::clock::Cutoff;
use crate::daemon::discovery::Proof;
use crate::daemon::session::{Seen, Session, SessionError};
use crate::limits::{
    ERROR_BODY_OCTETS_MAX, HEADER_OCTETS_MAX, RELAY_CLIENTS_MAX, RELAY_DIALER_IDLE,
    RELAY_DIALERS_MAX,
};
use crate::wire::uri::ServerUri;

/// How long the rest of a refusal's body is waited for.
const REST_PATIENCE: Duration = Duration::from_secs(2);

/// One thing to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Prove a set by a discovery.
    Prove { id: ExchangeId, access: Arc<Proof> },
    /// Discovery for a client.
    Discover { attempt: Attempt, access: Proof },
    /// A traffic connection for a client.
    Connect {
        attempt: Attempt,
        access: Arc<Proof>,
        uri: ServerUri,
        opening: Box<Opening>,
    },
}

/// What the LNS answered to an upgrade.
#[derive(Debug)]
pub(super) enum Answer {
    /// 101: the connection, and the octets that came until now.
    Open { remote: Remote, octets: Vec<u8> },
    /// Another status: what came, and what it means.
    Refused { octets: Vec<u8>, failure: Failure },
}

impl Answer {
    /// The same without the token, should the LNS have repeated it.
    fn withheld(self, access: &Proof) -> Self {
        match self {
            Self::Refused {
                mut octets,
                failure,
            } => {
                let text = String::from_utf8_lossy(&octets);
                if access.withheld_text(&text) != text {
                    let status = parse(&octets, |_, _| {}).and_then(|(status, _)| status);
                    octets = refusal(status.unwrap_or(503));
                }
                let failure = access.withheld(failure);
                Self::Refused { octets, failure }
            }
            open @ Self::Open { .. } => open,
        }
    }
}

/// The threads and what waits for them.
#[derive(Debug)]
pub(super) struct Dialers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    has_work: Condvar,
    notes: Notes,
    silence: Silence,
}

#[derive(Debug, Default)]
struct State {
    tasks: VecDeque<Task>,
    threads: usize,
    idle: usize,
    /// Threads at work for other gateways than the certificate's own.
    others: usize,
}

impl Dialers {
    pub(super) fn new(notes: Notes, silence: Silence) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            has_work: Condvar::new(),
            notes,
            silence,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Gives a task to a thread; `false`: there are too many, or no thread can be had.
    pub(super) fn give(&self, task: Task) -> bool {
        let mut state = self.shared.lock();
        if state.tasks.len() > RELAY_CLIENTS_MAX {
            return false;
        }
        match task {
            Task::Prove { .. } => state.tasks.push_front(task),
            _ => state.tasks.push_back(task),
        }
        if state.idle < state.tasks.len() && state.threads < RELAY_DIALERS_MAX {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new()
                .name("relay-dial".to_owned())
                .stack_size(256 * 1024)
                .spawn(move || shared.work());
            match thread {
                Ok(_) => state.threads = state.threads.saturating_add(1),
                Err(_) if state.threads == 0 => {
                    state.tasks.clear();
                    return false;
                }
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.has_work.notify_one();
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            let is_own = task.is_own();
            if let Some(note) = task.run(self.silence) {
                self.notes.send(note);
            }
            if !is_own {
                let mut state = self.lock();
                state.others = state.others.saturating_sub(1);
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            // One thread is never lent to gateways whose server may be dead.
            let is_full = state.others >= RELAY_DIALERS_MAX.saturating_sub(1);
            let next = state
                .tasks
                .iter()
                .position(|task| !is_full || task.is_own());
            if let Some(task) = next.and_then(|next| state.tasks.remove(next)) {
                state.others = state.others.saturating_add(usize::from(!task.is_own()));
                return Some(task);
            }
            state.idle = state.idle.saturating_add(1);
            let (back, waited) = self
                .has_work
                .wait_timeout(state, RELAY_DIALER_IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle = state.idle.saturating_sub(1);
            if waited.timed_out() && state.tasks.is_empty() {
                state.threads = state.threads.saturating_sub(1);
                return None;
            }
        }
    }
}

impl Task {
    /// Whether it is for the certificate's own gateway.
    const fn is_own(&self) -> bool {
        match self {
            Self::Prove { .. } => true,
            Self::Discover { attempt, .. } | Self::Connect { attempt, .. } => attempt.is_own,
        }
    }

    fn run(self, silence: Silence) -> Option<Note> {
        match self {
            Self::Prove { id, access } => Some(Note::Proved {
                id,
                result: access.run(),
            }),
            Self::Discover { attempt, access } => attempt.is_wanted().then(|| Note::Discovered {
                result: access.run(),
                router: access.router,
                attempt,
            }),
            Self::Connect {
                attempt,
                access,
                uri,
                opening,
            } => attempt.is_wanted().then(|| Note::Answered {
                result: connect(&access, &uri, &opening, silence)
                    .map(|answer| answer.withheld(&access))
                    .map_err(|failure| access.withheld(failure)),
                attempt,
            }),
        }
    }
}

/// Connects, asks for the upgrade and reads the answer's head.
fn connect(
    access: &Proof,
    uri: &ServerUri,
    opening: &Opening,
    silence: Silence,
) -> Result<Answer, Failure> {
    let network = access.network;
    let total = Cutoff::after(Duration::from_secs(network.total_s));
    let by = Cutoff::after(Duration::from_secs(network.connect_s)).or_earlier(total);
    let tls = access.access(uri)?;
    let head = opening.forwarded(uri, &access.token(uri)?);
    let mut session =
        Session::open(uri, &tls, by, total).map_err(|error| access.broken(uri, &error))?;
    session.set_cutoff(Cutoff::after(Duration::from_secs(network.response_s)).or_earlier(total));
    let seen = session.seen();
    let broken = |error: &io::Error| {
        access.broken(uri, &SessionError::from_io(error, Stage::Response, seen))
    };
    session
        .write_all(&head)
        .and_then(|()| session.flush())
        .map_err(|error| broken(&error))?;
    let mut octets = Vec::new();
    let status = read_head(&mut session, &mut octets).map_err(|error| broken(&error))?;
    let status = status.ok_or_else(|| {
        let text = format!("{} does not speak the LNS protocol", uri.authority());
        Failure::new(Class::Protocol, "websocket", text)
    })?;
    if status == 101 {
        let remote = opened(session, silence).map_err(|error| broken(&error))?;
        return Ok(Answer::Open { remote, octets });
    }
    session.set_cutoff(Cutoff::after(REST_PATIENCE).or_earlier(total));
    read_rest(&mut session, &mut octets);
    let failure = meaning(uri, &octets, seen);
    Ok(Answer::Refused { octets, failure })
}

fn opened(session: Session, silence: Silence) -> io::Result<Remote> {
    let (socket, tls) = session.into_parts();
    silence.watch(&socket)?;
    Remote::new(socket, tls)
}

/// Reads until the head is whole and gives its status; `None`: that is no HTTP.
fn read_head(session: &mut Session, octets: &mut Vec<u8>) -> io::Result<Option<u16>> {
    let mut chunk = [0; 2048];
    while octets.len() < HEADER_OCTETS_MAX {
        let amount = session.read(&mut chunk)?;
        if amount == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        octets.extend_from_slice(chunk.get(..amount).unwrap_or_default());
        if let Some((status, _)) = parse(octets, |_, _| {}) {
            return Ok(status);
        }
    }
    Ok(None)
}

/// Reads a refusal's body, as far as it comes soon and is short.
fn read_rest(session: &mut Session, octets: &mut Vec<u8>) {
    let mut declared = None;
    let head = parse(octets, |name, value| {
        if name.eq_ignore_ascii_case("content-length") {
            declared = core::str::from_utf8(value)
                .ok()
                .and_then(|text| text.trim().parse::<usize>().ok());
        }
    });
    let length = head.map_or(0, |(_, length)| length);
    let wanted = declared
        .unwrap_or(ERROR_BODY_OCTETS_MAX)
        .min(ERROR_BODY_OCTETS_MAX);
    let end = length.saturating_add(wanted);
    let mut chunk = [0; 1024];
    while octets.len() < end && !octets.ends_with(b"\r\n0\r\n\r\n") {
        match session.read(&mut chunk) {
            Ok(amount @ 1..) => {
                octets.extend_from_slice(chunk.get(..amount).unwrap_or_default());
            }
            Ok(_) | Err(_) => break,
        }
    }
    octets.truncate(end);
}

/// Puts a refusal into our classes.
fn meaning(uri: &ServerUri, octets: &[u8], seen: Seen) -> Failure {
    let mut response = Response::new(None);
    let head = parse(octets, |name, value| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    });
    if let Some((status, length)) = head {
        *response.status_mut() = status
            .and_then(|status| status.try_into().ok())
            .unwrap_or_default();
        *response.body_mut() = octets.get(length..).map(<[u8]>::to_vec);
    }
    Proof::refused(uri, &response, seen)
}

/// Status and length of a whole head; `None` while it is not whole.
fn parse(octets: &[u8], mut line: impl FnMut(&str, &[u8])) -> Option<(Option<u16>, usize)> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut lines);
    match response.parse(octets) {
        Ok(httparse::Status::Complete(length)) => {
            for header in response.headers.iter() {
                line(header.name, header.value);
            }
            Some((response.code, length))
        }
        Ok(httparse::Status::Partial) => None,
        Err(_) => Some((None, 0)),
    }
}

impl Attempt {
    /// Whether the client still waits.
    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}

/// A mark that the client still waits.
pub(super) fn wanted() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}
