//! The configuration of the Mender service: Mender's own two files, and what is only ours.
//!
//! ```text
//! agent.json with "service": "mender"   settings `mender.*` name the two files
//! --config /etc/mender/mender.conf      the file itself; ours stand in its object `MtlsAgent`
//! ```

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{ConfigError, IdentityFiles, Network, Values};
use crate::wire::json::Tree;
use crate::wire::mender::conf::{MenderConf, Note};
use crate::wire::pin::Pin;

/// The key that is made if none is configured, in `data_dir`.
const OWN_KEY: &str = "mender-agent.pem";

/// Names that only a `mender.conf` has; the case of letters does not count there.
const THEIR_NAMES: [&str; 10] = [
    "httpsclient",
    "inventorypollintervalseconds",
    "mtlsagent",
    "retrypollintervalseconds",
    "security",
    "servercertificate",
    "servers",
    "serverurl",
    "tenanttoken",
    "updatepollintervalseconds",
];

/// The whole configuration of the Mender service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one setting of its own"
)]
pub struct Mender {
    /// What Mender's own files say.
    pub conf: MenderConf,
    /// What there is to know about them.
    pub notes: Vec<Note>,
    /// The files that were read, or that may appear.
    pub conf_paths: Vec<PathBuf>,
    /// The certificate shown in TLS, and its key; `None`: TLS without one.
    pub identity: Option<IdentityFiles>,
    /// The key that signs auth requests.
    pub auth_key: PathBuf,
    /// Whether that key is made when it is missing: never when one is configured.
    pub may_make_key: bool,
    /// What must be mounted before a key is made.
    pub mount_point: Option<PathBuf>,
    /// `ServerCertificate`.
    pub server_certificate: Option<PathBuf>,
    /// Whether the system's roots are trusted as well.
    pub system_roots: bool,
    /// Keys of the servers; empty: the roots decide.
    pub server_pins: Vec<Pin>,
    /// The identity script.
    pub identity_script: PathBuf,
    /// Identity without a script: names and values.
    pub identity_pairs: Vec<(String, String)>,
    /// The folder of inventory scripts.
    pub inventory_dir: PathBuf,
    /// Whether inventory is sent; `None`: unless mender-update is installed.
    pub inventory: Option<bool>,
    /// Says what kind of device this is.
    pub device_type_file: PathBuf,
    /// Run when an update waits; empty: not asked for.
    pub update_command: Vec<String>,
    /// Where the forwarder listens; `None`: there is none.
    pub forwarder: Option<core::net::SocketAddr>,
    /// Whether to own the name on the system bus.
    pub dbus: bool,
    /// Whether the running process confines itself.
    pub sandbox: bool,
    /// Sockets and the token live here.
    pub runtime_dir: PathBuf,
    /// Whether TLS 1.3 may be used; otherwise 1.2 only.
    pub allow_tls13: bool,
    /// Deadlines of an exchange, seconds.
    pub network: Network,
    /// Longest random delay of the first contact after boot, seconds.
    pub boot_s_max: u64,
    /// Longest random delay of the first retry, seconds.
    pub retry_s_max: u64,
    /// error, warn, info or debug.
    pub log_level: String,
    /// The file of metrics, if one is wanted.
    pub textfile: Option<PathBuf>,
}

/// Reads a file; `None` if it is not there. The error names the file.
pub(super) type Read<'a> = dyn Fn(&Path) -> Result<Option<String>, ConfigError> + 'a;

/// Whether this is a `mender.conf`, by its name or by what is in it.
pub(super) fn is_conf(path: &Path, entries: &[(String, Tree)]) -> bool {
    let is_theirs = |name: &str| {
        THEIR_NAMES
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    path.file_name().is_some_and(|name| name == "mender.conf")
        || entries.iter().any(|(name, _)| is_theirs(name))
}

/// Settings out of `agent.json`, which names the two files.
pub(super) fn by_settings(values: &Values<'_>, read: &Read<'_>) -> Result<Mender, ConfigError> {
    let paths = [
        values.path("mender.fallback_conf"),
        values.path("mender.conf"),
    ];
    let conf = conf(&paths, read)?;
    build(values, conf, &paths)
}

/// Settings out of a `mender.conf` and its object `MtlsAgent`.
pub(super) fn by_conf(path: &Path, base: &Path, read: &Read<'_>) -> Result<Mender, ConfigError> {
    let mut values = Values::empty(base);
    let paths = [fallback_of(path, base, read)?, path.to_owned()];
    let (conf, notes) = conf(&paths, read)?;
    let own = Value::Object(conf.own.clone());
    // Through text, because names are counted when it is read.
    if let Ok(Tree::Object(entries)) = serde_json::from_str(&own.to_string()) {
        values.collect("", &entries).map_err(|error| ConfigError {
            name: format!("MtlsAgent.{}", error.name),
            ..error
        })?;
    }
    build(&values, (conf, notes), &paths)
}

/// Where the other file is, by the main one: looked up before the two are read together. What is
/// wrong in it is told then.
fn fallback_of(path: &Path, base: &Path, read: &Read<'_>) -> Result<PathBuf, ConfigError> {
    let mut values = Values::empty(base);
    let text = read(path)?.unwrap_or_default();
    if let Ok(Tree::Object(entries)) = serde_json::from_str(&text) {
        let own = entries
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("MtlsAgent"));
        if let Some((_, Tree::Object(own))) = own {
            let _ = values.collect("", own);
        }
    }
    Ok(values.path("mender.fallback_conf"))
}

fn conf(paths: &[PathBuf; 2], read: &Read<'_>) -> Result<(MenderConf, Vec<Note>), ConfigError> {
    let [fallback, main] = paths;
    let texts = [read(fallback)?, read(main)?];
    let names = [fallback, main].map(|path| path.display().to_string());
    let [fallback, main] = [0, 1].map(|place: usize| {
        let text = texts.get(place)?.as_deref()?;
        Some((names.get(place)?.as_str(), text))
    });
    MenderConf::read(fallback, main).map_err(|error| ConfigError::new("", error.to_string()))
}

fn build(
    values: &Values<'_>,
    (conf, notes): (MenderConf, Vec<Note>),
    conf_paths: &[PathBuf; 2],
) -> Result<Mender, ConfigError> {
    let [_, main] = conf_paths;
    // Relative paths count from the file that Mender's documentation has people edit.
    let folder = main.parent().unwrap_or(Path::new("/"));
    let data_dir = values.path("mender.data_dir");
    let share_dir = values.path("mender.share_dir");
    let identity = conf.client.as_ref().map(|client| IdentityFiles {
        certificate: folder.join(&client.certificate),
        key: folder.join(&client.key),
    });
    let configured_key = conf.signing_key().map(|key| folder.join(key));
    let device_type_file = conf.device_type_file.as_ref().map(|path| folder.join(path));
    let level = conf.log_level.filter(|_| !values.is_given("log.level"));
    if conf.servers.is_empty() {
        let what = format!(
            "names no server: set ServerURL in {} to the address of the mTLS ambassador",
            main.display()
        );
        return Err(ConfigError::new("", what));
    }
    Ok(Mender {
        may_make_key: configured_key.is_none(),
        auth_key: configured_key.unwrap_or_else(|| data_dir.join(OWN_KEY)),
        server_certificate: conf
            .server_certificate
            .as_ref()
            .map(|path| folder.join(path)),
        device_type_file: device_type_file.unwrap_or_else(|| data_dir.join("device_type")),
        mount_point: values.optional_path("mender.mount_point"),
        system_roots: values.flag("mender.system_roots"),
        server_pins: values.pins(),
        identity_script: share_dir.join("identity/mender-device-identity"),
        identity_pairs: pairs(values)?,
        inventory_dir: share_dir.join("inventory"),
        inventory: match values.text("mender.inventory").as_str() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        },
        update_command: values.texts("mender.update_command"),
        forwarder: forwarder(values)?,
        dbus: values.flag("mender.dbus") && conf.is_dbus_wanted,
        sandbox: values.is_sandbox_wanted(),
        runtime_dir: values.path("runtime_dir"),
        allow_tls13: values.allow_tls13(),
        network: values.network(),
        boot_s_max: values.number("wait.boot_s_max"),
        retry_s_max: values.number("wait.retry_s_max"),
        log_level: level.map_or_else(|| values.text("log.level"), str::to_owned),
        textfile: values.optional_path("status.textfile"),
        identity,
        conf_paths: conf_paths.to_vec(),
        conf,
        notes,
    })
}

fn pairs(values: &Values<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    let texts = values.texts("mender.identity");
    let pairs: Option<Vec<_>> = texts.iter().map(pair).collect();
    pairs.ok_or_else(|| ConfigError::new("mender.identity", "must be a list of name=value"))
}

fn forwarder(values: &Values<'_>) -> Result<Option<core::net::SocketAddr>, ConfigError> {
    let text = values.text("mender.forwarder");
    if text.is_empty() {
        return Ok(None);
    }
    let address: Option<core::net::SocketAddr> = text.parse().ok();
    // Whoever reaches it uses the device's certificate.
    match address.filter(|address| address.ip().is_loopback()) {
        Some(address) => Ok(Some(address)),
        None => Err(ConfigError::new(
            "mender.forwarder",
            "must be an address of this machine with a port, as 127.0.0.1:0",
        )),
    }
}
