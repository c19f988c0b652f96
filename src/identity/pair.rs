//! Proves: whether a private key can be used and belongs to a certificate.
//!
//! rustls' own check refuses X.509v1 certificates, which every proxy accepts, so the public
//! keys are compared here. `reference/proxies.md` section 0 finding 2.

use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::pem;
use crate::wire::der::SEQUENCE;
use crate::wire::x509::{Facts, public_key_octets};

/// Loads a key for signing; `None` if the provider cannot use it.
#[must_use]
pub fn signer(key: &PrivateKeyDer<'_>) -> Option<Arc<dyn SigningKey>> {
    any_supported_type(key).ok()
}

/// Loads a raw DER key (SEC1, PKCS#8 or PKCS#1) for signing.
#[must_use]
pub fn signer_from_der(octets: &[u8]) -> Option<Arc<dyn SigningKey>> {
    signer(&PrivateKeyDer::try_from(octets).ok()?)
}

/// Whether the certificate was issued for this key.
#[must_use]
pub fn belong_together(signer: &dyn SigningKey, certificate: &Facts) -> bool {
    let public = signer
        .public_key()
        .and_then(|spki| public_key_octets(&spki));
    public.is_some_and(|public| public == certificate.public_key)
}

/// A certificate (DER, or PEM with its intermediates) and key (DER or PEM) of a received or
/// adopted set, ready to be presented. `None` if they cannot be used together.
#[must_use]
pub fn certified(certificate: &[u8], key: &[u8]) -> Option<Arc<CertifiedKey>> {
    let is_der = |octets: &[u8]| octets.first() == Some(&SEQUENCE);
    let chain = if is_der(certificate) {
        vec![CertificateDer::from(certificate.to_vec())]
    } else {
        pem::certificates(certificate).ok()?
    };
    let signer = if is_der(key) {
        signer_from_der(key)?
    } else {
        signer(&pem::private_key(key).ok()?)?
    };
    let facts = Facts::read(chain.first()?)?;
    belong_together(signer.as_ref(), &facts).then(|| Arc::new(CertifiedKey::new(chain, signer)))
}
