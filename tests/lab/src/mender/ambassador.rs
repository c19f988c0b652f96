//! Guards: what the ambassador does with an auth request before the server sees it.
//!
//! Whatever it refuses, it refuses with an empty body.

use serde_json::Value;

use super::devices::Registry;
use super::identity::Identity;
use super::key::PublicKey;
use super::leaf::Leaf;
use crate::http::{RawAnswer, Request};

/// How the ambassador behaves, beyond what all versions have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ambassador {
    /// Compares the key with the certificate's octet by octet, as the first versions did, instead
    /// of looking past blanks and line ends.
    pub exact_key: bool,
    /// Accepts a known device that comes with a new key, as `mender-gateway` does.
    pub takes_new_keys: bool,
    /// Its own login at the server has ended: no device can be preauthorised.
    pub logged_out: bool,
}

impl Ambassador {
    /// Checks in the order of the original; afterwards the request goes on as it came.
    pub(super) fn check(
        self,
        request: &Request,
        leaf: Option<&Leaf>,
        registry: &mut Registry,
        tier: impl Fn(&Value) -> String,
    ) -> Result<(), RawAnswer> {
        let refused = || empty(400);
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| refused())?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).ok_or_else(refused);
        let (id_data, public_key) = (text("id_data")?, text("pubkey")?);
        let leaf = leaf.ok_or_else(refused)?;
        if !self.same(&leaf.key, public_key) {
            return Err(refused());
        }
        let signature = request.header("x-men-signature").unwrap_or_default();
        if !leaf.key.signed(&request.body, signature) {
            return Err(refused());
        }
        let identity = Identity::parse(id_data).ok_or_else(refused)?;
        if self.logged_out {
            return Err(empty(500));
        }
        let tier = tier(&body);
        // A conflict is no obstacle: the device is known, and the server will decide.
        let conflict = registry.preauthorise(&identity, &leaf.key, &tier).is_err();
        if conflict && self.takes_new_keys {
            registry.reaccept(&identity, &leaf.key, &tier);
        }
        Ok(())
    }

    fn same(self, key: &PublicKey, given: &str) -> bool {
        let bare = |text: &str| text.split_ascii_whitespace().collect::<String>();
        let own = key.pem();
        own == given || (!self.exact_key && bare(&own) == bare(given))
    }
}

fn empty(status: u16) -> RawAnswer {
    RawAnswer {
        status,
        ..RawAnswer::default()
    }
}
