//! Asks: one request over mutual TLS, made without the agent, to prove a proxy's set-up.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mtls_lab::pki::Pair;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};

use crate::Outcome;
use crate::process::Tls;
use crate::upstream::READY_PATH;

/// How long the proxy may keep one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// An HTTP answer.
    Status {
        /// The status code.
        code: u16,
        /// Everything after the status line.
        text: String,
    },
    /// The proxy ended the connection with this TLS alert.
    Alert(String),
}

/// A reply and the version it came over.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What came of it.
    pub(crate) reply: Reply,
    /// The version agreed on, if the handshake got that far.
    pub(crate) tls: Option<Tls>,
}

/// Sends `GET /proxy-ready` with forged certificate headers, in one write.
pub(crate) fn ask(port: u16, anchors: &Path, papers: Option<&Pair>) -> Outcome<Answer> {
    let socket = TcpStream::connect(("127.0.0.1", port))
        .and_then(|socket| socket.set_read_timeout(Some(PATIENCE)).map(|()| socket))
        .map_err(|error| format!("cannot connect: {error}"))?;
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let connection = ClientConnection::new(Arc::new(configuration(anchors, papers)?), name)
        .map_err(|error| error.to_string())?;
    let mut stream = StreamOwned::new(connection, socket);
    let request = format!(
        "GET {READY_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         X-Forwarded-Client-Cert: Chain=\"forged\"\r\n\
         X-Forwarded-Tls-Client-Cert: forged\r\n\
         X-Forwarded-Tls-Client-Cert-Info: forged\r\n\r\n"
    );
    let mut received = Vec::new();
    let ended = stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_end(&mut received).map(drop));
    let tls = match stream.conn.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Some(Tls::V12),
        Some(ProtocolVersion::TLSv1_3) => Some(Tls::V13),
        _ => None,
    };
    Ok(Answer {
        reply: reply(&received, ended)?,
        tls,
    })
}

fn reply(received: &[u8], ended: io::Result<()>) -> Outcome<Reply> {
    let text = String::from_utf8_lossy(received).into_owned();
    if let Some(code) = text.split(' ').nth(1).and_then(|code| code.parse().ok()) {
        return Ok(Reply::Status { code, text });
    }
    let error = ended
        .err()
        .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::AlertReceived(alert)) => Ok(Reply::Alert(format!("{alert:?}"))),
        _ => Err(format!("no answer and no alert: {error}")),
    }
}

fn configuration(anchors: &Path, papers: Option<&Pair>) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(anchors)?);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some(papers) = papers else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_file(&papers.key)
        .map_err(|error| format!("cannot use {}: {error:?}", papers.key.display()))?;
    builder
        .with_client_auth_cert(certificates(&papers.certificate)?, key)
        .map_err(|error| error.to_string())
}

/// All certificates of a PEM file.
pub(crate) fn certificates(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("cannot use {}: {error:?}", path.display()))
}
