//! Speaks: the credential blob of CUPS, three parts whose ends are found by DER lengths.
//!
//! ```text
//! +-----------------+----------------------+------------------------------------------+
//! | trust           | certificate          | key                                      |
//! | one DER cert    | DER cert, or 4 zeros | DER key, 4 zeros, nothing, or token lines |
//! +-----------------+----------------------+------------------------------------------+
//! ```
//! The octets are kept exactly as received, because CUPS compares their CRC-32.
//! `reference/cups-lns.md` sections 1.4 and 2.2.

use super::crc::crc32;
use super::der;
use super::error::{Code, DecodeError};
use super::secret::Secret;
use super::token;

/// How a set of credentials authenticates to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Trust anchor only: the server is checked, the client sends nothing.
    Server,
    /// Trust anchor and header lines.
    Token,
    /// Trust anchor, client certificate and private key.
    Mutual,
}

impl Method {
    /// The name in manifests and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Token => "token",
            Self::Mutual => "mutual",
        }
    }
}

/// The octets that stand for an absent part.
const ABSENT: [u8; 4] = [0; 4];

/// A credential blob and where its parts end. The parts fill the blob exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    octets: Secret,
    trust: usize,
    certificate: usize,
}

impl Credential {
    /// Splits a blob as CUPS sends it. The certificates' contents and whether the key
    /// belongs to the certificate are not looked at here. Offsets in errors count from
    /// the start of the blob.
    pub fn parse(octets: &[u8]) -> Result<Self, DecodeError> {
        let trust = trust_length(octets)?;
        let after_trust = octets.get(trust..).unwrap_or_default();
        let certificate = certificate_length(after_trust, trust)?;
        let start = trust.saturating_add(certificate);
        let key = after_trust.get(certificate..).unwrap_or_default();
        check_key(
            key,
            start,
            certificate != ABSENT.len() || after_trust.first() == Some(&der::SEQUENCE),
        )?;
        Ok(Self {
            octets: Secret::new(octets.to_vec()),
            trust,
            certificate,
        })
    }

    /// Joins the contents of Basic Station's `*.trust`, `*.crt` and `*.key` files. An empty
    /// part becomes four zero octets, so that the CRC equals the one station computes.
    #[must_use]
    pub fn from_parts(trust: &[u8], certificate: &[u8], key: &[u8]) -> Self {
        let part = |octets: &[u8]| {
            if octets.is_empty() {
                ABSENT.to_vec()
            } else {
                octets.to_vec()
            }
        };
        let (trust, certificate) = (part(trust), part(certificate));
        let (trust_length, certificate_length) = (trust.len(), certificate.len());
        let octets = [trust, certificate, part(key)].concat();
        Self {
            octets: Secret::new(octets),
            trust: trust_length,
            certificate: certificate_length,
        }
    }

    /// Puts a stored blob together again from the lengths that [`Self::lengths`] gave.
    /// `None` if they do not add up.
    #[must_use]
    pub fn from_lengths(octets: Vec<u8>, [trust, certificate, key]: [usize; 3]) -> Option<Self> {
        let sum = trust.checked_add(certificate)?.checked_add(key)?;
        (sum == octets.len()).then(|| Self {
            octets: Secret::new(octets),
            trust,
            certificate,
        })
    }

    /// The blob exactly as received. Holds a private key or a token.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.expose()
    }

    /// Octets of trust, certificate and key in the blob, markers included.
    #[must_use]
    pub fn lengths(&self) -> [usize; 3] {
        let key = self
            .octets()
            .len()
            .saturating_sub(self.trust)
            .saturating_sub(self.certificate);
        [self.trust, self.certificate, key]
    }

    /// CRC-32 (zlib) over the blob: the number CUPS compares.
    #[must_use]
    pub fn crc(&self) -> u32 {
        crc32(self.octets())
    }

    /// The trust part: DER as CUPS sends it, PEM or DER in an adopted set; empty if absent.
    #[must_use]
    pub fn trust(&self) -> &[u8] {
        present(self.octets().get(..self.trust).unwrap_or_default())
    }

    /// The certificate part; empty if absent.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        let end = self.trust.saturating_add(self.certificate);
        present(self.octets().get(self.trust..end).unwrap_or_default())
    }

    /// The key part, a private key or token lines; empty if absent.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        let start = self.trust.saturating_add(self.certificate);
        present(self.octets().get(start..).unwrap_or_default())
    }

    /// How this set authenticates.
    #[must_use]
    pub fn method(&self) -> Method {
        match (self.certificate().is_empty(), self.key().is_empty()) {
            (_, true) => Method::Server,
            (true, false) => Method::Token,
            (false, false) => Method::Mutual,
        }
    }
}

/// CRC-32 of a set that has no credentials at all: twelve zero octets.
#[must_use]
pub fn crc_of_nothing() -> u32 {
    crc32(&[0; 12])
}

fn present(part: &[u8]) -> &[u8] {
    if part == ABSENT { &[] } else { part }
}

fn trust_length(octets: &[u8]) -> Result<usize, DecodeError> {
    if octets.first() != Some(&der::SEQUENCE) {
        let text = "credential: the trust part is not a DER certificate (it must begin with 0x30)";
        return Err(DecodeError::at(Code::CredTrustTag, 0, text));
    }
    der::total_length(octets)
        .filter(|&length| length <= octets.len())
        .ok_or_else(|| {
            let text = "credential: the trust certificate is longer than the segment";
            DecodeError::at(Code::CredTrustDerOverrun, 0, text)
        })
}

fn certificate_length(octets: &[u8], offset: usize) -> Result<usize, DecodeError> {
    match octets.first() {
        Some(&der::SEQUENCE) => der::total_length(octets)
            .filter(|&length| length <= octets.len())
            .ok_or_else(|| {
                let text = "credential: the certificate is longer than the segment";
                DecodeError::at(Code::CredCertDerOverrun, offset, text)
            }),
        // Station skips four octets whatever they are and cuts into the token; we refuse.
        Some(0) if octets.starts_with(&ABSENT) => Ok(ABSENT.len()),
        Some(0) => {
            let text = "credential: the marker of an absent certificate must be four zero octets";
            Err(DecodeError::at(Code::CredCertTag, offset, text))
        }
        Some(_) => {
            let text = "credential: the certificate is neither DER nor the marker of absence";
            Err(DecodeError::at(Code::CredCertTag, offset, text))
        }
        None => {
            let text = "credential: the segment ends after the trust certificate";
            Err(DecodeError::at(Code::CredCertTag, offset, text))
        }
    }
}

fn check_key(key: &[u8], offset: usize, has_certificate: bool) -> Result<(), DecodeError> {
    if key.is_empty() || key == ABSENT {
        if has_certificate {
            let text = "credential: there is a certificate but no private key for it";
            return Err(DecodeError::at(Code::CredKeyMissing, offset, text));
        }
        return Ok(());
    }
    if key.first() == Some(&der::SEQUENCE) {
        return match der::total_length(key) {
            Some(length) if length == key.len() && has_certificate => Ok(()),
            Some(length) if length == key.len() => {
                let text = "credential: there is a private key but no certificate for it";
                Err(DecodeError::at(Code::CredCertTag, offset, text))
            }
            _ => {
                let text = "credential: the private key does not fill the segment exactly";
                Err(DecodeError::at(Code::CredKeyDerOverrun, offset, text))
            }
        };
    }
    if has_certificate {
        let text = "credential: the private key is not DER (it must begin with 0x30)";
        return Err(DecodeError::at(Code::CredKeyTag, offset, text));
    }
    token::check(key).map_err(|error| error.shifted(offset))
}
