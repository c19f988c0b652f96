//! Acts: loads who we are and whom we trust, and compares every place that names an EUI.

use std::sync::Arc;

use tracing::warn;

use super::clock::{self, Effective};
use super::notify;
use crate::agent::failure::{Class, Failure};
use crate::config::Config;
use crate::identity::anchors::{self, Anchors};
use crate::identity::{self, Identity, Warning};
use crate::limits::{BUILD_EPOCH_S, REMEMBERED_AHEAD_S_MAX};
use crate::report::chain;
use crate::store::station;

/// Who we are and whom we trust, as loaded last.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Certificate and signer.
    pub identity: Arc<Identity>,
    /// Trust anchors of the CUPS server.
    pub anchors: Arc<Anchors>,
    /// Time that cannot lie too far back.
    pub time: Effective,
}

impl Standing {
    /// Whether files and hence everything else are the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity.certificate_octets == other.identity.certificate_octets
            && self.identity.key_octets == other.identity.key_octets
            && self.anchors.octets == other.anchors.octets
    }
}

/// Loads identity and anchors and compares every place that names an EUI.
pub fn load(config: &Config, newest_created_s: u64) -> Result<(Standing, Vec<Warning>), Failure> {
    let refused = |error: &identity::error::IdentityError| {
        Failure::new(Class::IdentityInvalid, error.code(), error.to_string())
            .with_hint(error.hint())
    };
    let newest_created_s = plausible(newest_created_s, clock::wall_s());
    let early = Effective::from_passed(&[newest_created_s]);
    let path = &config.identity.certificate;
    let credentials = notify::credentials_directory();
    let loaded = identity::load(
        path,
        &config.identity.key,
        credentials.as_deref(),
        early.now_s(),
    )
    .map_err(|error| refused(&error))?;
    if let Some(eui) = config.eui {
        loaded
            .check_eui(eui, "the configuration (eui)", path)
            .map_err(|error| refused(&error))?;
    }
    if let Some(home) = &config.lns.station_home {
        match station::configured_eui(home) {
            Ok(Some((eui, place))) => loaded
                .check_eui(eui, &place.display().to_string(), path)
                .map_err(|error| refused(&error))?,
            Ok(None) => {}
            Err(error) => warn!("{}", chain(&error)),
        }
    }
    let time = Effective::from_passed(&[newest_created_s, loaded.facts.not_before_s]);
    let anchors = anchors::load(&config.trust_anchors, time.now_s()).map_err(|error| Failure {
        class: Class::Configuration,
        ..refused(&error)
    })?;
    let warnings = loaded
        .warnings
        .iter()
        .chain(&anchors.warnings)
        .cloned()
        .collect();
    Ok((
        Standing {
            identity: Arc::new(loaded),
            anchors: Arc::new(anchors),
            time,
        },
        warnings,
    ))
}

/// A time that the store remembers, unless it lies years ahead of a clock that is set: then
/// it was written while the clock was wrong, and would make every certificate look expired.
fn plausible(remembered_s: u64, wall_s: u64) -> u64 {
    let is_set = wall_s >= BUILD_EPOCH_S;
    if is_set && remembered_s > wall_s.saturating_add(REMEMBERED_AHEAD_S_MAX) {
        0
    } else {
        remembered_s
    }
}

#[cfg(test)]
mod tests {
    use super::{BUILD_EPOCH_S, REMEMBERED_AHEAD_S_MAX, plausible};

    #[test]
    fn a_memory_from_a_wrong_clock_is_dropped_once_the_clock_is_right() {
        let now_s = BUILD_EPOCH_S + 1000;
        assert_eq!(plausible(now_s + 60, now_s), now_s + 60);
        assert_eq!(plausible(now_s + REMEMBERED_AHEAD_S_MAX + 1, now_s), 0);
        assert_eq!(
            plausible(now_s + REMEMBERED_AHEAD_S_MAX + 1, 5),
            now_s + REMEMBERED_AHEAD_S_MAX + 1
        );
    }
}
