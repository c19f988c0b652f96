//! What a reload brings counts at once for everybody who uses the device's identity, and never
//! makes it another device.

#![cfg(feature = "mender")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests that plant and look at files, and end when they cannot"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use mtls_lab::device::{EUI, MenderDevice, Scratch, Service};
use mtls_lab::mender::{Config, Door, MenderDouble};
use mtls_lab::pki::Pki;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
const OTHER_PIN: &str = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A folder in memory that goes with it.
struct Memory(PathBuf);

impl Memory {
    fn new(name: &str) -> Self {
        let path = Path::new("/dev/shm").join(format!("mtls-agent-{name}-{}", std::process::id()));
        let _left_behind = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

fn serve(device: &MenderDevice, state: &str) -> Service {
    device.configure();
    let service = device.serve_later();
    service.until(state, |service| service.has_told_of(state));
    service
}

/// The first line of what the forwarder answers to whoever shows this token.
fn forwarded(url: &str, token: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /api/devices/v1/deployments/device/deployments/next HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_server_that_fits_no_pin_any_more_gets_nothing_through_the_forwarder_either() {
    let (scratch, memory) = (Scratch::new(), Memory::new("new-pin"));
    let pki = Pki::make(&scratch.path().join("pki"), EUI);
    let mender = MenderDouble::start(Config::of(&pki)).unwrap();
    let mut device = MenderDevice::new(BINARY, &pki);
    device.server(&mender.uri());
    device.set("mender.forwarder", "127.0.0.1:0");
    device.set("mender.inventory", "off");
    device.set("runtime_dir", memory.0.to_str().unwrap());
    let service = serve(&device, "accepted");
    let token = fs::read_to_string(memory.0.join("mender-token")).unwrap();
    let log = || service.lines().join("\n");
    let url = status_url(&memory.0);
    assert!(!forwarded(&url, &token).contains(" 502 "), "{}", log());
    device.set("tls.server_pin", vec![OTHER_PIN]);
    device.configure();
    service.signal("HUP");
    service.until("a refusal", |service| service.count("server_pin") > 0);
    let before = mender.requests().len();
    assert!(forwarded(&url, &token).contains(" 502 "), "{}", log());
    assert_eq!(mender.requests().len(), before);
}

fn status_url(run: &Path) -> String {
    let mut text = String::new();
    std::os::unix::net::UnixStream::connect(run.join("status.sock"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    let url = status.pointer("/consumers/forwarder/url").unwrap();
    url.as_str().unwrap().to_owned()
}

#[test]
fn a_key_that_is_gone_while_the_agent_runs_is_not_replaced_by_another() {
    let scratch = Scratch::new();
    let pki = Pki::make(&scratch.path().join("pki"), EUI);
    let mut config = Config::of(&pki);
    config.door = Door::Server {
        server: pki.server.clone(),
    };
    let mender = MenderDouble::start(config).unwrap();
    let mut device = MenderDevice::new(BINARY, &pki);
    device.server(&mender.uri());
    device.without("HttpsClient");
    let path = device.path("data/mender-agent.pem");
    let service = serve(&device, "acceptance");
    let key = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    service.signal("HUP");
    service.until("word of it", |service| service.count("key_not_made") > 0);
    assert!(!path.exists());
    // With the key back it is the device it was.
    fs::write(&path, key).unwrap();
    std::process::Command::new("chmod")
        .arg("600")
        .arg(&path)
        .status()
        .unwrap();
    service.signal("HUP");
    let asked = mender.requests().len();
    device.refresh();
    service.until("another attempt", |_| mender.requests().len() > asked);
    let devices = mender.devices();
    let sets: usize = devices.iter().map(|device| device.sets.len()).sum();
    assert_eq!(sets, 1, "{devices:?}");
}

#[test]
fn a_configuration_without_the_key_does_not_make_one_while_the_agent_runs() {
    let scratch = Scratch::new();
    let pki = Pki::make(&scratch.path().join("pki"), EUI);
    let mender = MenderDouble::start(Config::of(&pki)).unwrap();
    let mut device = MenderDevice::new(BINARY, &pki);
    device.server(&mender.uri());
    device.set("mender.inventory", "off");
    let service = serve(&device, "accepted");
    // As while somebody edits the file.
    device.without("HttpsClient");
    device.configure();
    service.signal("HUP");
    service.until("word of it", |service| service.count("key_not_made") > 0);
    assert!(!device.path("data/mender-agent.pem").exists());
}
