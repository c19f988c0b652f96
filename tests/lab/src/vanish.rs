//! Plays: a far network, whose servers fall silent because every packet vanishes, both ways.
//!
//! ```text
//! [ test, agent, its clients ] 192.0.2.1 near0 ---veth--- far0 192.0.2.2 [ the far servers ]
//! ```
//! Each end knows the other's hardware address by heart. Packets vanish while both know a wrong
//! one: they are sent, and nobody takes them. No link goes down, no route and no error tells of
//! it. That needs `unshare`, `ip` and a kernel with veth, but no root.

use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use crate::skip::skipped;

/// Where the far servers listen; their certificates are good for it.
pub const FAR: &str = "192.0.2.2";

const NEAR: &str = "192.0.2.1";
const FAR_HARDWARE: &str = "02:00:00:00:00:02";
const NEAR_HARDWARE: &str = "02:00:00:00:00:01";
const NOBODY: &str = "02:00:00:00:00:99";

/// Set in a test that runs in a network of its own.
const MARK: &str = "MTLS_LAB_ALONE";

type Order = Box<dyn FnOnce() + Send>;

/// The far network. It answers again when dropped, so that its servers can end.
#[derive(Debug)]
pub struct Far {
    orders: Sender<Order>,
}

/// Whether this is the test `name` in a network of its own. If not, it is run in one, and
/// all that is left to do is to return; where there can be none, it says that it is skipped.
///
/// # Panics
/// The test fails in there.
#[must_use]
pub fn is_alone(name: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    // Root without user namespaces can do it too.
    let ways: [&[&str]; 2] = [&["--map-root-user", "--net"], &["--net"]];
    let link = "link add near0 type veth peer name far0";
    let is_possible = |way: &&&[&str]| {
        let mut trial = Command::new("unshare");
        trial.args(**way).arg("ip").args(link.split(' '));
        let trial = trial.stdout(Stdio::null()).stderr(Stdio::null()).status();
        trial.is_ok_and(|status| status.success())
    };
    let Some(way) = ways.iter().find(is_possible) else {
        skipped(
            name,
            "no network of its own can be made here (unshare, ip, veth)",
        );
        return false;
    };
    let itself = std::env::current_exe().expect("a test knows its own file");
    let ran = Command::new("unshare")
        .args(*way)
        .arg(itself)
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1")
        .output()
        .expect("it was there for the trial");
    let (out, log) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    // A misspelt name would be no test at all.
    let is_good = ran.status.success() && out.contains("1 passed");
    assert!(is_good, "in a network of its own:\n{out}\n{log}");
    false
}

impl Far {
    /// Makes the far network; only to be called where [`is_alone`] says so.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each one is another network")]
    pub fn new() -> Self {
        let (orders, inbox) = mpsc::channel::<Order>();
        let far = Self { orders };
        thread::spawn(move || {
            while let Ok(order) = inbox.recv() {
                order();
            }
        });
        let thread = far.run(|| {
            // Of this thread alone.
            unshare(CloneFlags::CLONE_NEWNET).expect("we are root in here");
            gettid()
        });
        ip("link set lo up");
        ip(&format!(
            "link add near0 address {NEAR_HARDWARE} type veth peer name far0 address {FAR_HARDWARE} netns {thread}"
        ));
        for (name, address) in [("near0", NEAR), ("far0", FAR)] {
            let rise = move || {
                ip(&format!("address add {address}/24 dev {name}"));
                ip(&format!("link set {name} up"));
            };
            if name == "far0" {
                far.run(rise);
            } else {
                rise();
            }
        }
        far.set_silent(false);
        far
    }

    /// Does something in the far network: starts a server.
    ///
    /// # Panics
    /// It panics in there.
    pub fn run<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let order: Order = Box::new(move || drop(done.send(act())));
        self.orders.send(order).expect("its thread goes on");
        result.recv().expect("it was done")
    }

    /// Whether every packet vanishes from now on, both ways.
    pub fn set_silent(&self, is_silent: bool) {
        let choose = |good| if is_silent { NOBODY } else { good };
        let (far, near) = (choose(FAR_HARDWARE), choose(NEAR_HARDWARE));
        know("near0", FAR, far);
        self.run(move || know("far0", NEAR, near));
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.set_silent(false);
    }
}

fn know(device: &str, address: &str, hardware: &str) {
    ip(&format!(
        "neighbour replace {address} lladdr {hardware} dev {device} nud permanent"
    ));
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status();
    assert!(done.is_ok_and(|status| status.success()), "ip {words}");
}
