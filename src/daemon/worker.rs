//! Acts: the one thread that may block on the network, one job at a time.
//!
//! Main never waits for it: answers come back through a channel, and a closed pair of
//! sockets wakes the poll loop. Nothing is cancelled; a process that stops leaves it behind.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::agent::failure::{Class, Failure};

/// The near end of the worker.
#[derive(Debug)]
pub struct Worker<J, D> {
    jobs: Sender<J>,
    done: Receiver<D>,
}

impl<J: Send + 'static, D: Send + 'static> Worker<J, D> {
    /// Starts the thread, which does jobs by `carry_out`. Each answer is announced by one octet
    /// on `wake`.
    pub fn start(mut wake: Option<UnixStream>, carry_out: fn(J) -> D) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<J>();
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
    pub fn send(&self, job: J) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// Takes an answer that is there.
    #[must_use]
    pub fn take(&self) -> Option<D> {
        self.done.try_recv().ok()
    }

    /// Waits for an answer; `None` when the time is over.
    pub fn wait(&self, patience: Duration) -> Result<Option<D>, Failure> {
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
