//! Acts: rustls configurations with our own client certificate resolver.
//!
//! Never rustls' `with_client_auth_cert`, hence never ureq's: it refuses X.509v1 leaves, and
//! ureq ends the process over it. `reference/proxies.md` section 0 finding 2.

mod pinned;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, SignatureScheme};

use self::pinned::{Pinned, WrongPin};
use crate::agent::evidence::{Defect, TlsFault};
use crate::daemon::clock::Effective;
use crate::wire::cups::stack_error::printable;
use crate::wire::pin::Pin;

/// What a TLS connection is made with.
#[derive(Debug, Clone)]
pub struct TlsAccess {
    /// What the server's certificate must lead to. Not looked at where there are pins.
    pub roots: Arc<RootCertStore>,
    /// The server must have one of these keys; empty: it must lead to `roots`.
    pub pins: Vec<Pin>,
    /// What is presented when the server asks.
    pub certified: Option<Arc<CertifiedKey>>,
    /// Whether TLS 1.3 may be used.
    pub allow_tls13: bool,
    /// The time certificates are judged by.
    pub time: Effective,
}

/// What happened to our certificate during one handshake.
#[derive(Debug, Default)]
pub struct Observed {
    requested: AtomicBool,
    scheme_mismatch: AtomicBool,
}

impl Observed {
    /// Whether the server asked for a certificate.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Whether the server's signature schemes had none for our key.
    #[must_use]
    pub fn scheme_mismatch(&self) -> bool {
        self.scheme_mismatch.load(Ordering::Relaxed)
    }
}

impl TlsAccess {
    /// Makes the configuration of one connection, and the place where it notes what it saw.
    ///
    /// Resumption is off: it would go on presenting a certificate that has been replaced,
    /// and proxies go on accepting an expired one (`reference/proxies.md` section 3.6).
    pub fn client_config(&self) -> Result<(Arc<ClientConfig>, Arc<Observed>), Error> {
        let versions = if self.allow_tls13 {
            &[&TLS13, &TLS12][..]
        } else {
            &[&TLS12][..]
        };
        let observed = Arc::new(Observed::default());
        let resolver = Presenter {
            certified: self.certified.clone(),
            observed: Arc::clone(&observed),
        };
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_details(provider, Arc::new(self.time))
            .with_protocol_versions(versions)?;
        let builder = if self.pins.is_empty() {
            builder.with_root_certificates(Arc::clone(&self.roots))
        } else {
            let verifier = Pinned::new(self.pins.clone());
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        };
        let mut config = builder.with_client_cert_resolver(Arc::new(resolver));
        config.resumption = Resumption::disabled();
        Ok((Arc::new(config), observed))
    }
}

/// Presents one identity and notes whether it was asked for.
#[derive(Debug)]
struct Presenter {
    certified: Option<Arc<CertifiedKey>>,
    observed: Arc<Observed>,
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.observed.requested.store(true, Ordering::Relaxed);
        // The list of authorities is ignored: "unknown CA" tells more than "no certificate".
        let certified = self.certified.as_ref()?;
        if certified.key.choose_scheme(schemes).is_none() {
            self.observed.scheme_mismatch.store(true, Ordering::Relaxed);
            return None;
        }
        Some(Arc::clone(certified))
    }

    fn has_certs(&self) -> bool {
        self.certified.is_some()
    }
}

/// Puts a rustls error into the words the decision table knows.
#[must_use]
pub fn fault_of(error: &Error) -> TlsFault {
    match error {
        Error::AlertReceived(alert) => TlsFault::Alert(u8::from(*alert)),
        Error::InvalidCertificate(why) => certificate_fault(why),
        Error::InvalidMessage(_) => TlsFault::NotTls,
        other => TlsFault::Other(printable(&other.to_string(), 160)),
    }
}

fn certificate_fault(why: &CertificateError) -> TlsFault {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFault::NotYetValid
        }
        CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName => TlsFault::WrongName(Vec::new()),
        CertificateError::NotValidForNameContext { presented, .. } => {
            TlsFault::WrongName(presented.iter().map(|name| bare(name)).collect())
        }
        CertificateError::Other(other) if other.0.is::<WrongPin>() => {
            TlsFault::WrongPin(other.to_string())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsFault::Unusable(Defect::NotForServers)
        }
        // webpki's own variants, which rustls passes on behind a trait: their names are their words.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "UnsupportedCertVersion" => TlsFault::Unusable(Defect::VersionOne),
            "CaUsedAsEndEntity" => TlsFault::Unusable(Defect::Authority),
            what => TlsFault::Unusable(Defect::Other(printable(what, 120))),
        },
        other => TlsFault::Unusable(Defect::Other(printable(&format!("{other:?}"), 120))),
    }
}

/// `DnsName("cups.example.com")` without what is around the name.
fn bare(name: &str) -> String {
    let inner = |lead: &str| name.strip_prefix(lead)?.strip_suffix(')');
    let inner = inner("DnsName(").or_else(|| inner("IpAddress("));
    printable(inner.unwrap_or(name).trim_matches('"'), 80)
}
