//! Acts: lends the device's TLS identity and token to its other Mender programs.
//!
//! ```text
//! mender-connect --http, ws--> [ forwarder: a thread each ] --TLS, client certificate--> ambassador
//! mender-update  --http------>     ^            |
//!                       lend(token)|            |take_refusal: 401, another token is wanted
//!                               [ main ] <------'
//! ```
//! Anybody on this machine can connect, so the token is the guard: who does not show it gets 401.
//! One request a connection on either side. Without a request all of it sleeps.
//! `reference/mender.md` section 4.3.

mod answer;
mod board;
mod body;
mod caller;
mod exchange;
mod head;
mod target;
mod visit;

use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use tracing::warn;

pub use self::board::Patience;
use self::board::{Board, Place};
use super::call::Access;
use super::gathering::Authorised;
use crate::limits::FORWARDER_CONNECTIONS_MAX;

/// Room for a TLS handshake; only what is used becomes memory.
const STACK_OCTETS: usize = 256 * 1024;
/// How long nobody is let in when descriptors or threads have run out.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The near end of the forwarder; it stops listening when dropped.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    board: Arc<Board>,
    _bell: UnixStream,
}

impl Forwarder {
    /// Listens on a loopback address for the life of the process; port 0 lets the system choose.
    /// One octet on `wake` says that the server refused the token. The error is a sentence for
    /// the operator.
    pub fn start(listen: SocketAddr, wake: UnixStream) -> Result<Self, String> {
        Self::start_with(listen, Patience::default(), wake)
    }

    /// The same with another patience.
    pub fn start_with(
        listen: SocketAddr,
        patience: Patience,
        wake: UnixStream,
    ) -> Result<Self, String> {
        if !listen.ip().is_loopback() {
            return Err(format!(
                "the forwarder lends the device's identity and listens on loopback only, not on {listen}"
            ));
        }
        let failed = |error: io::Error| format!("the forwarder cannot listen on {listen}: {error}");
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        wake.set_nonblocking(true).map_err(failed)?;
        let (bell, far) = UnixStream::pair().map_err(failed)?;
        let board = Arc::new(Board::new(wake, patience));
        let shared = Arc::clone(&board);
        thread::Builder::new()
            .name("forwarder".to_owned())
            .stack_size(STACK_OCTETS)
            .spawn(move || listen_on(&listener, &shared, &far))
            .map_err(failed)?;
        Ok(Self {
            address,
            board,
            _bell: bell,
        })
    }

    /// What other programs are told to use; it stays the same for the life of the process.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is lent from now on: server, token and the identity to reach it with. A request that
    /// waits for another token goes on with this one. `None`: there is no token, and all
    /// programs get 401 without a body, upon which they ask the bus for a token.
    pub fn lend(&self, lent: Option<Authorised>) {
        self.board.lend(lent);
    }

    /// Has requests from now on reach the server in another way, with the token that is lent.
    pub fn readjust(&self, access: &Access) {
        self.board.readjust(access);
    }

    /// No other token will come soon, so nobody needs to wait for it: an attempt has failed.
    pub fn give_up(&self) {
        self.board.give_up();
    }

    /// Whether the server has refused the token that is lent. Asked once.
    #[must_use]
    pub fn take_refusal(&self) -> bool {
        self.board.take_refusal()
    }

    /// For `status`.
    #[must_use]
    pub fn figures(&self) -> Value {
        let (figures, has_token) = self.board.figures();
        json!({
            "url": self.url(),
            "has_token": has_token,
            "connections": self.board.connections.load(Ordering::Relaxed),
            "websockets": self.board.upgrades.load(Ordering::Relaxed),
            "requests": figures.requests,
            "repeated": figures.repeated,
            "turned_away": figures.turned_away,
            "failed": figures.failed,
        })
    }
}

/// Lets programs in until the near end is gone.
fn listen_on(listener: &TcpListener, board: &Arc<Board>, bell: &UnixStream) {
    loop {
        let mut fds = [
            PollFd::new(bell.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::NONE);
        let is_over = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        if fds.first().is_some_and(is_over) {
            return;
        }
        match listener.accept() {
            Ok((stream, peer)) if peer.ip().is_loopback() => let_in(stream, board),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock) => {}
            Err(error) => {
                warn!(
                    code = "forwarder_accept",
                    "the forwarder lets nobody in for now: {error}"
                );
                pause(bell);
            }
        }
    }
}

fn let_in(stream: TcpStream, board: &Arc<Board>) {
    // Small answers shall not wait for each other.
    let _ = stream.set_nodelay(true);
    let Some(place) = Place::take(&board.connections, FORWARDER_CONNECTIONS_MAX) else {
        return shed(&stream);
    };
    let shared = Arc::clone(board);
    let serve = move || {
        visit::serve(stream, &shared);
        drop(place);
    };
    let started = thread::Builder::new()
        .name("forward".to_owned())
        .stack_size(STACK_OCTETS)
        .spawn(serve);
    if let Err(error) = started {
        warn!(
            code = "forwarder_thread",
            "a program is not served: {error}"
        );
    }
}

/// Turns a program away without waiting for it.
fn shed(mut stream: &TcpStream) {
    let told = stream
        .set_nonblocking(true)
        .and_then(|()| stream.write_all(&head::refusal(503)))
        .and_then(|()| stream.shutdown(Shutdown::Write));
    // What it has said already would turn the end into a reset.
    let _ = told.and_then(|()| stream.read(&mut [0; 1024]));
}

fn pause(bell: &UnixStream) {
    let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut fds, exchange::timeout(ACCEPT_PAUSE));
}
