//! Speaks: the few facts of an X.509 certificate that identity checks and messages need.
//!
//! Nothing is verified here: signatures, chains and purposes are rustls' business. Version 1
//! certificates are read too, because `openssl x509 -req` of OpenSSL 3.0 makes them and
//! every proxy accepts them. RFC 5280 section 4.1.

use core::fmt;

use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::{rfc4519, rfc5280, rfc5912, rfc8410};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::cups::stack_error::printable;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// 1, 2 or 3.
    pub version: u8,
    /// The common name of the subject, if there is one.
    pub common_name: Option<String>,
    /// The subject, RFC 4514, printable.
    pub subject: String,
    /// The issuer, RFC 4514, printable.
    pub issuer: String,
    /// Start of validity, seconds since 1970.
    pub not_before_s: u64,
    /// End of validity, seconds since 1970.
    pub not_after_s: u64,
    /// The kind of public key.
    pub key: KeyKind,
    /// The octets of the public key itself, without its algorithm.
    pub public_key: Vec<u8>,
    /// Whether the certificate may be used for client authentication: `None` if it names no
    /// purposes at all (then every verifier accepts it).
    pub client_auth: Option<bool>,
    /// Whether it is a certificate authority.
    pub is_authority: bool,
    /// DER of the subject, to find the issuer of another certificate.
    pub subject_der: Vec<u8>,
    /// DER of the issuer.
    pub issuer_der: Vec<u8>,
}

impl Facts {
    /// Reads one DER certificate; `None` if it is not one.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
        let extension = |oid: ObjectIdentifier| {
            let list = certificate.extensions.as_deref().unwrap_or_default();
            list.iter().find(|extension| extension.extn_id == oid)
        };
        let client_auth = match extension(rfc5280::ID_CE_EXT_KEY_USAGE) {
            None => None,
            Some(extension) => {
                let usage = ExtendedKeyUsage::from_der(extension.extn_value.as_bytes()).ok()?;
                Some(usage.0.iter().any(|purpose| {
                    *purpose == rfc5280::ID_KP_CLIENT_AUTH
                        || *purpose == rfc5280::ANY_EXTENDED_KEY_USAGE
                }))
            }
        };
        let is_authority = extension(rfc5280::ID_CE_BASIC_CONSTRAINTS)
            .and_then(|extension| BasicConstraints::from_der(extension.extn_value.as_bytes()).ok())
            .is_some_and(|constraints| constraints.ca);
        let key = &certificate.subject_public_key_info;
        Some(Self {
            version: (certificate.version as u8).saturating_add(1),
            common_name: common_name(&certificate.subject),
            subject: printable(&certificate.subject.to_string(), 200),
            issuer: printable(&certificate.issuer.to_string(), 200),
            not_before_s: certificate.validity.not_before.to_unix_duration().as_secs(),
            not_after_s: certificate.validity.not_after.to_unix_duration().as_secs(),
            key: KeyKind::of(key),
            public_key: key.subject_public_key.raw_bytes().to_vec(),
            client_auth,
            is_authority,
            subject_der: certificate.subject.to_der().ok()?,
            issuer_der: certificate.issuer.to_der().ok()?,
        })
    }

    /// Whether subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }
}

/// The octets of the public key inside a DER `SubjectPublicKeyInfo`; `None` if it is not one.
#[must_use]
pub fn public_key_octets(spki: &[u8]) -> Option<Vec<u8>> {
    let key = SubjectPublicKeyInfoOwned::from_der(spki).ok()?;
    Some(key.subject_public_key.raw_bytes().to_vec())
}

/// Kinds of public key, as far as TLS peers of this field treat them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// NIST P-256, the best choice.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521, which the ring provider cannot use.
    P521,
    /// Ed25519, which Envoy does not accept.
    Ed25519,
    /// RSA with that many bits.
    Rsa(usize),
    /// Anything else.
    Other,
}

impl KeyKind {
    fn of(key: &SubjectPublicKeyInfoOwned) -> Self {
        let algorithm = key.algorithm.oid;
        if algorithm == rfc5912::RSA_ENCRYPTION {
            return rsa_bits(key.subject_public_key.raw_bytes()).map_or(Self::Other, Self::Rsa);
        }
        if algorithm == rfc8410::ID_ED_25519 {
            return Self::Ed25519;
        }
        let curve = key.algorithm.parameters.as_ref();
        match curve.and_then(|any| any.decode_as::<ObjectIdentifier>().ok()) {
            Some(rfc5912::SECP_256_R_1) => Self::P256,
            Some(rfc5912::SECP_384_R_1) => Self::P384,
            Some(rfc5912::SECP_521_R_1) => Self::P521,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa(bits) => write!(f, "RSA-{bits}"),
            Self::Other => f.write_str("an unknown key type"),
        }
    }
}

/// Bits of the modulus in a DER `RSAPublicKey`: SEQUENCE { INTEGER modulus, ... }.
fn rsa_bits(octets: &[u8]) -> Option<usize> {
    let sequence = x509_cert::der::asn1::AnyRef::from_der(octets).ok()?;
    let mut reader = x509_cert::der::SliceReader::new(sequence.value()).ok()?;
    let modulus = x509_cert::der::asn1::UintRef::decode(&mut reader).ok()?;
    let first = modulus.as_bytes().first()?;
    let bits = modulus.as_bytes().len().checked_mul(8)?;
    bits.checked_sub(usize::try_from(first.leading_zeros()).ok()?)
}

/// The last common name, which is the most specific one.
fn common_name(subject: &x509_cert::name::Name) -> Option<String> {
    let mut attributes = subject.0.iter().flat_map(|relative| relative.0.iter());
    let name = attributes.rfind(|attribute| attribute.oid == rfc4519::CN)?;
    let text = core::str::from_utf8(name.value.value()).ok()?;
    Some(printable(text, 64))
}
