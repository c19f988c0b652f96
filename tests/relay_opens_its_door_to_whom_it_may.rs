//! Who may not come in stays out and is named; the door itself is nobody else's.

#![cfg(feature = "daemon")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends when its set-up fails, starts itself as another user, and says when it is not root"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use mtls_lab::device::Scratch;
use mtls_lab::relay::{Scene, figure, head};
use mtls_lab::skip::skipped;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

#[test]
fn a_user_who_is_not_listed_is_sent_away_and_told_of_once() {
    const NAME: &str = "a_user_who_is_not_listed_is_sent_away_and_told_of_once";
    const NOBODY: u32 = 65_534;
    if let Ok(path) = std::env::var("MTLS_RELAY_KNOCK") {
        return knock(&path);
    }
    let open = Scratch::new();
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = open.path().join("lns.sock");
    // Nobody else may be able to look into the folder of the build.
    let ourselves = open.path().join("knock");
    std::fs::copy(std::env::current_exe().unwrap(), &ourselves).unwrap();
    let mut scene = Scene::new(BINARY);
    scene
        .device
        .set("relay.listen", format!("unix:{}", path.display()));
    let service = scene.serve();
    let come = |expected: &str| {
        let mut command = Command::new(&ourselves);
        command.args(["--exact", NAME, "--nocapture"]).uid(NOBODY);
        command
            .env("MTLS_RELAY_KNOCK", &path)
            .env("MTLS_RELAY_EXPECT", expected);
        command.current_dir("/").status()
    };
    match come("") {
        Err(error) => return skipped(NAME, &format!("it needs root: {error}")),
        Ok(status) => assert!(status.success(), "nobody was let in"),
    }
    assert!(come("").unwrap().success(), "nobody was let in");
    service.until("both counted", |service| {
        figure(service, "turned_away") == 2
    });
    service.says_once("the relay sent a user away");
    assert_eq!(service.count("65534"), 1, "the user is named");
    drop(service);
    scene.device.set("relay.users", json!([NOBODY.to_string()]));
    let service = scene.serve();
    assert!(
        come("HTTP/1.1 101 ").unwrap().success(),
        "a listed user was sent away"
    );
    assert_eq!(figure(&service, "turned_away"), 0);
}

/// What the other user does: asks for discovery and looks at the answer's beginning.
fn knock(path: &str) {
    let expected = std::env::var("MTLS_RELAY_EXPECT").unwrap();
    let mut stream = UnixStream::connect(path).unwrap();
    // Whoever is sent away may be gone before this.
    let _ = stream.write_all(head("/router-info").as_bytes());
    let mut answer = vec![0; expected.len().max(1)];
    let came = stream.read(&mut answer).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&answer[..came]), expected);
}

#[test]
fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let mut scene = Scene::new(BINARY);
    let path = scene.device.path("lns.sock");
    scene
        .device
        .set("relay.listen", format!("unix:{}", path.display()));
    // Dropped, it is killed and leaves its socket.
    drop(scene.serve());
    assert!(path.exists());
    let service = scene.serve();
    drop(UnixStream::connect(&path).unwrap());
    drop(service);
    std::fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    let ran = scene.device.run("run");
    assert_ne!(ran.code, Some(0));
    assert!(ran.log.contains("lns.sock"), "{}", ran.log);
    drop(UnixStream::connect(&path).unwrap());
    drop(other);
}

#[test]
fn a_port_that_is_taken_is_named_at_the_start() {
    let mut scene = Scene::new(BINARY);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    scene.device.set("relay.listen", taken.as_str());
    let ran = scene.device.run("run");
    assert_ne!(ran.code, Some(0));
    assert!(ran.log.contains(&taken), "{}", ran.log);
}
