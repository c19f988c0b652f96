//! Doubles: a CUPS that asks for a client certificate, believes every one and has nothing new.
//!
//! It shows what the agent sends, also where a verifier of rustls would refuse it (X.509v1).

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned,
};

use crate::http::{Conn, RawAnswer};
use crate::pki::Pair;
use crate::server::{Listener, Socket, lock};
use crate::tls;

/// "Nothing changed", as The Things Stack writes it.
const NOTHING_NEW: [u8; 18] = [0; 18];

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Believer {
    listener: Listener,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    chains: Vec<Vec<CertificateDer<'static>>>,
    requests: Vec<Vec<u8>>,
}

impl Believer {
    /// Starts to listen on 127.0.0.1 with this certificate.
    ///
    /// # Panics
    /// No port is left, or key and certificate do not fit.
    #[must_use]
    pub fn start(pair: &Pair) -> Self {
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("ring knows these versions")
            .with_client_cert_verifier(Arc::new(Credulous))
            .with_single_cert(
                tls::certificates(&pair.certificate),
                tls::private_key(&pair.key),
            )
            .expect("the server's key fits its certificate");
        let config = Arc::new(config);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let listener = Listener::start(0, move |socket| {
            lock(&shared).connections += 1;
            // What went wrong is seen by the client, which is the one under test.
            let _seen_by_client = serve(&socket, &config, &shared);
            socket.close();
        })
        .expect("a port is free");
        Self { listener, seen }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Connections so far, whatever came of them.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.seen).connections
    }

    /// The certificates of each request, leaf first.
    #[must_use]
    pub fn chains(&self) -> Vec<Vec<CertificateDer<'static>>> {
        lock(&self.seen).chains.clone()
    }

    /// The bodies of the requests.
    #[must_use]
    pub fn requests(&self) -> Vec<Vec<u8>> {
        lock(&self.seen).requests.clone()
    }
}

fn serve(socket: &Socket, config: &Arc<ServerConfig>, seen: &Mutex<Seen>) -> io::Result<()> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut conn = Conn::new(StreamOwned::new(connection, socket.clone()));
    let Some(request) = conn.request()? else {
        return Ok(());
    };
    let chain = conn.stream().conn.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
    {
        let mut seen = lock(seen);
        seen.chains.push(chain);
        seen.requests.push(request.body);
    }
    conn.answer(&RawAnswer::octets(NOTHING_NEW.to_vec()), false)?;
    let stream = conn.stream();
    stream.conn.send_close_notify();
    stream.flush()
}

/// Believes whom it is told, but wants a signature by the key in the certificate.
#[derive(Debug)]
struct Credulous;

impl ClientCertVerifier for Credulous {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        tolerant(verify_tls12_signature(
            message,
            certificate,
            signature,
            &algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        tolerant(verify_tls13_signature(
            message,
            certificate,
            signature,
            &algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// rustls cannot take the key out of an X.509v1 certificate.
fn tolerant(
    result: Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    match result {
        Err(Error::InvalidCertificate(CertificateError::Other(_))) => {
            Ok(HandshakeSignatureValid::assertion())
        }
        result => result,
    }
}
