//! Drives: the Mender server of a site, behind the ambassador's checks and Envoy's TLS.

use mtls_lab::mender::{Config, Door, MenderDouble, Status};

use crate::Failure;

/// The server, and how much of what it was asked has been told.
pub(super) struct Mender {
    pub(super) double: MenderDouble,
    asked: usize,
}

impl Mender {
    pub(super) fn start() -> Result<Self, Failure> {
        let double = MenderDouble::start(Config::new(Door::BehindProxy));
        Ok(Self {
            double: double.map_err(|error| Failure::work("cannot listen", &error))?,
            asked: 0,
        })
    }

    /// Obeys what follows `mender` on a line; `None` if it is not known.
    pub(super) fn obey(&self, words: &[&str]) -> Option<()> {
        match words {
            ["revoke"] => self.revoke(),
            ["show", name] => self.show(name),
            _ => return None,
        }
        Some(())
    }

    /// Ends every token; the next that is asked for is given.
    fn revoke(&self) {
        for set in self.double.devices().iter().flat_map(|one| &one.sets) {
            self.double.delete_token(&set.id);
        }
    }

    /// Prints an attribute of every accepted device.
    fn show(&self, name: &str) {
        for device in self.double.devices() {
            let is_accepted = device.status() == Some(Status::Accepted);
            let inventory = self.double.inventory(&device.id).unwrap_or_default();
            let value = inventory.get(name).filter(|_| is_accepted);
            let shown = value.and_then(|value| value.as_str()).unwrap_or("nothing");
            println!("shown {} {name} {shown}", device.id);
        }
    }

    /// Prints what it was asked since the last time.
    pub(super) fn tell(&mut self) {
        for seen in self.double.requests_after(self.asked) {
            self.asked += 1;
            let who = seen
                .client
                .map_or_else(|| "nobody".to_owned(), |leaf| leaf.sha256);
            let (method, path) = (&seen.request.method, &seen.request.path);
            println!(
                "mender {method} {path} {} {who}",
                seen.status.unwrap_or_default()
            );
        }
    }
}
