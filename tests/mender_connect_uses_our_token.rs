//! Mender's own mender-connect, as Debian ships it, takes token and address from our name on the
//! bus and opens its connection through our forwarder: before or after us, and again by itself
//! when the server has ended the token and when we have renewed it.
//!
//! `tests/run mender` fetches it and names it in `MTLS_MENDER_CONNECT`.

#![cfg(all(feature = "dbus", feature = "mender"))]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends when its set-up fails; it names its programs and measures its waits"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod mender_device;
    pub(crate) mod system_bus;
}

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use mtls_lab::mender::{Connected, Frame, MenderDouble};
use serde_json::json;
use support::mender_device::{AUTH, Device, Running, asked};
use support::system_bus::{SystemBus, as_root};

const CONNECT: &str = "/api/devices/v1/deviceconnect/connect";

/// A device with a bus of its own, and the server.
struct Scene {
    device: Device,
    double: MenderDouble,
    bus: SystemBus,
}

impl Scene {
    fn new(name: &str) -> Self {
        let device = Device::new(name, "P-256", true);
        Self {
            double: device.ambassador(),
            bus: SystemBus::start(&device.dir),
            device,
        }
    }

    fn agent(&self) -> Running {
        Running::start(self.command(&["run"]))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut configuration = self.device.configuration(&self.double.uri());
        configuration["DBus"]["Enabled"] = json!(true);
        let mut command = self.device.agent(&configuration, &json!({}), words);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
        command
    }

    /// It is told no server: that comes over the bus.
    fn mender_connect(&self) -> Running {
        let file = self.device.dir.join("mender-connect.conf");
        let settings =
            json!({ "ShellCommand": "/bin/sh", "ShellArguments": ["-i"], "User": "root" });
        fs::write(&file, settings.to_string()).unwrap();
        let program = std::env::var("MTLS_MENDER_CONNECT");
        let mut command = as_root(&program.expect("MTLS_MENDER_CONNECT names it"));
        command.arg("--debug").arg("--config").arg(file);
        command.arg("--fallback-config").arg("/nonexistent");
        command.arg("daemon");
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
        Running::start(self.device.logged(command, "connect"))
    }

    fn token(&self) -> String {
        let said = self.bus.call(as_root("dbus-send"), "GetJwtToken");
        said.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The last connection, once there are so many.
    fn connected(&self, count: usize) -> Connected {
        self.device.until("connection", || {
            let connects = self.double.connects();
            connects.len() >= count && connects.last().is_some_and(|last| last.open)
        });
        let connected = self.double.connects().pop().unwrap();
        assert_eq!(connected.device, self.double.devices()[0].id);
        // The server sees the token that is current, and the device's certificate.
        let upgrade = asked(&self.double, CONNECT, 101).unwrap();
        let expected = format!("Bearer {}", self.token());
        assert_eq!(upgrade.request.header("authorization"), Some(&*expected));
        assert_eq!(upgrade.client.unwrap().subject, "CN=gateway,O=Example");
        connected
    }

    /// Both ways through the forwarder: a ping, and a line to a shell on the device.
    fn talks(&self) {
        let frames = || self.double.connects().pop().unwrap().frames;
        self.double
            .send_frame(&Frame::Ping(b"are you there".to_vec()));
        self.device.until("pong", || {
            frames().contains(&Frame::Pong(b"are you there".to_vec()))
        });
        self.double.send_frame(&Frame::Binary(message("new", b"")));
        self.device
            .until("shell", || !binaries(&frames()).is_empty());
        let line = b"echo answer is $((6 * 7))\n";
        self.double
            .send_frame(&Frame::Binary(message("shell", line)));
        self.device.until("output", || {
            let said = String::from_utf8_lossy(&binaries(&frames()).concat()).into_owned();
            said.contains("answer is 42")
        });
    }
}

fn binaries(frames: &[Frame]) -> Vec<Vec<u8>> {
    let octets = |frame: &Frame| match frame {
        Frame::Binary(octets) => Some(octets.clone()),
        _ => None,
    };
    frames.iter().filter_map(octets).collect()
}

/// `{hdr: {proto: 1, typ, sid: "one", props: {user_id: "one"}}, body}` as msgpack: the
/// terminal's protocol.
fn message(kind: &str, body: &[u8]) -> Vec<u8> {
    let text = |text: &str| {
        let mut octets = vec![0xa0 | u8::try_from(text.len()).unwrap()];
        octets.extend(text.as_bytes());
        octets
    };
    let mut octets = vec![0x82];
    octets.extend(text("hdr"));
    octets.push(0x84);
    octets.extend(text("proto"));
    octets.push(1);
    for (name, value) in [("typ", kind), ("sid", "one")] {
        octets.extend([text(name), text(value)].concat());
    }
    octets.extend(text("props"));
    octets.push(0x81);
    octets.extend([text("user_id"), text("one")].concat());
    octets.extend(text("body"));
    octets.extend([0xc4, u8::try_from(body.len()).unwrap()]);
    octets.extend(body);
    octets
}

#[test]
#[ignore = "needs mender-connect: tests/run mender"]
fn it_opens_its_connection_and_comes_back_with_each_new_token() {
    let scene = Scene::new("connect");
    let _agent = scene.agent();
    scene
        .device
        .until("token", || asked(&scene.double, AUTH, 200).is_some());
    let _connect = scene.mender_connect();
    scene.connected(1);
    scene.talks();

    // The server ends the token, and with it the connection.
    let set = scene.double.devices()[0].sets[0].id.clone();
    scene.double.delete_token(&set);
    scene.double.cut_connects();
    scene.connected(2);
    scene.talks();
    let requests = scene.double.requests();
    let granted: Vec<&str> = requests
        .iter()
        .filter(|seen| matches!(seen.status, Some(101)) || seen.request.path == AUTH)
        .map(|seen| seen.request.path.as_str())
        .collect();
    assert_eq!(granted, [AUTH, CONNECT, AUTH, CONNECT]);

    // A renewal while the connection lasts: it hears of it and takes the new token.
    let refreshed = scene.command(&["refresh"]).status().unwrap();
    assert!(refreshed.success(), "{}", scene.device.log());
    scene.connected(3);
    scene.talks();
    let open = |connected: &&Connected| connected.open;
    scene.device.until("end of the former one", || {
        scene.double.connects().iter().filter(open).count() == 1
    });
}

#[test]
#[ignore = "needs mender-connect: tests/run mender"]
fn one_that_was_there_first_connects_when_the_agent_has_come() {
    let scene = Scene::new("before");
    let _connect = scene.mender_connect();
    // It has asked in vain by then.
    thread::sleep(Duration::from_secs(2));
    assert!(scene.double.requests().is_empty());
    let _agent = scene.agent();
    scene.connected(1);
    scene.talks();
}
