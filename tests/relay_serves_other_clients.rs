//! Clients that share no code with us: a WebSocket library of Python's, and a station that keeps
//! Basic Station's reconnect times.
//!
//! `tests/run relay` makes the environment that these tests need and names its interpreter in
//! `MTLS_PYTHON`.

#![cfg(feature = "daemon")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails, and names its programs"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use mtls_lab::device::EUI;
use mtls_lab::relay::{Scene, address, link};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

fn python(script: &str) -> Command {
    let python = std::env::var("MTLS_PYTHON").expect("MTLS_PYTHON names the interpreter");
    let mut command = Command::new(python);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/relay");
    command.arg(folder.join(script)).stdin(Stdio::null());
    command
}

/// A running station; it is killed when dropped.
struct Station {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Station {
    /// Every wait is a fiftieth of the real one.
    fn start(home: &Path) -> Self {
        let mut command = python("station.py");
        command.arg(home).args([EUI, "0.02"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&lines);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                said.lock().unwrap().push(line);
            }
        });
        Self { child, lines }
    }

    fn count(&self, text: &str) -> usize {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.starts_with(text)).count()
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
#[ignore = "needs Python: tests/run relay"]
fn a_foreign_websocket_library_is_served_over_loopback_and_a_unix_socket() {
    for is_unix in [false, true] {
        let mut scene = Scene::new(BINARY);
        if is_unix {
            let path = scene.device.path("lns.sock");
            scene
                .device
                .set("relay.listen", format!("unix:{}", path.display()));
        }
        let service = scene.serve();
        let mut command = python("client.py");
        let output = command.arg(address(&service)).arg(EUI).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{log}\n{}",
            service.lines().join("\n")
        );
    }
}

#[test]
#[ignore = "needs Python: tests/run relay"]
fn a_station_stays_configured_through_cuts_refusals_and_a_rotation() {
    let scene = Scene::new(BINARY);
    let service = scene.serve();
    let home = scene.device.path("other-home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("tc.uri"), format!("ws://{}", address(&service))).unwrap();
    let station = Station::start(&home);
    service.until("configured", |_| station.count("got router_config") == 1);
    scene.around.lns.cut(EUI);
    service.until("configured again", |_| {
        station.count("got router_config") == 2
    });
    scene.rotate(&service, "second");
    scene.around.lns.accept_tokens(["second"]);
    // The old connection lives on; only its end brings the station to the new key.
    assert_eq!(station.count("traffic ended"), 1);
    scene.around.lns.cut(EUI);
    service.until("configured with the new key", |_| {
        station.count("got router_config") == 3
    });
    let seen = scene.around.lns.connections();
    assert_eq!(seen.last().unwrap().token.as_deref(), Some("second"));
    // The LNS refuses; the station comes back by itself once the agent has another key.
    scene.around.lns.accept_tokens(["third"]);
    scene.around.lns.cut(EUI);
    service.until("the link waits", |service| link(service) == "waiting");
    scene.rotate(&service, "third");
    service.until("configured with the third key", |_| {
        station.count("got router_config") == 4
    });
    assert_eq!(station.count("discovery rejected"), 0);
}

#[test]
#[ignore = "needs Python: tests/run relay"]
fn the_station_itself_ends_over_a_bad_address() {
    let scene = Scene::new(BINARY);
    let home = scene.device.path("other-home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("tc.uri"), "https://localhost").unwrap();
    let mut command = python("station.py");
    assert_eq!(
        command.arg(&home).arg(EUI).output().unwrap().status.code(),
        Some(1)
    );
}
