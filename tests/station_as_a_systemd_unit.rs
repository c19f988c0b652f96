//! Basic Station as a systemd unit, with a `systemctl` of the test's own in PATH: the unit is
//! started, watched, started again, and goes on when the agent ends.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at files, and ends when it cannot"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod station;
}

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mtls_lab::device::Service;
use serde_json::json;
use support::station::Scene;

/// Starts the station's script and remembers how it ended, as far as the agent asks.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> calls
pid=$(cat pid 2>/dev/null)
case $1 in
start)
    rm -f code
    sh -c './station & echo $! > pid; wait $!; echo $? > code' >/dev/null 2>&1 &
    until [ -s pid ] && [ "$(cat pid)" != "$pid" ]; do sleep 0.05; done ;;
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

struct Unit {
    scene: Scene,
    folder: PathBuf,
}

impl Unit {
    fn new(words: &str, systemctl: &str) -> Self {
        let mut scene = Scene::new("");
        let folder = scene.device.path("bin");
        fs::create_dir(&folder).unwrap();
        let (home, temp) = (scene.device.path("station"), scene.device.path("temp"));
        let program = scene.device.path("station.sh");
        let station = format!(
            "#!/bin/sh\nexec {} -h {} -t {} {words}\n",
            program.display(),
            home.display(),
            temp.display()
        );
        write(&folder.join("station"), &station);
        write(&folder.join("systemctl"), systemctl);
        scene.device.set("station.command", Vec::<String>::new());
        scene.device.set("station.unit", "station.service");
        Self { scene, folder }
    }

    fn serve(&self) -> Service {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.folder.display());
        self.scene.device.serve_with(&[("PATH", &path)])
    }

    fn pid(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join("pid")).ok()?;
        text.trim().parse().ok()
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.folder.join("calls")).unwrap_or_default()
    }

    fn kill(&self) {
        if let Some(pid) = self.pid() {
            let words = format!("kill -KILL {pid} 2>/dev/null");
            drop(Command::new("sh").args(["-c", &words]).status());
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn is_connected(service: &Service) -> bool {
    service.show("/lns/holder/connected") == json!(true)
}

#[test]
fn it_is_started_watched_and_started_again_and_outlives_the_agent() {
    let unit = Unit::new("", SYSTEMCTL);
    let mut service = unit.serve();
    service.until("watched", |service| {
        unit.pid().is_some() && service.show("/lns/holder/pid").as_u64() == unit.pid()
    });
    assert_eq!(service.count("station.service is started"), 1);
    let first = unit.pid();
    // Not yet connected, so that this is noticed within five seconds.
    unit.kill();
    service.until("started again", |service| {
        unit.pid() != first && service.show("/lns/holder/pid").as_u64() == unit.pid()
    });
    assert_eq!(service.count("station was killed by signal 9"), 1);
    service.until("connected", is_connected);
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(15)), Some(0));
    let pid = unit.pid().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    let calls = unit.calls();
    assert!(calls.contains("start --no-block --no-ask-password -- station.service"));
    assert!(!calls.contains("stop"), "{calls}");
}

#[test]
fn its_way_to_end_is_named_and_it_is_not_started_without_a_pause() {
    let unit = Unit::new("--code 6", SYSTEMCTL);
    let service = unit.serve();
    service.until("named", |service| {
        service.count("station ended with code 6 (another station is running already)") >= 3
    });
    let starts = unit.calls().matches("start --no-block").count();
    assert!((3..=5).contains(&starts), "{starts}");
}

#[test]
fn a_systemctl_that_hangs_holds_up_nothing_else() {
    let unit = Unit::new("", "#!/bin/sh\nexec sleep 600\n");
    let mut service = unit.serve();
    service.until("told", |service| {
        service.count("systemctl show") > 0 && service.show("/lns/holder/state") == json!("blocked")
    });
    let asked = Instant::now();
    assert_eq!(service.show("/cycle/current"), json!(1));
    assert!(asked.elapsed() < Duration::from_secs(5));
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(25)), Some(0));
}
