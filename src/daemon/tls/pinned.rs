//! Acts: judges a server by its public key alone, where the configuration pins it.
//!
//! The operator's own document makes proxy certificates that rustls cannot accept: X.509v1,
//! without a subjectAltName (`reference/mender.md` sections 0.3 and 2.9). A pinned key accepts
//! exactly that server: chain, name and dates of its certificate are not looked at, the
//! signature of the handshake is. A server that fits no pin is refused even if its certificate
//! would pass every other check.

use core::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme,
};

use crate::wire::pin::Pin;
use crate::wire::x509::SubjectKey;

/// Accepts servers by their key.
#[derive(Debug)]
pub(super) struct Pinned {
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The server's key is another one.
#[derive(Debug)]
pub(super) struct WrongPin(Pin);

impl fmt::Display for WrongPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for WrongPin {}

impl Pinned {
    /// Accepts these keys and no other.
    pub(super) fn new(pins: Vec<Pin>) -> Self {
        Self {
            pins,
            algorithms: default_provider().signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = key_of(leaf)?;
        let mut octets = [0; 32];
        octets.copy_from_slice(digest(&SHA256, key.info).as_ref());
        let pin = Pin::of(octets);
        if self.pins.contains(&pin) {
            return Ok(ServerCertVerified::assertion());
        }
        let why = OtherError(Arc::new(WrongPin(pin)));
        Err(CertificateError::Other(why).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key_of(leaf)?;
        let mut mapping = self.algorithms.mapping.iter();
        let (_, algorithms) = mapping
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // One scheme of TLS 1.2 stands for several curves.
        let is_good = algorithms.iter().any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == key.algorithm
                && algorithm
                    .verify_signature(key.octets, message, signed.signature())
                    .is_ok()
        });
        if is_good {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let info = SubjectPublicKeyInfoDer::from(key_of(leaf)?.info);
        verify_tls13_signature_with_raw_key(message, &info, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn key_of<'a>(leaf: &'a CertificateDer<'_>) -> Result<SubjectKey<'a>, Error> {
    SubjectKey::of(leaf).ok_or_else(|| CertificateError::BadEncoding.into())
}
