//! Acts: station as a systemd unit, through `systemctl` or the bus, ten seconds for each question.

use core::time::Duration;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::rules::Ended;
use crate::config::UnitControl;
#[cfg(feature = "dbus")]
use crate::daemon::bus::Address;
use crate::daemon::clock::Cutoff;
use crate::wire::cups::stack_error::printable;

/// Longest call: systemd answers at once or has trouble of its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// Octets of an answer that are read.
const ANSWER_OCTETS_MAX: usize = 4096;

const PROPERTIES: &str = "--property=MainPID,ActiveState,ExecMainCode,ExecMainStatus";

/// The way to systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// This program, for each call.
    Systemctl(PathBuf),
    /// A connection to the system bus, for each call: they are rare.
    #[cfg(feature = "dbus")]
    Bus(Address),
}

impl Control {
    /// What the configuration says.
    #[must_use]
    pub(super) fn of(control: UnitControl) -> Self {
        match control {
            UnitControl::Systemctl => Self::Systemctl(PathBuf::from("systemctl")),
            #[cfg(feature = "dbus")]
            UnitControl::Dbus => Self::Bus(Address::from_environment()),
        }
    }

    /// Asks for the state of a unit.
    pub(super) fn show(&self, unit: &str) -> Result<State, String> {
        match self {
            Self::Systemctl(program) => {
                ask(program, &["show", PROPERTIES, "--", unit]).map(|text| read(&text))
            }
            #[cfg(feature = "dbus")]
            Self::Bus(address) => super::unit_by_bus::show(address, unit),
        }
    }

    /// Does it, without waiting for it to be done.
    pub(super) fn act(&self, verb: Verb, unit: &str) -> Result<(), String> {
        match self {
            Self::Systemctl(program) => {
                let words = [verb.name(), "--no-block", "--no-ask-password", "--", unit];
                ask(program, &words).map(drop)
            }
            #[cfg(feature = "dbus")]
            Self::Bus(address) => super::unit_by_bus::act(address, verb, unit),
        }
    }
}

/// What is done with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// What systemd says of the unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    /// Its main process, if it has one.
    pub(super) pid: Option<u32>,
    /// `active`, `inactive`, `failed`, `activating` ...
    pub(super) active: String,
    /// How the last main process ended, if one has.
    pub(super) ended: Option<Ended>,
}

impl State {
    /// Whether systemd has done with it: nobody starts it again unless asked to.
    #[must_use]
    pub(super) fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }
}

/// Reads what `systemctl show` prints.
#[must_use]
pub(super) fn read(text: &str) -> State {
    let value = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<i32>().ok());
    let ended = ended(number("ExecMainCode"), number("ExecMainStatus"));
    State {
        pid: value("MainPID")
            .and_then(|text| text.parse().ok())
            .filter(|pid| *pid != 0),
        active: value("ActiveState").unwrap_or("unknown").to_owned(),
        ended,
    }
}

/// How a main process ended, from systemd's two numbers; `None`: it has not, or there was none.
pub(super) fn ended(code: Option<i32>, status: Option<i32>) -> Option<Ended> {
    match code {
        // CLD_EXITED, CLD_KILLED, CLD_DUMPED.
        Some(1) => status.map(Ended::Code),
        Some(2 | 3) => status.map(Ended::Signal),
        _ => None,
    }
}

fn ask(systemctl: &Path, words: &[&str]) -> Result<String, String> {
    let named = |why: &str| format!("systemctl {}: {why}", words.join(" "));
    let mut child = Command::new(systemctl)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| named(&error.to_string()))?;
    let cutoff = Cutoff::after(PATIENCE);
    let out = child.stdout.take();
    let told = child.stderr.take();
    let answer = collect(out, cutoff).and_then(|out| Ok((out, collect(told, cutoff)?)));
    let is_good = wait(&mut child, cutoff);
    match (answer, is_good) {
        (Ok((out, _)), Some(true)) => Ok(out),
        (Ok((_, told)), Some(false)) => Err(named(&printable(&told, 200))),
        (Err(error), _) => Err(named(&error.to_string())),
        (_, None) => Err(named("no answer in time")),
    }
}

/// Everything from a pipe up to its end, a bound or the deadline.
fn collect<P: Read + AsFd>(pipe: Option<P>, cutoff: Cutoff) -> io::Result<String> {
    let Some(mut pipe) = pipe else {
        return Ok(String::new());
    };
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut all = Vec::new();
    let mut buffer = [0; 1024];
    while all.len() < ANSWER_OCTETS_MAX {
        let Some(left) = cutoff.left() else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], wait)?;
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(amount) => all.extend_from_slice(buffer.get(..amount).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// Whether it succeeded; `None` if it had to be killed.
fn wait(child: &mut Child, cutoff: Cutoff) -> Option<bool> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status.success());
        }
        if cutoff.left().is_none() {
            // Both can only fail if it has ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        // Its pipes are closed, so it is about to end.
        let _ = poll(&mut [], PollTimeout::from(10_u8));
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, State, read};

    #[test]
    fn what_systemd_prints_is_read() {
        let text = "MainPID=812\nActiveState=active\nExecMainCode=0\nExecMainStatus=0\n";
        let expected = State {
            pid: Some(812),
            active: "active".to_owned(),
            ended: None,
        };
        assert_eq!(read(text), expected);
        assert!(!read(text).is_down());
    }

    #[test]
    fn the_end_of_the_main_process_is_read() {
        let text = "MainPID=0\nActiveState=failed\nExecMainCode=1\nExecMainStatus=6\n";
        let state = read(text);
        assert_eq!((state.pid, state.ended), (None, Some(Ended::Code(6))));
        assert!(state.is_down());
        let state = read("ExecMainStatus=9\nExecMainCode=2");
        assert_eq!(state.ended, Some(Ended::Signal(9)));
        assert_eq!(state.active, "unknown");
        assert!(!read("").is_down());
    }
}
