//! Named checks an operator runs before calling anybody. Offline: no packet is sent.

mod files;
#[cfg(feature = "mender")]
mod mender;

use core::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::agent::failure::Class;
use crate::config::{Config, Setup};
use crate::daemon::standing;
use crate::report::chain;
use crate::store::{Store, StoreError};
use crate::wire::pin::Pin;

/// How one check ended. The order is from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing to say.
    Ok,
    /// It does not apply here.
    Skipped,
    /// It works, and something should be done.
    Warning,
    /// It does not work.
    Failed,
}

impl Verdict {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One check and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The stable name of the check.
    pub id: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// The stable name of what was found, if something was.
    pub code: Option<&'static str>,
    /// One sentence.
    pub text: String,
    /// What to do.
    pub hint: Option<&'static str>,
    /// Whether the cause is the configuration or the identity.
    pub is_set_up: bool,
}

impl Finding {
    fn of(id: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            id,
            verdict,
            code: None,
            text: text.into(),
            hint: None,
            is_set_up: false,
        }
    }

    /// A configuration that cannot be read.
    #[must_use]
    pub fn no_configuration(text: String) -> Self {
        Self {
            is_set_up: true,
            ..Self::of("configuration", Verdict::Failed, text)
        }
    }

    /// The object that `check --json` prints in its list.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "result": self.verdict.name(),
            "code": self.code,
            "message": self.text,
            "hint": self.hint,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} {:14} {}", self.verdict.name(), self.id, self.text)?;
        if let Some(hint) = self.hint {
            write!(f, "\n{:24}{hint}", "")?;
        }
        Ok(())
    }
}

/// Runs every check that needs no network. Nothing is written either.
#[must_use]
pub fn offline(setup: &Setup) -> Vec<Finding> {
    match setup {
        Setup::Cups(config) => gateway(config),
        #[cfg(feature = "mender")]
        Setup::Mender(config) => mender::findings(config),
    }
}

fn gateway(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::of("configuration", Verdict::Ok, "is valid")];
    findings.extend(pins(&config.server_pins));
    findings.extend(identity(config));
    findings.push(data_dir(config));
    findings.extend(files::station_home(config));
    findings.extend(files::signature_keys(config));
    findings.extend(files::update_command(&config.cups.update_command));
    findings
}

/// 0, or 78 when configuration or identity must be mended, or 1 for another failure.
#[must_use]
pub fn exit_code(findings: &[Finding]) -> u8 {
    let failed = || {
        findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Failed)
    };
    if failed().any(|finding| finding.is_set_up) {
        return 78;
    }
    u8::from(failed().next().is_some())
}

/// A server that must change its only pinned key locks every device out.
fn pins(pins: &[Pin]) -> Option<Finding> {
    (pins.len() == 1).then(|| Finding {
        code: Some("pin_alone"),
        hint: Some("add the pin of a key that is kept in reserve"),
        ..Finding::of(
            "server_pin",
            Verdict::Warning,
            "tls.server_pin has one pin only: a new key of the server would lock this device out",
        )
    })
}

fn identity(config: &Config) -> Vec<Finding> {
    let newest_s =
        Store::open_read_only(&config.data_dir).map_or(0, |store| store.newest_created_s());
    match standing::load(config, newest_s) {
        Ok((standing, warnings)) => {
            let facts = &standing.identity.facts;
            let days = facts.not_after_s.saturating_sub(standing.time.now_s()) / 86_400;
            let text = format!(
                "{}, {}, valid for {days} more days",
                standing.identity.eui, facts.key
            );
            let mut findings = vec![Finding::of("identity", Verdict::Ok, text)];
            findings.push(clock_finding(standing.time.is_sane()));
            findings.extend(warnings.into_iter().map(|warning| Finding {
                code: Some(warning.code),
                ..Finding::of("identity", Verdict::Warning, warning.text)
            }));
            findings
        }
        Err(failure) => {
            let id = if failure.class == Class::Configuration {
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

fn clock_finding(is_sane: bool) -> Finding {
    if is_sane {
        let text = "is not behind what this device has seen";
        return Finding::of("clock", Verdict::Ok, text);
    }
    let text = "is behind what this device has seen";
    Finding {
        hint: Some("set the clock by NTP or GPS; the agent goes on meanwhile"),
        ..Finding::of("clock", Verdict::Warning, text)
    }
}

fn data_dir(config: &Config) -> Finding {
    match Store::open_read_only(&config.data_dir) {
        Ok(store) => match store.current() {
            Some(set) => Finding::of(
                "data_dir",
                Verdict::Ok,
                format!("set {} is in use, LNS {}", set.number, set.contents.tc_uri),
            ),
            None => Finding::of("data_dir", Verdict::Ok, "no LNS credentials yet"),
        },
        Err(StoreError::Missing(_)) if config.data_dir.is_dir() => {
            Finding::of("data_dir", Verdict::Ok, "no LNS credentials yet")
        }
        Err(StoreError::Missing(_)) if is_made_at_first_start(&config.data_dir) => {
            let text = format!("{} is made at the first start", config.data_dir.display());
            Finding::of("data_dir", Verdict::Ok, text)
        }
        Err(error) => Finding {
            is_set_up: !config.data_dir.is_dir(),
            ..Finding::of("data_dir", Verdict::Failed, chain(&error))
        },
    }
}

/// The service makes the last part of the path itself, never more.
fn is_made_at_first_start(data_dir: &Path) -> bool {
    data_dir.symlink_metadata().is_err() && data_dir.parent().is_some_and(Path::is_dir)
}
