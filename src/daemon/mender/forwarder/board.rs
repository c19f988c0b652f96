//! Keeps: the token and server that are lent, and what the forwarder's threads tell main.

use core::time::Duration;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::daemon::clock::Cutoff;
use crate::daemon::mender::call::Access;
use crate::daemon::mender::gathering::Authorised;
use crate::limits::{
    FORWARDER_FORBIDDEN_MAX, FORWARDER_GRACE, FORWARDER_HEAD_PATIENCE, FORWARDER_IDLE,
    FORWARDER_TOKEN_PATIENCE,
};
use crate::wire::mender::token::Token;
use crate::wire::secret::Secret;

/// How long the forwarder has patience.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a program's HTTP head.
    pub head: Duration,
    /// With a WebSocket that is silent.
    pub idle: Duration,
    /// For a token in place of a refused one.
    pub token: Duration,
    /// With the token before the current one.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: FORWARDER_HEAD_PATIENCE,
            idle: FORWARDER_IDLE,
            token: FORWARDER_TOKEN_PATIENCE,
            grace: FORWARDER_GRACE,
        }
    }
}

/// Shared by main and all threads of the forwarder.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
    wake: UnixStream,
    pub(super) patience: Patience,
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) upgrades: Arc<AtomicUsize>,
}

/// What is lent, and which one in the row of tokens it is.
#[derive(Debug, Clone)]
pub(super) struct Loan {
    pub(super) lent: Arc<Authorised>,
    number: u64,
}

/// Counts for `status`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    /// Requests that the server answered.
    pub(super) requests: u64,
    /// Requests that were not let through.
    pub(super) turned_away: u64,
    /// Requests that were sent again with another token.
    pub(super) repeated: u64,
    /// Requests that came to nothing at the server or on the way there.
    pub(super) failed: u64,
}

#[derive(Debug, Default)]
struct State {
    loan: Option<Loan>,
    /// Counts tokens.
    number: u64,
    previous: Option<(Token, Cutoff)>,
    is_refused: bool,
    is_refusal_due: bool,
    /// Counts the ends of hope for another token.
    hopeless: u64,
    /// Refused with 403 whatever the token.
    forbidden: BTreeSet<String>,
    figures: Figures,
}

/// When a token was refused, counted in ends of hope.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hope(u64);

/// One of a limited number; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Board {
    pub(super) fn new(wake: UnixStream, patience: Patience) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            wake,
            patience,
            connections: Arc::default(),
            upgrades: Arc::default(),
        }
    }

    /// Changes what is lent.
    pub(super) fn lend(&self, lent: Option<Authorised>) {
        let mut state = self.lock();
        let before = state.loan.take();
        let is_same = match (&before, &lent) {
            // Two of the same second are the same; whoever waits for one shall have it.
            (Some(before), Some(lent)) => before.lent.token == lent.token && !state.is_refused,
            _ => false,
        };
        if !is_same {
            state.number = state.number.saturating_add(1);
            state.is_refused = false;
            state.is_refusal_due = false;
            if let Some(before) = before {
                let until = Cutoff::after(self.patience.grace);
                state.previous = Some((before.lent.token.clone(), until));
            }
        }
        state.loan = lent.map(|lent| Loan {
            lent: Arc::new(lent),
            number: state.number,
        });
        drop(state);
        self.changed.notify_all();
    }

    /// Changes how the server is reached. Nobody who waits for another token goes on by it.
    pub(super) fn readjust(&self, access: &Access) {
        let mut state = self.lock();
        if let Some(loan) = &mut state.loan {
            loan.lent = Arc::new(Authorised {
                access: access.clone(),
                ..Authorised::clone(&loan.lent)
            });
        }
    }

    /// No other token will come soon.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        state.hopeless = state.hopeless.saturating_add(1);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn take_refusal(&self) -> bool {
        core::mem::take(&mut self.lock().is_refusal_due)
    }

    /// What is lent, for whoever shows the current token, or the one before within its grace.
    pub(super) fn loan_for(&self, shown: &Secret) -> Option<Loan> {
        let state = self.lock();
        let current = state.loan.as_ref().map(|loan| &loan.lent.token);
        let previous = state
            .previous
            .as_ref()
            .filter(|(_, until)| until.left().is_some())
            .map(|(token, _)| token);
        // Both are always compared: the time taken tells nothing.
        let is_known = [current, previous]
            .into_iter()
            .flatten()
            .fold(false, |known, token| known | token.is(shown.expose()));
        state.loan.clone().filter(|_| is_known)
    }

    /// Tells main that the server refused this token, unless there is another already. From now
    /// on main may give up, even before anybody waits.
    pub(super) fn refused(&self, loan: &Loan) -> Hope {
        let mut state = self.lock();
        if state.number == loan.number && state.loan.is_some() && !state.is_refusal_due {
            state.is_refused = true;
            state.is_refusal_due = true;
            // A full pipe wakes as well.
            let _ = (&self.wake).write(&[1]);
        }
        Hope(state.hopeless)
    }

    /// Waits for the token after this one.
    pub(super) fn next(&self, loan: &Loan, hope: Hope) -> Option<Loan> {
        let cutoff = Cutoff::after(self.patience.token);
        let mut state = self.lock();
        loop {
            if let Some(next) = state.loan.as_ref().filter(|next| next.number > loan.number) {
                return Some(next.clone());
            }
            if state.hopeless != hope.0 {
                return None;
            }
            let (back, _) = self
                .changed
                .wait_timeout(state, cutoff.left()?)
                .unwrap_or_else(PoisonError::into_inner);
            state = back;
        }
    }

    /// Whether a 403 may be the token's fault: once a path it is assumed to be.
    pub(super) fn is_first_403(&self, path: &str) -> bool {
        let mut state = self.lock();
        let is_room = state.forbidden.len() < FORWARDER_FORBIDDEN_MAX;
        is_room && state.forbidden.insert(path.to_owned())
    }

    /// The server lets requests to this path through.
    pub(super) fn is_permitted(&self, path: &str) {
        self.lock().forbidden.remove(path);
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.lock().figures);
    }

    pub(super) fn figures(&self) -> (Figures, bool) {
        let state = self.lock();
        (state.figures, state.loan.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes a place, if one of so many is left.
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |count: usize| (count < most).then(|| count.saturating_add(1));
        let order = Ordering::Relaxed;
        taken.fetch_update(order, order, more).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::{Access, Board, Patience};
    use crate::config::Network;
    use crate::daemon::clock::Effective;
    use crate::daemon::mender::gathering::Authorised;
    use crate::daemon::tls::TlsAccess;
    use crate::wire::mender::server::ServerUrl;
    use crate::wire::mender::token::Token;
    use crate::wire::secret::Secret;

    fn lent(token: &[u8]) -> Authorised {
        let tls = TlsAccess {
            roots: rustls::RootCertStore::empty().into(),
            pins: Vec::new(),
            certified: None,
            allow_tls13: true,
            time: Effective::from_passed(&[]),
        };
        let network = Network {
            connect_s: 1,
            response_s: 1,
            total_s: 1,
        };
        Authorised {
            access: Access {
                tls,
                network,
                own_certificate_valid: true,
                silent_closes: 0,
            },
            server: ServerUrl::parse("https://localhost").unwrap(),
            token: Token::parse(token).unwrap(),
        }
    }

    #[test]
    fn main_may_give_up_or_lend_before_anybody_waits() {
        let (_near, wake) = UnixStream::pair().unwrap();
        let board = Board::new(wake, Patience::default());
        board.lend(Some(lent(b"e30.e30.aaaa")));
        let loan = board
            .loan_for(&Secret::new(b"e30.e30.aaaa".to_vec()))
            .unwrap();
        let hope = board.refused(&loan);
        board.give_up();
        assert!(board.next(&loan, hope).is_none());
        let hope = board.refused(&loan);
        // The server may give the same token twice within a second.
        board.lend(Some(lent(b"e30.e30.aaaa")));
        assert!(board.next(&loan, hope).is_some());
    }
}
