//! Acts: tells systemd that we are ready, what we do, and that we are alive.
//!
//! `sd_notify(3)` in a few lines: one datagram to the socket named by the environment.

use core::time::Duration;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

/// The way to systemd; does nothing where systemd did not start us.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

/// Where systemd has put the credentials of this service (`LoadCredential=`).
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "systemd speaks through the environment"
)]
pub fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

impl Notifier {
    /// Reads systemd's variables.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "systemd speaks through the environment"
    )]
    pub fn from_environment() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let name = name.as_bytes();
            match name.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name).ok(),
                None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)).ok(),
            }
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        let is_for_us =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog = std::env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|&us: &u64| us > 0 && is_for_us)
            .map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// How often the loop must say that it is alive: half of what systemd waits.
    #[must_use]
    pub fn alive_every(&self) -> Option<Duration> {
        self.watchdog.and_then(|watchdog| watchdog.checked_div(2))
    }

    /// Start-up is over.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The loop has just gone round.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// We end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // systemd being slow must not hold us up, and there is nobody else to tell.
            let _ = socket.set_nonblocking(true);
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}
