//! Proves: the trust anchors that servers are judged by, from the configured files only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;

use super::Warning;
use super::error::{Fault, IdentityError};
use super::pem::{self, PemFault};
use super::source::read_anchors;
use crate::wire::x509::Facts;

/// Trust anchors and what there is to say about them.
#[derive(Debug, Clone)]
pub struct Anchors {
    /// What rustls verifies against.
    pub roots: Arc<RootCertStore>,
    /// The files' octets one after the other: CUPS counts a CRC over them.
    pub octets: Vec<u8>,
    /// Things that work now and will not for ever.
    pub warnings: Vec<Warning>,
}

/// Reads every file; each must hold at least one certificate that can be an anchor.
pub fn load(paths: &[PathBuf], now_s: u64) -> Result<Anchors, IdentityError> {
    let mut roots = RootCertStore::empty();
    let mut all = Vec::new();
    let mut warnings = Vec::new();
    for path in paths {
        let octets = read_anchors(path)?;
        let fail = |fault| IdentityError {
            path: path.clone(),
            fault,
        };
        let list = pem::certificates(&octets).map_err(|fault| {
            fail(if fault == PemFault::Empty {
                Fault::Empty
            } else {
                Fault::NotPem("certificate")
            })
        })?;
        for certificate in list {
            let facts = Facts::read(&certificate).ok_or_else(|| fail(Fault::NotX509))?;
            warnings.extend(judge(&facts, path, now_s));
            roots.add(certificate).map_err(|_| fail(Fault::NotX509))?;
        }
        all.extend_from_slice(&octets);
    }
    Ok(Anchors {
        roots: Arc::new(roots),
        octets: all,
        warnings,
    })
}

/// The system's roots out of one PEM file. What is in it is not ours to judge: entries that
/// cannot be anchors are passed over.
pub fn of_system(path: &Path) -> Result<RootCertStore, IdentityError> {
    let octets = read_anchors(path)?;
    let mut roots = RootCertStore::empty();
    let list = pem::certificates(&octets).map_err(|_| IdentityError {
        path: path.to_owned(),
        fault: Fault::NotPem("certificate"),
    })?;
    roots.add_parsable_certificates(list);
    Ok(roots)
}

/// Anchors from the trust part of a credential set: one DER certificate, or PEM text.
#[must_use]
pub fn from_trust(trust: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if trust.first() == Some(&crate::wire::der::SEQUENCE) {
        let length = crate::wire::der::total_length(trust)?;
        roots.add(trust.get(..length)?.to_vec().into()).ok()?;
        return Some(roots);
    }
    for certificate in pem::certificates(trust).ok()? {
        roots.add(certificate).ok()?;
    }
    Some(roots)
}

fn judge(facts: &Facts, path: &Path, now_s: u64) -> Option<Warning> {
    let subject = &facts.subject;
    let path = path.display();
    if facts.not_after_s < now_s {
        let text =
            format!("the trust anchor {subject:?} in {path} has expired; install its successor");
        return Some(Warning {
            code: "anchor_expired",
            text,
        });
    }
    if !facts.is_authority && !facts.is_self_issued() {
        let text = format!(
            "{subject:?} in {path} is no authority: a server certificate itself cannot be an anchor, use its root"
        );
        return Some(Warning {
            code: "anchor_leaf",
            text,
        });
    }
    None
}
