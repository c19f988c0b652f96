//! Acts: a relay on this machine, through which other programs use the gateway's LNS link.
//!
//! ```text
//! station --ws, loopback or Unix socket--> [ relay thread ] --wss, current set--> LNS
//!                                             |  ^
//!                             discovery, new connections (what blocks)
//!                                             v  |
//!                                          [ dialers, 4 at most ]
//! ```
//! One thread polls all connections. A client does discovery and gets the relay's own address
//! with the path of its traffic; the traffic's frames then pass octet by octet.

mod client;
mod dialer;
mod head;
mod local;
pub(in crate::daemon) mod pipe;
pub(in crate::daemon) mod remote;
mod routes;
mod serve;
mod silence;

use core::time::Duration;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, thread};

use nix::libc::rlim_t;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use self::local::Door;
use self::serve::{Note, Notes, Server};
pub(super) use self::silence::Silence;
use crate::agent::ExchangeId;
use crate::config::Listen;
use crate::daemon::clock;
use crate::daemon::discovery::Proof;
use crate::daemon::linking::{Held, Holder};
use crate::limits::RELAY_FILES_MAX;
use crate::wire::eui::Eui64;

/// Holds the link by relaying.
#[derive(Debug)]
pub(super) struct Relay {
    listen: String,
    notes: Notes,
    board: Arc<Board>,
    path: Option<PathBuf>,
}

/// What the relay's thread tells the others.
#[derive(Debug)]
struct Board {
    held: Mutex<Vec<Held>>,
    figures: Mutex<Figures>,
    wake: UnixStream,
}

/// Counts for `status`.
#[derive(Debug, Clone, Default)]
struct Figures {
    connections: usize,
    old: usize,
    octets_up: u64,
    octets_down: u64,
    turned_away: u64,
    /// LNS connections that broke under a client; when and why the last one did.
    lost: u64,
    loss: Option<(Duration, String)>,
    up_since: Option<Duration>,
}

impl Relay {
    /// Listens, and answers 503 until the first set is proved.
    pub(super) fn start(
        listen: &Listen,
        (gateways, users): (&[Eui64], &[String]),
        silence: Silence,
        wake: UnixStream,
    ) -> Result<Self, String> {
        let door = Door::open(listen, users)?;
        let failed = |error: std::io::Error| format!("the relay cannot start: {error}");
        allow_files();
        let board = Arc::new(Board {
            held: Mutex::default(),
            figures: Mutex::default(),
            wake,
        });
        let name = match listen {
            Listen::Tcp(_) => door.name.clone(),
            Listen::Unix(_) => listen.to_string(),
        };
        let (server, notes) =
            Server::new(door, gateways.to_vec(), silence, Arc::clone(&board)).map_err(failed)?;
        thread::Builder::new()
            .name("relay".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || server.serve())
            .map_err(failed)?;
        Ok(Self {
            listen: name,
            notes,
            board,
            path: match listen {
                Listen::Tcp(_) => None,
                Listen::Unix(path) => Some(path.clone()),
            },
        })
    }
}

impl Holder for Relay {
    fn open(&mut self, id: ExchangeId, access: Proof) {
        self.notes.send(Note::Open { id, access });
    }

    fn close(&mut self, id: ExchangeId) {
        self.notes.send(Note::Close { id });
    }

    fn take(&mut self) -> Vec<Held> {
        core::mem::take(&mut lock(&self.board.held))
    }

    fn status(&self) -> Value {
        let figures = lock(&self.board.figures).clone();
        let now = clock::since_boot();
        let ago_s = |at: Duration| now.saturating_sub(at).as_secs();
        let loss = figures
            .loss
            .map(|(at, why)| json!({ "count": figures.lost, "why": why, "s_ago": ago_s(at) }));
        json!({
            "mode": "relay",
            "listen": self.listen,
            "connections": figures.connections,
            "old_connections": figures.old,
            "turned_away": figures.turned_away,
            "bytes_up": figures.octets_up,
            "bytes_down": figures.octets_down,
            "since_s": figures.up_since.map(ago_s),
            "lost": loss,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Left behind, it is replaced at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

impl Board {
    fn tell(&self, held: Held) {
        lock(&self.held).push(held);
        // A full pipe wakes as well.
        let _ = (&self.wake).write(&[0]);
    }

    fn change(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut lock(&self.figures));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two descriptors a client: the usual limit of 1024 would end at some 500 of them.
fn allow_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = rlim_t::from(RELAY_FILES_MAX).min(hard);
        if soft < wanted {
            // Without it fewer clients are taken at a time.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
        }
    }
}
