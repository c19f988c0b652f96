//! Proves: reads PEM. The only place that names `rustls-pemfile`, which is archived upstream
//! (RUSTSEC-2025-0134): replacing it means changing this file alone.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong with the text of a PEM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PemFault {
    /// No octets at all.
    Empty,
    /// A key that needs a passphrase.
    Encrypted,
    /// Text without what is looked for, or broken inside.
    Broken,
}

/// Reads every certificate of a PEM text, in order. At least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    if text.is_empty() {
        return Err(PemFault::Empty);
    }
    let mut rest = text;
    let list: Result<Vec<_>, _> = rustls_pemfile::certs(&mut rest).collect();
    let list = list.map_err(|_| PemFault::Broken)?;
    if list.is_empty() {
        Err(PemFault::Broken)
    } else {
        Ok(list)
    }
}

/// Reads the first private key of a PEM text: SEC1, PKCS#8 or PKCS#1.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemFault> {
    if text.is_empty() {
        return Err(PemFault::Empty);
    }
    let says = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
    if says(b"BEGIN ENCRYPTED PRIVATE KEY") || says(b"Proc-Type: 4,ENCRYPTED") {
        return Err(PemFault::Encrypted);
    }
    let mut rest = text;
    rustls_pemfile::private_key(&mut rest)
        .ok()
        .flatten()
        .ok_or(PemFault::Broken)
}
