//! Acts: the service's dealings with the store and with Basic Station's home.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use tracing::{debug, error, info, warn};

use super::clock;
use super::compose;
use super::discovery::Proof;
use super::service::{Service, no_identity};
use super::standing;
use crate::agent::failure::{Class, Failure};
use crate::agent::{Event, ExchangeId, SetId};
use crate::config::Config;
use crate::report::chain;
use crate::store::{Origin, SetNumber, StoreError, station};

/// Makes the data directory at the very first start, inside a folder that exists.
///
/// Only when the identity can be loaded: without it the data partition is probably not
/// mounted, and a store on the root file system would hide the real one.
pub fn prepare_data_dir(config: &Config) -> Result<(), Failure> {
    if config.data_dir.exists() {
        return Ok(());
    }
    standing::load(config, 0)?;
    DirBuilder::new()
        .mode(0o700)
        .create(&config.data_dir)
        .map_err(|error| {
            let text = format!("{} cannot be made: {error}", config.data_dir.display());
            Failure::new(Class::Storage, "store", text).with_hint("is the data partition mounted?")
        })
}

impl Service {
    /// What it takes to reach the LNS with a set.
    pub fn access(&self, set: SetId) -> Result<Proof, Failure> {
        let standing = self.standing().ok_or_else(no_identity)?;
        let contents = match self
            .store
            .current()
            .filter(|current| current.number.0 == set.0)
        {
            Some(current) => current.contents.clone(),
            None => {
                self.store
                    .load(SetNumber(set.0))
                    .map_err(|error| store_failure(&error))?
                    .contents
            }
        };
        compose::access(&self.config, standing, &contents).ok_or_else(|| {
            let text = format!("set {} names no LNS", set.0);
            Failure::new(Class::Protocol, "lns_no_address", text)
                .with_hint("give the gateway an LNS address on the server")
        })
    }

    /// Makes a set the one to fall back to. It is no longer under suspicion.
    pub(super) fn confirm(&mut self, set: SetId) -> Event {
        let confirmed = self.store.confirm(SetNumber(set.0));
        if let Err(error) = confirmed {
            return store_failed(&error);
        }
        let digest = self
            .store
            .current()
            .map(|current| current.contents.digest());
        if let Some(Err(error)) = digest.map(|digest| self.store.release(&digest)) {
            warn!("{}", chain(&error));
        }
        self.tell_current();
        Event::Confirmed { set }
    }

    pub(super) fn stage(&mut self, id: ExchangeId) -> Event {
        let contents = match self.offer.take() {
            Some((offered, contents)) if offered == id => contents,
            _ => return store_failed_text("nothing was offered under this number"),
        };
        let now_s = self.now_s();
        if let Some(until_s) = self.store.quarantined_until(&contents.digest(), now_s) {
            let minutes = until_s.saturating_sub(now_s).div_ceil(60);
            let text = format!(
                "CUPS offers credentials again that failed before; next try in {minutes} minutes"
            );
            let failure = Failure::new(Class::NotAuthorised, "quarantined", text)
                .with_hint("give the gateway working LNS credentials on the server");
            return Event::Held { failure };
        }
        match self.store.stage(&contents, Origin::Cups, now_s) {
            Ok(number) => Event::Staged {
                set: SetId(number.0),
            },
            Err(error) => store_failed(&error),
        }
    }

    /// The set that was staged before the start and still waits for its proof. One that was
    /// refused and could not be deleted is not it.
    pub(super) fn waiting_set(&self) -> Option<SetId> {
        let number = self.store.staged()?;
        let digest = self.store.load(number).ok()?.contents.digest();
        let held = self.store.quarantined_until(&digest, self.now_s());
        held.is_none().then_some(SetId(number.0))
    }

    pub(super) fn discard(&mut self, set: SetId, quarantine: bool) -> Event {
        let number = SetNumber(set.0);
        let now_s = self.now_s();
        let refused = quarantine.then(|| self.store.load(number).ok()).flatten();
        if let Some(refused) = refused {
            match self.store.quarantine(&refused.contents.digest(), now_s) {
                Ok(hold_s) => debug!(set = set.0, hold_s, "these credentials are held back"),
                Err(error) => warn!("{}", chain(&error)),
            }
        }
        match self.store.discard(number) {
            Ok(()) | Err(StoreError::InUse(_) | StoreError::NoSuchSet(_)) => {}
            Err(error) => warn!("{}", chain(&error)),
        }
        Event::Discarded { set }
    }

    /// Takes what Basic Station has, so that a gateway that works goes on working.
    pub(super) fn adopt(&mut self) {
        let Some(home) = self.config.lns.station_home.clone() else {
            return;
        };
        for warning in station::warnings(&home) {
            warn!("{warning}");
        }
        if self.store.current().is_some() {
            return;
        }
        let contents = match station::adopt(&home) {
            Ok(Some(contents)) => contents,
            Ok(None) => return,
            Err(error) => {
                warn!("{}", chain(&error));
                return;
            }
        };
        let now_s = clock::wall_s();
        let adopted = self
            .store
            .stage(&contents, Origin::Adopted, now_s)
            .and_then(|number| self.store.commit(number).map(|()| number));
        match adopted {
            Ok(number) => info!(
                set = number.0,
                "took over the credentials in {}",
                home.display()
            ),
            Err(error) => error!("{}", chain(&error)),
        }
    }
}

pub(super) fn store_failure(error: &StoreError) -> Failure {
    let code = if error.is_full() {
        "store_full"
    } else {
        "store"
    };
    Failure::new(Class::Storage, code, chain(error))
}

pub(super) fn store_failed(error: &StoreError) -> Event {
    Event::StoreFailed {
        failure: store_failure(error),
    }
}

fn store_failed_text(text: &str) -> Event {
    Event::StoreFailed {
        failure: Failure::new(Class::Storage, "store", text),
    }
}
