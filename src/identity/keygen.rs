//! Proves: makes the key a device authenticates with at Mender when none is configured.
//!
//! The octets only. Whoever keeps them writes them durably with mode 0600 and never over a key
//! that is there: a new key is a new, unaccepted device to the server.

use core::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::wire::mender::spki;
use crate::wire::secret::Secret;

/// What stands before the 32 octets of an Ed25519 key. RFC 8410 section 7, version 1 without the
/// public key: the form that `openssl genpkey` and Mender client 5 write.
const PREFIX: [u8; 16] = [
    0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The system gives no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

/// A new Ed25519 key as PEM, PKCS#8: 119 octets.
pub fn ed25519_pem() -> Result<Secret, NoRandomness> {
    let mut der = Zeroizing::new([0; 48]);
    let (prefix, seed) = der.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(&PREFIX);
    SystemRandom::new().fill(seed).map_err(|_| NoRandomness)?;
    Ok(spki::private_pem(&*der))
}

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no key can be made: the system gives no randomness")
    }
}

impl core::error::Error for NoRandomness {}

#[cfg(test)]
mod tests {
    use super::ed25519_pem;
    use crate::identity::signing::Signer;
    use crate::wire::x509::KeyKind;

    #[test]
    fn a_new_key_has_119_octets_and_signs() {
        let pem = ed25519_pem().unwrap();
        assert_eq!(pem.expose().len(), 119);
        let signer = Signer::from_pem(pem.expose()).unwrap();
        assert_eq!(signer.kind(), KeyKind::Ed25519);
        assert!(signer.sign(b"body").is_ok());
    }

    #[test]
    fn no_two_keys_are_equal() {
        assert_ne!(ed25519_pem(), ed25519_pem());
    }
}
