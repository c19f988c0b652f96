//! Acts: what blocks while a link is opened, in short-lived threads that hand over what came.

use std::sync::mpsc::Sender;
use std::thread;

use super::Bell;
use super::keeper::Order;
use crate::agent::ExchangeId;
use crate::agent::failure::{Class, Failure};
use crate::daemon::discovery::Proof;
use crate::wire::uri::ServerUri;

/// Where a thread puts its result.
pub(super) struct Outbox {
    orders: Sender<Order>,
    bell: Bell,
}

impl Outbox {
    /// Results go to these orders, announced by this bell.
    pub(super) const fn new(orders: Sender<Order>, bell: Bell) -> Self {
        Self { orders, bell }
    }

    /// Asks the LNS where traffic goes.
    pub(super) fn discover(&self, id: ExchangeId, access: Proof) -> Result<(), Failure> {
        self.run(move || Order::Discovered(id, access.run()))
    }

    /// Opens the traffic socket.
    pub(super) fn upgrade(
        &self,
        id: ExchangeId,
        access: Proof,
        uri: ServerUri,
    ) -> Result<(), Failure> {
        self.run(move || Order::Upgraded(id, access.open_traffic(&uri).map(Box::new)))
    }

    fn run(&self, work: impl FnOnce() -> Order + Send + 'static) -> Result<(), Failure> {
        let no_thread = |_| {
            let text = "no thread can be started to open the LNS link";
            Failure::new(Class::Storage, "worker", text)
        };
        let (orders, bell) = (self.orders.clone(), self.bell.again().map_err(no_thread)?);
        let spawned = thread::Builder::new()
            .name("dial".to_owned())
            .spawn(move || {
                // A keeper that has stopped wants nothing more.
                let _ = orders.send(work());
                bell.ring();
            });
        spawned.map(drop).map_err(no_thread)
    }
}
