//! Judges: client certificates by the rules of the ambassador's TLS library.
//!
//! It takes what webpki refuses: X.509v1 authorities and leaves, as the owner's commands make
//! them. A leaf that names any extended key usage must name the one for clients.

use std::sync::{Arc, Mutex};

use ring::signature::{self, VerificationAlgorithm};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use super::key::{Kind, PublicKey};
use crate::cups::certificate::{for_clients, issued, valid_now};
use crate::server::lock;
use crate::tls;

/// Most authorities between leaf and root.
const DEPTH: usize = 4;

/// A refusal for everybody, for as long as it is set.
pub(super) type Refusal = Arc<Mutex<Option<CertificateError>>>;

#[derive(Debug)]
pub(super) struct Verifier {
    roots: Vec<Certificate>,
    names: Vec<DistinguishedName>,
    refusal: Refusal,
}

impl Verifier {
    /// Trusts every certificate of the file.
    pub(super) fn new(roots: &std::path::Path, refusal: Refusal) -> Self {
        let parsed = |der: &CertificateDer<'_>| Certificate::from_der(der);
        let roots: Vec<Certificate> = tls::certificates(roots)
            .iter()
            .map(|der| parsed(der).expect("a CA certificate"))
            .collect();
        let name = |root: &Certificate| root.tbs_certificate.subject.to_der();
        let names = roots
            .iter()
            .map(|root| {
                name(root)
                    .expect("a name that was read can be written")
                    .into()
            })
            .collect();
        Self {
            roots,
            names,
            refusal,
        }
    }

    fn trusted(&self, leaf: &Certificate, others: &[Certificate], depth: usize) -> bool {
        if self.roots.iter().any(|root| issued(root, leaf)) {
            return true;
        }
        let mut issuers = others.iter().filter(|other| issued(other, leaf));
        depth > 0 && issuers.any(|issuer| self.trusted(issuer, others, depth - 1))
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(refusal) = lock(&self.refusal).clone() {
            return Err(refusal.into());
        }
        let read = |der: &CertificateDer<'_>| {
            Certificate::from_der(der).map_err(|_| Error::from(CertificateError::BadEncoding))
        };
        let leaf = read(leaf)?;
        let others: Vec<Certificate> = intermediates.iter().map(read).collect::<Result<_, _>>()?;
        if !valid_now(&leaf) {
            return Err(CertificateError::Expired.into());
        }
        if !self.trusted(&leaf, &others, DEPTH) {
            return Err(CertificateError::UnknownIssuer.into());
        }
        if !for_clients(&leaf) {
            // The alert the ambassador sends for it is bad_certificate.
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
        ]
    }
}

fn verify(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let leaf = Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let info = &leaf.tbs_certificate.subject_public_key_info;
    let key = PublicKey::from_info(info).ok_or(CertificateError::BadEncoding)?;
    let good = match (key.kind(), signed.scheme) {
        (Kind::P521, SignatureScheme::ECDSA_NISTP521_SHA512) => {
            key.checked_by_openssl("-sha512", message, signed.signature())
        }
        // TLS 1.2 names only the digest here, not the curve.
        (Kind::P521, SignatureScheme::ECDSA_NISTP256_SHA256) => {
            key.checked_by_openssl("-sha256", message, signed.signature())
        }
        (Kind::P521, SignatureScheme::ECDSA_NISTP384_SHA384) => {
            key.checked_by_openssl("-sha384", message, signed.signature())
        }
        (kind, scheme) => algorithm(kind, scheme)
            .is_some_and(|algorithm| key.checked_by(algorithm, message, signed.signature())),
    };
    if good {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

fn algorithm(kind: Kind, scheme: SignatureScheme) -> Option<&'static dyn VerificationAlgorithm> {
    use SignatureScheme as Scheme;
    Some(match (kind, scheme) {
        (Kind::P256, Scheme::ECDSA_NISTP256_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
        (Kind::P256, Scheme::ECDSA_NISTP384_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
        (Kind::P384, Scheme::ECDSA_NISTP256_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
        (Kind::P384, Scheme::ECDSA_NISTP384_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
        (Kind::Ed25519, Scheme::ED25519) => &signature::ED25519,
        (Kind::Rsa, Scheme::RSA_PSS_SHA256) => &signature::RSA_PSS_2048_8192_SHA256,
        (Kind::Rsa, Scheme::RSA_PSS_SHA384) => &signature::RSA_PSS_2048_8192_SHA384,
        (Kind::Rsa, Scheme::RSA_PSS_SHA512) => &signature::RSA_PSS_2048_8192_SHA512,
        (Kind::Rsa, Scheme::RSA_PKCS1_SHA256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (Kind::Rsa, Scheme::RSA_PKCS1_SHA384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (Kind::Rsa, Scheme::RSA_PKCS1_SHA512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => return None,
    })
}
