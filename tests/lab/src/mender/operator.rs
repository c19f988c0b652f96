//! Does: what the operator does at the server, and reads what it has kept.

use super::identity::Identity;
use super::key::PublicKey;
use super::{
    Attributes, Connected, Deployment, DeploymentStatus, Device, Frame, IdentityExists,
    MenderDouble, Status,
};
use crate::server::lock;

/// What the operator does at the server.
impl MenderDouble {
    /// Prepares the acceptance of a device (`id_data`, key in PEM); returns the id of the set.
    ///
    /// # Errors
    /// A device of this identity is known.
    ///
    /// # Panics
    /// Identity or key cannot be read.
    pub fn preauthorise(&self, id_data: &str, public_key: &str) -> Result<String, IdentityExists> {
        let identity = Identity::parse(id_data).expect("an identity the server can read");
        let key = PublicKey::from_pem(public_key).expect("a key the server can read");
        let registry = &mut lock(&self.shared.state).registry;
        registry.preauthorise(&identity, &key, "standard")
    }

    /// All devices with their sets, oldest first.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        lock(&self.shared.state).registry.devices().to_vec()
    }

    /// Accepts an auth set; another accepted one of the device is rejected.
    ///
    /// # Panics
    /// There is no such set.
    pub fn accept(&self, set_id: &str) {
        let registry = &mut lock(&self.shared.state).registry;
        assert!(
            registry.set_status(set_id, Status::Accepted),
            "no set {set_id}"
        );
    }

    /// Rejects an auth set; its tokens end.
    ///
    /// # Panics
    /// There is no such set.
    pub fn reject(&self, set_id: &str) {
        let mut state = lock(&self.shared.state);
        state.issued.remove(set_id);
        assert!(
            state.registry.set_status(set_id, Status::Rejected),
            "no set {set_id}"
        );
    }

    /// Forgets a device with its sets, tokens and inventory. An ambassador lets it in again.
    pub fn decommission(&self, device_id: &str) {
        let mut state = lock(&self.shared.state);
        for set in state.registry.remove(device_id) {
            state.issued.remove(&set);
        }
        state.inventories.remove(device_id);
        state.deployments.waiting.remove(device_id);
    }

    /// Begins to decommission a device and never ends it: 401 to all it asks.
    ///
    /// # Panics
    /// There is no such device.
    pub fn begin_decommissioning(&self, device_id: &str) {
        let registry = &mut lock(&self.shared.state).registry;
        assert!(registry.decommissioning(device_id), "no device {device_id}");
    }

    /// Ends the tokens of a set (its id is their `jti`) until it gets a new one.
    pub fn delete_token(&self, jti: &str) {
        lock(&self.shared.state).issued.remove(jti);
    }

    /// The inventory of a device; `None` before its first.
    #[must_use]
    pub fn inventory(&self, device_id: &str) -> Option<Attributes> {
        lock(&self.shared.state).inventories.get(device_id).cloned()
    }

    /// Offers a device an update, or nothing any more.
    pub fn deploy(&self, device_id: &str, deployment: Option<Deployment>) {
        let waiting = &mut lock(&self.shared.state).deployments.waiting;
        match deployment {
            Some(deployment) => waiting.insert(device_id.to_owned(), deployment),
            None => waiting.remove(device_id),
        };
    }

    /// What devices reported of updates, oldest first.
    #[must_use]
    pub fn deployment_statuses(&self) -> Vec<DeploymentStatus> {
        lock(&self.shared.state).deployments.statuses.clone()
    }

    /// Every WebSocket, open or ended, oldest first.
    #[must_use]
    pub fn connects(&self) -> Vec<Connected> {
        lock(&self.shared.state).connects.clone()
    }

    /// Sends a frame to every open WebSocket; a close ends it in good order.
    pub fn send_frame(&self, frame: &Frame) {
        let connects = &mut lock(&self.shared.state).connects;
        for connected in connects.iter_mut().filter(|connected| connected.open) {
            connected.outgoing.push(frame.clone());
        }
    }

    /// Ends every WebSocket without a word.
    pub fn cut_connects(&self) {
        for connected in &mut lock(&self.shared.state).connects {
            connected.cut = true;
        }
    }
}
