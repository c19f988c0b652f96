//! Acts: clears what would keep station from starting well.
//!
//! Station leaves its pid file behind, and then takes any process with that number for
//! itself; and it runs a left-over `/tmp/update.bin` at each start, without asking who put it
//! there. `reference/cups-lns.md` sections 2 and 6.

use std::fs::{remove_file, symlink_metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};
use tracing::warn;

use super::child::MARK;
use super::watch::read_some;

/// Where station looks for an update at its start, whatever its command says.
const UPDATE: &str = "/tmp/update.bin";

/// Where its other temporary files are, unless its command says otherwise: the first, if it can
/// write there.
const TEMPORARY: [&str; 2] = ["/var/tmp", "/tmp"];

/// The value of station's option in its command: `-t DIR`, `-tDIR`, `--temp DIR`, `--temp=DIR`.
#[must_use]
pub(super) fn option<'a>(command: &'a [String], short: &str, long: &str) -> Option<&'a str> {
    let mut words = command.iter().skip(1);
    let mut found = None;
    while let Some(word) = words.next() {
        if word == short || word == long {
            found = words.next().map(String::as_str);
        } else if let Some(value) = word
            .strip_prefix(long)
            .and_then(|rest| rest.strip_prefix('='))
            .or_else(|| word.strip_prefix(short))
        {
            found = Some(value);
        }
    }
    found
}

/// The files in which station may have left its number; one folder counts twice.
#[must_use]
pub(super) fn pid_files(command: &[String]) -> [PathBuf; 2] {
    let own = option(command, "-t", "--temp");
    let folders = own.map_or(TEMPORARY, |own| [own; 2]);
    folders.map(|folder| Path::new(folder).join("station.pid"))
}

/// Removes a left-over update and stale pid files. The error says why station must not be
/// started now.
pub(super) fn clear(command: &[String]) -> Result<(), String> {
    match remove_file(UPDATE) {
        Ok(()) => warn!("removed {UPDATE}: station would have run it unchecked"),
        // Nobody can run a folder. Of one that is missing where nothing can be written, removal
        // says only the latter.
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory)
                || symlink_metadata(UPDATE).is_err_and(|why| why.kind() == ErrorKind::NotFound) => {
        }
        Err(error) => {
            return Err(format!(
                "station is not started, because it would run {UPDATE} unchecked, and that \
                 cannot be removed: {error}"
            ));
        }
    }
    for file in pid_files(command) {
        if is_stale(&file, command) {
            let removed = remove_file(&file).map_or("stays", |()| "removed");
            warn!("{removed}: {}, no station has that number", file.display());
        }
    }
    Ok(())
}

fn is_stale(file: &Path, command: &[String]) -> bool {
    let text = match read_some(file) {
        Ok(text) => text,
        Err(error) => return error.kind() == ErrorKind::InvalidData,
    };
    let Ok(pid) = text.trim().parse::<u32>() else {
        return true;
    };
    !is_station(pid, command).unwrap_or(false)
}

/// The station of an earlier agent that was killed, if it is still running: the process of
/// the pid file, if an agent with this very home has started it.
#[must_use]
pub(super) fn orphan(command: &[String], home: &Path) -> Option<Pid> {
    pid_files(command).iter().find_map(|file| {
        let text = read_some(file).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?);
        is_marked(pid, home).then_some(pid)
    })
}

/// Sends a signal to an orphan and to its group, if that is of the same agent.
pub(super) fn signal(orphan: Pid, home: &Path, signal: Signal) {
    // Whoever is gone is what was wanted.
    let _ = kill(orphan, signal);
    if let Some(group) = getpgid(Some(orphan)).ok().filter(|id| is_marked(*id, home)) {
        let _ = killpg(group, signal);
    }
}

/// What has ended and was not waited for has no environment any more.
fn is_marked(pid: Pid, home: &Path) -> bool {
    let mark = format!("{MARK}={}", home.display());
    let words = read_some(Path::new(&format!("/proc/{pid}/environ"))).unwrap_or_default();
    pid.as_raw() > 1 && words.split('\0').any(|word| word == mark)
}

/// Whether a process is a station, by its name or by its program.
fn is_station(pid: u32, command: &[String]) -> io::Result<bool> {
    // One that has ended, and that nobody waits for, keeps its name.
    let status = read_some(Path::new(&format!("/proc/{pid}/stat")))?;
    if status
        .rsplit(')')
        .next()
        .is_some_and(|rest| rest.starts_with(" Z"))
    {
        return Ok(false);
    }
    let name = read_some(Path::new(&format!("/proc/{pid}/comm")))?;
    let words = read_some(Path::new(&format!("/proc/{pid}/cmdline")))?;
    let own = command.first().map_or("station", |word| base(word));
    // The second word is the program where the first is an interpreter.
    let is_program = |word: &str| base(word) == own || base(word).starts_with("station");
    Ok(name.starts_with("station") || words.split('\0').take(2).any(is_program))
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::{option, pid_files};
    use std::path::PathBuf;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_temporary_folder_is_that_of_the_command() {
        for (text, expected) in [
            ("station -h /a", ["/var/tmp", "/tmp"]),
            ("station -t /b -h /a", ["/b"; 2]),
            ("station -t/c", ["/c"; 2]),
            ("station --temp /d", ["/d"; 2]),
            ("station --temp=/e", ["/e"; 2]),
            ("-t /x", ["/var/tmp", "/tmp"]),
            ("station -t", ["/var/tmp", "/tmp"]),
        ] {
            let files = expected.map(|folder| PathBuf::from(folder).join("station.pid"));
            assert_eq!(pid_files(&words(text)), files, "{text}");
        }
        assert_eq!(option(&words("s --home=/h"), "-h", "--home"), Some("/h"));
    }
}
