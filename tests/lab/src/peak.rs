//! Runs a program and notes how much memory it has when it ends, to the page.
//!
//! `ru_maxrss`, which /usr/bin/time prints, and `VmHWM` come from counters that each processor
//! keeps for itself and settles now and then: runs of one program that have the same pages differ
//! by 5 % there. The pages themselves are counted here, by the kernel's walk through the page
//! tables (`smaps_rollup`, proc(5)), while the program is held at its exit. What it had given
//! back before is not in it.
//!
//! Two figures: all that is mapped, and what is the program's own. The rest are pages of files,
//! program and libraries: how many of them are mapped around those in use depends on what the
//! page cache has, and on where the loader puts them.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::Command;

use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Failure;

/// Adds a line with both figures, kB, to `file`; the exit code is the program's, 128 and more for a signal.
pub(crate) fn run(file: &str, program: &str, words: &[String]) -> Result<u8, Failure> {
    let failed = |what: &str, why: &str| Failure::Work(format!("{program}: {what}: {why}"));
    // It waits to be taken hold of: a short life would be over before.
    let child = Command::new("/bin/sh")
        .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\"", program])
        .args(words)
        .spawn()
        .map_err(|error| failed("cannot be started", &error.to_string()))?;
    let pid = Pid::from_raw(child.id().try_into().unwrap_or(0));
    waitpid(pid, Some(WaitPidFlag::WUNTRACED))
        .and_then(|_| ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT))
        .and_then(|()| kill(pid, Signal::SIGCONT))
        .map_err(|error| failed("cannot be traced", error.desc()))?;
    loop {
        let went_on = match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code.try_into().unwrap_or(u8::MAX)),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(128_u8.saturating_add((signal as i32).try_into().unwrap_or(127)));
            }
            Ok(WaitStatus::PtraceEvent(_, _, event)) => {
                if event == Event::PTRACE_EVENT_EXIT as i32 {
                    note(file, pid).map_err(|why| failed("its memory", &why))?;
                }
                ptrace::cont(pid, None)
            }
            Ok(WaitStatus::Stopped(_, signal)) => ptrace::cont(pid, signal),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        went_on.map_err(|error| failed("cannot be waited for", error.desc()))?;
    }
}

fn note(file: &str, pid: Pid) -> Result<(), String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let figure = |name: &str| {
        let mut lines = text.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
            .ok_or_else(|| format!("{path} has no {name}"))
    };
    let (resident, own) = (figure("Rss:")?, figure("Anonymous:")?);
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .map_err(|error| format!("{file}: {error}"))?;
    // One write: others add their lines to the same file.
    file.write_all(format!("{resident} {own}\n").as_bytes())
        .map_err(|error| error.to_string())
}
