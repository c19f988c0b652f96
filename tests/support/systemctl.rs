//! Plays: `systemctl`, for one unit that is a station.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Starts the station's script and remembers how it ended, as far as the agent asks.
pub(crate) const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> calls
pid=$(cat pid 2>/dev/null)
start() {
    rm -f code
    sh -c './station & echo $! > pid; wait $!; echo $? > code' >/dev/null 2>>log &
    until [ -s pid ] && [ "$(cat pid)" != "$pid" ]; do sleep 0.05; done
}
stop() {
    [ -n "$pid" ] || return
    kill "$pid"
    while [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.05; done
}
case $1 in
start) start ;;
stop) stop ;;
restart) stop; start ;;
show)
    if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then
        printf 'MainPID=%s\nExecMainCode=0\nExecMainStatus=0\nActiveState=active\n' "$pid"
    elif [ -s code ] && [ "$(cat code)" -gt 128 ]; then
        printf 'MainPID=0\nExecMainCode=2\nExecMainStatus=%s\nActiveState=failed\n' $(($(cat code) - 128))
    elif [ -s code ]; then
        printf 'MainPID=0\nExecMainCode=1\nExecMainStatus=%s\nActiveState=failed\n' "$(cat code)"
    else
        printf 'MainPID=0\nExecMainCode=0\nExecMainStatus=0\nActiveState=inactive\n'
    fi ;;
esac
"#;

/// Follows what the unit says.
const JOURNALCTL: &str = "#!/bin/sh\necho \"$*\" >> \"$(dirname \"$0\")/journal-calls\"\nexec tail -n 0 -f \"$(dirname \"$0\")/log\"\n";

/// A folder with `systemctl` and the program of its unit; the unit is killed when dropped.
pub(crate) struct Systemd {
    pub(crate) folder: PathBuf,
}

impl Systemd {
    /// `station` is the command line of the unit.
    pub(crate) fn new(folder: PathBuf, systemctl: &str, station: &str) -> Self {
        fs::create_dir(&folder).unwrap();
        write(
            &folder.join("station"),
            &format!("#!/bin/sh\nexec {station}\n"),
        );
        write(&folder.join("systemctl"), systemctl);
        write(&folder.join("journalctl"), JOURNALCTL);
        write(&folder.join("log"), "");
        Self { folder }
    }

    /// The process of the unit.
    pub(crate) fn pid(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join("pid")).ok()?;
        text.trim().parse().ok()
    }

    /// What `systemctl` was called with, a line each.
    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(self.folder.join("calls")).unwrap_or_default()
    }

    /// How often it was called with this verb.
    pub(crate) fn count(&self, verb: &str) -> usize {
        let calls = self.calls();
        calls
            .lines()
            .filter(|call| call.split(' ').next() == Some(verb))
            .count()
    }

    pub(crate) fn kill(&self) {
        if let Some(pid) = self.pid() {
            let words = format!("kill -KILL {pid} 2>/dev/null");
            drop(Command::new("sh").args(["-c", &words]).status());
        }
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
