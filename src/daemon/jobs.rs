//! Acts: what the worker does for a gateway: it asks CUPS, and it proves sets.

use super::cups::{Answered, Ask, AskError};
use super::discovery::Proof;
use crate::agent::ExchangeId;
use crate::agent::failure::Failure;
use crate::wire::uri::ServerUri;

/// Something to do on the network.
#[derive(Debug)]
pub enum Job {
    /// Ask CUPS.
    Ask(ExchangeId, Box<Ask>),
    /// Prove a set: its CUPS part first if it has a new one, then at the LNS.
    Prove(ExchangeId, Option<Box<Ask>>, Option<Box<Proof>>),
}

/// What came of a job.
#[derive(Debug)]
pub enum Done {
    /// CUPS was asked.
    Asked(ExchangeId, Result<Answered, AskError>),
    /// A set was tried; the traffic address that discovery gave, if the LNS was asked.
    Tried(ExchangeId, Result<Option<ServerUri>, Failure>),
}

/// Does a job; may take minutes.
#[must_use]
pub fn carry_out(job: Job) -> Done {
    match job {
        Job::Ask(id, ask) => Done::Asked(id, ask.run()),
        Job::Prove(id, ask, proof) => Done::Tried(id, prove(ask.as_deref(), proof.as_deref())),
    }
}

fn prove(ask: Option<&Ask>, proof: Option<&Proof>) -> Result<Option<ServerUri>, Failure> {
    if let Some(ask) = ask {
        ask.run().map_err(|error| error.failure)?;
    }
    proof.map(Proof::run).transpose()
}
