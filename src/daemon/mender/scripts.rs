//! Acts: runs the identity and inventory scripts, each within its time and its octets.
//!
//! A script runs in a process group of its own, so that what it has started ends with it when
//! its time is up. `reference/mender.md` sections 2.5 and 3.1.

use core::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::daemon::clock::Cutoff;
use crate::limits::{SCRIPT_OCTETS_MAX, SCRIPT_PATIENCE, SCRIPTS_MAX};
use crate::wire::cups::stack_error::printable;

/// What inventory scripts are called.
const PREFIX: &str = "mender-inventory-";
/// How often a silent script is looked at: what it has left in the background may hold its
/// output open after its end.
const LOOK_EVERY_MS: u16 = 50;
/// Octets of its complaints that are kept.
const COMPLAINT_OCTETS_MAX: usize = 400;

/// Why a script gave nothing.
#[derive(Debug)]
pub enum ScriptError {
    /// It could not be started.
    NotStarted(io::Error),
    /// Its time was up; it was killed.
    TooSlow,
    /// It wrote more than is read; it was killed.
    TooLong,
    /// It ended with a failure, and with these last words.
    Failed(ExitStatus, String),
    /// Its output could not be read.
    Unreadable(io::Error),
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => write!(f, "cannot be started: {error}"),
            Self::TooSlow => write!(f, "took longer than {} s", SCRIPT_PATIENCE.as_secs()),
            Self::TooLong => write!(f, "wrote more than {SCRIPT_OCTETS_MAX} octets"),
            Self::Failed(status, words) if words.is_empty() => write!(f, "failed: {status}"),
            Self::Failed(status, words) => write!(f, "failed: {status}: {words}"),
            Self::Unreadable(error) => write!(f, "its output cannot be read: {error}"),
        }
    }
}

impl core::error::Error for ScriptError {}

/// Runs a script without arguments and gives back what it wrote. May take 10 seconds.
pub fn run(path: &Path) -> Result<Vec<u8>, ScriptError> {
    let child = Command::new(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(ScriptError::NotStarted)?;
    let mut running = Running { child };
    let mut out = running.child.stdout.take();
    let mut err = running.child.stderr.take();
    for fd in [
        out.as_ref().map(|pipe| pipe.as_fd()),
        err.as_ref().map(|pipe| pipe.as_fd()),
    ] {
        let set = |fd| fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        fd.map_or(Ok(0), set)
            .map_err(|errno| ScriptError::Unreadable(errno.into()))?;
    }
    let cutoff = Cutoff::after(SCRIPT_PATIENCE);
    let (mut said, mut complaint) = (Vec::new(), Vec::new());
    let status = loop {
        cutoff.left().ok_or(ScriptError::TooSlow)?;
        take(&mut out, &mut said)?;
        take(&mut err, &mut complaint)?;
        if said.len() > SCRIPT_OCTETS_MAX {
            return Err(ScriptError::TooLong);
        }
        complaint.truncate(COMPLAINT_OCTETS_MAX);
        let ended = running.child.try_wait().map_err(ScriptError::Unreadable)?;
        if let Some(status) = ended {
            // What it wrote last may have come between the reading and its end.
            take(&mut out, &mut said)?;
            take(&mut err, &mut complaint)?;
            break status;
        }
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(2);
        fds.extend(
            out.iter()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
        );
        fds.extend(
            err.iter()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
        );
        // Interrupted or not, the next round looks.
        let _ = poll(&mut fds, LOOK_EVERY_MS);
    };
    if !status.success() {
        let words = printable(&String::from_utf8_lossy(&complaint), COMPLAINT_OCTETS_MAX);
        return Err(ScriptError::Failed(status, words));
    }
    Ok(said)
}

/// The inventory scripts of a folder in the order of their names: executable files whose names
/// begin with `mender-inventory-`. None where there is no such folder.
#[must_use]
pub fn inventory_scripts(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_script(path))
        .collect();
    paths.sort();
    paths.truncate(SCRIPTS_MAX);
    paths
}

fn is_script(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX)
        && path
            .metadata()
            .is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

/// Reads what is there; the pipe is dropped at its end.
fn take(pipe: &mut Option<impl io::Read>, into: &mut Vec<u8>) -> Result<(), ScriptError> {
    let Some(reader) = pipe else { return Ok(()) };
    // One octet beyond the bound tells that it is one.
    let room = SCRIPT_OCTETS_MAX
        .saturating_add(1)
        .saturating_sub(into.len());
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    match reader.take(limit).read_to_end(into) {
        Ok(_) if room > 0 && into.len() <= SCRIPT_OCTETS_MAX => *pipe = None,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(ScriptError::Unreadable(error)),
    }
    Ok(())
}

/// A script that runs; it does not outlive this.
struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // Also after its end: what it has left in the background holds the pipes.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test that writes the scripts it runs"
    )]

    use super::{ScriptError, inventory_scripts, run};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn script(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn run_patiently(path: &Path) -> Result<Vec<u8>, ScriptError> {
        loop {
            match run(path) {
                // Another test's child held the file open for writing for a moment.
                Err(ScriptError::NotStarted(error))
                    if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                done => return done,
            }
        }
    }

    #[test]
    fn the_output_of_a_script_is_what_it_wrote() {
        let folder = Folder::new("scripts-output");
        let script = folder.script("id", "echo mac=02:00:00:00:00:01; echo noise >&2", 0o755);
        assert_eq!(run_patiently(&script).unwrap(), b"mac=02:00:00:00:00:01\n");
    }

    #[test]
    fn a_script_that_fails_is_told_with_its_last_words() {
        let folder = Folder::new("scripts-failure");
        let script = folder.script("id", "echo no such interface >&2; exit 3", 0o755);
        let error = run_patiently(&script).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed: exit status: 3: no such interface"
        );
        let error = run(&folder.0.join("missing")).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot be started"),
            "{error}"
        );
    }

    #[test]
    fn a_script_that_writes_without_end_is_stopped() {
        let folder = Folder::new("scripts-endless");
        let script = folder.script(
            "id",
            "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaa=b; done",
            0o755,
        );
        assert!(matches!(run_patiently(&script), Err(ScriptError::TooLong)));
    }

    #[test]
    fn what_a_script_leaves_in_the_background_does_not_hold_it_up() {
        let folder = Folder::new("scripts-background");
        let script = folder.script("id", "sleep 600 & echo a=b", 0o755);
        assert_eq!(run_patiently(&script).unwrap(), b"a=b\n");
    }

    #[test]
    fn inventory_scripts_are_executable_files_with_the_prefix_in_order() {
        let folder = Folder::new("scripts-list");
        folder.script("mender-inventory-b", "", 0o755);
        folder.script("mender-inventory-a", "", 0o755);
        folder.script("mender-inventory-c", "", 0o644);
        folder.script("other", "", 0o755);
        fs::create_dir(folder.0.join("mender-inventory-d")).unwrap();
        let names: Vec<String> = inventory_scripts(&folder.0)
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["mender-inventory-a", "mender-inventory-b"]);
        assert!(inventory_scripts(Path::new("/nowhere")).is_empty());
    }
}
