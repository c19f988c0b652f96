//! Acts: runs the operator's program with a verified update, one at a time.

use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
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
        let what = format!("verified update {}", update.display());
        // One that could not be started is offered again.
        let _is_running = self.begin(command, &what, || {
            set_aside(update).map(PathBuf::into_os_string)
        });
    }

    /// Starts the program with the name of an update that waits on a server. Whether it runs.
    #[must_use]
    pub fn announce(&mut self, command: &[String], name: &str) -> bool {
        let what = format!("program for the update {name}");
        self.begin(command, &what, || Ok(name.into()))
    }

    fn begin(
        &mut self,
        command: &[String],
        what: &str,
        argument: impl FnOnce() -> io::Result<OsString>,
    ) -> bool {
        let Some((program, arguments)) = command.split_first() else {
            return false;
        };
        if self.child.is_some() {
            warn!("an update is still running; the new one waits for the next poll");
            return false;
        }
        match argument().and_then(|argument| spawn(program, arguments, &argument)) {
            Ok(child) => {
                info!(pid = child.id(), "runs the {what}");
                self.child = Some(child);
                self.look_at = Some(clock::since_boot().saturating_add(LOOK_EVERY));
                true
            }
            Err(error) => {
                error!("{program} cannot be started for the update: {error}");
                false
            }
        }
    }

    /// Runs the program and waits for its end, for a single cycle.
    pub fn run(command: &[String], update: &Path) {
        let Some((program, arguments)) = command.split_first() else {
            return;
        };
        let aside = set_aside(update);
        let started = aside.and_then(|aside| spawn(program, arguments, aside.as_os_str()));
        match started.and_then(|mut child| child.wait()) {
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

fn spawn(program: &str, arguments: &[String], last: &OsStr) -> io::Result<Child> {
    Command::new(program)
        .args(arguments)
        .arg(last)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}
