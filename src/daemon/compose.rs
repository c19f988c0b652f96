//! Acts: puts together what the worker needs, from configuration, identity and current set.

use core::time::Duration;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use rustls::RootCertStore;

use super::cups::{Ask, Updates};
use super::discovery::Proof;
use super::standing::Standing;
use super::tls::TlsAccess;
use crate::agent::Settings;
use crate::agent::failure::{Class, Failure};
use crate::config::Config;
use crate::identity::anchors;
use crate::identity::pair;
use crate::store::durable::read_bounded;
use crate::store::{SetContents, station};
use crate::wire::crc::crc32;
use crate::wire::credential::{Credential, Method, crc_of_nothing};
use crate::wire::cups::request::Request;
use crate::wire::policy::Offer;
use crate::wire::token;
use crate::wire::traffic::About;
use crate::wire::uri::{ServerUri, Service};

/// An update key is the two coordinates of a P-256 point.
const KEY_OCTETS_MAX: usize = 4096;

/// A gateway without LNS credentials asks that often, if not more often anyway.
const POLL_UNCONFIGURED_S: u64 = 15 * 60;

/// The machine's settings out of the configuration.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    Settings {
        poll: Duration::from_secs(config.cups.poll_s),
        poll_unconfigured: Duration::from_secs(config.cups.poll_s.min(POLL_UNCONFIGURED_S)),
        // A gateway that follows CUPS to a server that does not answer never comes back.
        prove: config.lns.prove || config.cups.policy.allow_cups_changes,
        first_retry_spread: Duration::from_secs(config.retry_s_max),
        boot_delay_max: Duration::from_secs(config.boot_s_max),
    }
}

/// The set that an offer makes of the current one.
#[must_use]
pub fn contents(current: Option<&SetContents>, offer: &Offer) -> SetContents {
    let empty = SetContents {
        tc_uri: String::new(),
        tc: None,
        cups_uri: None,
        cups: None,
    };
    let mut contents = current.cloned().unwrap_or(empty);
    if let Some(uri) = &offer.tc_uri {
        contents.tc_uri = uri.to_string();
    }
    if let Some(uri) = &offer.cups_uri {
        contents.cups_uri = Some(uri.to_string());
    }
    contents.tc = offer.tc.clone().or(contents.tc);
    contents.cups = offer.cups.clone().or(contents.cups);
    contents
}

/// The question to CUPS, asked with the CUPS part of `set` (normally the current one).
pub fn ask(
    config: &Config,
    standing: &Standing,
    set: Option<&SetContents>,
    silent_closes: u32,
) -> Result<Ask, Failure> {
    let allowed = set.filter(|_| config.cups.policy.allow_cups_changes);
    let uri = match allowed.and_then(|set| set.cups_uri.as_deref()) {
        Some(text) => ServerUri::parse(text, Service::Cups)
            .map_err(|error| Failure::new(Class::Protocol, error.code.name(), error.to_string()))?,
        None => config.cups.uri.clone(),
    };
    let credential = allowed.and_then(|set| set.cups.as_ref());
    let updates = updates(config)?;
    Ok(Ask {
        tls: TlsAccess {
            // The pin is the configured server's; one that CUPS moved us to brings its trust.
            pins: if uri == config.cups.uri {
                config.server_pins.clone()
            } else {
                Vec::new()
            },
            ..tls_access(config, standing, credential)?
        },
        headers: headers(credential.filter(|_| uri.is_secure()))?,
        body: request(config, standing, set, &uri, credential, &updates).body(),
        tc_uri: set.and_then(|set| ServerUri::parse(&set.tc_uri, Service::Lns).ok()),
        policy: config.cups.policy.clone(),
        updates,
        network: config.network,
        own_certificate_valid: standing.identity.facts.not_after_s >= standing.time.now_s(),
        silent_closes,
        uri,
    })
}

/// The proof of a set's CUPS part: the same question to the new server, whose answer counts
/// for nothing else. It must not touch the update that the first answer may have brought.
pub fn rehearsal(config: &Config, standing: &Standing, set: &SetContents) -> Result<Ask, Failure> {
    let mut ask = ask(config, standing, Some(set), 0)?;
    ask.updates.data_dir = None;
    Ok(ask)
}

/// The proof of a set at its LNS; `None` if the set names no LNS or none is wanted.
#[must_use]
pub fn proof(config: &Config, standing: &Standing, set: &SetContents) -> Option<Proof> {
    access(config, standing, set).filter(|_| config.lns.prove)
}

/// The means to reach the LNS of a set; `None` if the set names none.
#[must_use]
pub fn access(config: &Config, standing: &Standing, set: &SetContents) -> Option<Proof> {
    (!set.tc_uri.is_empty()).then(|| Proof {
        router: standing.identity.eui,
        tc_uri: set.tc_uri.clone(),
        credential: set.tc.clone(),
        allow_tls13: config.allow_tls13,
        time: standing.time,
        network: config.network,
    })
}

/// What the agent says of the gateway when it holds the traffic socket itself.
#[must_use]
pub fn about(config: &Config) -> About {
    About {
        station: program(),
        firmware: env!("CARGO_PKG_VERSION").to_owned(),
        package: package(config).unwrap_or_default(),
        model: model(config),
    }
}

fn program() -> String {
    format!(
        "mtls-agent {}({}/{})",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// The configured image version, or what the station home says.
fn package(config: &Config) -> Option<String> {
    let home = config.lns.station_home.as_deref();
    let package = Some(config.cups.package.clone()).filter(|text| !text.is_empty());
    package.or_else(|| home.and_then(station::version_text))
}

fn tls_access(
    config: &Config,
    standing: &Standing,
    credential: Option<&Credential>,
) -> Result<TlsAccess, Failure> {
    let unusable = |what: &str| {
        let text = format!("the stored CUPS credentials cannot be used: {what}");
        Failure::new(Class::Protocol, "cups_credentials", text)
    };
    let mut roots = RootCertStore::clone(&standing.anchors.roots);
    let mut certified = Arc::clone(&standing.identity.certified);
    if let Some(credential) = credential {
        // Beside the configured anchors, never instead of them: the way back stays open.
        let more = anchors::from_trust(credential.trust()).ok_or_else(|| unusable("trust"))?;
        roots.extend(more.roots);
        if credential.method() == Method::Mutual {
            certified = pair::certified(credential.certificate(), credential.key())
                .ok_or_else(|| unusable("certificate and key"))?;
        }
    }
    Ok(TlsAccess {
        roots: Arc::new(roots),
        pins: Vec::new(),
        certified: Some(certified),
        allow_tls13: config.allow_tls13,
        time: standing.time,
    })
}

/// The lines of a token. The caller leaves them out where nothing would hide them.
fn headers(credential: Option<&Credential>) -> Result<Vec<(String, String)>, Failure> {
    let Some(credential) = credential.filter(|set| set.method() == Method::Token) else {
        return Ok(Vec::new());
    };
    let lines = token::lines(credential.key())
        .map_err(|error| Failure::new(Class::Protocol, error.code.name(), error.to_string()))?;
    Ok(lines
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn request(
    config: &Config,
    standing: &Standing,
    set: Option<&SetContents>,
    uri: &ServerUri,
    credential: Option<&Credential>,
    updates: &Updates,
) -> Request {
    let identity = &standing.identity;
    let from_files = || {
        let key = identity.key_octets.expose();
        Credential::from_parts(&standing.anchors.octets, &identity.certificate_octets, key).crc()
    };
    Request {
        router: identity.eui,
        cups_uri: uri.to_string(),
        tc_uri: set.map(|set| set.tc_uri.clone()).unwrap_or_default(),
        cups_crc: credential.map_or_else(from_files, Credential::crc),
        tc_crc: set
            .and_then(|set| set.tc.as_ref())
            .map_or_else(crc_of_nothing, Credential::crc),
        station: program(),
        model: model(config),
        package: package(config),
        key_crcs: updates.keys.iter().map(|key| crc32(key)).collect(),
    }
}

/// The configured keys that updates are verified by, or those in station's home.
pub fn signature_keys(config: &Config) -> Result<Vec<Vec<u8>>, Failure> {
    let storage = |text: String| Failure::new(Class::Configuration, "signature_keys", text);
    let mut keys = Vec::new();
    for path in &config.cups.signature_keys {
        let octets = read_bounded(path, KEY_OCTETS_MAX)
            .map_err(|error| storage(format!("{} cannot be read: {error}", path.display())))?;
        keys.push(octets);
    }
    if let Some(home) = config
        .lns
        .station_home
        .as_deref()
        .filter(|_| keys.is_empty())
    {
        let found = station::signature_keys(home).map_err(|error| storage(error.to_string()))?;
        keys.extend(found.into_iter().map(|(_, octets)| octets));
    }
    Ok(keys)
}

fn updates(config: &Config) -> Result<Updates, Failure> {
    let keys = signature_keys(config)?;
    Ok(Updates {
        data_dir: config.updates_are_on().then(|| config.data_dir.clone()),
        octets_max: config.cups.update_octets_max,
        keys,
    })
}

/// The configured model, or what the device tree calls this board, or the processor.
fn model(config: &Config) -> String {
    if !config.cups.model.is_empty() {
        return config.cups.model.clone();
    }
    let mut text = String::new();
    let read = File::open("/proc/device-tree/model")
        .and_then(|file| file.take(256).read_to_string(&mut text));
    let name = text.trim_matches(['\0', ' ', '\n']);
    if read.is_ok() && !name.is_empty() {
        name.to_owned()
    } else {
        format!("linux-{}", std::env::consts::ARCH)
    }
}
