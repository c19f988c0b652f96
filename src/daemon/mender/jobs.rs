//! Acts: what the worker does for the Mender service.

use super::attempt::{Accepted, Attempt, Refused};
use super::gathering::{Asking, GatherError, Gathering};
use crate::agent::ExchangeId;
use crate::wire::mender::deployments::Deployment;

/// Something to do on the network.
#[derive(Debug)]
pub(super) enum Job {
    /// One pass over the servers.
    Authenticate(ExchangeId, Box<Attempt>),
    /// Gather and send the inventory.
    Inventory(ExchangeId, Box<Gathering>),
    /// Ask whether an update waits.
    Updates(ExchangeId, Box<Asking>),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    /// A token, or why there is none.
    Authenticated(ExchangeId, Result<Box<Accepted>, Refused>),
    /// The digest of what the server has now; `None` if it had it.
    Gathered(ExchangeId, Result<Option<[u8; 32]>, GatherError>),
    /// The update that waits, if one does.
    Asked(ExchangeId, Result<Option<Deployment>, GatherError>),
}

/// Does a job; may take minutes.
#[must_use]
pub(super) fn carry_out(job: Job) -> Done {
    match job {
        Job::Authenticate(id, attempt) => Done::Authenticated(id, attempt.run().map(Box::new)),
        Job::Inventory(id, gathering) => Done::Gathered(id, gathering.run()),
        Job::Updates(id, asking) => Done::Asked(id, asking.run()),
    }
}
