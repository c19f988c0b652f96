//! Mender's own mender-connect finds token and forwarder on the bus, opens its terminal channel
//! with the device's certificate, and comes back after the token was refused.
//!
//! `tests/run mender` fetches the program and names it in `MTLS_MENDER_CONNECT`.

#![cfg(all(feature = "dbus", feature = "mender"))]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that starts programs, and ends when its set-up fails"
)]

#[path = "mender_forwarder/stand.rs"]
#[expect(dead_code, reason = "most of it is for the tests beside this one")]
mod stand;

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mtls_agent::daemon::bus::Address;
use mtls_agent::daemon::mender::bus::{Bus, Shown};
use mtls_lab::device::Scratch;
use mtls_lab::mender::{At, Config, MenderDouble, Trouble};
use zeroize::Zeroizing;

use stand::Stand;

const CONNECT: &str = "/api/devices/v1/deviceconnect/connect";

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < limit, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What main does with a token.
fn publish(stand: &Stand, bus: &Bus, double: &MenderDouble) {
    let token = stand.token(&double.uri());
    stand.lend(&double.uri(), &token);
    bus.show(Shown {
        token: Zeroizing::new(token),
        url: stand.forwarder.url(),
        can_fetch: true,
    });
    bus.announce();
}

#[test]
#[ignore = "tests/run mender fetches mender-connect"]
fn mender_connect_holds_its_channel_through_the_forwarder() {
    let program = std::env::var_os("MTLS_MENDER_CONNECT").unwrap();
    let scratch = Scratch::new();
    let path = scratch.path().join("system-bus");
    let address = format!("unix:path={}", path.display());
    let _daemon = Running(
        Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile"])
            .arg(format!("--address={address}"))
            .spawn()
            .unwrap(),
    );
    let stand = Stand::new();
    let double = MenderDouble::start(Config::of(&stand.pki)).unwrap();
    let (_near, far) = UnixStream::pair().unwrap();
    let bus = Bus::start(Address::parse(&address).unwrap(), far).unwrap();
    until("the name", || bus.standing() == "ready");
    publish(&stand, &bus, &double);

    let config = scratch.path().join("mender-connect.conf");
    fs::write(&config, r#"{"ShellCommand":"/bin/sh","User":"root"}"#).unwrap();
    let _connect = Running(
        Command::new(program)
            .arg("--config")
            .arg(&config)
            .arg("daemon")
            .env("DBUS_SYSTEM_BUS_ADDRESS", &address)
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until("the channel", || double.connects().iter().any(|it| it.open));
    let requests = double.requests();
    let seen = requests
        .iter()
        .find(|it| it.request.path == CONNECT)
        .unwrap();
    assert!(seen.client.is_some());

    // The server ends the channel and refuses the token once: the forwarder gets another.
    double.trouble(At::Connect, 1, Trouble::Unauthorized(Some("unauthorized")));
    let before = double.connects().len();
    double.cut_connects();
    stand.refusal();
    publish(&stand, &bus, &double);
    until("the channel again", || {
        let connects = double.connects();
        connects.len() > before && connects.iter().any(|it| it.open)
    });
}
