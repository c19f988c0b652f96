//! Acts: owns `io.mender.AuthenticationManager` on the system bus, in a thread of its own.
//!
//! ```text
//!  main --publish--> [ snapshot ] <--read-- [ bus thread ] <--GetJwtToken-- mender-connect
//!    ^                                           |   ^-----FetchJwtToken--- mender-update
//!    '------ wake, take_wish --------------------'   '--JwtTokenStateChange-->
//! ```
//! Answers come at once from the snapshot; nobody on the bus ever waits for the network. When
//! the bus goes away the thread comes back to it. `reference/mender.md` section 4.1.

mod object;

use core::fmt;
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::daemon::bus::{Address, Link};

/// Between two tries to reach a bus that is not there, doubling ...
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// ... up to this.
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// What the bus is told.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The token; empty: there is none.
    pub token: Zeroizing<String>,
    /// Where the forwarder listens; empty: there is no token.
    pub url: String,
    /// Whether there is an identity to authenticate with.
    pub can_fetch: bool,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown")
            .field("has_token", &!self.token.is_empty())
            .field("url", &self.url)
            .field("can_fetch", &self.can_fetch)
            .finish()
    }
}

/// The near end of the bus thread.
#[derive(Debug)]
pub struct Bus {
    board: Arc<Board>,
    bell: UnixStream,
}

#[derive(Debug)]
struct Board {
    state: Mutex<State>,
    wake: UnixStream,
}

#[derive(Debug, Default)]
struct State {
    shown: Shown,
    // Signals that are due; more than one at a time says no more than the last.
    is_signal_due: bool,
    is_fetch_wanted: bool,
    is_owner: bool,
    trouble: Option<String>,
}

impl Bus {
    /// Starts the thread. Each wish of a client is announced by one octet on `wake`.
    pub fn start(address: Address, wake: UnixStream) -> io::Result<Self> {
        let (bell, far) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let board = Arc::new(Board {
            state: Mutex::default(),
            wake,
        });
        let shared = Arc::clone(&board);
        thread::Builder::new()
            .name("bus".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || serve(&address, &shared, &far))?;
        Ok(Self { board, bell })
    }

    /// What clients get from now on, without a word to them.
    pub fn show(&self, shown: Shown) {
        self.board.state().shown = shown;
    }

    /// Tells everybody what is shown: an attempt has ended.
    pub fn announce(&self) {
        self.board.state().is_signal_due = true;
        // A full pipe rings as well.
        let _ = (&self.bell).write(&[1]);
    }

    /// Whether a client wants a fresh token. Asked once.
    #[must_use]
    pub fn take_wish(&self) -> bool {
        core::mem::take(&mut self.board.state().is_fetch_wanted)
    }

    /// For `status`: `ready`, or why there is no name on the bus.
    #[must_use]
    pub fn standing(&self) -> String {
        let state = self.board.state();
        if state.is_owner {
            return "ready".to_owned();
        }
        state
            .trouble
            .clone()
            .unwrap_or_else(|| "connecting".to_owned())
    }
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets main ask for a token.
    fn want_fetch(&self) {
        self.state().is_fetch_wanted = true;
        let _ = (&self.wake).write(&[1]);
    }

    /// Takes note of a trouble; it is logged when it is another one than before.
    fn note(&self, trouble: &str) {
        let mut state = self.state();
        state.is_owner = false;
        if state.trouble.as_deref() != Some(trouble) {
            warn!("no D-Bus name for other Mender programs: {trouble}");
            state.trouble = Some(trouble.to_owned());
        }
    }

    fn note_ready(&self) {
        let mut state = self.state();
        state.is_owner = true;
        state.trouble = None;
        info!("owns {} on the system bus", object::NAME);
    }
}

/// Until the near end is gone.
fn serve(address: &Address, board: &Board, bell: &UnixStream) {
    let mut wait = RETRY_FIRST;
    loop {
        match named(address) {
            Ok(mut link) => {
                board.note_ready();
                wait = RETRY_FIRST;
                match converse(&mut link, board, bell) {
                    Ok(()) => return,
                    Err(why) => board.note(&why.to_string()),
                }
            }
            Err(why) => board.note(&format!("{address}: {why}")),
        }
        if rest(wait, bell).is_err() {
            return;
        }
        wait = wait.saturating_mul(2).min(RETRY_LONGEST);
    }
}

/// A connection that owns the name.
fn named(address: &Address) -> io::Result<Link> {
    let mut link = Link::open(address)?;
    if link.own(object::NAME)? {
        return Ok(link);
    }
    Err(io::Error::other(format!(
        "{} belongs to another program; stop mender-authd or mender-client",
        object::NAME
    )))
}

/// Serves calls until the bus fails; `Ok` when main has gone.
fn converse(link: &mut Link, board: &Board, bell: &UnixStream) -> io::Result<()> {
    loop {
        while let Some(message) = link.take()? {
            if let Some(answer) = object::answer(&message, link.next_serial(), board) {
                link.send(&answer)?;
            }
        }
        if core::mem::take(&mut board.state().is_signal_due) {
            let shown = board.state().shown.clone();
            let serial = link.next_serial();
            link.send(&object::state_change(serial, &shown))?;
        }
        let mut fds = [
            PollFd::new(link.as_fd(), link.wants()),
            PollFd::new(bell.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut fds, PollTimeout::NONE).or_else(|errno| match errno {
            nix::errno::Errno::EINTR => Ok(0),
            errno => Err(io::Error::from(errno)),
        })?;
        if listen(bell).is_err() {
            return Ok(());
        }
        link.exchange()?;
    }
}

/// Waits that long, or until main has gone. What is rung meanwhile is kept on the board.
fn rest(wait: Duration, bell: &UnixStream) -> Result<(), ()> {
    let cutoff = crate::daemon::clock::Cutoff::after(wait);
    while let Some(left) = cutoff.left() {
        let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
        let _ = poll(
            &mut fds,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        );
        listen(bell)?;
    }
    Ok(())
}

/// Empties the pipe; an error when the other end is gone.
fn listen(mut bell: &UnixStream) -> Result<(), ()> {
    let mut buffer = [0; 64];
    loop {
        match bell.read(&mut buffer) {
            Ok(0) => return Err(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Bus};
    use crate::daemon::clock::Cutoff;
    use core::time::Duration;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_bus_that_lets_us_in_and_says_no_more_is_given_up() {
        use std::io::Write as _;

        let path = std::env::temp_dir().join(format!("silent-bus-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (_near, wake) = UnixStream::pair().unwrap();
        let address = Address::parse(&format!("unix:path={}", path.display())).unwrap();
        let bus = Bus::start(address, wake).unwrap();
        let (mut first, _) = listener.accept().unwrap();
        first.write_all(b"OK 0123456789abcdef\r\n").unwrap();
        let cutoff = Cutoff::after(Duration::from_secs(60));
        while !bus.standing().contains("does not answer") {
            assert!(cutoff.left().is_some(), "{}", bus.standing());
            std::thread::park_timeout(Duration::from_millis(100));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
