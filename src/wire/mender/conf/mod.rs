//! Speaks: `mender.conf`, two files of which the second wins key by key.
//!
//! ```text
//! /var/lib/mender/mender.conf   the fallback, read first
//! /etc/mender/mender.conf       wins for each key, and for each member of a section
//! ```
//! The case of letters does not count in names, unknown keys are passed over. Any other fault ends
//! the reading, where the official client would go on with half a configuration.
//! `reference/mender.md` section 1.

mod error;
mod files;
mod keys;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::auth::Tier;
use super::server::ServerUrl;
use crate::wire::secret::Secret;
use files::Files;

pub use error::{ConfError, ConfFault, Note};

/// Seconds between two questions for an update, unless configured. The hosted server throttles
/// devices that ask more often.
pub const UPDATE_POLL_S: u64 = 1800;
/// Seconds between two reports of the inventory, unless configured. The same.
pub const INVENTORY_POLL_S: u64 = 28_800;
/// Longest wait between two tries, seconds, unless configured.
pub const RETRY_POLL_S: u64 = 300;

/// Longest interval that is taken as meant, seconds.
const INTERVAL_S_MAX: u64 = 366 * 86_400;

/// What both files say together. Paths are as they stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenderConf {
    /// `Servers` or `ServerURL`, in the order of trying, without doubles. May be empty.
    pub servers: Vec<ServerUrl>,
    /// `TenantToken` without the white space around it.
    pub tenant_token: Option<Secret>,
    /// `DeviceTier`.
    pub tier: Option<Tier>,
    /// `HttpsClient`.
    pub client: Option<ClientFiles>,
    /// `Security.AuthPrivateKey`. Without it [`ClientFiles::key`] signs.
    pub auth_key: Option<String>,
    /// `ServerCertificate`: PEM, one or more certificates.
    pub server_certificate: Option<String>,
    /// `UpdatePollIntervalSeconds`.
    pub update_poll_s: u64,
    /// `InventoryPollIntervalSeconds`.
    pub inventory_poll_s: u64,
    /// `RetryPollIntervalSeconds`: the longest wait between two tries.
    pub retry_poll_s: u64,
    /// `DaemonLogLevel` in our words: error, warn, info or debug.
    pub log_level: Option<&'static str>,
    /// `DeviceTypeFile`.
    pub device_type_file: Option<String>,
    /// `DBus.Enabled`, of client 3; true if not given.
    pub is_dbus_wanted: bool,
    /// `MtlsAgent`: settings of this agent, which the official clients pass over.
    pub own: Map<String, Value>,
}

/// The certificate a device shows in TLS, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// `HttpsClient.Certificate`: PEM, leaf first.
    pub certificate: String,
    /// `HttpsClient.Key`: PEM.
    pub key: String,
}

impl MenderConf {
    /// Reads the texts of the fallback file and of the main file; a missing file is `None`. Each
    /// comes with its path, which is for messages only.
    pub fn read(
        fallback: Option<(&str, &str)>,
        main: Option<(&str, &str)>,
    ) -> Result<(Self, Vec<Note>), ConfError> {
        let mut files = Files::default();
        for (path, text) in [fallback, main].into_iter().flatten() {
            files.add(path, text)?;
        }
        refuse(&mut files)?;
        let conf = Self {
            servers: servers(&mut files)?,
            tenant_token: files.secret("TenantToken"),
            tier: tier(&mut files)?,
            client: client(&mut files)?,
            auth_key: files.text("Security.AuthPrivateKey").map(|(text, _)| text),
            server_certificate: files.text("ServerCertificate").map(|(text, _)| text),
            update_poll_s: poll(&mut files, "UpdatePollIntervalSeconds", UPDATE_POLL_S),
            inventory_poll_s: poll(&mut files, "InventoryPollIntervalSeconds", INVENTORY_POLL_S),
            retry_poll_s: interval(&mut files, "RetryPollIntervalSeconds", RETRY_POLL_S).0,
            log_level: log_level(&mut files),
            device_type_file: files.text("DeviceTypeFile").map(|(text, _)| text),
            is_dbus_wanted: files.flag("DBus.Enabled").is_none_or(|(flag, _)| flag),
            own: core::mem::take(&mut files.own),
        };
        Ok((conf, files.notes))
    }

    /// The file whose key signs auth requests, if the configuration names one: then it is never
    /// made or replaced.
    #[must_use]
    pub fn signing_key(&self) -> Option<&str> {
        let of_client = self.client.as_ref().map(|client| client.key.as_str());
        self.auth_key.as_deref().or(of_client)
    }
}

/// Ends the reading for what would be unsafe or cannot be done.
fn refuse(files: &mut Files) -> Result<(), ConfError> {
    if let Some((true, path)) = files.flag("SkipVerify") {
        return Err(fault(path, "SkipVerify", ConfFault::SkipVerify));
    }
    for name in ["HttpsClient.SSLEngine", "Security.SSLEngine"] {
        if let Some((_, path)) = files.text(name) {
            return Err(fault(path, name, ConfFault::Hardware));
        }
    }
    for name in [
        "HttpsClient.Certificate",
        "HttpsClient.Key",
        "Security.AuthPrivateKey",
    ] {
        let is_token = |text: &str| {
            let scheme = text.trim_start().get(..7).unwrap_or_default();
            scheme.eq_ignore_ascii_case("pkcs11:")
        };
        if let Some(path) = files.place_of_text(name, is_token) {
            return Err(fault(path, name, ConfFault::Hardware));
        }
    }
    match files.number("RetryDownloadCount") {
        Some((count, path)) if !(1..=10_000).contains(&count) => {
            Err(fault(path, "RetryDownloadCount", ConfFault::DownloadCount))
        }
        _ => Ok(()),
    }
}

fn servers(files: &mut Files) -> Result<Vec<ServerUrl>, ConfError> {
    let single = files.text("ServerURL");
    let list = files.list("Servers");
    match (single, list) {
        (Some((_, path)), Some((_, other))) => {
            Err(fault(path, "ServerURL", ConfFault::BothServers(other)))
        }
        (Some((text, path)), None) => ServerUrl::parse(&text)
            .map(|url| vec![url])
            .map_err(|url| fault(path, "ServerURL", ConfFault::Url(url))),
        (None, Some((list, path))) => several(&list, &path),
        (None, None) => Ok(Vec::new()),
    }
}

fn several(list: &[Value], path: &str) -> Result<Vec<ServerUrl>, ConfError> {
    let mut servers = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let fail = |what| fault(path.to_owned(), "Servers", what);
        let members = entry.as_object().into_iter().flatten();
        let mut found = members.filter(|(name, _)| name.eq_ignore_ascii_case("ServerURL"));
        let text = found.next().and_then(|(_, value)| value.as_str());
        if found.next().is_some() {
            return Err(fail(ConfFault::Doubled));
        }
        let text = text.filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| fail(ConfFault::NoUrl(index.saturating_add(1))))?;
        let url = ServerUrl::parse(text).map_err(|url| fail(ConfFault::Url(url)))?;
        if !servers.contains(&url) {
            servers.push(url);
        }
    }
    Ok(servers)
}

fn tier(files: &mut Files) -> Result<Option<Tier>, ConfError> {
    let Some((name, path)) = files.text("DeviceTier") else {
        return Ok(None);
    };
    let tier = Tier::parse(&name).ok_or_else(|| fault(path, "DeviceTier", ConfFault::Tier))?;
    Ok(Some(tier))
}

fn client(files: &mut Files) -> Result<Option<ClientFiles>, ConfError> {
    const CERTIFICATE: &str = "HttpsClient.Certificate";
    const KEY: &str = "HttpsClient.Key";
    match (files.text(CERTIFICATE), files.text(KEY)) {
        (Some((certificate, _)), Some((key, _))) => Ok(Some(ClientFiles { certificate, key })),
        (Some((_, path)), None) => Err(fault(path, CERTIFICATE, ConfFault::Incomplete(KEY))),
        (None, Some((_, path))) => Err(fault(path, KEY, ConfFault::Incomplete(CERTIFICATE))),
        (None, None) => Ok(None),
    }
}

/// An interval that the hosted server wants to be no shorter than its default.
fn poll(files: &mut Files, name: &'static str, usual_s: u64) -> u64 {
    let (interval_s, path) = interval(files, name, usual_s);
    if let Some(path) = path.filter(|_| interval_s < usual_s) {
        let text = format!(
            "{interval_s} s is less than {usual_s} s; the hosted server answers such devices with 429"
        );
        files.note(&path, name, text);
    }
    interval_s
}

/// An interval, and where it is given if it is used as it stands there.
fn interval(files: &mut Files, name: &'static str, usual_s: u64) -> (u64, Option<String>) {
    let Some((given, path)) = files.number(name) else {
        return (usual_s, None);
    };
    match u64::try_from(given) {
        Ok(0) | Err(_) => {
            files.note(
                &path,
                name,
                format!("ignored: {given} is no interval; {usual_s} s is used"),
            );
            (usual_s, None)
        }
        Ok(given_s) if given_s > INTERVAL_S_MAX => {
            let text = format!("ignored: {given} s is longer than a year; {usual_s} s is used");
            files.note(&path, name, text);
            (usual_s, None)
        }
        Ok(given_s) => (given_s, Some(path)),
    }
}

fn log_level(files: &mut Files) -> Option<&'static str> {
    const NAME: &str = "DaemonLogLevel";
    let (given, path) = files.text(NAME)?;
    match given.to_ascii_lowercase().as_str() {
        "panic" | "fatal" | "error" => Some("error"),
        "warning" | "warn" => Some("warn"),
        "info" => Some("info"),
        "debug" | "trace" => Some("debug"),
        _ => {
            let text = "ignored: it must be error, warning, info, debug or trace".to_owned();
            files.note(&path, NAME, text);
            None
        }
    }
}

fn fault(path: String, key: &str, fault: ConfFault) -> ConfError {
    let key = Some(key.to_owned());
    ConfError { path, key, fault }
}
