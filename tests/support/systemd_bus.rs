//! Plays: a system bus with systemd alone on it, which does what the script `systemctl` does.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use mtls_agent::wire::dbus::{Body, Kind, Message, texts};

const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/station_2eservice";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Listens on `socket` for as long as the test lives. `folder` has the script; without it systemd
/// is there and says nothing. Each answer takes its time, and comes in two pieces.
pub(crate) fn serve(socket: &Path, folder: Option<&Path>, delay: Duration) {
    let listener = UnixListener::bind(socket).unwrap();
    let folder = folder.map(Path::to_owned);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let folder = folder.clone();
            // A client that leaves in the middle is none of the test's business.
            thread::spawn(move || converse(stream.unwrap(), folder.as_deref(), delay));
        }
    });
}

fn converse(mut stream: UnixStream, folder: Option<&Path>, delay: Duration) -> Option<()> {
    let mut octets = Vec::new();
    line(&mut stream).filter(|line| line.starts_with("\0AUTH EXTERNAL "))?;
    stream
        .write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")
        .ok()?;
    line(&mut stream).filter(|line| line == "BEGIN")?;
    let mut buffer = [0; 4096];
    loop {
        while let Some((call, length)) = Message::read(&octets).unwrap() {
            octets.drain(..length);
            if let Some(answer) = answer(&call, folder) {
                let octets = answer.write();
                let (first, second) = octets.split_at(octets.len() / 2);
                stream.write_all(first).ok()?;
                thread::sleep(delay);
                stream.write_all(second).ok()?;
            }
        }
        let amount = stream.read(&mut buffer).ok().filter(|amount| *amount > 0)?;
        octets.extend_from_slice(&buffer[..amount]);
    }
}

fn line(stream: &mut UnixStream) -> Option<String> {
    let mut line = Vec::new();
    let mut octet = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut octet).ok()?;
        line.extend_from_slice(&octet);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).ok()
}

fn answer(call: &Message, folder: Option<&Path>) -> Option<Message> {
    assert_eq!(call.kind, Kind::Call);
    if call.member == "Hello" {
        return Some(call.answer(1).with(Body::default().text(":1.7")));
    }
    let folder = folder?;
    assert_eq!(call.destination, SYSTEMD);
    let words = texts(call);
    match (call.interface.as_str(), call.member.as_str()) {
        ("org.freedesktop.systemd1.Manager", "LoadUnit") => Some(Message {
            signature: "o".to_owned(),
            ..call.answer(2).with(Body::default().text(UNIT_PATH))
        }),
        ("org.freedesktop.systemd1.Manager", verb) => {
            assert_eq!(words[1], "replace");
            if words[0] != "station.service" {
                let name = "org.freedesktop.systemd1.NoSuchUnit";
                return Some(call.refusal(2, name, &format!("Unit {} not found.", words[0])));
            }
            let verb = verb.strip_suffix("Unit")?.to_lowercase();
            run(
                folder,
                &[&verb, "--no-block", "--no-ask-password", "--", &words[0]],
            );
            Some(Message {
                signature: "o".to_owned(),
                ..call
                    .answer(2)
                    .with(Body::default().text("/org/freedesktop/systemd1/job/9"))
            })
        }
        (PROPERTIES, "Get") => {
            assert_eq!(call.path, UNIT_PATH);
            let shown = run(folder, &["show", "--property=all", "--", "station.service"]);
            let shown: BTreeMap<_, _> = shown
                .lines()
                .filter_map(|line| line.split_once('='))
                .collect();
            Some(property(
                call,
                &words[0],
                &words[1],
                shown[words[1].as_str()],
            ))
        }
        _ => Some(call.refusal(
            2,
            "org.freedesktop.DBus.Error.UnknownMethod",
            "no such method",
        )),
    }
}

/// The types are those of org.freedesktop.systemd1(5).
fn property(call: &Message, interface: &str, name: &str, value: &str) -> Message {
    let number = || value.parse::<u32>().unwrap().to_le_bytes();
    let (whose, kind, octets) = match name {
        "ActiveState" => {
            let length = u32::try_from(value.len()).unwrap().to_le_bytes();
            ("Unit", b's', [&length, value.as_bytes(), b"\0"].concat())
        }
        "MainPID" => ("Service", b'u', number().to_vec()),
        _ => ("Service", b'i', number().to_vec()),
    };
    assert_eq!(interface, format!("{SYSTEMD}.{whose}"));
    Message {
        signature: "v".to_owned(),
        body: [&[1, kind, 0, 0], octets.as_slice()].concat(),
        ..call.answer(2)
    }
}

fn run(folder: &Path, words: &[&str]) -> String {
    let output = Command::new(folder.join("systemctl"))
        .args(words)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
