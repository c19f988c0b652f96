//! Acts: one station process as a child: its group, its pipes, its end.

use core::time::Duration;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::log::Lines;
use super::rules::Ended;

/// Octets read of one pipe at a time; more is left for the next round.
const READ_OCTETS: usize = 8 * 1024;

/// How long a station that was told to end may take.
pub(super) const END_PATIENCE: Duration = Duration::from_secs(10);

/// How long after its pipes have closed its end is looked for, and how often. A process that
/// lives on without them is looked at with each sample.
const QUIET_MAX: Duration = Duration::from_secs(2);
const QUIET_LOOK: Duration = Duration::from_millis(50);

/// The variable that only a station of an agent has; it holds the home.
pub(super) const MARK: &str = "MTLS_AGENT_STATION";

/// A running station.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    out: Pipe<ChildStdout>,
    err: Pipe<ChildStderr>,
    /// When it was started.
    pub(super) since: Duration,
    /// It was told to end and is killed at this moment.
    pub(super) kill_at: Option<Duration>,
    // Both pipes were seen closed at this moment: it is about to end.
    quiet_at: Option<Duration>,
}

#[derive(Debug)]
struct Pipe<P> {
    end: Option<P>,
    lines: Lines,
}

impl Running {
    /// Starts a command in a process group of its own, so that all of it can be ended.
    ///
    /// It does not end with an agent that is killed: asking the kernel for that needs code
    /// between fork and exec, which the rules of this crate exclude. systemd ends it with the
    /// agent's unit; elsewhere the next agent knows it by its mark.
    pub(super) fn start(command: &[String], home: &Path, now: Duration) -> io::Result<Self> {
        let (program, arguments) = command
            .split_first()
            .ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("STATION_HOME", home)
            .env(MARK, home)
            // Its command alone says where that is, so that the same folder is cleared.
            .env_remove("STATION_TEMPDIR")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (out, err) = (
            Pipe::new(child.stdout.take()),
            Pipe::new(child.stderr.take()),
        );
        Ok(Self {
            child,
            out,
            err,
            since: now,
            kill_at: None,
            quiet_at: None,
        })
    }

    /// Its number, that of its group too.
    #[must_use]
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pipes that are open.
    pub(super) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let out = self.out.end.as_ref().map(AsFd::as_fd);
        let err = self.err.end.as_ref().map(AsFd::as_fd);
        [out, err].into_iter().flatten()
    }

    /// Reads what is there, without waiting.
    pub(super) fn lines(&mut self, now: Duration) -> Vec<String> {
        let mut lines = self.out.read();
        lines.extend(self.err.read());
        if self.pipes().next().is_none() {
            self.quiet_at.get_or_insert(now);
        }
        lines
    }

    /// When it is to be looked at again, because it has to be killed or is about to end.
    pub(super) fn look_at(&self, now: Duration) -> Option<Duration> {
        let is_quiet = |at: &Duration| now.saturating_sub(*at) < QUIET_MAX;
        let quiet = self.quiet_at.filter(is_quiet);
        let quiet = quiet.map(|_| now.saturating_add(QUIET_LOOK));
        [self.kill_at, quiet].into_iter().flatten().min()
    }

    /// What came without an end of line.
    pub(super) fn rest(&mut self) -> Vec<String> {
        let rest = [self.out.lines.finish(), self.err.lines.finish()];
        rest.into_iter().flatten().collect()
    }

    /// Tells all of it to end; [`Running::kill_at`] is set.
    pub(super) fn end(&mut self, now: Duration) {
        if self.kill_at.is_none() {
            self.signal(Signal::SIGTERM);
            self.kill_at = Some(now.saturating_add(END_PATIENCE));
        }
    }

    /// Ends it at once and waits for that.
    pub(super) fn finish(mut self) {
        self.kill();
        let _ = self.child.wait();
    }

    /// Ends what is left of it.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        match self.child.try_wait() {
            Ok(Some(status)) => Some(how(status)),
            Ok(None) => None,
            // Somebody else waited for it; it is gone all the same.
            Err(_) => Some(Ended::Code(-1)),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.pid()) {
            // A group that is gone is what was wanted.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

fn how(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Code(-1),
    }
}

impl<P: Read + AsFd> Pipe<P> {
    fn new(end: Option<P>) -> Self {
        let end = end.filter(|end| fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok());
        Self {
            end,
            lines: Lines::default(),
        }
    }

    fn read(&mut self) -> Vec<String> {
        let mut buffer = [0; READ_OCTETS];
        let Some(end) = &mut self.end else {
            return Vec::new();
        };
        match end.read(&mut buffer) {
            Ok(amount) if amount > 0 => self.lines.take(buffer.get(..amount).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Vec::new()
            }
            Ok(_) | Err(_) => {
                self.end = None;
                Vec::new()
            }
        }
    }
}
