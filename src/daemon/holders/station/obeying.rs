//! Acts: what the thread does when the link's machine, a reload or the agent's end says so.

use core::time::Duration;

use nix::poll::{PollTimeout, poll};
use tracing::{info, warn};

use super::keeper::{Attempt, Keeper};
use super::sight::Sight;
use super::unit::Verb;
use super::{Means, Setup};
use crate::agent::ExchangeId;
use crate::daemon::clock::Effective;
use crate::daemon::discovery::Proof;
use crate::daemon::linking::Held;
use crate::wire::credential::Credential;
use crate::wire::uri::{ServerUri, Service};
use crate::wire::x509::Facts;

/// A connection whose certificate has less time than this left is opened anew with the next.
const DYING_S: u64 = 300;

/// How long an attempt may take: less than the link's machine waits, so that it hears why.
const ATTEMPT_MAX: Duration = Duration::from_secs(240);

impl Keeper {
    pub(super) fn open(&mut self, id: ExchangeId, access: Proof) {
        let now = self.now();
        self.is_wanted = true;
        self.port = ServerUri::parse(&access.tc_uri, Service::Lns).map_or(0, |uri| uri.port());
        let set = (access.tc_uri, access.credential);
        let is_new = self.credentials.last() != Some(&set);
        if is_new {
            if self.credentials.len() > 1 {
                self.credentials.remove(0);
            }
            self.credentials.push(set);
            // It may have ended over the old ones.
            self.restarts.reset();
            self.start_at = now;
        }
        if self.sight.is_connected() {
            if is_new {
                if !self.has_newer {
                    let old = end(self.credentials.iter().rev().nth(1));
                    self.dies = old.map(|old| (access.time, old));
                    self.sample_at = now;
                }
                self.has_newer = true;
                info!("station keeps its connection and reads the new credentials at its next");
            }
            self.attempt = Attempt::Up { id };
            self.tell(Held::Connected { id });
            return;
        }
        let until = now.saturating_add(ATTEMPT_MAX);
        self.attempt = Attempt::Open { id, until };
        self.sample_at = now;
    }

    /// A live connection is let alone, unless the server is about to end it over its certificate.
    pub(super) fn look_after_old(&mut self, now: Duration) {
        if !self.sight.is_connected() {
            // The next one is opened with the newest.
            self.dies = None;
        }
        let newest = self.credentials.last();
        let is_over = |(time, old): &mut (Effective, u64)| {
            // Another that ends no later would not keep it.
            *old <= time.now_s().saturating_add(DYING_S) && end(newest).is_none_or(|new| new > *old)
        };
        if self.dies.take_if(is_over).is_some() {
            info!("station is started again: the certificate of its connection is about to expire");
            self.restart(now);
        }
    }

    /// The set is gone: without one, station would only fail.
    pub(super) fn close(&mut self, id: ExchangeId) {
        if self.attempt.id() != Some(id) {
            return;
        }
        self.attempt = Attempt::None;
        self.is_wanted = false;
        let now = self.now();
        self.end(now);
        self.sight = Sight::default();
        self.set_state("off", now);
    }

    /// Another program or unit, or another home: the one that runs makes room for it.
    pub(super) fn change(&mut self, setup: Setup) {
        let is_same_home = self.home == setup.home;
        let is_same = self.means == setup.means;
        self.home = setup.home;
        // A unit has its home from its own file.
        if is_same && (is_same_home || matches!(self.means, Means::Unit { .. })) {
            return;
        }
        // Another way to systemd, or to the log, is no other unit.
        if let (Means::Unit { name: old, .. }, Means::Unit { name, .. }) =
            (&self.means, &setup.means)
        {
            if old == name {
                self.means = setup.means;
                // The former way may have been what failed.
                self.restarts.reset();
                self.start_at = self.now();
                return self.close_journal();
            }
        }
        let now = self.now();
        if self.is_wanted {
            info!("station's settings have changed: it is started anew");
            self.end(now);
        }
        self.means = setup.means;
        self.restarts.reset();
        self.start_at = now;
    }

    /// Ends station, whatever it is.
    fn end(&mut self, now: Duration) {
        if let Some(child) = &mut self.child {
            child.end(now);
        }
        if let Means::Unit { name, control, .. } = &self.means {
            match control.act(Verb::Stop, name) {
                Ok(()) => info!("{name} is stopped"),
                Err(why) => warn!("{why}"),
            }
            self.unit = None;
            self.asked_at = None;
            self.close_journal();
        }
    }

    /// The agent ends, and its child with it.
    pub(super) fn stop(mut self) {
        self.is_wanted = false;
        self.close_journal();
        let now = self.now();
        if let Some(child) = &mut self.child {
            child.end(now);
        }
        while self.child.is_some() {
            // Its end is not announced by any descriptor for sure.
            let _ = poll(&mut [], PollTimeout::from(20_u8));
            self.read();
            self.look_after_child(self.now());
        }
    }
}

/// When the certificate of a set ends, seconds since 1970; `None`: it has none.
fn end(set: Option<&(String, Option<Credential>)>) -> Option<u64> {
    let credential = set?.1.as_ref()?;
    Facts::read(credential.certificate()).map(|facts| facts.not_after_s)
}

#[cfg(test)]
mod tests {
    use super::super::unit::Control;
    use super::{Keeper, Means, Setup};
    use crate::daemon::holders::station::Pace;
    use core::time::Duration;
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, mpsc};

    #[test]
    fn another_way_to_systemd_is_tried_at_once() {
        let setup = |program: &str| Setup {
            means: Means::Unit {
                name: "station.service".to_owned(),
                control: Control::Systemctl(program.into()),
                journalctl: None,
            },
            home: "/nowhere".into(),
        };
        let (wake, _bell) = UnixStream::pair().unwrap();
        let outbox = (mpsc::channel().0, wake);
        let pace = Pace { faster: 1 };
        let mut keeper = Keeper::new(setup("/missing"), pace, outbox, Arc::default());
        let wait = Duration::from_secs(300);
        keeper.restarts.ended(Duration::ZERO);
        keeper.start_at = keeper.now() + wait;
        keeper.change(setup("/bin/systemctl"));
        assert!(keeper.start_at <= keeper.now());
    }
}
