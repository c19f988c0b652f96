//! Acts: runs the operator's program with a verified update, one at a time.

use core::time::Duration;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tracing::{error, info, warn};

use super::clock;
use super::update::set_aside;

/// How often a running program is looked at. Only while one runs.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The program that runs, if one does.
#[derive(Debug, Default)]
pub struct Updating {
    child: Option<Child>,
    look_at: Option<Duration>,
}

impl Updating {
    /// Starts the program with the update's path as its last argument.
    pub fn start(&mut self, command: &[String], update: &Path) {
        let Some((program, arguments)) = command.split_first() else {
            return;
        };
        if self.child.is_some() {
            warn!("an update is still running; the new one waits for the next poll");
            return;
        }
        let started = spawn(program, arguments, update);
        match started {
            Ok(child) => {
                info!(
                    pid = child.id(),
                    "runs the verified update {}",
                    update.display()
                );
                self.child = Some(child);
                self.look_at = Some(clock::since_boot().saturating_add(LOOK_EVERY));
            }
            Err(error) => error!("{program} cannot be started for the update: {error}"),
        }
    }

    /// Runs the program and waits for its end, for a single cycle.
    pub fn run(command: &[String], update: &Path) {
        let Some((program, arguments)) = command.split_first() else {
            return;
        };
        match spawn(program, arguments, update).and_then(|mut child| child.wait()) {
            Ok(status) if status.success() => info!("the update has been applied"),
            Ok(status) => error!("the update has failed: {status}"),
            Err(error) => error!("{program} cannot be run for the update: {error}"),
        }
    }

    /// When the program is to be looked at again.
    #[must_use]
    pub const fn look_again_at(&self) -> Option<Duration> {
        self.look_at
    }

    /// Takes note of a program that has ended.
    pub fn look(&mut self, now: Duration) {
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.look_at = Some(now.saturating_add(LOOK_EVERY));
        let Some(child) = &mut self.child else { return };
        match child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) if status.success() => info!("the update has been applied"),
            Ok(Some(status)) => error!("the update has failed: {status}"),
            Err(error) => error!("the update cannot be watched: {error}"),
        }
        self.child = None;
        self.look_at = None;
    }
}

fn spawn(program: &str, arguments: &[String], update: &Path) -> io::Result<Child> {
    Command::new(program)
        .args(arguments)
        .arg(set_aside(update)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}
