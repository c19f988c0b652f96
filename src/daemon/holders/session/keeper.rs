//! Acts: the one thread that polls the traffic sockets and carries out orders.

use core::time::Duration;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::debug;
use tungstenite::WebSocket;
use tungstenite::protocol::frame::coding::CloseCode;

use super::dialling::Outbox;
use super::line::{Line, Said};
use super::opening::{Opening, Step};
use super::{Bell, Pace, Shared, lock};
use crate::agent::ExchangeId;
use crate::agent::failure::Failure;
use crate::daemon::clock;
use crate::daemon::discovery::Proof;
use crate::daemon::linking::Held;
use crate::daemon::run::drain;
use crate::daemon::session::Session;
use crate::wire::uri::ServerUri;

/// What the keeper is told to do, and what comes of work done for it.
pub(super) enum Order {
    Open(ExchangeId, Box<Proof>),
    Discovered(ExchangeId, Result<ServerUri, Failure>),
    Upgraded(ExchangeId, Result<Box<WebSocket<Session>>, Failure>),
    Close(ExchangeId),
    /// So long is between two pings.
    Ping(Duration),
    Stop,
}

/// The thread's own things.
pub(super) struct Keeper {
    version: String,
    pace: Pace,
    orders: Receiver<Order>,
    outbox: Outbox,
    wake: UnixStream,
    pub(super) shared: Arc<Mutex<Shared>>,
    bell: Bell,
    pub(super) up: Option<Line>,
    pub(super) opening: Option<Opening>,
    /// The end of the link that was up, told only if no new one comes about: an LNS cuts the
    /// old socket as soon as it has the new one.
    ended: Option<(ExchangeId, Failure)>,
    /// Something may be left to do without a socket saying so.
    pub(super) has_more: bool,
}

impl Keeper {
    pub(super) fn new(
        (version, pace): (String, Pace),
        (orders, sender): (Receiver<Order>, Sender<Order>),
        (wake, own_bell): (UnixStream, Bell),
        (shared, bell): (Arc<Mutex<Shared>>, Bell),
    ) -> Self {
        Self {
            version,
            pace,
            orders,
            outbox: Outbox::new(sender, own_bell),
            wake,
            shared,
            bell,
            up: None,
            opening: None,
            ended: None,
            has_more: false,
        }
    }

    /// Polls until told to stop.
    pub(super) fn keep(mut self) {
        loop {
            self.wait();
            drain(&self.wake);
            while let Ok(order) = self.orders.try_recv() {
                if matches!(order, Order::Stop) {
                    self.stop();
                    return;
                }
                self.carry_out(order);
            }
            self.has_more = false;
            self.serve_opening();
            self.serve_up();
            self.send_uplinks();
        }
    }

    fn wait(&self) {
        let lines = || {
            self.up
                .iter()
                .chain(self.opening.as_ref().and_then(Opening::line))
        };
        let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        for line in lines() {
            let room = if line.is_blocked() {
                PollFlags::POLLOUT
            } else {
                PollFlags::empty()
            };
            fds.push(PollFd::new(line.as_fd(), PollFlags::POLLIN | room));
        }
        let drained_by = self.draining().map(|(_, by)| by);
        let due = lines().map(Line::deadline).chain(drained_by).min();
        let timeout = match due {
            _ if self.has_more => PollTimeout::ZERO,
            None => PollTimeout::NONE,
            Some(due) => {
                let wait = due.saturating_sub(clock::since_boot());
                PollTimeout::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        };
        // An interrupted call only goes round once more.
        let _ = poll(&mut fds, timeout);
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Open(id, access) => self.open(id, access),
            Order::Discovered(id, result) => {
                if self.is_opening(id) {
                    match result {
                        Ok(uri) => self.discovered(uri),
                        Err(failure) => self.fail(failure),
                    }
                }
            }
            Order::Upgraded(id, result) => self.upgraded(id, result),
            Order::Close(id) => self.close(id),
            Order::Ping(ping) if ping != self.pace.ping => {
                self.pace.ping = ping;
                let opening = self.opening.as_mut().and_then(Opening::line_mut);
                for line in self.up.iter_mut().chain(opening) {
                    line.set_ping(ping);
                }
            }
            Order::Ping(_) | Order::Stop => {}
        }
    }

    fn open(&mut self, id: ExchangeId, access: Box<Proof>) {
        self.abandon_opening(CloseCode::Normal);
        let asked = self.outbox.discover(id, access.as_ref().clone());
        self.opening = Some(Opening {
            id,
            access,
            step: Step::Discovering,
        });
        if let Err(failure) = asked {
            self.fail(failure);
        }
    }

    fn discovered(&mut self, uri: ServerUri) {
        let asked = self.up.as_mut().map(Line::ask_whether_drained);
        match asked {
            None => self.upgrade(uri),
            Some(Ok(())) => {
                let by = clock::since_boot().saturating_add(self.pace.drained);
                self.step(Step::Draining(uri, by));
            }
            Some(Err(failure)) => {
                self.lose(failure);
                self.upgrade(uri);
            }
        }
    }

    fn upgrade(&mut self, uri: ServerUri) {
        let Some(opening) = &mut self.opening else {
            return;
        };
        let access = opening.access.as_ref().clone();
        opening.step = Step::Upgrading(uri.clone());
        if let Err(failure) = self.outbox.upgrade(opening.id, access, uri) {
            self.fail(failure);
        }
    }

    fn upgraded(&mut self, id: ExchangeId, result: Result<Box<WebSocket<Session>>, Failure>) {
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.id == id) else {
            return;
        };
        let Step::Upgrading(uri) = &opening.step else {
            return;
        };
        let reached = (uri.clone(), opening.access.clone());
        let line =
            result.and_then(|socket| Line::begin(id, reached, *socket, (&self.version, self.pace)));
        match line {
            Ok(line) => self.step(Step::Waiting(Box::new(line))),
            Err(failure) => self.fail(failure),
        }
    }

    fn close(&mut self, id: ExchangeId) {
        if self.is_opening(id) {
            self.abandon_opening(CloseCode::Normal);
            self.tell_ended();
        }
        if self.ended.take_if(|(ended, _)| *ended == id).is_some() {
            self.is_down();
        }
        if let Some(line) = self.up.take_if(|line| line.id == id) {
            self.forget(line, CloseCode::Normal);
            self.is_down();
        }
    }

    /// Serves the socket that waits for `router_config`.
    fn serve_opening(&mut self) {
        let now = clock::since_boot();
        if let Some((uri, _)) = self.draining().filter(|(_, by)| *by <= now) {
            debug!("the old traffic socket was not seen to be read empty");
            self.upgrade(uri);
        }
        let Some(line) = self.opening.as_mut().and_then(Opening::line_mut) else {
            return;
        };
        let round = line.listen();
        let on_time = line.be_on_time(now);
        self.has_more |= round.has_more;
        if let Some(Said::Configured(region, octets)) = round.said.into_iter().last() {
            return self.connected(region, octets);
        }
        if let Err(failure) = round.end.and(on_time) {
            self.fail(failure);
        }
    }

    fn connected(&mut self, region: Option<String>, octets: usize) {
        let Some(Opening {
            id,
            step: Step::Waiting(line),
            ..
        }) = self.opening.take()
        else {
            return;
        };
        self.ended = None;
        {
            let mut shared = lock(&self.shared);
            shared.is_up = true;
            shared.uri = Some(line.uri().to_string());
            shared.region = region;
            shared.config_octets = octets;
            shared.since = clock::since_boot();
        }
        // The machine will say to close the old one; it has no use any more.
        if let Some(old) = self.up.replace(*line) {
            self.forget(old, CloseCode::Normal);
        }
        self.tell(Held::Connected { id });
        self.has_more = true;
    }

    /// Serves the socket that is up.
    fn serve_up(&mut self) {
        let now = clock::since_boot();
        let Some(line) = &mut self.up else { return };
        let round = line.listen();
        let on_time = line.be_on_time(now);
        let unread = line.unread();
        self.has_more |= round.has_more;
        {
            let mut shared = lock(&self.shared);
            shared.frames_unread = unread;
            shared.pings += u64::from(on_time == Ok(true));
        }
        for said in round.said {
            self.heard(said);
        }
        if let Err(failure) = round.end.and(on_time.map(drop)) {
            self.lose(failure);
        }
    }

    fn heard(&mut self, said: Said) {
        match said {
            Said::Down => lock(&self.shared).frames_down += 1,
            Said::Drained => {
                if let Some((uri, _)) = self.draining() {
                    self.upgrade(uri);
                }
            }
            Said::Configured(region, octets) => {
                let mut shared = lock(&self.shared);
                shared.region = region;
                shared.config_octets = octets;
            }
            Said::Read | Said::Nothing => {}
        }
    }

    /// The link that was up has ended.
    pub(super) fn lose(&mut self, failure: Failure) {
        let Some(line) = self.up.take() else { return };
        let id = line.id;
        self.forget(line, CloseCode::Normal);
        if self.opening.as_ref().is_some_and(Opening::may_replace) {
            self.ended = Some((id, failure));
            return;
        }
        self.is_down();
        self.tell(Held::Closed { id, failure });
        if let Some((uri, _)) = self.draining() {
            self.upgrade(uri);
        }
    }

    /// The attempt has failed.
    fn fail(&mut self, failure: Failure) {
        if let Some(Opening { id, step, .. }) = self.opening.take() {
            if let Step::Waiting(line) = step {
                line.end(CloseCode::Normal);
            }
            self.tell(Held::Failed { id, failure });
        }
        self.tell_ended();
    }

    fn abandon_opening(&mut self, code: CloseCode) {
        if let Some(Step::Waiting(line)) = self.opening.take().map(|opening| opening.step) {
            line.end(code);
        }
    }

    fn tell_ended(&mut self) {
        if let Some((id, failure)) = self.ended.take() {
            self.is_down();
            self.tell(Held::Closed { id, failure });
        }
    }

    fn stop(&mut self) {
        self.abandon_opening(CloseCode::Away);
        if let Some(line) = self.up.take() {
            line.end(CloseCode::Away);
        }
    }

    fn tell(&self, held: Held) {
        lock(&self.shared).held.push(held);
        self.bell.ring();
    }

    fn step(&mut self, step: Step) {
        if let Some(opening) = &mut self.opening {
            opening.step = step;
        }
    }

    fn is_opening(&self, id: ExchangeId) -> bool {
        self.opening
            .as_ref()
            .is_some_and(|opening| opening.id == id)
    }

    fn draining(&self) -> Option<(ServerUri, Duration)> {
        self.opening.as_ref().and_then(Opening::draining)
    }
}
