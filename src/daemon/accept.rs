//! Acts: the checks of received credentials that need certificates read and keys loaded.
//!
//! After the grammar (`wire`) and before the policy: is the trust part a certificate that can
//! be an anchor and is not over, is the pair a pair. `reference/cups-lns.md` section 7.

use super::clock::Effective;
use crate::identity::{anchors, pair};
use crate::wire::credential::{Credential, Method};
use crate::wire::error::{Code, DecodeError};
use crate::wire::x509::Facts;

/// Least time that a new trust anchor must still be valid, seconds.
const VALIDITY_LEFT_S_MIN: u64 = 3600;

/// How far the clock of the certificates' maker may be ahead of ours, seconds.
const CLOCK_DIFFERENCE_S_MAX: u64 = 3600;

/// Checks one received credential set by the effective time.
pub fn check(credential: &Credential, time: Effective) -> Result<(), DecodeError> {
    let now_s = time.now_s();
    let anchor = Facts::read(credential.trust())
        .filter(|_| anchors::from_trust(credential.trust()).is_some_and(|roots| !roots.is_empty()));
    let Some(anchor) = anchor else {
        let what = "credential: the trust part is not a certificate that can be an anchor";
        return Err(DecodeError::of(Code::CredTrustTag, what));
    };
    // webpki takes any certificate for an anchor; station's mbedTLS does not.
    if !anchor.is_authority && !anchor.is_self_issued() {
        let what = format!(
            "credential: the trust certificate {:?} is no authority",
            anchor.subject
        );
        return Err(DecodeError::of(Code::CredTrustNotCa, what));
    }
    // A clock that is known to be behind says nothing about the start of validity.
    if time.is_sane() && anchor.not_before_s > now_s.saturating_add(CLOCK_DIFFERENCE_S_MAX) {
        let what = format!(
            "credential: the trust certificate {:?} is not valid yet",
            anchor.subject
        );
        return Err(DecodeError::of(Code::CredTrustValidity, what));
    }
    if anchor.not_after_s < now_s.saturating_add(VALIDITY_LEFT_S_MIN) {
        let what = format!(
            "credential: the trust certificate {:?} is over or nearly so",
            anchor.subject
        );
        return Err(DecodeError::of(Code::CredTrustValidity, what));
    }
    if credential.method() == Method::Mutual {
        check_pair(credential)
    } else {
        Ok(())
    }
}

fn check_pair(credential: &Credential) -> Result<(), DecodeError> {
    let Some(facts) = Facts::read(credential.certificate()) else {
        let what = "credential: the certificate part is not a certificate";
        return Err(DecodeError::of(Code::CredCertificate, what));
    };
    let Some(signer) = pair::signer_from_der(credential.key()) else {
        let what = format!(
            "credential: the private key ({}) cannot be used here",
            facts.key
        );
        return Err(DecodeError::of(Code::CredKeyTag, what));
    };
    if pair::belong_together(signer.as_ref(), &facts) {
        return Ok(());
    }
    let what = "credential: the private key does not belong to the certificate";
    Err(DecodeError::of(Code::CredKeyMismatch, what))
}
