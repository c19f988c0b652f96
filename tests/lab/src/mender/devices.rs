//! Keeps: devices and their auth sets, and decides who is accepted.

use super::identity::Identity;
use super::key::PublicKey;

/// The state of an auth set; the greater of several is the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// A person has refused it, or another set of the device was accepted after it.
    Rejected,
    /// Nobody has decided.
    Pending,
    /// Will be accepted when the device first asks.
    Preauthorized,
    /// Gets tokens.
    Accepted,
}

/// One key with which a device has asked, or may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSet {
    /// The `jti` of its tokens.
    pub id: String,
    /// The key in the server's form.
    pub public_key: String,
    /// SHA-256 of that key, lower-case hex.
    pub key_sha256: String,
    /// Part of the set on Enterprise servers only; `standard` otherwise.
    pub tier: String,
    /// Whether it gets tokens.
    pub status: Status,
}

/// A device as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The `sub` of its tokens.
    pub id: String,
    /// What it said of itself.
    pub identity: Identity,
    /// Its keys, oldest first.
    pub sets: Vec<AuthSet>,
    /// Being removed: nothing it asks is granted.
    pub decommissioning: bool,
}

impl Device {
    /// The strongest of its sets; `None` is the server's `noauth`.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.sets.iter().map(|set| set.status).max()
    }
}

/// Why a preauthorisation is not needed or not possible: the server's 409.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityExists;

/// What an auth request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted { device: String, set: String },
    Refused(&'static str),
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    devices: Vec<Device>,
    made: u64,
}

impl Registry {
    pub(super) fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Prepares the acceptance of a new device.
    pub(super) fn preauthorise(
        &mut self,
        identity: &Identity,
        key: &PublicKey,
        tier: &str,
    ) -> Result<String, IdentityExists> {
        if self.known(identity) {
            return Err(IdentityExists);
        }
        Ok(self.add(identity, key, tier, Status::Preauthorized).1)
    }

    /// Prepares the acceptance of a further key of a known device.
    pub(super) fn reaccept(&mut self, identity: &Identity, key: &PublicKey, tier: &str) {
        match self.find(identity, key, tier) {
            None => {
                self.add(identity, key, tier, Status::Preauthorized);
            }
            Some(set) if set.status == Status::Pending => set.status = Status::Preauthorized,
            Some(_) => {}
        }
    }

    /// Decides on an auth request whose signature is good, and remembers it.
    pub(super) fn request(
        &mut self,
        identity: &Identity,
        key: &PublicKey,
        tier: &str,
        most_accepted: usize,
    ) -> Verdict {
        let accepted = |device: &&Device| device.status() == Some(Status::Accepted);
        let others = |device: &&Device| device.identity != *identity;
        let full = self.devices.iter().filter(accepted).filter(others).count() >= most_accepted;
        if self.find(identity, key, tier).is_none() {
            self.add(identity, key, tier, Status::Pending);
        }
        let preauthorised = |set: &mut AuthSet| set.status == Status::Preauthorized;
        if self.find(identity, key, tier).is_some_and(preauthorised) {
            if full {
                return Verdict::Refused("unauthorized");
            }
            let id = self.find(identity, key, tier).map(|set| set.id.clone());
            self.set_status(&id.unwrap_or_default(), Status::Accepted);
        }
        let device = self
            .devices
            .iter()
            .find(|known| known.identity == *identity);
        let granted = device
            .filter(|device| !device.decommissioning)
            .and_then(|device| {
                let mut sets = device.sets.iter();
                let set = sets.find(|set| same(set, key, tier))?;
                (set.status == Status::Accepted).then(|| (device.id.clone(), set.id.clone()))
            });
        match granted {
            Some((device, set)) => Verdict::Accepted { device, set },
            None => Verdict::Refused("dev auth: unauthorized"),
        }
    }

    /// Decides on a set; one device has one accepted set at most. False: there is no such set.
    pub(super) fn set_status(&mut self, set_id: &str, status: Status) -> bool {
        let has = |device: &&mut Device| device.sets.iter().any(|set| set.id == set_id);
        let Some(device) = self.devices.iter_mut().find(has) else {
            return false;
        };
        for set in &mut device.sets {
            if set.id == set_id {
                set.status = status;
            } else if status == Status::Accepted && set.status == Status::Accepted {
                set.status = Status::Rejected;
            }
        }
        true
    }

    /// Forgets a device; returns the ids of its sets.
    pub(super) fn remove(&mut self, device_id: &str) -> Vec<String> {
        let (gone, kept) = core::mem::take(&mut self.devices)
            .into_iter()
            .partition(|device| device.id == device_id);
        self.devices = kept;
        let gone: Vec<Device> = gone;
        let sets = gone.into_iter().flat_map(|device| device.sets);
        sets.map(|set| set.id).collect()
    }

    /// Begins to remove a device and never ends it. False: there is no such device.
    pub(super) fn decommissioning(&mut self, device_id: &str) -> bool {
        let mut devices = self.devices.iter_mut();
        let found = devices.find(|device| device.id == device_id);
        found.map(|device| device.decommissioning = true).is_some()
    }

    /// Whether tokens of this set are good.
    pub(super) fn accepted(&self, device_id: &str, set_id: &str) -> bool {
        self.devices.iter().any(|device| {
            device.id == device_id
                && !device.decommissioning
                && device
                    .sets
                    .iter()
                    .any(|set| set.id == set_id && set.status == Status::Accepted)
        })
    }

    fn known(&self, identity: &Identity) -> bool {
        self.devices
            .iter()
            .any(|device| device.identity == *identity)
    }

    fn find(&mut self, identity: &Identity, key: &PublicKey, tier: &str) -> Option<&mut AuthSet> {
        let mut devices = self.devices.iter_mut();
        let device = devices.find(|device| device.identity == *identity)?;
        device.sets.iter_mut().find(|set| same(set, key, tier))
    }

    /// Adds a set, and its device if that is new; returns both ids.
    fn add(
        &mut self,
        identity: &Identity,
        key: &PublicKey,
        tier: &str,
        status: Status,
    ) -> (String, String) {
        self.made += 1;
        let number = self.made;
        let set = AuthSet {
            id: format!("{number:08x}-0000-4000-8000-000000000000"),
            public_key: key.pem(),
            key_sha256: key.sha256(),
            tier: tier.to_owned(),
            status,
        };
        let set_id = set.id.clone();
        let mut devices = self.devices.iter_mut();
        if let Some(device) = devices.find(|device| device.identity == *identity) {
            device.sets.push(set);
            return (device.id.clone(), set_id);
        }
        let id = format!("{number:08x}-1111-4111-8111-111111111111");
        self.devices.push(Device {
            id: id.clone(),
            identity: identity.clone(),
            sets: vec![set],
            decommissioning: false,
        });
        (id, set_id)
    }
}

fn same(set: &AuthSet, key: &PublicKey, tier: &str) -> bool {
    set.public_key == key.pem() && set.tier == tier
}
