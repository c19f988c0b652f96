//! Configures: rustls servers of the laboratory, from PEM files.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// The TLS versions a server offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 alone: a refused client certificate shows during the handshake.
    Tls12,
    /// 1.3 alone: a refused client certificate shows after the request was written.
    Tls13,
}

impl Versions {
    pub(crate) fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Both => vec![&rustls::version::TLS12, &rustls::version::TLS13],
            Self::Tls12 => vec![&rustls::version::TLS12],
            Self::Tls13 => vec![&rustls::version::TLS13],
        }
    }
}

/// The cryptography every server and test client here uses.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server that asks for no client certificate.
#[must_use]
pub fn server(certificate: &Path, key: &Path, versions: Versions) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions.list())
        .expect("ring knows these versions")
        .with_no_client_auth()
        .with_single_cert(certificates(certificate), private_key(key))
        .expect("the server's key fits its certificate");
    Arc::new(config)
}

/// A server that requires a client certificate which leads to `client_root`.
#[must_use]
pub fn mutual_server(
    certificate: &Path,
    key: &Path,
    client_root: &Path,
    versions: Versions,
) -> Arc<ServerConfig> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(client_root), provider())
        .build()
        .expect("the client root is usable");
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions.list())
        .expect("ring knows these versions")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(shown(certificate, key)));
    Arc::new(config)
}

/// A certificate to show as it is, also one that rustls would not take from its own side.
pub(crate) fn shown(certificate: &Path, key: &Path) -> SingleCertAndKey {
    let key = any_supported_type(&private_key(key)).expect("ring can sign with the server's key");
    CertifiedKey::new(certificates(certificate), key).into()
}

/// The trust anchors in a PEM file.
#[must_use]
pub fn roots(file: &Path) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file) {
        store
            .add(certificate)
            .expect("the certificate is a usable trust anchor");
    }
    Arc::new(store)
}

/// Every certificate in a PEM file, in its order.
#[must_use]
pub fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .expect("the laboratory wrote this certificate file")
}

/// The private key in a PEM file.
#[must_use]
pub fn private_key(file: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file).expect("the laboratory wrote this key file")
}

/// A PEM block: lines of 64 columns, each ended by a line feed.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + "-----END " + label + "-----\n"
}

/// SHA-256 in lower-case hex: names an octet string without showing it.
#[must_use]
pub fn fingerprint(octets: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, octets);
    let digits = digest
        .as_ref()
        .iter()
        .flat_map(|octet| [octet >> 4, octet & 15]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}
