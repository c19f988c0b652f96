//! The running agent gives up what it never needs, works all the same, and says how it is
//! confined; what it cannot have is a line in the status and never a failed start.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test lays out files, and ends when it cannot"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use mtls_lab::device::{Device, EUI, Scratch, Service, Surroundings};
use mtls_lab::openssl::set_mode;
use mtls_lab::skip::skipped;
use nix::sys::prctl::set_no_new_privs;
use seccompiler::{apply_filter, sock_filter};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

fn scene(scratch: &Scratch) -> (Device, Surroundings) {
    let around = Surroundings::start(scratch.path());
    let device = Device::new(BINARY, &around.pki, around.front.address());
    around.offer("first");
    (device, around)
}

fn has_set(service: &Service, number: u64) {
    service.until("the set is in use", |service| {
        service.show("/current/number") == json!(number)
    });
}

/// Whether this kernel has Landlock, ABI 2 at least: a ruleset alone forbids nothing.
fn has_landlock() -> bool {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V2))
        .and_then(Ruleset::create);
    ruleset.is_ok()
}

/// A line of the kernel's about a process.
fn kernel_says(pid: u32, name: &str) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value
        .unwrap()
        .trim_start_matches(':')
        .trim()
        .parse()
        .unwrap()
}

/// Serves from a thread that has given something up, which the agent inherits.
fn serve_after(device: &Device, give_up: impl FnOnce() + Send) -> Service {
    let serve = || {
        give_up();
        device.serve()
    };
    thread::scope(|scope| scope.spawn(serve).join().unwrap())
}

/// A folder that no setting means at the start, with a copy of a file.
struct Outside(PathBuf);

impl Outside {
    fn with(name: &str, file: &Path) -> Self {
        let name = format!("outside-{}-{name}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(file, folder.join("file.pem")).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("file.pem")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_confined_agent_takes_sets_rotates_reloads_and_says_how_it_is_confined() {
    let scratch = Scratch::new();
    let (mut device, around) = scene(&scratch);
    let service = device.serve();
    has_set(&service, 1);
    assert_eq!(kernel_says(service.pid(), "Seccomp"), 2);
    assert_eq!(kernel_says(service.pid(), "NoNewPrivs"), 1);
    assert_eq!(service.show("/sandbox/seccomp"), json!("alone"));
    let abi = service.show("/sandbox/landlock_abi").as_u64();
    assert_eq!(abi.is_some(), has_landlock());
    around.cups.rotate_key(EUI, "second");
    assert_eq!(device.run("refresh").code, Some(0));
    has_set(&service, 2);
    assert_eq!(service.show("/handed_over"), json!(true));
    device.set("cups.poll_s", 4000);
    device.configure();
    assert_eq!(device.run("reload").code, Some(0));
    service.until("reloaded", |service| {
        service.count("the configuration has changed") == 1
    });
    let shown = device.run("status").out;
    let line = shown.lines().find(|line| line.starts_with("sandbox "));
    let expected = abi.map_or("no Landlock".to_owned(), |abi| {
        format!("Landlock ABI {abi}")
    });
    assert!(line.unwrap().contains(&expected), "{shown}");
    let metrics = device.run("status --metrics").out;
    assert!(
        metrics.contains("\nmtls_agent_sandbox_seccomp 1\n"),
        "{metrics}"
    );
    let abi = abi.unwrap_or_default();
    let sample = format!("\nmtls_agent_sandbox_landlock_abi {abi}\n");
    assert!(metrics.contains(&sample), "{metrics}");
}

#[test]
fn a_home_made_anew_by_its_unit_is_still_written() {
    let scratch = Scratch::new();
    let (device, around) = scene(&scratch);
    let service = device.serve();
    has_set(&service, 1);
    let home = device.path("station");
    fs::remove_dir_all(&home).unwrap();
    fs::create_dir(&home).unwrap();
    around.cups.rotate_key(EUI, "second");
    assert_eq!(device.run("refresh").code, Some(0));
    has_set(&service, 2);
    service.until("handed over", |_| home.join("tc.key").exists());
}

#[test]
fn what_lies_outside_is_refused_by_name_until_a_restart() {
    if !has_landlock() {
        return skipped("what Landlock keeps out", "this kernel has none");
    }
    let scratch = Scratch::new();
    let (mut device, around) = scene(&scratch);
    let outside = Outside::with("anchor", &around.pki.server_root);
    let service = device.serve();
    has_set(&service, 1);
    device.set("trust_anchors", vec![outside.file().to_str().unwrap()]);
    device.configure();
    assert_eq!(device.run("reload").code, Some(0));
    let told = "kept the configuration in use: trust_anchors leads to";
    service.until("told", |service| service.count(told) > 0);
    assert!(service.count("restart mtls-agent") > 0);
    around.cups.rotate_key(EUI, "second");
    assert_eq!(device.run("refresh").code, Some(0));
    has_set(&service, 2);
    drop(service);
    let service = device.serve();
    assert_eq!(service.count("leads to"), 0);
    service.until("loaded", |service| {
        service.show("/cycle/identity/state") == json!("loaded")
    });
}

#[test]
fn a_link_that_is_turned_to_the_outside_is_kept_out_by_the_kernel() {
    if !has_landlock() {
        return skipped("what Landlock keeps out", "this kernel has none");
    }
    let scratch = Scratch::new();
    let (mut device, around) = scene(&scratch);
    let outside = Outside::with("link", &around.pki.device.key);
    set_mode(&outside.file(), 0o600);
    let link = device.path("device.key");
    symlink(&around.pki.device.key, &link).unwrap();
    device.set("identity.key", link.to_str());
    let service = device.serve();
    has_set(&service, 1);
    fs::remove_file(&link).unwrap();
    symlink(outside.file(), &link).unwrap();
    assert_eq!(device.run("reload").code, Some(0));
    service.until("named", |service| {
        service.count("identity.key leads to") > 0
    });
    service.until("refused", |service| service.count("ermission denied") > 0);
    assert_eq!(service.show("/cycle/current"), json!(1));
}

#[test]
fn a_program_that_comes_with_a_reload_needs_a_restart() {
    let scratch = Scratch::new();
    let (mut device, _around) = scene(&scratch);
    let service = device.serve();
    has_set(&service, 1);
    device.set("cups.update_command", vec!["true"]);
    device.configure();
    assert_eq!(device.run("reload").code, Some(0));
    service.until("told", |service| {
        service.count("cups.update_command is new") > 0
    });
}

#[test]
fn programs_lose_nothing_that_they_could_need() {
    let scratch = Scratch::new();
    let (mut device, _around) = scene(&scratch);
    device.set("cups.update_command", vec!["true"]);
    let service = serve_after(&device, || set_no_new_privs().unwrap());
    has_set(&service, 1);
    assert_eq!(service.show("/sandbox/seccomp"), json!("programs"));
    assert_eq!(service.show("/sandbox/landlock_abi"), json!(null));
    let summary = service.show("/sandbox/summary");
    assert!(summary.as_str().unwrap().contains("cups.update_command"));
    drop(service);
    let service = device.serve();
    has_set(&service, 1);
    assert_eq!(service.show("/sandbox/seccomp"), json!(null));
    assert_eq!(kernel_says(service.pid(), "NoNewPrivs"), 0);
}

#[test]
fn the_setting_switches_it_off() {
    let scratch = Scratch::new();
    let (mut device, _around) = scene(&scratch);
    device.set("sandbox", "off");
    let service = device.serve();
    has_set(&service, 1);
    let ours = kernel_says(std::process::id(), "Seccomp");
    assert_eq!(kernel_says(service.pid(), "Seccomp"), ours);
    let summary = service.show("/sandbox/summary");
    assert_eq!(summary, json!("none: switched off by the setting sandbox"));
}

/// As on an old kernel, or where an emulator or a container lets neither call through.
#[test]
fn a_kernel_without_either_is_a_line_in_the_status() {
    const ENOSYS: u32 = 0x0005_0000 | u32::from_ne_bytes(libc::ENOSYS.to_ne_bytes());
    let scratch = Scratch::new();
    let (device, _around) = scene(&scratch);
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let is = |call: i64| step(0x15, 0, 1, u32::try_from(call).unwrap());
    let filter = [
        step(0x20, 0, 0, 0),
        is(libc::SYS_landlock_create_ruleset),
        step(0x06, 0, 0, ENOSYS),
        is(libc::SYS_seccomp),
        step(0x06, 0, 0, ENOSYS),
        step(0x06, 0, 0, 0x7fff_0000),
    ];
    let service = serve_after(&device, || apply_filter(&filter).unwrap());
    has_set(&service, 1);
    let summary = service.show("/sandbox/summary");
    assert_eq!(summary, json!("none: not in this kernel"));
    let shown = device.run("status").out;
    assert!(shown.contains("none: not in this kernel"), "{shown}");
}
