//! Acts: the relay's thread, one poll over all clients, their LNS connections and notes.

mod link;
mod wait;

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, Sender};

use nix::libc::rlim_t;
use nix::sys::resource::{Resource, getrlimit};
use tracing::warn;

use super::Board;
use super::client::{Asking, Client, Early, Heard, Phase, hear_head, leave};
use super::dialer::{Answer, Dialers, Task, wanted};
use super::head::Opening;
use super::local::{Door, Local};
use super::pipe::Ways;
use super::remote::Scratch;
use super::routes::Routes;
use super::silence::Silence;
use crate::agent::ExchangeId;
use crate::agent::failure::Failure;
use crate::daemon::clock;
use crate::daemon::discovery::Proof;
use crate::limits::{
    RELAY_ACCEPT_PAUSE, RELAY_ACCEPTS_A_ROUND, RELAY_CLIENTS_MAX, RELAY_CLIENTS_MIN,
    RELAY_FILES_KEPT, RELAY_FILES_MAX, RELAY_GOODBYE, RELAY_PATIENCE,
};
use crate::wire::eui::Eui64;
use crate::wire::uri::ServerUri;

/// What the relay's thread is told.
#[derive(Debug)]
pub(super) enum Note {
    /// The link machine wants this set used.
    Open { id: ExchangeId, access: Proof },
    /// The link machine gives an attempt up.
    Close { id: ExchangeId },
    /// A dialer has tried a set.
    Proved {
        id: ExchangeId,
        result: Result<ServerUri, Failure>,
    },
    /// A dialer did discovery for a client.
    Discovered {
        attempt: Attempt,
        router: Eui64,
        result: Result<ServerUri, Failure>,
    },
    /// A dialer asked the LNS for a client's traffic connection.
    Answered {
        attempt: Attempt,
        result: Result<Answer, Failure>,
    },
}

/// For whom a dialer works.
#[derive(Debug)]
pub(super) struct Attempt {
    client: u64,
    set: ExchangeId,
    /// Whether the gateway is the certificate's own.
    pub(super) is_own: bool,
    /// Whether it goes to a server that the certificate's own gateway needs as well.
    is_shared: bool,
    pub(super) wanted: Arc<AtomicBool>,
    /// Host and gateway of a traffic connection.
    peer: Option<String>,
}

/// The way to the relay's thread.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    sender: Sender<Note>,
    wake: Arc<UnixStream>,
}

impl Notes {
    /// Tells the relay's thread.
    pub(super) fn send(&self, note: Note) {
        // The thread lives as long as the process.
        let _ = self.sender.send(note);
        let _ = (&*self.wake).write(&[0]);
    }
}

/// A set in use, or about to be.
#[derive(Debug, Clone)]
struct InUse {
    id: ExchangeId,
    access: Arc<Proof>,
}

/// The relay's thread.
#[derive(Debug)]
pub(super) struct Server {
    door: Door,
    notes: Receiver<Note>,
    wake: UnixStream,
    dialers: Dialers,
    board: Arc<Board>,
    gateways: Vec<Eui64>,
    routes: Routes,
    up: Option<InUse>,
    opening: Option<InUse>,
    /// The set in use is proved once more.
    is_checking: bool,
    /// The set last in use, and how many different ones there were.
    latest: Option<Arc<Proof>>,
    sets: u64,
    clients: BTreeMap<u64, Client>,
    next: u64,
    accept_at: Option<Duration>,
    /// Clients that there are descriptors for.
    room: usize,
    /// It has been said that there are too many clients.
    is_crowded: bool,
    silence: Silence,
    /// When it was last logged that an LNS connection is lost.
    loss_told_at: Option<Duration>,
    scratch: Scratch,
}

impl Server {
    pub(super) fn new(
        door: Door,
        gateways: Vec<Eui64>,
        silence: Silence,
        board: Arc<Board>,
    ) -> io::Result<(Self, Notes)> {
        let (wake, wake_out) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        wake_out.set_nonblocking(true)?;
        let (sender, receiver) = mpsc::channel();
        let notes = Notes {
            sender,
            wake: Arc::new(wake_out),
        };
        let server = Self {
            door,
            notes: receiver,
            wake,
            dialers: Dialers::new(notes.clone(), silence),
            board,
            gateways,
            routes: Routes::default(),
            up: None,
            opening: None,
            is_checking: false,
            latest: None,
            sets: 0,
            clients: BTreeMap::new(),
            next: 0,
            accept_at: None,
            room: room(),
            is_crowded: false,
            silence,
            loss_told_at: None,
            scratch: Scratch::new(),
        };
        Ok((server, notes))
    }

    /// Serves for ever.
    pub(super) fn serve(mut self) {
        loop {
            let ready = self.wait();
            if ready.is_woken {
                while matches!((&self.wake).read(&mut [0; 64]), Ok(1..)) {}
                while let Ok(note) = self.notes.try_recv() {
                    self.take(note);
                }
            }
            let now = clock::since_boot();
            for (key, ways) in ready.clients {
                self.turn(key, ways, now);
            }
            self.give_up_late(now);
            if ready.is_knocked || self.accept_at.is_some_and(|at| at <= now) {
                self.accept(now);
            }
            let connections = self.clients.len();
            self.scratch.fit(connections);
            let old = self.old().count();
            self.board.change(|figures| {
                figures.connections = connections;
                figures.old = old;
            });
        }
    }

    /// Takes those who knock; the rest is taken in the next round.
    fn accept(&mut self, now: Duration) {
        self.accept_at = None;
        self.room = room();
        for _ in 0..RELAY_ACCEPTS_A_ROUND {
            if self.clients.len() >= self.room {
                self.say_crowded();
                return;
            }
            match self.door.accept() {
                Ok(None) => self.board.change(|figures| figures.turned_away += 1),
                Ok(Some(local)) => {
                    let octets = Vec::new();
                    let client = Client {
                        phase: Phase::Head { local, octets },
                        deadline: Some(now.saturating_add(RELAY_PATIENCE)),
                        set: self.sets,
                        peer: None,
                    };
                    self.clients.insert(self.next, client);
                    self.next = self.next.wrapping_add(1);
                    self.is_crowded &= self.clients.len() > self.room / 2;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.accept_at = Some(now.saturating_add(RELAY_ACCEPT_PAUSE));
                    self.say_crowded();
                    return;
                }
            }
        }
    }

    /// Says once that clients have to wait outside.
    fn say_crowded(&mut self) {
        if !core::mem::replace(&mut self.is_crowded, true) {
            warn!(
                connections = self.clients.len(),
                hint = "end clients that are not needed, or raise LimitNOFILE of the unit",
                "the relay takes no more clients for now"
            );
        }
    }

    /// Lets one client do what it can.
    fn turn(&mut self, key: u64, ways: Ways, now: Duration) {
        let Some(mut client) = self.clients.remove(&key) else {
            return;
        };
        client.phase = match client.phase {
            Phase::Head {
                mut local,
                mut octets,
            } => match hear_head(&mut local, &mut octets) {
                Heard::Nothing => Phase::Head { local, octets },
                Heard::End => Phase::Over,
                Heard::Word(Err(status)) => self.turn_away(local, status),
                Heard::Word(Ok(opening)) => {
                    let early = octets.split_off(opening.octets.min(octets.len()));
                    client.set = self.sets;
                    self.admit(key, local, early, opening)
                }
            },
            Phase::Question(asking) => self.question(key, asking),
            // Only the end of a client that waits is listened for.
            Phase::Asked(..) | Phase::Waiting(..) => {
                client.phase.end();
                Phase::Over
            }
            Phase::Leaving { local, octets } => leave(local, octets, &mut self.scratch.plain),
            Phase::Piping(mut pipe) => {
                let moved = pipe.work(ways, &mut self.scratch, now);
                self.board.change(|figures| {
                    figures.octets_up = figures.octets_up.saturating_add(moved.up);
                    figures.octets_down = figures.octets_down.saturating_add(moved.down);
                });
                if let Some(kind) = pipe.take_loss() {
                    self.tell_loss(client.peer.as_deref(), kind, now);
                }
                if pipe.is_over() {
                    Phase::Over
                } else {
                    Phase::Piping(pipe)
                }
            }
            Phase::Over => Phase::Over,
        };
        self.put_back(key, client, now);
    }

    /// Keeps a client that is not over, with the deadline of its phase.
    fn put_back(&mut self, key: u64, mut client: Client, now: Duration) {
        client.deadline = match &client.phase {
            Phase::Over => return,
            Phase::Head { .. } | Phase::Question(_) => client.deadline,
            Phase::Asked(..) | Phase::Waiting(..) | Phase::Piping(_) => None,
            Phase::Leaving { .. } => client
                .deadline
                .or_else(|| Some(now.saturating_add(RELAY_GOODBYE))),
        };
        self.clients.insert(key, client);
    }

    /// Decides on a client's head.
    fn admit(&mut self, key: u64, local: Local, octets: Vec<u8>, opening: Opening) -> Phase {
        let Some(up) = self.up.clone() else {
            return self.turn_away(local, 503);
        };
        if opening.is_discovery() {
            let asking = Asking::start(local, &opening, &octets, &self.door.name);
            return asking.map_or(Phase::Over, |asking| self.question(key, Box::new(asking)));
        }
        let Some((router, uri)) = self.routes.find(&opening.target) else {
            return self.turn_away(local, 404);
        };
        let mark = wanted();
        let task = Task::Connect {
            attempt: Attempt {
                client: key,
                set: up.id,
                is_own: router == up.access.router,
                is_shared: self.routes.is_shared(up.access.router, uri),
                wanted: Arc::clone(&mark),
                peer: Some(format!("{} for gateway {router}", uri.authority())),
            },
            access: up.access,
            uri: uri.clone(),
            opening: Box::new(opening),
        };
        if !self.dialers.give(task) {
            return self.turn_away(local, 503);
        }
        Phase::Waiting(Early { local, octets }, mark)
    }

    /// Reads a discovery question and has it asked.
    fn question(&mut self, key: u64, mut asking: Box<Asking>) -> Phase {
        let router = match asking.hear() {
            Heard::Nothing => return Phase::Question(asking),
            Heard::End => return Phase::Over,
            Heard::Word(None) => return asking.refused(None, "Empty router EUI provided"),
            Heard::Word(Some(router)) => router,
        };
        let Some(up) = &self.up else {
            return asking.put_off();
        };
        if router != up.access.router && !self.gateways.contains(&router) {
            let text = "this gateway is neither the certificate's nor in relay.gateways";
            return asking.refused(Some(router), text);
        }
        let mark = wanted();
        let task = Task::Discover {
            attempt: Attempt {
                client: key,
                set: up.id,
                is_own: router == up.access.router,
                is_shared: true,
                wanted: Arc::clone(&mark),
                peer: None,
            },
            access: Proof {
                router,
                ..Proof::clone(&up.access)
            },
        };
        if self.dialers.give(task) {
            Phase::Asked(asking, mark)
        } else {
            asking.put_off()
        }
    }
}

/// Clients that there are descriptors for, two each, besides what the agent itself needs.
fn room() -> usize {
    // Its width is the machine's.
    let usual = rlim_t::from(RELAY_FILES_MAX);
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(usual, |(soft, _)| soft);
    let pairs = files.saturating_sub(rlim_t::from(RELAY_FILES_KEPT)) / 2;
    usize::try_from(pairs).map_or(RELAY_CLIENTS_MAX, |pairs| {
        pairs.clamp(RELAY_CLIENTS_MIN, RELAY_CLIENTS_MAX)
    })
}
