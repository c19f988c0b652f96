//! Reads: the public key of an auth request, and checks signatures with it.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::tls;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The kinds of keys a Mender server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RSA; from 2048 bits on signatures can be checked.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    der: Vec<u8>,
    bits: Vec<u8>,
    kind: Kind,
}

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`; `None` for anything a Mender server refuses.
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
        let body = body.strip_suffix("-----END PUBLIC KEY-----")?;
        let der = STANDARD
            .decode(body.split_ascii_whitespace().collect::<String>())
            .ok()?;
        Self::from_info(&SubjectPublicKeyInfoOwned::from_der(&der).ok()?)
    }

    /// Takes the key of a certificate.
    #[must_use]
    pub fn from_info(info: &SubjectPublicKeyInfoOwned) -> Option<Self> {
        let parameters = info.algorithm.parameters.as_ref();
        let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let kind = match (info.algorithm.oid, curve) {
            (RSA, _) => Kind::Rsa,
            (ELLIPTIC, Some(P256)) => Kind::P256,
            (ELLIPTIC, Some(P384)) => Kind::P384,
            (ELLIPTIC, Some(P521)) => Kind::P521,
            (ED25519, _) => Kind::Ed25519,
            _ => return None,
        };
        Some(Self {
            der: info.to_der().ok()?,
            bits: info.subject_public_key.as_bytes()?.to_vec(),
            kind,
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The one form in which the server keeps it: PEM, 64 columns, a line feed at the end.
    #[must_use]
    pub fn pem(&self) -> String {
        tls::pem("PUBLIC KEY", &self.der)
    }

    /// SHA-256 of the DER form, lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        tls::fingerprint(&self.der)
    }

    /// Whether `X-MEN-Signature` (base64) is this key's over exactly these octets.
    #[must_use]
    pub fn signed(&self, body: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else {
            return false;
        };
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            Kind::Rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
            Kind::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Kind::P384 => &signature::ECDSA_P384_SHA256_ASN1,
            Kind::P521 => return self.checked_by_openssl("-sha256", body, &signature),
            Kind::Ed25519 => &signature::ED25519,
        };
        self.checked_by(algorithm, body, &signature)
    }

    /// Checks with an algorithm of ring.
    pub(super) fn checked_by(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        UnparsedPublicKey::new(algorithm, &self.bits)
            .verify(message, signature)
            .is_ok()
    }

    /// P-521 is not in ring.
    pub(super) fn checked_by_openssl(
        &self,
        digest: &str,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let files = Scratch::new();
        let key = files.write("pem", self.pem().as_bytes());
        let signature = files.write("sig", signature);
        let mut child = Command::new("openssl")
            .args(["dgst", digest, "-verify"])
            .arg(key)
            .arg("-signature")
            .arg(signature)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the openssl command is installed");
        if let Some(mut input) = child.stdin.take() {
            // It may have refused the key already; its exit code says so.
            let _refused_early = input.write_all(message);
        }
        child.wait().is_ok_and(|status| status.success())
    }
}

/// Files for one call of a command, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mtls-lab-key-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn write(&self, ending: &str, octets: &[u8]) -> PathBuf {
        let path = self.0.with_extension(ending);
        fs::write(&path, octets).expect("the temporary folder can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for ending in ["pem", "sig"] {
            let _never_written = fs::remove_file(self.0.with_extension(ending));
        }
    }
}
