//! Plays: the system bus of a device, with the policy file that we ship.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What Debian's bus starts from: no names but those that a policy gives away.
const SYSTEM: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:path=PLACE</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>POLICY</include>
</busconfig>
"#;

/// What a package of Mender brings.
const OF_MENDER: &str = r#"<busconfig>
  <policy user="root">
    <allow own="io.mender.AuthenticationManager"/>
    <allow send_destination="io.mender.AuthenticationManager"/>
    <allow receive_sender="io.mender.AuthenticationManager"/>
  </policy>
  <policy context="default">
    <deny own="io.mender.AuthenticationManager"/>
    <deny send_destination="io.mender.AuthenticationManager"/>
  </policy>
</busconfig>
"#;

/// Where our policy is.
const OURS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/systemd/mtls-agent-mender.conf"
);

/// A private `dbus-daemon`; it ends when dropped.
pub(crate) struct SystemBus {
    child: Child,
    path: PathBuf,
}

impl SystemBus {
    /// In this folder. Every user may connect.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::with_text(dir, SYSTEM)
    }

    /// The same, with every other name free for anybody.
    pub(crate) fn start_open(dir: &Path) -> Self {
        let open = "<policy context=\"default\"><allow own=\"*\"/>\
            <allow send_destination=\"*\"/></policy></busconfig>";
        Self::with_text(dir, &SYSTEM.replace("</busconfig>", open))
    }

    /// Where the agent's user is another one, and Mender's own policy is there as well, which is
    /// read after ours.
    pub(crate) fn start_beside_mender(dir: &Path, user: &str) -> Self {
        let (ours, theirs) = (dir.join("ours.conf"), dir.join("theirs.conf"));
        let policy = std::fs::read_to_string(OURS).unwrap();
        let policy = policy.replace("user=\"mtls-agent\"", &format!("user=\"{user}\""));
        std::fs::write(&ours, policy).unwrap();
        std::fs::write(&theirs, OF_MENDER).unwrap();
        let both = [ours, theirs].map(|file| format!("<include>{}</include>", file.display()));
        let text = SYSTEM.replace("<include>POLICY</include>", &both.concat());
        Self::with_text(dir, &text)
    }

    fn with_text(dir: &Path, text: &str) -> Self {
        let path = dir.join("system-bus");
        let text = text
            .replace("PLACE", path.to_str().unwrap())
            .replace("POLICY", OURS);
        let file = dir.join("system-bus.conf");
        std::fs::write(&file, text).unwrap();
        let mut child = as_root("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address"])
            .arg(format!("--config-file={}", file.display()))
            .stdout(Stdio::piped())
            // It tells of every refusal, and of limits that it would raise on a real system.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        assert!(line.contains("unix:path="), "the bus does not start");
        Self { child, path }
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.path.display())
    }

    /// What `dbus-send` prints of the answer or of the error, called by that command.
    pub(crate) fn call(&self, mut dbus_send: Command, method: &str) -> String {
        let output = dbus_send
            .arg(format!("--bus={}", self.address()))
            .args(["--print-reply=literal", "--reply-timeout=5000"])
            .arg("--dest=io.mender.AuthenticationManager")
            .arg("/io/mender/AuthenticationManager")
            .arg(format!("io.mender.Authentication1.{method}"))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap().trim().to_owned()
    }
}

impl Drop for SystemBus {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Whether this test runs as root.
pub(crate) fn are_we_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// A program as root, or as what the bus takes for root.
pub(crate) fn as_root(program: &str) -> Command {
    if are_we_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", program]);
    command
}
