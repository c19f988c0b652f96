//! Proves: signs the auth requests of Mender with the device's key.
//!
//! | key | signature, before base64 |
//! |---|---|
//! | RSA | PKCS#1 v1.5 over SHA-256 |
//! | P-256, P-384 | ECDSA over SHA-256, ASN.1 DER |
//! | Ed25519 | over the body itself, 64 octets |
//!
//! ring ties P-384 to SHA-384, so those keys sign through `p384`. `reference/mender.md` section 2.2.

use core::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p384::ecdsa::signature::hazmat::PrehashSigner as _;
use ring::digest;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

use super::error::{Fault, IdentityError};
use super::pem::{self, PemFault};
use super::{pair, source};
use crate::wire::der::{Reader, SEQUENCE};
use crate::wire::mender::spki;
use crate::wire::x509::{Facts, KeyKind, public_key_kind, public_key_octets};

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const PARAMETERS: u8 = 0xA0;

/// The object identifier of P-521 as it stands in DER, tag and length included.
const SECP521R1: &[u8] = &[0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x23];

/// What Mender's servers verify, whatever else a key can do.
const SCHEMES: [SignatureScheme; 3] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
];

/// A private key that signs auth requests.
pub struct Signer {
    key: Key,
    spki: Vec<u8>,
    kind: KeyKind,
}

enum Key {
    P384(Box<p384::ecdsa::SigningKey>),
    Other(Arc<dyn SigningKey>),
}

/// The key is there and did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureFailed;

impl Signer {
    /// Loads a PEM key file: PKCS#8, SEC1 or PKCS#1, of root or our own user and nobody else's.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let octets = source::read_key(path)?;
        Self::from_pem(&octets).map_err(|fault| IdentityError {
            path: path.to_owned(),
            fault,
        })
    }

    /// Takes a key from PEM text.
    pub fn from_pem(text: &[u8]) -> Result<Self, Fault> {
        let key = pem::private_key(text).map_err(|fault| match fault {
            PemFault::Empty => Fault::Empty,
            PemFault::Encrypted => Fault::Encrypted,
            PemFault::Broken => Fault::NotPem("private key"),
        })?;
        let unsupported = || Fault::KeyUnsupported(unsupported_kind(&key));
        let signer = pair::signer(&key).ok_or_else(unsupported)?;
        let spki = signer.public_key().ok_or_else(unsupported)?.to_vec();
        let kind = public_key_kind(&spki).ok_or_else(unsupported)?;
        let own = match kind {
            KeyKind::P384 => Key::P384(Box::new(p384_key(&key).ok_or_else(unsupported)?)),
            _ if signer.choose_scheme(&SCHEMES).is_some() => Key::Other(signer),
            _ => return Err(Fault::KeyUnsupported(kind)),
        };
        Ok(Self {
            key: own,
            spki,
            kind,
        })
    }

    /// The public key as the auth request carries it.
    #[must_use]
    pub fn spki_pem(&self) -> String {
        spki::pem(&self.spki)
    }

    /// The fingerprint people compare: SHA-256 of the public key's DER, 64 hex digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = digest::digest(&digest::SHA256, &self.spki);
        let digits = digest.as_ref().iter().map(|octet| format!("{octet:02x}"));
        digits.collect()
    }

    /// The kind of key.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Signs the octets of a body as they will be sent: standard base64, one line.
    pub fn sign(&self, body: &[u8]) -> Result<String, SignatureFailed> {
        let signature = match &self.key {
            Key::P384(key) => {
                let digest = digest::digest(&digest::SHA256, body);
                let signature: Result<p384::ecdsa::Signature, _> =
                    key.sign_prehash(digest.as_ref());
                let der = signature.map_err(|_| SignatureFailed)?.to_der();
                der.as_bytes().to_vec()
            }
            Key::Other(key) => {
                let signer = key.choose_scheme(&SCHEMES).ok_or(SignatureFailed)?;
                signer.sign(body).map_err(|_| SignatureFailed)?
            }
        };
        Ok(STANDARD.encode(signature))
    }

    /// Whether a DER certificate was issued for this key. The ambassador answers 400 without a
    /// word if it was not.
    #[must_use]
    pub fn is_key_of(&self, certificate: &[u8]) -> bool {
        let own = public_key_octets(&self.spki);
        let facts = Facts::read(certificate);
        facts.is_some_and(|facts| facts.key == self.kind && Some(facts.public_key) == own)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.kind)
    }
}

impl fmt::Display for SignatureFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the private key did not sign the request")
    }
}

impl core::error::Error for SignatureFailed {}

/// The P-384 key for signing over any digest.
fn p384_key(key: &PrivateKeyDer<'_>) -> Option<p384::ecdsa::SigningKey> {
    let sec1 = match key {
        PrivateKeyDer::Sec1(sec1) => sec1.secret_sec1_der(),
        PrivateKeyDer::Pkcs8(pkcs8) => {
            let mut info = Reader::new(pkcs8.secret_pkcs8_der()).inside(SEQUENCE)?;
            info.optional(INTEGER)?;
            info.optional(SEQUENCE)?;
            info.optional(OCTET_STRING)?.content
        }
        _ => return None,
    };
    let mut own = Reader::new(sec1).inside(SEQUENCE)?;
    own.optional(INTEGER)?;
    let scalar = own.optional(OCTET_STRING)?;
    p384::ecdsa::SigningKey::from_slice(scalar.content).ok()
}

/// What a key is that the provider does not take: P-521 is worth naming.
fn unsupported_kind(key: &PrivateKeyDer<'_>) -> KeyKind {
    if names_p521(key).unwrap_or(false) {
        KeyKind::P521
    } else {
        KeyKind::Other
    }
}

fn names_p521(key: &PrivateKeyDer<'_>) -> Option<bool> {
    let mut own = Reader::new(key.secret_der()).inside(SEQUENCE)?;
    own.optional(INTEGER)?;
    // PKCS#8: SEQUENCE { kind, curve }. SEC1: the number, then [0] { curve }.
    let place = if let Some(algorithm) = own.optional(SEQUENCE) {
        algorithm
    } else {
        own.optional(OCTET_STRING)?;
        own.optional(PARAMETERS)?
    };
    Some(place.content.ends_with(SECP521R1))
}
