//! The agent says who the device is by one of three ways, keeps the token in memory, shows no
//! secret, tells the operator's program of each update once, and lets no second agent disturb it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::scene::{AUTH, Scene, side_by_side};
use mtls_lab::http::RawAnswer;
use mtls_lab::mender::{At, Deployment, Trouble};
use mtls_lab::skip::skipped;
use serde_json::json;

const TENANT: &str = "tenant.token.SECRET0123456789";

/// A folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn in_memory(name: &str) -> Self {
        Self::below(Path::new("/dev/shm"), name)
    }

    /// `None`: every place for it is in memory.
    fn on_a_disk(name: &str) -> Option<Self> {
        let places = [
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            std::env::temp_dir(),
            PathBuf::from("/var/tmp"),
        ];
        let place = places.into_iter().find(|place| is_on_a_disk(place));
        place.map(|place| Self::below(&place, name))
    }

    fn below(place: &Path, name: &str) -> Self {
        let path = place.join(format!("mtls-agent-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_on_a_disk(place: &Path) -> bool {
    let mut stat = Command::new("stat");
    let ran = stat.args(["-f", "-c", "%T"]).arg(place).output().unwrap();
    let kind = String::from_utf8(ran.stdout).unwrap();
    ran.status.success() && !["tmpfs", "ramfs"].contains(&kind.trim())
}

#[test]
fn the_identity_is_the_scripts_or_the_configurations() {
    let mut scene = Scene::new();
    let told = |scene: &Scene| {
        let devices = scene.mender.devices();
        devices.last().unwrap().identity.text.clone()
    };
    scene
        .device
        .identity_script("echo serial=7; echo mac=a; echo mac=b=c");
    assert_eq!(scene.once().code, Some(0));
    assert_eq!(told(&scene), r#"{"mac":["a","b=c"],"serial":"7"}"#);
    fs::remove_file(scene.device.path("share/identity/mender-device-identity")).unwrap();
    scene.device.set("mender.identity", json!(["serial=8"]));
    assert_eq!(scene.once().code, Some(0));
    assert_eq!(told(&scene), r#"{"serial":"8"}"#);
    scene.device.set("mender.identity", json!([]));
    let ran = scene.once();
    let devices = scene.mender.devices();
    // A container has no interface with a device behind it.
    match ran.code {
        Some(0) => assert!(told(&scene).starts_with(r#"{"mac":""#), "{devices:?}"),
        _ => assert_eq!(ran.text("code"), "no_identity", "{}", ran.out),
    }
}

fn an_identity_script_that_says_nothing_useful_is_named_and_nothing_sent() {
    let scene = Scene::new();
    for (lines, words) in [
        ("echo no interface >&2; exit 3", "no interface"),
        ("true", "mender-device-identity"),
        ("echo nonsense", "mender-device-identity"),
        ("sleep 60", "took longer than 10 s"),
    ] {
        scene.device.identity_script(lines);
        let ran = scene.once();
        let found = (ran.code, ran.text("class"), ran.text("code"));
        assert_eq!(
            found,
            (Some(1), "identity_invalid", "identity_script"),
            "{}",
            ran.out
        );
        assert!(ran.text("message").contains(words), "{}", ran.out);
    }
    assert_eq!(scene.mender.handshakes(), 0);
}

fn an_identity_script_that_fails_at_boot_is_soon_tried_again() {
    let scene = Scene::new();
    scene.device.identity_script("exit 1");
    let service = scene.serve_until("waiting");
    service.until("a failure", |service| {
        service.show("/cycle/why/code") == "identity_script"
    });
    assert!(service.show("/cycle/next/in_s").as_u64().unwrap() <= 300);
    scene.device.identity_script("echo mac=02:00:00:ab:cd:01");
    service.until("accepted", |service| {
        service.show("/cycle/state") == "authorised"
    });
}

#[test]
fn the_token_is_in_memory_for_its_owner_and_gone_at_the_end() {
    let scene = Scene::new();
    let memory = Folder::in_memory("token");
    symlink(&memory.0, scene.device.path("run")).unwrap();
    let mut service = scene.serve_until("authorised");
    let path = memory.0.join("mender-token");
    let facts = path.metadata().unwrap();
    assert_eq!(facts.mode() & 0o777, 0o600);
    let token = fs::read_to_string(&path).unwrap();
    assert_eq!(token.split('.').count(), 3);
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(5)), Some(0));
    assert!(!path.exists());
}

#[test]
fn the_token_is_never_written_to_a_disk() {
    let Some(disk) = Folder::on_a_disk("disk") else {
        return skipped("a token kept off a disk", "all folders are in memory");
    };
    let scene = Scene::new();
    symlink(&disk.0, scene.device.path("run")).unwrap();
    let service = scene.serve_until("authorised");
    service.says_once("runtime_on_disk");
    let names: Vec<_> = fs::read_dir(&disk.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !names.iter().any(|name| name == "mender-token"),
        "{names:?}"
    );
}

#[test]
fn a_second_agent_is_sent_away_and_harms_nothing() {
    let scene = Scene::new();
    let memory = Folder::in_memory("second");
    symlink(&memory.0, scene.device.path("run")).unwrap();
    let service = scene.serve_until("authorised");
    let token = fs::read(memory.0.join("mender-token")).unwrap();
    for command in ["run", "once --json"] {
        let ran = scene.device.run(command);
        assert_eq!(ran.code, Some(1), "{command}: {}{}", ran.out, ran.log);
        let words = format!("another agent (process {})", service.pid());
        let said = format!("{}{}", ran.out, ran.log);
        assert!(said.contains(&words), "{command}: {said}");
    }
    assert_eq!(fs::read(memory.0.join("mender-token")).unwrap(), token);
    assert_eq!(service.show("/cycle/state"), "authorised");
    assert_eq!(scene.device.told("refresh"), "ok");
    drop(service);
    assert_eq!(scene.once().code, Some(0), "the lock goes with its process");
}

fn a_stop_is_prompt_while_a_server_and_a_script_keep_us_waiting() {
    let scene = Scene::new();
    scene.device.inventory_script("slow", "sleep 60");
    scene
        .mender
        .trouble(At::Auth, 1, Trouble::Silent(Duration::from_secs(60)));
    let mut service = scene.device.serve();
    service.until("a request", |_| !scene.asked(AUTH).is_empty());
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(3)), Some(0));
    scene.mender.lift_troubles();
    let mut service = scene.serve_until("authorised");
    service.until("the script", |service| {
        service.show("/cycle/job") == "inventory"
    });
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(3)), Some(0));
}

#[test]
fn scripts_programs_and_stops_go_well_in_time() {
    side_by_side(&[
        (
            "a_stop_is_prompt_while_a_server_and_a_script_keep_us_waiting",
            a_stop_is_prompt_while_a_server_and_a_script_keep_us_waiting,
        ),
        (
            "an_identity_script_that_fails_at_boot_is_soon_tried_again",
            an_identity_script_that_fails_at_boot_is_soon_tried_again,
        ),
        (
            "an_identity_script_that_says_nothing_useful_is_named_and_nothing_sent",
            an_identity_script_that_says_nothing_useful_is_named_and_nothing_sent,
        ),
        (
            "each_update_is_announced_once",
            each_update_is_announced_once,
        ),
        (
            "without_a_program_nobody_asks",
            without_a_program_nobody_asks,
        ),
        ("no_secret_is_shown", no_secret_is_shown),
    ]);
}

fn update(id: &str, name: &str) -> Deployment {
    Deployment {
        id: id.to_owned(),
        artifact_name: name.to_owned(),
        uri: "https://localhost/artifact".to_owned(),
        device_types: vec!["gateway".to_owned()],
    }
}

fn each_update_is_announced_once() {
    let mut scene = Scene::new();
    let told = scene.device.path("told");
    scene
        .device
        .script("hook", &format!("echo \"$*\" >> {}", told.display()));
    scene.device.conf("UpdatePollIntervalSeconds", 5);
    let hook = scene.device.path("hook");
    scene
        .device
        .set("mender.update_command", json!([hook, "--name"]));
    let service = scene.serve_until("authorised");
    let polls = || scene.asked("/api/devices/v2/deployments").len();
    service.until("a poll", |_| polls() >= 1);
    let id = scene.id();
    scene.mender.deploy(&id, Some(update("d-1", "release-1")));
    let said = || fs::read_to_string(&told).unwrap_or_default();
    service.until("release 1", |_| said() == "--name release-1\n");
    assert_eq!(service.show("/update"), "release-1");
    let before = polls();
    service.until("another poll", |_| polls() > before);
    // Another one takes its place before the device has seen none.
    scene.mender.deploy(&id, Some(update("d-2", "release-2")));
    service.until("release 2", |_| {
        said() == "--name release-1\n--name release-2\n"
    });
    service.says_once("an update waits on the Mender server");
    assert!(scene.mender.deployment_statuses().is_empty());
}

fn without_a_program_nobody_asks() {
    let mut scene = Scene::new();
    scene.device.conf("UpdatePollIntervalSeconds", 5);
    let service = scene.serve_until("authorised");
    scene
        .mender
        .deploy(&scene.id(), Some(update("d-1", "release-1")));
    std::thread::sleep(Duration::from_secs(7));
    scene.device.refresh();
    service.until("a renewal", |_| scene.auths().len() == 2);
    service.until("quiet", |service| service.show("/cycle/job").is_null());
    assert!(scene.asked("/api/devices/v2/deployments").is_empty());
}

fn no_secret_is_shown() {
    let mut scene = Scene::new();
    scene.device.conf("TenantToken", TENANT);
    scene.device.set("log.level", "debug");
    let memory = Folder::in_memory("secret");
    symlink(&memory.0, scene.device.path("run")).unwrap();
    let echo = |status: u16, text: String| {
        let body = json!({ "error": text }).to_string().into_bytes();
        Trouble::Other(RawAnswer::typed(status, "application/json", body))
    };
    // A server that repeats what it was sent.
    scene.mender.trouble(
        At::Auth,
        1,
        echo(401, format!("tenant {TENANT} is not known")),
    );
    let mut seen = String::new();
    let ran = scene.once();
    seen.push_str(&(ran.out + &ran.log));
    let service = scene.serve_until("authorised");
    // Asked again while it is on its way, the agent would find it unchanged.
    service.until("inventory", |service| service.count("inventory sent") > 0);
    let token = fs::read_to_string(memory.0.join("mender-token")).unwrap();
    scene
        .mender
        .trouble(At::Inventory, 1, echo(400, format!("{token} is odd")));
    scene.device.refresh();
    service.until("a failure", |service| {
        service.count("inventory not sent") >= 1
    });
    for words in ["status --json", "status", "check", "check --json"] {
        let ran = scene.device.run(words);
        seen.push_str(&(ran.out + &ran.log));
    }
    seen.push_str(&service.lines().join("\n"));
    for (_, told) in service.told() {
        seen.push_str(&told);
    }
    seen.push_str(&service.status().to_string());
    seen.push_str(&String::from_utf8_lossy(&service.shown_by_kernel()));
    let (head, signature) = token.rsplit_once('.').unwrap();
    let signed = scene.asked(AUTH);
    let signed = signed
        .iter()
        .filter_map(|recorded| recorded.request.header("x-men-signature"));
    let mut secrets: Vec<&str> = vec![head, signature, TENANT, "SECRET0123456789"];
    secrets.extend(signed);
    assert!(secrets.len() >= 6);
    for secret in secrets {
        let found = seen.lines().find(|line| line.contains(secret));
        assert!(found.is_none(), "{found:?}");
    }
    let claims = head.split('.').nth(1).unwrap();
    assert!(!seen.contains(claims));
}
