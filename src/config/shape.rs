//! The configuration as the rest of the house sees it: valid, and with all defaults.

use std::path::PathBuf;

use super::mode::Mode;
use crate::wire::eui::Eui64;
use crate::wire::pin::Pin;
use crate::wire::policy::Policy;
use crate::wire::uri::ServerUri;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Credential sets live here.
    pub data_dir: PathBuf,
    /// Sockets live here.
    pub runtime_dir: PathBuf,
    /// Whether the running process confines itself.
    pub sandbox: bool,
    /// The EUI the certificate must carry, if the operator names one.
    pub eui: Option<Eui64>,
    /// Where the device's certificate and key are.
    pub identity: IdentityFiles,
    /// Files with the roots of the CUPS server.
    pub trust_anchors: Vec<PathBuf>,
    /// The CUPS service.
    pub cups: Cups,
    /// The LNS and who uses its credentials.
    pub lns: Lns,
    /// Whether TLS 1.3 may be used; otherwise 1.2 only.
    pub allow_tls13: bool,
    /// Keys of the configured server; empty: `trust_anchors` decide.
    pub server_pins: Vec<Pin>,
    /// Deadlines of an exchange, seconds.
    pub network: Network,
    /// Longest random delay of the first poll after boot, seconds.
    pub boot_s_max: u64,
    /// Longest random delay of the first retry, seconds.
    pub retry_s_max: u64,
    /// error, warn, info or debug.
    pub log_level: String,
    /// The file of metrics, if one is wanted.
    pub textfile: Option<PathBuf>,
}

/// The device's certificate and private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// Settings of the CUPS service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cups {
    /// The configured address.
    pub uri: ServerUri,
    /// Seconds between polls.
    pub poll_s: u64,
    /// What CUPS may change.
    pub policy: Policy,
    /// Kind of device; empty: ask the device tree.
    pub model: String,
    /// Image version; empty: the station home's version.txt.
    pub package: String,
    /// Update keys; empty: those of the station home.
    pub signature_keys: Vec<PathBuf>,
    /// Program run with a verified update; empty: updates are off.
    pub update_command: Vec<String>,
    /// Largest update, octets.
    pub update_octets_max: u64,
}

/// Settings of the LNS side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lns {
    /// Basic Station's home directory, if station is the consumer.
    pub station_home: Option<PathBuf>,
    /// Whether a set must be proved before it is committed.
    pub prove: bool,
    /// Who holds the connection.
    pub mode: Mode,
    /// Mode session: seconds between two pings.
    pub ping_s: u64,
}

/// Deadlines of one exchange, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Connection and TLS handshake.
    pub connect_s: u64,
    /// First octet of the answer.
    pub response_s: u64,
    /// Everything.
    pub total_s: u64,
}

impl Config {
    /// Whether verified updates are run.
    #[must_use]
    pub fn updates_are_on(&self) -> bool {
        !self.cups.update_command.is_empty()
    }
}
