//! With the policy file that we ship, the bus of a device lets the agent's user and root own the
//! name, root alone ask for the token, and refuses both to any other user.

#![cfg(all(feature = "dbus", feature = "mender"))]
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that waits for other processes, and ends when its set-up fails"
)]

#[expect(dead_code, reason = "another test uses the rest")]
mod support {
    pub(crate) mod system_bus;
}

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use mtls_agent::daemon::bus::Address;
use mtls_agent::daemon::mender::bus::{Bus, Shown};
use mtls_lab::device::Scratch;
use mtls_lab::skip::skipped;
use support::system_bus::{SystemBus, are_we_root, as_root};

fn bus(daemon: &SystemBus) -> (Bus, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let bus = Bus::start(Address::parse(&daemon.address()).unwrap(), far).unwrap();
    bus.show(Shown {
        token: "header.claims.signature".to_owned().into(),
        url: "http://127.0.0.1:4711".to_owned(),
        can_fetch: true,
    });
    (bus, near)
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..400 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

/// A program as a user who is not root.
fn as_nobody(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

#[test]
fn root_owns_the_name_and_asks_and_another_user_does_neither() {
    if !are_we_root() {
        // A bus in a namespace takes us for root, as whom we do not introduce ourselves.
        return skipped("who may what on the bus", "only root can be several users");
    }
    let scratch = Scratch::new();
    // Everybody must come as far as the socket.
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = SystemBus::start(scratch.path());
    let (bus, _wake) = bus(&daemon);
    until("ready", || bus.standing() == "ready");
    let said = daemon.call(as_root("dbus-send"), "GetJwtToken");
    assert!(said.contains("header.claims.signature"), "{said}");
    for method in ["GetJwtToken", "FetchJwtToken"] {
        let said = daemon.call(as_nobody("dbus-send"), method);
        assert!(said.contains("AccessDenied"), "{said}");
    }
    assert!(!bus.take_wish());
    let said = requested(&daemon, as_nobody("dbus-send"));
    assert!(said.contains("AccessDenied"), "{said}");
    assert_eq!(bus.standing(), "ready");
}

/// What the bus says to a user who wants to own the name.
fn requested(daemon: &SystemBus, mut dbus_send: Command) -> String {
    let output = dbus_send
        .arg(format!("--bus={}", daemon.address()))
        .args(["--print-reply", "--dest=org.freedesktop.DBus", "/"])
        .arg("org.freedesktop.DBus.RequestName")
        .args(["string:io.mender.AuthenticationManager", "uint32:2"])
        .output()
        .unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn the_user_of_the_unit_owns_the_name_beside_the_policy_of_mender_and_may_not_ask() {
    if !are_we_root() {
        skipped(
            "the user's right to the name",
            "only root can be several users",
        );
        return;
    }
    let scratch = Scratch::new();
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = SystemBus::start_beside_mender(scratch.path(), "nobody");
    let said = requested(&daemon, as_nobody("dbus-send"));
    // 1: it is the owner now.
    assert!(said.contains("uint32 1"), "{said}");
    let (bus, _wake) = bus(&daemon);
    until("ready", || bus.standing() == "ready");
    let said = daemon.call(as_nobody("dbus-send"), "GetJwtToken");
    assert!(said.contains("AccessDenied"), "{said}");
}
