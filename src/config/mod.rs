//! The configuration: JSON (with comments) to a [`Config`] that is valid as a whole.
//!
//! Unknown and doubled names are errors, because a misspelt name would silently be a default.

mod listen;
#[cfg(feature = "mender")]
mod mender;
mod mode;
mod settings;
mod shape;
mod table;
#[cfg(test)]
mod tests;

use core::fmt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::wire::eui::Eui64;
use crate::wire::json::{Tree, without_comments};
use crate::wire::pin::Pin;
use crate::wire::policy::Policy;
use crate::wire::uri::{ServerUri, Service};

pub use listen::Listen;
#[cfg(feature = "mender")]
pub use mender::Mender;
pub use mode::{Mode, UnitControl};
pub use settings::SETTINGS;
pub use shape::{Config, Cups, IdentityFiles, Lns, Network};
pub use table::{Kind, Setting, template};

/// What is wrong with a configuration: the setting and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The dotted name, or empty for the file as a whole.
    pub name: String,
    /// What is wrong with it.
    pub what: String,
}

impl ConfigError {
    /// An error of one setting.
    #[must_use]
    pub fn new(name: &str, what: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{} {}", self.name, self.what)
        }
    }
}

impl core::error::Error for ConfigError {}

/// The configuration of the service that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setup {
    /// LoRa Basics Station CUPS.
    Cups(Box<Config>),
    /// Mender.
    #[cfg(feature = "mender")]
    Mender(Box<Mender>),
}

impl Setup {
    /// Reads a configuration, which may be a `mender.conf`. Relative paths count from the
    /// folder of `path`, which is absolute. `read` gives the text of a file, or `None` if there
    /// is no such file.
    pub fn read(
        path: &Path,
        read: &dyn Fn(&Path) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let text = read(path)?.ok_or_else(|| ConfigError::new("", "is not there"))?;
        let base = path.parent().unwrap_or(Path::new("/"));
        let entries = entries(&text)?;
        #[cfg(feature = "mender")]
        if mender::is_conf(path, &entries) {
            return mender::by_conf(path, base, read).map(|mender| Self::Mender(Box::new(mender)));
        }
        let values = Values::of(base, &entries)?;
        if values.text("service") == "mender" {
            #[cfg(feature = "mender")]
            return mender::by_settings(&values, read).map(|mender| Self::Mender(Box::new(mender)));
            #[cfg(not(feature = "mender"))]
            return Err(ConfigError::new("service", "mender is not in this build"));
        }
        values.config().map(|config| Self::Cups(Box::new(config)))
    }

    /// Where the sockets are.
    #[must_use]
    pub fn runtime_dir(&self) -> &Path {
        match self {
            Self::Cups(config) => &config.runtime_dir,
            #[cfg(feature = "mender")]
            Self::Mender(mender) => &mender.runtime_dir,
        }
    }

    /// What is logged.
    #[must_use]
    pub fn log_level(&self) -> &str {
        match self {
            Self::Cups(config) => &config.log_level,
            #[cfg(feature = "mender")]
            Self::Mender(mender) => &mender.log_level,
        }
    }
}

impl Config {
    /// Reads a configuration of the service `cups`. Relative paths count from `base`, the
    /// configuration's folder.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        Values::of(base, &entries(text)?)?.config()
    }
}

fn entries(text: &str) -> Result<Vec<(String, Tree)>, ConfigError> {
    let tree: Tree = serde_json::from_str(&without_comments(text))
        .map_err(|error| ConfigError::new("", format!("is not valid JSON: {error}")))?;
    match tree {
        Tree::Object(entries) => Ok(entries),
        Tree::Leaf(_) => Err(ConfigError::new("", "must be a JSON object: { ... }")),
    }
}

/// Settings that were given, each of the right kind; defaults fill the rest.
struct Values<'a> {
    map: BTreeMap<&'static str, Value>,
    base: &'a Path,
}

impl<'a> Values<'a> {
    fn empty(base: &'a Path) -> Self {
        Self {
            map: BTreeMap::new(),
            base,
        }
    }

    fn of(base: &'a Path, entries: &[(String, Tree)]) -> Result<Self, ConfigError> {
        let mut values = Self::empty(base);
        values.collect("", entries)?;
        Ok(values)
    }

    fn collect(&mut self, prefix: &str, entries: &[(String, Tree)]) -> Result<(), ConfigError> {
        for (name, tree) in entries {
            let name = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match (table::find(&name), tree) {
                (Some(setting), Tree::Leaf(value)) => {
                    setting.check(value)?;
                    if self.map.insert(setting.name, value.clone()).is_some() {
                        return Err(ConfigError::new(&name, "is given twice"));
                    }
                }
                (Some(setting), Tree::Object(_)) => {
                    let what = format!("must be {}", setting.kind_in_words());
                    return Err(ConfigError::new(&name, what));
                }
                (None, Tree::Object(inner)) if table::is_group(&name) => {
                    self.collect(&name, inner)?;
                }
                (None, Tree::Leaf(_)) if table::is_group(&name) => {
                    return Err(ConfigError::new(&name, "must be an object: { ... }"));
                }
                (None, _) => return Err(unknown(&name)),
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Value {
        self.map.get(name).cloned().unwrap_or_else(|| {
            let default = table::find(name)
                .and_then(|setting| setting.default)
                .unwrap_or("null");
            serde_json::from_str(default).unwrap_or(Value::Null)
        })
    }

    fn text(&self, name: &str) -> String {
        self.value(name).as_str().unwrap_or_default().to_owned()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let value = self.value(name);
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.join(self.text(name))
    }

    fn paths(&self, name: &str) -> Vec<PathBuf> {
        self.texts(name)
            .into_iter()
            .map(|path| self.base.join(path))
            .collect()
    }

    fn number(&self, name: &str) -> u64 {
        self.value(name).as_u64().unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name).as_bool().unwrap_or_default()
    }

    fn is_given(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    fn optional_path(&self, name: &str) -> Option<PathBuf> {
        (!self.value(name).is_null()).then(|| self.path(name))
    }

    fn is_sandbox_wanted(&self) -> bool {
        self.text("sandbox") != "off"
    }

    fn allow_tls13(&self) -> bool {
        self.text("tls.version_max") == "1.3"
    }

    fn pins(&self) -> Vec<Pin> {
        table::pins(&self.value("tls.server_pin")).unwrap_or_default()
    }

    fn network(&self) -> Network {
        Network {
            connect_s: self.number("network.connect_s"),
            response_s: self.number("network.response_s"),
            total_s: self.number("network.total_s"),
        }
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let missing = SETTINGS
            .iter()
            .find(|setting| setting.default.is_none() && !self.is_given(setting.name));
        if let Some(setting) = missing {
            let what = format!("is missing ({})", setting.kind_in_words());
            return Err(ConfigError::new(setting.name, what));
        }
        let config = Config {
            data_dir: self.path("data_dir"),
            runtime_dir: self.path("runtime_dir"),
            sandbox: self.is_sandbox_wanted(),
            eui: Eui64::from_any(&self.text("eui")).ok(),
            identity: IdentityFiles {
                certificate: self.path("identity.certificate"),
                key: self.path("identity.key"),
            },
            trust_anchors: self.paths("trust_anchors"),
            cups: self.cups()?,
            lns: Lns {
                station_home: self.optional_path("lns.station_home"),
                prove: self.flag("lns.prove"),
                mode: self.mode()?,
                ping_s: self.number("lns.ping_s"),
            },
            allow_tls13: self.allow_tls13(),
            server_pins: self.pins(),
            network: self.network(),
            boot_s_max: self.number("wait.boot_s_max"),
            retry_s_max: self.number("wait.retry_s_max"),
            log_level: self.text("log.level"),
            textfile: self.optional_path("status.textfile"),
        };
        let is_judged = !config.trust_anchors.is_empty() || !config.server_pins.is_empty();
        if !is_judged && config.cups.uri.is_secure() {
            let what = "must name at least one PEM file";
            return Err(ConfigError::new("trust_anchors", what));
        }
        Ok(config)
    }

    fn mode(&self) -> Result<Mode, ConfigError> {
        Ok(match self.text("lns.mode").as_str() {
            "station" => self.station()?,
            "session" => Mode::Session,
            "relay" => self.relay()?,
            _ => Mode::None,
        })
    }

    fn relay(&self) -> Result<Mode, ConfigError> {
        let listen = Listen::parse(&self.text("relay.listen"))?;
        let users = self.texts("relay.users");
        if matches!(listen, Listen::Tcp(_)) && !users.is_empty() {
            let what = "counts on a Unix socket only (relay.listen unix:/path): who connects to an address is not known";
            return Err(ConfigError::new("relay.users", what));
        }
        Ok(Mode::Relay {
            listen,
            gateways: self.gateways()?,
            users,
            silent_s_max: u32::try_from(self.number("relay.silent_s_max")).unwrap_or(u32::MAX),
        })
    }

    fn station(&self) -> Result<Mode, ConfigError> {
        let (command, unit) = (self.texts("station.command"), self.text("station.unit"));
        if command.is_empty() == unit.is_empty() {
            let what = "or station.command must be given, one of the two, in mode station";
            return Err(ConfigError::new("station.unit", what));
        }
        if self.value("lns.station_home").is_null() {
            return Err(ConfigError::new(
                "lns.station_home",
                "must be given in mode station",
            ));
        }
        Ok(Mode::Station {
            command,
            unit,
            control: self.unit_control()?,
            journal: self.flag("station.journal"),
        })
    }

    fn unit_control(&self) -> Result<UnitControl, ConfigError> {
        let setting = "station.unit_control";
        if self.text(setting) == "systemctl" {
            return Ok(UnitControl::Systemctl);
        }
        #[cfg(feature = "dbus")]
        let control = Ok(UnitControl::Dbus);
        #[cfg(not(feature = "dbus"))]
        let control = {
            let what = "cannot be dbus: this program was built without it; use systemctl";
            Err(ConfigError::new(setting, what))
        };
        control
    }

    fn gateways(&self) -> Result<Vec<Eui64>, ConfigError> {
        let read = |text: &String| {
            Eui64::from_any(text)
                .map_err(|error| ConfigError::new("relay.gateways", error.to_string()))
        };
        self.texts("relay.gateways").iter().map(read).collect()
    }

    fn cups(&self) -> Result<Cups, ConfigError> {
        let uri = ServerUri::parse(&self.text("cups.uri"), Service::Cups)
            .map_err(|error| ConfigError::new("cups.uri", error.to_string()))?;
        let allow_plain = self.flag("cups.allow_plain");
        if !uri.is_secure() && !allow_plain {
            let what = "is not https:// and cups.allow_plain is not set";
            return Err(ConfigError::new("cups.uri", what));
        }
        Ok(Cups {
            uri,
            poll_s: self.number("cups.poll_s"),
            policy: Policy {
                allow_cups_changes: self.flag("cups.allow_cups_changes"),
                allow_plain,
                allowed_hosts: self.texts("cups.allowed_hosts"),
            },
            model: self.text("cups.model"),
            package: self.text("cups.package"),
            signature_keys: self.paths("cups.signature_keys"),
            update_command: self.texts("cups.update_command"),
            update_octets_max: self.number("cups.update_mib_max").saturating_mul(1 << 20),
        })
    }
}

fn unknown(name: &str) -> ConfigError {
    let what = match table::suggestion(name) {
        Some(known) => format!("is not a setting; did you mean {known}?"),
        None => "is not a setting (mtls-agent config --template lists them)".to_owned(),
    };
    ConfigError::new(name, what)
}
