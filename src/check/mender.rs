//! Checks of the Mender service: what its files say together, before anybody is asked.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::files::update_command;
use super::{Finding, Verdict, clock_finding, pins};
use crate::agent::failure::Class;
use crate::config::Mender;
use crate::daemon::mender::standing::Writes;
use crate::daemon::mender::{facts, scripts, standing};
use crate::limits::CONFIG_OCTETS_MAX;
use crate::store::durable::read_bounded;
use crate::wire::mender::id_data::IdData;

pub(super) fn findings(config: &Mender) -> Vec<Finding> {
    let mut findings = vec![configuration(config)];
    findings.extend(config.notes.iter().map(|note| Finding {
        code: Some("mender_conf"),
        ..Finding::of("configuration", Verdict::Warning, note.to_string())
    }));
    findings.extend(tenant_token(config));
    findings.extend(pins(&config.server_pins));
    findings.extend(identity(config));
    findings.push(id_data(config));
    findings.extend(device_type(config));
    findings.extend(update_command(&config.update_command));
    findings
}

fn configuration(config: &Mender) -> Finding {
    let servers: Vec<String> = config
        .conf
        .servers
        .iter()
        .map(ToString::to_string)
        .collect();
    let text = format!("is valid, server {}", servers.join(", then "));
    Finding::of("configuration", Verdict::Ok, text)
}

/// Whoever reads the tenant token can have devices of their own wait for acceptance.
fn tenant_token(config: &Mender) -> Option<Finding> {
    config.conf.tenant_token.as_ref()?;
    let path = config.conf_paths.iter().find(|path| is_open(path))?;
    let text = format!("everybody can read the TenantToken in {}", path.display());
    Some(Finding {
        code: Some("tenant_token_open"),
        hint: Some("chmod 600 the file"),
        ..Finding::of("configuration", Verdict::Warning, text)
    })
}

/// Whether others can read the file, and there is a tenant token in it.
fn is_open(path: &Path) -> bool {
    let mode = path.metadata().map_or(0, |facts| facts.mode());
    let limit = usize::try_from(CONFIG_OCTETS_MAX).unwrap_or(usize::MAX);
    let text = || read_bounded(path, limit).unwrap_or_default();
    mode & 0o004 > 0
        && String::from_utf8_lossy(&text())
            .to_ascii_lowercase()
            .contains("\"tenanttoken\"")
}

fn identity(config: &Mender) -> Vec<Finding> {
    let made_later = standing::is_key_to_be_made(config);
    if made_later && config.identity.is_none() {
        let text = format!("{} is made at the first start", config.auth_key.display());
        return vec![Finding::of("identity", Verdict::Ok, text)];
    }
    match standing::load(config, Writes::Nothing) {
        Ok(standing) => {
            let now_s = standing.tls.time.now_s();
            let signer = &standing.signer;
            let of_certificate = standing.facts.as_ref().map(|facts| {
                let days = facts.not_after_s.saturating_sub(now_s) / 86_400;
                format!("{}, valid for {days} more days", facts.subject)
            });
            let text = format!(
                "{}, auth key {} with SHA-256 {}",
                of_certificate.unwrap_or_else(|| "no certificate".to_owned()),
                signer.kind(),
                signer.fingerprint()
            );
            let mut findings = vec![
                Finding::of("identity", Verdict::Ok, text),
                clock_finding(standing.tls.time.is_sane()),
            ];
            findings.extend(standing.warnings.iter().map(|warning| Finding {
                code: Some(warning.code),
                ..Finding::of("identity", Verdict::Warning, warning.text.clone())
            }));
            if config.identity.is_none() {
                findings.push(no_certificate());
            }
            findings
        }
        Err(failure) => {
            let is_trust = failure.class == Class::Configuration;
            let id = if is_trust {
                "trust_anchors"
            } else {
                "identity"
            };
            vec![Finding {
                code: Some(failure.code),
                hint: failure.hint,
                is_set_up: true,
                ..Finding::of(id, Verdict::Failed, failure.message)
            }]
        }
    }
}

fn no_certificate() -> Finding {
    Finding {
        code: Some("no_certificate"),
        hint: Some("name Certificate and Key in HttpsClient to be accepted by the ambassador"),
        ..Finding::of(
            "identity",
            Verdict::Warning,
            "no client certificate is configured: somebody has to accept the device by hand",
        )
    }
}

/// Runs the identity script: what it prints decides which device this is.
fn id_data(config: &Mender) -> Finding {
    let failed = |text: String| Finding {
        code: Some("identity_script"),
        hint: Some("the identity script must print name=value lines and end with 0"),
        is_set_up: true,
        ..Finding::of("id_data", Verdict::Failed, text)
    };
    let script = &config.identity_script;
    if script.is_file() {
        let said = match scripts::run(script) {
            Ok(said) => said,
            Err(error) => return failed(format!("{} {error}", script.display())),
        };
        return match IdData::from_script(&said) {
            Ok(id_data) => Finding::of(
                "id_data",
                Verdict::Ok,
                format!("{}, by {}", id_data.as_str(), script.display()),
            ),
            Err(error) => failed(format!("{}: {error}", script.display())),
        };
    }
    if !config.identity_pairs.is_empty() {
        return match IdData::from_pairs(config.identity_pairs.iter().cloned()) {
            Ok(id_data) => Finding::of(
                "id_data",
                Verdict::Ok,
                format!("{}, by mender.identity", id_data.as_str()),
            ),
            Err(error) => failed(format!("mender.identity: {error}")),
        };
    }
    match facts::first_real_interface() {
        Some((name, mac)) => {
            let text = format!(
                "the address {mac} of {name}; there is no {}",
                script.display()
            );
            Finding::of("id_data", Verdict::Ok, text)
        }
        None => failed(format!(
            "there is no {}, no mender.identity and no network interface with a device",
            script.display()
        )),
    }
}

fn device_type(config: &Mender) -> Option<Finding> {
    let file = &config.device_type_file;
    facts::device_type(file).is_none().then(|| {
        let text = format!(
            "{} does not say what kind of device this is",
            file.display()
        );
        Finding {
            code: Some("no_device_type"),
            hint: Some("write device_type=NAME into it, as the image build does"),
            ..Finding::of("device_type", Verdict::Warning, text)
        }
    })
}
