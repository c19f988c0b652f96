//! Acts: what notes and time do to the relay, sets that change and clients that go.
//!
//! A new set is used as soon as it is proved; until then the old one is. Connections with an
//! old set live on until one of their sides ends them.

use core::time::Duration;
use std::io::ErrorKind;
use std::sync::Arc;

use tracing::warn;

use super::{Attempt, InUse, Note, Server};
use crate::agent::ExchangeId;
use crate::agent::failure::{Class, Failure};
use crate::daemon::clock;
use crate::daemon::discovery::Proof;
use crate::daemon::holders::relay::client::{Client, Phase};
use crate::daemon::holders::relay::dialer::{Answer, Task};
use crate::daemon::holders::relay::local::Local;
use crate::daemon::holders::relay::pipe::{Pipe, Ways};
use crate::daemon::linking::Held;
use crate::limits::RELAY_OLD_CLIENTS_MAX;
use crate::wire::eui::Eui64;
use crate::wire::uri::ServerUri;

impl Server {
    pub(super) fn take(&mut self, note: Note) {
        match note {
            Note::Open { id, access } => self.open(InUse {
                id,
                access: access.into(),
            }),
            Note::Close { id } => self.close(id),
            Note::Proved { id, result } => self.proved(id, result),
            Note::Discovered {
                attempt,
                router,
                result,
            } => self.discovered(&attempt, router, result),
            Note::Answered { attempt, result } => self.answered(&attempt, result),
        }
    }

    /// Clients that use another set than the one in use, or last in use.
    pub(super) fn old(&self) -> impl Iterator<Item = (&u64, &Client)> {
        self.clients.iter().filter(|(_, client)| {
            matches!(client.phase, Phase::Piping(_)) && client.set != self.sets
        })
    }

    pub(super) fn turn_away(&self, local: Local, status: u16) -> Phase {
        self.board.change(|figures| {
            figures.turned_away = figures.turned_away.saturating_add(1);
        });
        Phase::refused(local, status)
    }

    /// Ends clients whose time is over.
    pub(super) fn give_up_late(&mut self, now: Duration) {
        let is_late = |client: &Client| client.due().is_some_and(|due| due <= now);
        let late: Vec<u64> = self
            .clients
            .iter()
            .filter_map(|(key, client)| is_late(client).then_some(*key))
            .collect();
        for key in late {
            let Some(mut client) = self.clients.remove(&key) else {
                continue;
            };
            if let Phase::Head { local, .. } = client.phase {
                client.phase = self.turn_away(local, 408);
                client.deadline = None;
                self.put_back(key, client, now);
            } else {
                client.phase.end();
            }
        }
    }

    fn open(&mut self, set: InUse) {
        let task = Task::Prove {
            id: set.id,
            access: set.access.clone(),
        };
        let id = set.id;
        self.opening = Some(set);
        if !self.dialers.give(task) {
            self.opening = None;
            let text = "no thread could be started for the relay";
            let failure = Failure::new(Class::Storage, "no_thread", text);
            self.board.tell(Held::Failed { id, failure });
        }
    }

    /// Nothing comes from an attempt any more. Connections of a set that was replaced live
    /// on; those of the set in use end, because there is none any more.
    fn close(&mut self, id: ExchangeId) {
        if self.opening.as_ref().is_some_and(|set| set.id == id) {
            self.opening = None;
        }
        if self.up.as_ref().is_some_and(|set| set.id == id) {
            self.go_down();
            // Those who were just told why may still hear it.
            self.clients.retain(|_, client| {
                let is_piping = matches!(client.phase, Phase::Piping(_));
                if is_piping {
                    client.phase.end();
                }
                !is_piping
            });
        }
    }

    fn proved(&mut self, id: ExchangeId, result: Result<ServerUri, Failure>) {
        let Some(set) = self.opening.take_if(|set| set.id == id) else {
            self.is_checking = false;
            if let Err(failure) = result {
                self.lose(id, failure);
            }
            return;
        };
        match result {
            Ok(uri) => {
                self.routes.clear();
                self.routes.learn(set.access.router, true, uri);
                // After an outage it is mostly the same one: who has lived through it is not old.
                let is_same = |latest: &Arc<Proof>| {
                    latest.tc_uri == set.access.tc_uri && latest.credential == set.access.credential
                };
                if !self.latest.as_ref().is_some_and(is_same) {
                    self.sets = self.sets.wrapping_add(1);
                }
                self.latest = Some(Arc::clone(&set.access));
                self.up = Some(set);
                self.board
                    .change(|figures| figures.up_since = Some(clock::since_boot()));
                self.limit_old();
                self.board.tell(Held::Connected { id });
            }
            Err(failure) => self.board.tell(Held::Failed { id, failure }),
        }
    }

    fn discovered(&mut self, attempt: &Attempt, router: Eui64, result: Result<ServerUri, Failure>) {
        let Some(mut client) = self.clients.remove(&attempt.client) else {
            return;
        };
        let mut lost = None;
        client.phase = match (client.phase, result) {
            // The set was replaced meanwhile: this is the old server's word.
            (Phase::Asked(asking, _), Ok(_)) if self.is_replaced(attempt.set) => asking.put_off(),
            (Phase::Asked(asking, _), Ok(uri)) => {
                let target = self.routes.learn(router, attempt.is_own, uri);
                asking.found(router, &target)
            }
            (Phase::Asked(asking, _), Err(failure)) => {
                let phase = if is_outage(&failure, attempt.is_own) {
                    asking.put_off()
                } else {
                    asking.refused(Some(router), &failure.message)
                };
                lost = Some(failure);
                phase
            }
            (other, _) => other,
        };
        self.put_back(attempt.client, client, clock::since_boot());
        self.lose_if_own(attempt, lost);
    }

    fn answered(&mut self, attempt: &Attempt, result: Result<Answer, Failure>) {
        let Some(mut client) = self.clients.remove(&attempt.client) else {
            return;
        };
        let mut lost = None;
        client.peer.clone_from(&attempt.peer);
        client.phase = match (client.phase, result) {
            (Phase::Waiting(early, _), Ok(Answer::Open { remote, octets })) => {
                Pipe::new(early.local, remote, &early.octets, octets)
                    .map_or(Phase::Over, |pipe| Phase::Piping(Box::new(pipe)))
            }
            (Phase::Waiting(early, _), Ok(Answer::Refused { octets, failure })) => {
                // A request that only this client could have spoilt says nothing of the link.
                lost = (failure.class != Class::Protocol).then_some(failure);
                Phase::Leaving {
                    local: early.local,
                    octets,
                }
            }
            (Phase::Waiting(early, _), Err(failure)) => {
                lost = Some(failure);
                self.turn_away(early.local, 503)
            }
            (other, _) => other,
        };
        let now = clock::since_boot();
        self.put_back(attempt.client, client, now);
        self.lose_if_own(attempt, lost);
        self.limit_old();
        self.turn(attempt.client, Ways::BOTH, now);
    }

    fn is_replaced(&self, set: ExchangeId) -> bool {
        self.up.as_ref().is_none_or(|up| up.id != set)
    }

    /// What the certificate's own gateway meets concerns the link. What looks like an outage to
    /// another one may be its own trouble alone: a proof tells.
    fn lose_if_own(&mut self, attempt: &Attempt, failure: Option<Failure>) {
        let Some(failure) = failure else {
            return;
        };
        if attempt.is_own {
            self.lose(attempt.set, failure);
        } else if let Some(InUse { id, access }) = self.up.clone() {
            if attempt.is_shared && is_outage(&failure, false) && !self.is_checking {
                self.is_checking = self.dialers.give(Task::Prove { id, access });
            }
        }
    }

    /// Tells that a set does not lead to the LNS any more, if it is still the one in use.
    fn lose(&mut self, id: ExchangeId, failure: Failure) {
        if !self.is_replaced(id) {
            self.go_down();
            self.board.tell(Held::Closed { id, failure });
        }
    }

    /// No new connections; whoever waits for one is turned away.
    fn go_down(&mut self) {
        self.up = None;
        self.board.change(|figures| figures.up_since = None);
        let now = clock::since_boot();
        for (key, mut client) in core::mem::take(&mut self.clients) {
            client.phase = client.phase.turned_away();
            self.put_back(key, client, now);
        }
    }

    /// Shows a client's lost connection; where a whole LNS falls silent, one line is enough.
    pub(super) fn tell_loss(&mut self, peer: Option<&str>, kind: ErrorKind, now: Duration) {
        let why = self.silence.loss(peer.unwrap_or("the LNS"), kind);
        let told_until = self
            .loss_told_at
            .map(|at| at.saturating_add(self.silence.limit()));
        if told_until.is_none_or(|until| until <= now) {
            self.loss_told_at = Some(now);
            warn!("a relayed connection is lost: {why}");
        }
        self.board.change(|figures| {
            figures.lost = figures.lost.saturating_add(1);
            figures.loss = Some((now, why));
        });
    }

    /// Ends the longest-lived connections with old sets if there are too many.
    fn limit_old(&mut self) {
        let old: Vec<u64> = self.old().map(|(key, _)| *key).collect();
        for key in old
            .iter()
            .take(old.len().saturating_sub(RELAY_OLD_CLIENTS_MAX))
        {
            if let Some(mut client) = self.clients.remove(key) {
                client.phase.end();
            }
        }
    }
}

/// Whether a failure is the LNS's or the network's, whichever gateway meets it. What an LNS says
/// in its own words may be about another gateway alone.
fn is_outage(failure: &Failure, is_own: bool) -> bool {
    match failure.class {
        Class::ServerFault if failure.code == "lns_error" => is_own,
        Class::Busy
        | Class::ClientCertRefused
        | Class::ClockSuspect
        | Class::Network
        | Class::NotTls
        | Class::ServerFault
        | Class::ServerUntrusted
        | Class::Storage
        | Class::TlsNegotiation => true,
        Class::Configuration
        | Class::IdentityInvalid
        | Class::NotAuthorised
        | Class::NotRegistered
        | Class::Pending
        | Class::Policy
        | Class::Protocol => false,
    }
}
