//! Speaks: the few facts of an X.509 certificate that identity checks and messages need.
//!
//! Nothing is verified here: signatures, chains and purposes are rustls' business. Version 1
//! certificates are read too, because `openssl x509 -req` of OpenSSL 3.0 makes them and
//! every proxy accepts them. RFC 5280 section 4.1.
//!
//! ```text
//! SEQUENCE
//!   SEQUENCE            the part that is signed
//!     [0] INTEGER       version, counted from 0; absent: 1
//!     INTEGER           serial number
//!     SEQUENCE          signature algorithm
//!     SEQUENCE          issuer, a name
//!     SEQUENCE          validity: two times
//!     SEQUENCE          subject, a name
//!     SEQUENCE          public key: SEQUENCE { OID, parameters }, BIT STRING
//!     [1] [2]           unique identifiers, never seen
//!     [3] SEQUENCE      extensions: SEQUENCE { OID, critical, OCTET STRING }
//!   SEQUENCE            signature algorithm
//!   BIT STRING          signature
//! ```

use core::fmt;

use super::cups::stack_error::printable;
use super::der::{Reader, SEQUENCE};
use super::name::Name;
use super::timestamp;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const VERSION: u8 = 0xA0;
const ISSUER_IDENTIFIER: u8 = 0x81;
const SUBJECT_IDENTIFIER: u8 = 0x82;
const EXTENSIONS: u8 = 0xA3;

// Object identifiers as they stand in DER.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1D, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x25];
const ANY_USAGE: &[u8] = &[0x55, 0x1D, 0x25, 0x00];
const CLIENT_AUTH: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 2];
const RSA_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
const EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1];
const SECP256R1: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7];
const SECP384R1: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x22];
const SECP521R1: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];

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
        let mut signed = signed_part(der)?;
        let version = version(&mut signed)?;
        signed.optional(INTEGER)?;
        signed.optional(SEQUENCE)?;
        let issuer_der = signed.optional(SEQUENCE)?;
        let mut validity = signed.inside(SEQUENCE)?;
        let subject_der = signed.optional(SEQUENCE)?;
        let key = PublicKey::read(signed.inside(SEQUENCE)?)?;
        signed.optional(ISSUER_IDENTIFIER);
        signed.optional(SUBJECT_IDENTIFIER);
        let extensions = match signed.inside(EXTENSIONS) {
            Some(mut wrapper) => Extensions::read(wrapper.inside(SEQUENCE)?)?,
            None => Extensions::default(),
        };
        if !signed.is_at_end() {
            return None;
        }
        let issuer = Name::read(issuer_der.content)?;
        let subject = Name::read(subject_der.content)?;
        Some(Self {
            version,
            common_name: subject.common_name.map(|name| printable(&name, 64)),
            subject: printable(&subject.text, 200),
            issuer: printable(&issuer.text, 200),
            not_before_s: timestamp::read(&mut validity)?,
            not_after_s: timestamp::read(&mut validity)?,
            key: key.kind(),
            public_key: key.octets.to_vec(),
            client_auth: extensions.client_auth,
            is_authority: extensions.is_authority,
            subject_der: subject_der.whole.to_vec(),
            issuer_der: issuer_der.whole.to_vec(),
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
    let key = PublicKey::read(Reader::new(spki).inside(SEQUENCE)?)?;
    Some(key.octets.to_vec())
}

/// The parts of a certificate's public key that a signature is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectKey<'a> {
    /// The whole DER `SubjectPublicKeyInfo`: what a pin is the digest of (RFC 7469 section 2.4).
    pub info: &'a [u8],
    /// What the `AlgorithmIdentifier` holds, without its own header.
    pub algorithm: &'a [u8],
    /// The key's octets.
    pub octets: &'a [u8],
}

impl<'a> SubjectKey<'a> {
    /// Finds the key in a DER certificate of any version; `None` if it is not one.
    #[must_use]
    pub fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut signed = signed_part(certificate)?;
        version(&mut signed)?;
        signed.optional(INTEGER)?;
        // Signature algorithm, issuer, validity, subject.
        for _ in 0..4 {
            signed.optional(SEQUENCE)?;
        }
        let info = signed.optional(SEQUENCE)?;
        let algorithm = Reader::new(info.content).optional(SEQUENCE)?.content;
        let octets = PublicKey::read(Reader::new(info.content))?.octets;
        Some(Self {
            info: info.whole,
            algorithm,
            octets,
        })
    }
}

/// The kind of the public key inside a DER `SubjectPublicKeyInfo`; `None` if it is not one.
#[must_use]
pub fn public_key_kind(spki: &[u8]) -> Option<KeyKind> {
    Some(PublicKey::read(Reader::new(spki).inside(SEQUENCE)?)?.kind())
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

/// Unwraps the outermost SEQUENCE, which must be all there is, and the one inside it.
fn signed_part(der: &[u8]) -> Option<Reader<'_>> {
    let mut outer = Reader::new(der);
    let mut certificate = outer.inside(SEQUENCE)?;
    let signed = certificate.inside(SEQUENCE)?;
    certificate.optional(SEQUENCE)?;
    certificate.optional(BIT_STRING)?;
    (outer.is_at_end() && certificate.is_at_end()).then_some(signed)
}

fn version(signed: &mut Reader<'_>) -> Option<u8> {
    let Some(mut wrapper) = signed.inside(VERSION) else {
        return Some(1);
    };
    match wrapper.optional(INTEGER)?.content {
        [number @ 0..=2] => number.checked_add(1),
        _ => None,
    }
}

/// A public key with what says how to use it.
struct PublicKey<'a> {
    algorithm: &'a [u8],
    curve: Option<&'a [u8]>,
    octets: &'a [u8],
}

impl<'a> PublicKey<'a> {
    fn read(mut info: Reader<'a>) -> Option<Self> {
        let mut identifier = info.inside(SEQUENCE)?;
        let algorithm = identifier.optional(OBJECT_IDENTIFIER)?.content;
        let curve = identifier.optional(OBJECT_IDENTIFIER);
        // The first octet says how many bits of the last one do not count.
        let (&unused, octets) = info.optional(BIT_STRING)?.content.split_first()?;
        (unused < 8).then_some(Self {
            algorithm,
            curve: curve.map(|curve| curve.content),
            octets,
        })
    }

    fn kind(&self) -> KeyKind {
        match (self.algorithm, self.curve) {
            (RSA_ENCRYPTION, _) => rsa_bits(self.octets).map_or(KeyKind::Other, KeyKind::Rsa),
            (ED25519, _) => KeyKind::Ed25519,
            (EC_PUBLIC_KEY, Some(SECP256R1)) => KeyKind::P256,
            (EC_PUBLIC_KEY, Some(SECP384R1)) => KeyKind::P384,
            (EC_PUBLIC_KEY, Some(SECP521R1)) => KeyKind::P521,
            _ => KeyKind::Other,
        }
    }
}

/// Bits of the modulus in a DER `RSAPublicKey`: SEQUENCE { INTEGER modulus, ... }.
fn rsa_bits(octets: &[u8]) -> Option<usize> {
    let modulus = Reader::new(octets).inside(SEQUENCE)?.optional(INTEGER)?;
    let zeros = modulus.content.iter().take_while(|octet| **octet == 0);
    let digits = modulus.content.get(zeros.count()..)?;
    let bits = digits.len().checked_mul(8)?;
    bits.checked_sub(usize::try_from(digits.first()?.leading_zeros()).ok()?)
}

/// The two extensions that count here.
#[derive(Default)]
struct Extensions {
    client_auth: Option<bool>,
    is_authority: bool,
}

impl Extensions {
    fn read(mut list: Reader<'_>) -> Option<Self> {
        let mut read = Self::default();
        while !list.is_at_end() {
            let mut extension = list.inside(SEQUENCE)?;
            let name = extension.optional(OBJECT_IDENTIFIER)?.content;
            extension.optional(BOOLEAN);
            let value = Reader::new(extension.optional(OCTET_STRING)?.content);
            match name {
                EXTENDED_KEY_USAGE => read.client_auth = Some(allows_client_auth(value)?),
                BASIC_CONSTRAINTS => read.is_authority = says_authority(value),
                _ => {}
            }
        }
        Some(read)
    }
}

fn allows_client_auth(mut value: Reader<'_>) -> Option<bool> {
    let mut purposes = value.inside(SEQUENCE)?;
    let mut allows = false;
    while !purposes.is_at_end() {
        let purpose = purposes.optional(OBJECT_IDENTIFIER)?.content;
        allows |= purpose == CLIENT_AUTH || purpose == ANY_USAGE;
    }
    Some(allows)
}

fn says_authority(mut value: Reader<'_>) -> bool {
    let says = value
        .inside(SEQUENCE)
        .and_then(|mut constraints| constraints.optional(BOOLEAN));
    says.is_some_and(|says| says.content.iter().any(|octet| *octet != 0))
}
