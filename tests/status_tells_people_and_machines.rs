//! The status of a running agent reads well for people, scripts and Prometheus.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at files, and ends when its set-up fails"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mtls_lab::device::{Device, MenderDevice, Scratch, Service, Surroundings};
use mtls_lab::mender::{Config, MenderDouble};
use mtls_lab::pki::Pki;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

struct Scene {
    device: Device,
    _around: Surroundings,
    _scratch: Scratch,
}

fn scene() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    around.offer("first-key-of-this-gateway");
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    let textfile = device.path("run/agent.prom");
    device.set("status.textfile", textfile.to_str().unwrap());
    Scene {
        device,
        _around: around,
        _scratch: scratch,
    }
}

fn in_use(service: &Service) -> bool {
    service.show("/current/number").is_u64()
}

#[test]
fn one_screen_one_object_and_the_metrics_say_the_same() {
    let scene = scene();
    let service = scene.device.serve();
    service.until("in use", in_use);
    let number = service.show("/current/number");
    let screen = scene.device.run("status").out;
    assert!(screen.lines().count() <= 24, "{screen}");
    assert!(
        screen.lines().all(|line| line.chars().count() <= 80),
        "{screen}"
    );
    for name in ["service", "identity", "cycle", "last", "set", "next"] {
        assert!(
            screen.lines().any(|line| line.starts_with(name)),
            "{screen}"
        );
    }
    assert!(screen.contains("0123456789ABCDEF"), "{screen}");
    let object: Value = serde_json::from_str(&scene.device.run("status --json").out).unwrap();
    assert_eq!(object["current"]["number"], number);
    let metrics = scene.device.run("status --metrics").out;
    let line = format!("\nmtls_agent_set_number {number}\n");
    assert!(metrics.contains(&line), "{metrics}");
    assert!(metrics.contains("eui=\"0123456789ABCDEF\""), "{metrics}");
    lint(&metrics);
}

/// The rules of Prometheus' text format, and those that `promtool check metrics` adds.
fn lint(text: &str) {
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let mut described = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line
            .strip_prefix("# HELP ")
            .unwrap()
            .split_once(' ')
            .unwrap();
        assert!(!help.is_empty() && !described.contains(&name), "{line}");
        described.push(name);
        let fits = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        assert!(name.chars().all(fits), "{name}");
        let type_line = lines.next().unwrap();
        let kind = type_line.strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert_eq!((kind == "counter"), name.ends_with("_total"), "{type_line}");
        let words: Vec<&str> = name.split('_').collect();
        for unit in [
            "s", "ms", "sec", "secs", "minutes", "min", "hours", "days", "kib", kind,
        ] {
            assert!(!words.contains(&unit), "{name}: {unit}");
        }
        while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
            let rest = sample.strip_prefix(name).unwrap();
            assert!(rest.starts_with([' ', '{']), "{sample}");
            let number = rest.rsplit(' ').next().unwrap();
            assert!(number.parse::<f64>().is_ok(), "{sample}");
        }
    }
    assert!(described.len() > 8, "{described:?}");
}

#[test]
fn a_folder_for_the_metrics_that_is_missing_is_told_once_with_its_path() {
    let mut scene = scene();
    let path = scene.device.path("none/agent.prom");
    scene.device.set("status.textfile", path.to_str().unwrap());
    let service = scene.device.serve();
    service.until("in use", in_use);
    let told = format!("status.textfile {} cannot be written", path.display());
    service.until("told", |service| service.count(&told) == 1);
}

#[test]
fn the_file_of_metrics_is_there_while_the_agent_runs() {
    let scene = scene();
    let path = scene.device.path("run/agent.prom");
    let mut service = scene.device.serve();
    service.until("written", |_| path.exists());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\nmtls_agent_up 1\n"), "{text}");
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(5)), Some(0));
    assert!(!path.exists());
}

#[test]
fn what_cannot_be_written_is_not_reported_as_done() {
    let scene = scene();
    let service = scene.device.serve();
    service.until("in use", in_use);
    for words in [
        "status",
        "status --json",
        "status --metrics",
        "status --watch",
        "check",
        "credentials",
    ] {
        let ran = Command::new(BINARY)
            .args(words.split(' '))
            .arg("--config")
            .arg(scene.device.path("agent.json"))
            .stdout(fs::File::create("/dev/full").unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains("cannot write the output"), "{words}: {said}");
    }
}

#[test]
fn a_link_that_was_never_tried_is_off_since_the_agent_runs() {
    let mut scene = scene();
    scene.device.set("cups.uri", "https://localhost:1");
    scene.device.set("lns.mode", "session");
    let start = Instant::now();
    let service = scene.device.serve();
    service.until("off", |service| service.show("/lns/link/state") == "off");
    let off_s = service.show("/lns/link/state_s").as_u64().unwrap();
    assert!(off_s <= start.elapsed().as_secs() + 1, "{off_s} s");
}

#[test]
fn watching_ends_with_the_agent_and_leaves_a_pipe_unadorned() {
    let scene = scene();
    let mut service = scene.device.serve();
    service.until("in use", in_use);
    let mut watching = Command::new(BINARY)
        .args(["status", "--watch", "--json", "--config"])
        .arg(scene.device.path("agent.json"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut out = BufReader::new(watching.stdout.take().unwrap());
    out.read_line(&mut text).unwrap();
    service.signal("TERM");
    service.wait(Duration::from_secs(5));
    let first: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(first["service"], json!("cups"));
    out.read_to_string(&mut text).unwrap();
    assert!(watching.wait().unwrap().success());
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn an_agent_that_is_only_silent_is_not_said_to_have_ended() {
    let scene = scene();
    let service = scene.device.serve();
    service.until("in use", in_use);
    service.signal("STOP");
    let status = scene.device.run("status");
    assert_eq!(status.code, Some(1), "{}", status.log);
    service.signal("CONT");
    let mut watching = Command::new(BINARY)
        .args(["status", "--watch", "--config"])
        .arg(scene.device.path("agent.json"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut out = BufReader::new(watching.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    service.signal("STOP");
    let ended = watching.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("no agent answers"), "{said}");
}

#[cfg(feature = "mender")]
#[test]
fn a_device_at_mender_is_shown_to_people_and_to_machines() {
    let scratch = Scratch::new();
    let pki = Pki::make(&scratch.path().join("pki"), "0123456789ABCDEF");
    let server = MenderDouble::start(Config::of(&pki)).unwrap();
    let mut device = MenderDevice::new(BINARY, &pki);
    device.server(&server.uri());
    device.set("mender.inventory", "on");
    let textfile = device.path("agent.prom");
    device.set("status.textfile", textfile.to_str().unwrap());
    let service = device.serve();
    service.until("sent", |service| {
        service.show("/cycle/inventory/state") == "up_to_date"
    });
    let screen = device.run("status").out;
    assert!(screen.lines().count() <= 24, "{screen}");
    assert!(
        screen.lines().all(|line| line.chars().count() <= 80),
        "{screen}"
    );
    let key = service.show("/identity/key_sha256");
    let key: String = key.as_str().unwrap().chars().take(16).collect();
    for text in [
        format!("\nidentity   CN=0123456789ABCDEF (P-256, SHA-256 {key}...)"),
        "\nmutual TLS used\n".to_owned(),
        format!("\ndevice     {} {{\"mac\":", server.devices()[0].id),
        "\nstate      authorised for ".to_owned(),
        "\ntoken      expires in ".to_owned(),
        "\ninventory  up to date, last sent ".to_owned(),
        "\nupdate     not asked for\n".to_owned(),
        "\nprograms   D-Bus off; forwarder off\n".to_owned(),
        "\nnext       poll in ".to_owned(),
    ] {
        assert!(screen.contains(&text), "{text}:\n{screen}");
    }
    assert!(screen.contains(&format!("mender at {};", server.uri())));
    let metrics = device.run("status --metrics").out;
    lint(&metrics);
    for line in [
        "mender_authorised 1",
        "mender_mutual_tls 1",
        "mender_attempts 0",
    ] {
        assert!(
            metrics.contains(&format!("\nmtls_agent_{line}\n")),
            "{metrics}"
        );
    }
    assert!(metrics.contains("service=\"mender\""), "{metrics}");
    service.until("written", |_| textfile.exists());
}

#[cfg(feature = "mender")]
#[test]
fn a_device_that_nobody_has_accepted_shows_why_and_what_to_do() {
    let scratch = Scratch::new();
    let pki = Pki::make(&scratch.path().join("pki"), "0123456789ABCDEF");
    let door = mtls_lab::mender::Door::Server {
        server: pki.server.clone(),
    };
    let server = MenderDouble::start(Config::new(door)).unwrap();
    let mut device = MenderDevice::new(BINARY, &pki);
    device.server(&server.uri());
    let service = device.serve();
    service.until("pending", |service| {
        service.show("/cycle/state") == "pending"
    });
    let screen = device.run("status").out;
    for text in [
        "\nstate      pending for ",
        "\n           pending: waiting for acceptance: ",
        "\n           the server did not ask for the client certificate: ",
        "\ntoken      none\n",
        "\nnext       pending in ",
    ] {
        assert!(screen.contains(text), "{text}:\n{screen}");
    }
    let metrics = device.run("status --metrics").out;
    lint(&metrics);
    for line in ["mender_authorised 0", "mender_pending 1"] {
        assert!(
            metrics.contains(&format!("\nmtls_agent_{line}\n")),
            "{metrics}"
        );
    }
    assert!(!metrics.contains("mender_token"), "{metrics}");
}
