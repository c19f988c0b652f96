//! Acts: takes a changed identity or configuration into the running service.

use tracing::{debug, warn};

use super::compose;
use super::service::Service;
use super::standing;
use crate::agent::Event;
use crate::config::{Config, Mode};
use crate::identity::Warning;

impl Service {
    /// Loads the identity again and tells the machine, if the files say something new.
    pub fn reload_identity(&mut self) {
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

    /// Takes a new configuration; `false`: its files cannot be used, and it is not taken.
    /// Folders are fixed at start, and [`Service::set_mode`] is told who holds the link.
    pub fn reconfigure(&mut self, config: Config) -> bool {
        let usable = standing::load(&config, self.store.newest_created_s());
        if let (Some(_), Err(failure)) = (&self.standing, usable) {
            self.tell(Event::IdentityLoadFailed { failure });
            return false;
        }
        let before = core::mem::replace(&mut self.config, config);
        let waits_for_start = [
            ("data_dir", before.data_dir != self.config.data_dir),
            ("runtime_dir", before.runtime_dir != self.config.runtime_dir),
            ("sandbox", before.sandbox != self.config.sandbox),
        ];
        for (name, _) in waits_for_start.into_iter().filter(|(_, waits)| *waits) {
            warn!("{name} differs in the configuration now: restart mtls-agent to use it");
        }
        let is_cups_other = before.cups.uri != self.config.cups.uri;
        self.config.data_dir = before.data_dir;
        self.config.runtime_dir = before.runtime_dir;
        self.config.lns.mode = before.lns.mode;
        self.tell_current();
        self.tell(Event::Reconfigured {
            settings: compose::settings(&self.config),
        });
        if is_cups_other {
            self.tell(Event::CupsRenamed);
        }
        self.reload_identity();
        self.handover.plan();
        self.export();
        true
    }

    /// Notes that the link is held in this way from now on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.config.lns.mode = mode;
    }

    pub(super) fn load_identity(&mut self) -> Event {
        match standing::load(&self.config, self.store.newest_created_s()) {
            Ok((standing, warnings)) => {
                for Warning { code, text } in warnings {
                    warn!(code, "{text}");
                }
                self.standing = Some(standing);
                Event::IdentityLoaded
            }
            Err(failure) if self.standing.is_some() => Event::IdentityLoadFailed { failure },
            Err(failure) => Event::IdentityUnusable { failure },
        }
    }
}
