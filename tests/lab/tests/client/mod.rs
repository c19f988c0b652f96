//! Asks: a small TLS client for the tests of the doubles.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses its own part"
)]

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mtls_lab::pki::{Pair, Pki};
use mtls_lab::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// The gateway of the tests.
pub(crate) const EUI: &str = "0123456789ABCDEF";

/// A TLS stream of a client.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A laboratory in a directory of its own, removed at the end.
pub(crate) struct Lab {
    /// The certificates.
    pub(crate) pki: Pki,
    dir: PathBuf,
}

impl Lab {
    /// Makes the certificates.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let name = format!("mtls-lab-test-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        Self {
            pki: Pki::make(&dir, EUI),
            dir,
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.dir);
    }
}

/// Connects, with a client certificate or without.
pub(crate) fn connect(address: SocketAddr, root: &Path, pair: Option<&Pair>) -> io::Result<Stream> {
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(tls::roots(root));
    let config = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => builder
            .with_client_auth_cert(
                tls::certificates(&pair.certificate),
                tls::private_key(&pair.key),
            )
            .unwrap(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Sends one request and reads to the end: status, head and what follows it.
pub(crate) fn ask(
    stream: &mut Stream,
    method: &str,
    path: &str,
    extra: &str,
    body: &str,
) -> io::Result<(u16, String, Vec<u8>)> {
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
    )?;
    stream.flush()?;
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if all.is_empty() => return Err(error),
        _ => {}
    }
    let end = all
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(all.len());
    let head = String::from_utf8_lossy(all.get(..end).unwrap_or(&all)).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    Ok((
        status,
        head,
        all.get(end + 4..).unwrap_or_default().to_vec(),
    ))
}
