//! Proves: the device's certificate chain and signer, loaded and checked before any packet.
//!
//! Refused with one sentence: [`error::Fault`]. Accepted with a warning: an X.509v1 leaf, a
//! common name in lower case, a weak RSA key in the chain, a root that is sent along, a
//! chain out of order (it is put in order). There is no way to write an identity from here.

pub mod anchors;
pub mod error;
#[cfg(feature = "mender")]
pub mod keygen;
pub mod pair;
mod pem;
#[cfg(feature = "mender")]
pub mod signing;
mod source;

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};

use crate::wire::eui::Eui64;
use crate::wire::secret::Secret;
use crate::wire::x509::{Facts, KeyKind};
use error::{Fault, IdentityError};
use pem::PemFault;

/// A chain larger than this overflows the header buffers of common proxies.
const CHAIN_OCTETS_USUAL: usize = 4096;

/// Something that works and that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The stable name.
    pub code: &'static str,
    /// What it is and what to do.
    pub text: String,
}

/// An identity that can be presented.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The EUI in the common name.
    pub eui: Eui64,
    /// Facts of the leaf.
    pub facts: Facts,
    /// Leaf, then intermediates; no root.
    pub certified: Arc<CertifiedKey>,
    /// The certificate file's octets: CUPS counts a CRC over them.
    pub certificate_octets: Vec<u8>,
    /// The key file's octets, for the same CRC.
    pub key_octets: Secret,
    /// What to know about it.
    pub warnings: Vec<Warning>,
}

/// A certificate chain and its key, of whatever name.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// Facts of the leaf.
    pub facts: Facts,
    /// Leaf, then intermediates; no root.
    pub certified: Arc<CertifiedKey>,
    /// The certificate file's octets.
    pub certificate_octets: Vec<u8>,
    /// The key file's octets.
    pub key_octets: Secret,
    /// What to know about it.
    pub warnings: Vec<Warning>,
}

/// Loads a gateway's certificate and key and checks everything that can be checked offline.
/// `now_s` is the effective time in seconds since 1970; `credentials` is the folder in which
/// systemd puts what `LoadCredential=` names, if there is one.
pub fn load(
    certificate: &Path,
    key_path: &Path,
    credentials: Option<&Path>,
    now_s: u64,
) -> Result<Identity, IdentityError> {
    let mut pair = load_pair(certificate, key_path, credentials, now_s)?;
    let name = pair.facts.common_name.as_deref();
    let eui = name
        .and_then(|name| Eui64::from_hex(name).ok())
        .ok_or_else(|| {
            failure(
                certificate,
                Fault::CommonName(pair.facts.common_name.clone()),
            )
        })?;
    pair.warnings.extend(lower_case(&pair.facts));
    Ok(Identity {
        eui,
        facts: pair.facts,
        certified: pair.certified,
        certificate_octets: pair.certificate_octets,
        key_octets: pair.key_octets,
        warnings: pair.warnings,
    })
}

/// The same without a look at the common name, which means something to gateways only.
pub fn load_pair(
    certificate: &Path,
    key_path: &Path,
    credentials: Option<&Path>,
    now_s: u64,
) -> Result<KeyPair, IdentityError> {
    let certificate_octets = source::read_certificate(certificate)?;
    let chain = chain(&certificate_octets, certificate)?;
    let key_octets = source::read_key(key_path, credentials)?;
    let key_failure = |fault| IdentityError {
        path: key_path.to_owned(),
        fault,
    };
    let key = pem::private_key(&key_octets).map_err(|fault| {
        key_failure(match fault {
            PemFault::Empty => Fault::Empty,
            PemFault::Encrypted => Fault::Encrypted,
            PemFault::Broken => Fault::NotPem("private key"),
        })
    })?;
    let signer = pair::signer(&key);
    if chain
        .iter()
        .any(|certificate| Facts::read(certificate).is_none())
    {
        return Err(failure(certificate, Fault::NotX509));
    }
    let (chain, facts, warnings) = arrange(chain, signer.as_deref());
    let leaf = facts
        .first()
        .ok_or_else(|| failure(certificate, Fault::NotX509))?
        .clone();
    let signer = signer.ok_or_else(|| key_failure(Fault::KeyUnsupported(leaf.key)))?;
    if !pair::belong_together(signer.as_ref(), &leaf) {
        return Err(key_failure(Fault::Mismatch));
    }
    check_leaf(&leaf, certificate, now_s)?;
    let mut warnings = warnings;
    warnings.extend(notes(&facts, &chain, now_s));
    Ok(KeyPair {
        facts: leaf,
        certified: Arc::new(CertifiedKey::new(chain, signer)),
        certificate_octets,
        key_octets: Secret::new(key_octets.to_vec()),
        warnings,
    })
}

impl Identity {
    /// Refuses an EUI from elsewhere that names another gateway.
    pub fn check_eui(&self, other: Eui64, place: &str, path: &Path) -> Result<(), IdentityError> {
        if other == self.eui {
            return Ok(());
        }
        let fault = Fault::EuiDiffers {
            certificate: self.eui,
            other,
            place: place.to_owned(),
        };
        Err(failure(path, fault))
    }
}

fn failure(path: &Path, fault: Fault) -> IdentityError {
    IdentityError {
        path: path.to_owned(),
        fault,
    }
}

fn chain(octets: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    pem::certificates(octets).map_err(|fault| match fault {
        PemFault::Empty => failure(path, Fault::Empty),
        PemFault::Encrypted | PemFault::Broken => failure(path, Fault::NotPem("certificate")),
    })
}

/// Puts the leaf first, its issuers after it, and drops a root and what does not belong.
fn arrange(
    chain: Vec<CertificateDer<'static>>,
    signer: Option<&dyn SigningKey>,
) -> (Vec<CertificateDer<'static>>, Vec<Facts>, Vec<Warning>) {
    let mut rest: Vec<(CertificateDer<'static>, Facts)> = chain
        .into_iter()
        .filter_map(|certificate| Facts::read(&certificate).map(|facts| (certificate, facts)))
        .collect();
    let mut warnings = Vec::new();
    let is_leaf = |facts: &Facts| signer.is_some_and(|key| pair::belong_together(key, facts));
    let start = rest
        .iter()
        .position(|(_, facts)| is_leaf(facts))
        .unwrap_or(0);
    let mut is_in_order = start == 0;
    let mut ordered = Vec::new();
    if start < rest.len() {
        ordered.push(rest.remove(start));
    }
    while let Some((_, last)) = ordered.last() {
        let issuer = last.issuer_der.clone();
        let found = rest
            .iter()
            .position(|(_, facts)| facts.subject_der == issuer);
        let Some(index) = found.filter(|_| !last.is_self_issued()) else {
            break;
        };
        is_in_order &= index == 0;
        ordered.push(rest.remove(index));
    }
    if !is_in_order {
        warnings.push(Warning {
            code: "chain_order",
            text: "the certificate file is out of order; the leaf is sent first".to_owned(),
        });
    }
    if ordered.len() > 1
        && ordered
            .last()
            .is_some_and(|(_, facts)| facts.is_self_issued())
    {
        ordered.pop();
        warnings.push(Warning {
            code: "root_sent",
            text: "the certificate file contains the root; it is left out, servers have it"
                .to_owned(),
        });
    }
    if !rest.is_empty() {
        warnings.push(Warning {
            code: "chain_surplus",
            text: format!(
                "{} certificates in the file issue nothing here; left out",
                rest.len()
            ),
        });
    }
    let (chain, facts) = ordered.into_iter().unzip();
    (chain, facts, warnings)
}

fn check_leaf(leaf: &Facts, path: &Path, now_s: u64) -> Result<(), IdentityError> {
    if leaf.not_after_s < now_s {
        let days = now_s.saturating_sub(leaf.not_after_s) / 86_400;
        return Err(failure(path, Fault::Expired { days }));
    }
    if leaf.client_auth == Some(false) {
        return Err(failure(path, Fault::NoClientAuth));
    }
    Ok(())
}

fn lower_case(leaf: &Facts) -> Option<Warning> {
    let name = leaf.common_name.as_deref().unwrap_or_default();
    let is_lower = name.bytes().any(|octet| octet.is_ascii_lowercase());
    is_lower.then(|| Warning {
        code: "cn_lower_case",
        text: format!(
            "the common name {name} is in lower case: The Things Stack compares upper case and will answer 401"
        ),
    })
}

fn notes(facts: &[Facts], chain: &[CertificateDer<'static>], now_s: u64) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: &'static str, text: String| warnings.push(Warning { code, text });
    let Some(leaf) = facts.first() else {
        return warnings;
    };
    if leaf.version != 3 {
        warn(
            "x509_version",
            format!(
                "the certificate is X.509v{}: most proxies take it, AWS does not; issue it with an extension file",
                leaf.version
            ),
        );
    }
    for entry in facts {
        if let KeyKind::Rsa(bits @ ..2048) = entry.key {
            warn(
                "rsa_short",
                format!("{:?} has an RSA key of only {bits} bits", entry.subject),
            );
        }
    }
    let days = leaf.not_after_s.saturating_sub(now_s) / 86_400;
    if days < 30 {
        warn(
            "expires_soon",
            format!("the certificate expires in {days} days; renew it"),
        );
    }
    let octets: usize = chain.iter().map(|certificate| certificate.len()).sum();
    if octets > CHAIN_OCTETS_USUAL {
        warn(
            "chain_large",
            format!(
                "the chain has {octets} octets: proxies with small header buffers will answer 400, 431 or 500"
            ),
        );
    }
    warnings
}
