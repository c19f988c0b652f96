//! Knows: the client certificate, from TLS or from the header of the proxy that ended TLS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::key::PublicKey;
use crate::cups::certificate::unescape;
use crate::http::Request;
use crate::tls;

/// Headers in which proxies pass a certificate on; the first that is not empty counts.
const HEADERS: [&str; 8] = [
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-ssl-client-cert",
    "ssl-client-cert",
    "x-client-cert",
    "x-amzn-mtls-clientcert-leaf",
    "x-amzn-mtls-clientcert",
    "client-cert",
];

/// A client certificate, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The subject, last attribute first: `CN=gateway,O=Example`.
    pub subject: String,
    /// Serial number, hex with colons.
    pub serial: String,
    /// 1 or 3: X.509v1 or v3.
    pub version: u8,
    /// SHA-256 of the certificate, lower-case hex.
    pub sha256: String,
    /// SHA-256 of its `SubjectPublicKeyInfo`, lower-case hex.
    pub key_sha256: String,
    /// How many certificates came, this one included.
    pub certificates: usize,
    pub(super) key: PublicKey,
}

impl Leaf {
    /// Of a chain, leaf first.
    #[must_use]
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        Self::from_der(chain.first()?, chain.len())
    }

    /// Of the header a proxy has set: the forms of Envoy, Traefik, nginx, HAProxy, Caddy, Apache
    /// and Amazon's load balancer.
    #[must_use]
    pub fn forwarded(request: &Request) -> Option<Self> {
        let present = |name: &&str| request.header(name).filter(|value| !value.is_empty());
        let chain = certificates(HEADERS.iter().find_map(present)?)?;
        Self::from_der(chain.first()?, chain.len())
    }

    fn from_der(der: &[u8], certificates: usize) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let body = &certificate.tbs_certificate;
        let key = PublicKey::from_info(&body.subject_public_key_info)?;
        Some(Self {
            subject: body.subject.to_string(),
            serial: body.serial_number.to_string(),
            version: body.version as u8 + 1,
            sha256: tls::fingerprint(der),
            key_sha256: key.sha256(),
            certificates,
            key,
        })
    }
}

fn certificates(value: &str) -> Option<Vec<Vec<u8>>> {
    let part = |name: &str| value.split(';').find_map(|part| part.strip_prefix(name));
    let value = part("Chain=").or_else(|| part("Cert=")).unwrap_or(value);
    let text = unescape(value.trim_matches(['"', '\\', ':']))?;
    let decoded = |text: &str| {
        let text: String = text.split_ascii_whitespace().collect();
        STANDARD.decode(text).ok()
    };
    if !text.contains("-----BEGIN") {
        return text.split(',').map(decoded).collect();
    }
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|block| decoded(block.split_once("-----END CERTIFICATE-----")?.0))
        .collect()
}
