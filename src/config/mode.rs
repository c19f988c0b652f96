//! Names: who holds the LNS connection.

use super::Listen;
use crate::wire::eui::Eui64;

/// How systemd is asked to start, stop and show a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitControl {
    /// By its program.
    Systemctl,
    /// Over the system bus.
    #[cfg(feature = "dbus")]
    Dbus,
}

/// Who holds the LNS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nobody here: credentials are only handed over.
    None,
    /// Basic Station, started and watched by us.
    Station {
        /// Program and arguments of a child; empty: `unit` is used.
        command: Vec<String>,
        /// The systemd unit.
        unit: String,
        /// How systemd is asked about the unit.
        control: UnitControl,
        /// Whether the unit's log is read.
        journal: bool,
    },
    /// The agent itself, as a gateway without a radio.
    Session,
    /// A local relay for packet forwarders.
    Relay {
        /// `address:port` on loopback, or `unix:/path`.
        listen: Listen,
        /// EUIs let in besides the certificate's own.
        gateways: Vec<Eui64>,
        /// Users let in on a Unix socket besides root and our own.
        users: Vec<String>,
        /// Seconds after which a connection without any sign of life is given up.
        silent_s_max: u32,
    },
}

impl Mode {
    /// The name in the configuration and in status.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Station { .. } => "station",
            Self::Session => "session",
            Self::Relay { .. } => "relay",
        }
    }
}
