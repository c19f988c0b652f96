//! Acts: the one thread that may block on the network, one job at a time.
//!
//! Main never waits for it: answers come back through a channel, and a closed pair of
//! sockets wakes the poll loop. Nothing is cancelled; a process that stops leaves it behind.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::cups::{Answered, Ask, AskError};
use super::discovery::Proof;
use crate::agent::ExchangeId;
use crate::agent::failure::{Class, Failure};
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

/// The near end of the worker.
#[derive(Debug)]
pub struct Worker {
    jobs: Sender<Job>,
    done: Receiver<Done>,
}

impl Worker {
    /// Starts the thread. Each answer is announced by one octet on `wake`.
    pub fn start(mut wake: Option<UnixStream>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (outbox, done) = mpsc::channel();
        let work = move || {
            while let Ok(job) = inbox.recv() {
                if outbox.send(carry_out(job)).is_err() {
                    return;
                }
                if let Some(wake) = &mut wake {
                    // A full pipe wakes as well as one octet more.
                    let _ = wake.write(&[1]);
                }
            }
        };
        thread::Builder::new()
            .name("worker".to_owned())
            .spawn(work)?;
        Ok(Self { jobs, done })
    }

    /// Hands a job over; `false` if the thread is gone.
    #[must_use]
    pub fn send(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// Takes an answer that is there.
    #[must_use]
    pub fn take(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }

    /// Waits for an answer; `None` when the time is over.
    pub fn wait(&self, patience: Duration) -> Result<Option<Done>, Failure> {
        match self.done.recv_timeout(patience) {
            Ok(done) => Ok(Some(done)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::new(
                Class::Storage,
                "worker",
                "the worker thread has ended",
            )),
        }
    }
}

fn carry_out(job: Job) -> Done {
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
