//! Judges: the client certificate a proxy passes on, by the rules of The Things Stack.
//!
//! `X-Forwarded-Client-Cert` (Envoy) is looked at first, then `X-Forwarded-Tls-Client-Cert`
//! (Traefik). The first that is not empty decides; one that cannot be parsed means "no
//! certificate". Only the leaf counts, and only a CA in the store itself can have issued it.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::ExtendedKeyUsage;

use crate::http::Request;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The leaf the proxy passed on, if a header holds one that can be read.
#[must_use]
pub fn forwarded(request: &Request) -> Option<Certificate> {
    let present = |name| request.header(name).filter(|value| !value.is_empty());
    let der = match present("x-forwarded-client-cert") {
        Some(value) => envoy_leaf(value),
        None => traefik_leaf(present("x-forwarded-tls-client-cert")?),
    };
    Certificate::from_der(&der?).ok()
}

/// The subject's CN.
#[must_use]
pub fn common_name(certificate: &Certificate) -> Option<String> {
    let names = certificate.tbs_certificate.subject.0.iter();
    let mut attributes = names.flat_map(|name| name.0.iter());
    let found = attributes.find(|attribute| attribute.oid == COMMON_NAME)?;
    String::from_utf8(found.value.value().to_vec()).ok()
}

/// Whether the leaf is this gateway's and a CA of the store signed it itself.
#[must_use]
pub fn accepted(leaf: &Certificate, eui: &str, store: &[Certificate]) -> bool {
    common_name(leaf).as_deref() == Some(eui)
        && valid_now(leaf)
        && for_clients(leaf)
        && store.iter().any(|authority| issued(authority, leaf))
}

fn envoy_leaf(value: &str) -> Option<Vec<u8>> {
    let chain = value
        .split(';')
        .find_map(|part| part.strip_prefix("Chain="))?;
    let text = unescape(chain.trim_matches(['"', '\\']))?;
    let begin = text.split_once("-----BEGIN CERTIFICATE-----")?.1;
    let body = begin.split_once("-----END CERTIFICATE-----")?.0;
    STANDARD
        .decode(body.split_ascii_whitespace().collect::<String>())
        .ok()
}

fn traefik_leaf(value: &str) -> Option<Vec<u8>> {
    STANDARD.decode(value.split(',').next()?).ok()
}

/// Undoes `%XX`; a literal `+` stays.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet == b'%' {
            let pair = [octets.next()?, octets.next()?];
            let digits = core::str::from_utf8(&pair).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            out.push(octet);
        }
    }
    String::from_utf8(out).ok()
}

pub(crate) fn valid_now(leaf: &Certificate) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let validity = &leaf.tbs_certificate.validity;
    (validity.not_before.to_unix_duration()..=validity.not_after.to_unix_duration()).contains(&now)
}

/// A leaf without the extension passes, and so does an X.509v1 leaf, which has none.
pub(crate) fn for_clients(leaf: &Certificate) -> bool {
    match leaf.tbs_certificate.get::<ExtendedKeyUsage>() {
        Ok(None) => true,
        Ok(Some((_, usages))) => usages
            .0
            .iter()
            .any(|usage| [CLIENT_AUTH, ANY_USAGE].contains(usage)),
        Err(_) => false,
    }
}

pub(crate) fn issued(authority: &Certificate, leaf: &Certificate) -> bool {
    let key = &authority.tbs_certificate.subject_public_key_info;
    let Some(algorithm) = algorithm(leaf.signature_algorithm.oid, key) else {
        return false;
    };
    let (Ok(signed), Some(signature), Some(key)) = (
        leaf.tbs_certificate.to_der(),
        leaf.signature.as_bytes(),
        key.subject_public_key.as_bytes(),
    ) else {
        return false;
    };
    authority.tbs_certificate.subject == leaf.tbs_certificate.issuer
        && UnparsedPublicKey::new(algorithm, key)
            .verify(&signed, signature)
            .is_ok()
}

fn algorithm(
    signature: ObjectIdentifier,
    key: &x509_cert::spki::SubjectPublicKeyInfoOwned,
) -> Option<&'static dyn VerificationAlgorithm> {
    let curve = key
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.decode_as().ok());
    Some(match (signature, curve == Some(P256)) {
        (ECDSA_SHA256, true) => &signature::ECDSA_P256_SHA256_ASN1,
        (ECDSA_SHA384, true) => &signature::ECDSA_P256_SHA384_ASN1,
        (ECDSA_SHA256, false) => &signature::ECDSA_P384_SHA256_ASN1,
        (ECDSA_SHA384, false) => &signature::ECDSA_P384_SHA384_ASN1,
        (RSA_SHA256, _) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (RSA_SHA384, _) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (RSA_SHA512, _) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (ED25519, _) => &signature::ED25519,
        _ => return None,
    })
}
