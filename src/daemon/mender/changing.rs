//! Acts: takes identity and configuration anew while the service runs.

use std::sync::Arc;

use tracing::{debug, warn};

use super::orders::settings;
use super::service::Service;
use super::standing::{self, Writes};
use crate::agent::mender::Event;
use crate::config;
use crate::identity::Warning;

impl Service {
    /// Loads the identity again and tells the machine, if the files say something new.
    pub(super) fn reload_identity(&mut self) {
        let before = self.standing.clone();
        let event = self.load_identity();
        let is_same = match (&before, &self.standing) {
            (Some(before), Some(after)) => before.is_same(after),
            _ => false,
        };
        if is_same && event == Event::IdentityLoaded {
            debug!("the identity files say what they said before");
            return;
        }
        self.silent_closes = 0;
        self.tell(event);
    }

    /// Takes a new configuration. One whose files cannot be used is not taken at all.
    pub(super) fn reconfigure(&mut self, config: config::Mender) {
        if let (Some(_), Err(failure)) = (&self.standing, standing::load(&config, Writes::Mode)) {
            return self.tell(Event::IdentityLoadFailed { failure });
        }
        for note in &config.notes {
            warn!(code = "mender_conf", "{note}");
        }
        let before = core::mem::replace(&mut self.config, config);
        let fixed =
            |config: &config::Mender| (config.runtime_dir.clone(), config.forwarder, config.dbus);
        if fixed(&before) != fixed(&self.config) {
            warn!("runtime_dir, mender.forwarder and mender.dbus change at the next start only");
            self.config.runtime_dir = before.runtime_dir;
            self.config.forwarder = before.forwarder;
            self.config.dbus = before.dbus;
        }
        // First: an attempt that is due just now must not go to a new server with the old pins.
        let event = self.load_identity();
        self.tell(Event::Reconfigured {
            settings: settings(&self.config),
        });
        self.tell(event);
    }

    /// Takes what the files say, for everybody who uses it.
    pub(super) fn load_identity(&mut self) -> Event {
        let writes = match &self.standing {
            // Whoever is a device already never becomes another one.
            Some(_) => Writes::Mode,
            None => Writes::ModeAndKey,
        };
        let loaded = standing::load(&self.config, writes);
        let event = match loaded {
            Ok(standing) => {
                for Warning { code, text } in &standing.warnings {
                    warn!(code, "{text}");
                }
                self.standing = Some(Arc::new(standing));
                Event::IdentityLoaded
            }
            Err(failure) if self.standing.is_some() => Event::IdentityLoadFailed { failure },
            Err(failure) => Event::IdentityUnusable { failure },
        };
        self.consumers.set_can_fetch(self.standing.is_some());
        if let Some(standing) = &self.standing {
            self.consumers.readjust(&self.access(standing));
        }
        event
    }
}
