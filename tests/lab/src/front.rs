//! Doubles: the proxy that ends mutual TLS and passes the certificate on in a header.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{Conn, Request};
use crate::pki::Pki;
use crate::server::{Listener, Socket, lock};
use crate::tls::{self, Versions};

/// Longest wait for the server behind.
const UPSTREAM_LIMIT: Duration = Duration::from_secs(60);
/// How long a refused client may take to read the alert.
const ALERT_LIMIT: Duration = Duration::from_millis(500);

/// How the certificate is passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header {
    /// `X-Forwarded-Tls-Client-Cert`: base64 of leaf and intermediates, joined by commas.
    #[default]
    Traefik,
    /// `X-Forwarded-Client-Cert` with `Hash`, `Cert`, `Chain` and `Subject`.
    Envoy,
    /// Not at all: a proxy somebody forgot to configure.
    None,
}

/// What a front starts with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// The proxy's certificate (leaf first), PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Root of the client certificates, PEM.
    pub client_root: PathBuf,
    /// The server behind it.
    pub upstream: SocketAddr,
    /// TLS versions offered.
    pub versions: Versions,
    /// How the certificate is passed on.
    pub header: Header,
    /// Whether a connection carries more than one request.
    pub keep_alive: bool,
}

impl Config {
    /// Before `upstream`, with the certificates of a laboratory and the defaults of Traefik.
    #[must_use]
    pub fn new(pki: &Pki, upstream: SocketAddr) -> Self {
        Self {
            port: 0,
            certificate: pki.server.certificate.clone(),
            key: pki.server.key.clone(),
            client_root: pki.client_root.clone(),
            upstream,
            versions: Versions::Both,
            header: Header::Traefik,
            keep_alive: true,
        }
    }
}

/// A running front; it ends when dropped.
#[derive(Debug)]
pub struct Front {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    tls: Mutex<Arc<ServerConfig>>,
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

impl Front {
    /// Starts to listen on 127.0.0.1.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(config: Config) -> io::Result<Self> {
        let Config {
            certificate,
            key,
            client_root,
            versions,
            ..
        } = &config;
        let tls = Mutex::new(tls::mutual_server(certificate, key, client_root, *versions));
        let (accepted, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let port = config.port;
        let shared = Arc::new(Shared {
            config,
            tls,
            accepted,
            refused,
        });
        let served = Arc::clone(&shared);
        let listener = Listener::start(port, move |socket| {
            // What went wrong is seen by the client, which is the one under test.
            let _seen_by_client = serve(&socket, &served);
            socket.close();
        })?;
        Ok(Self { listener, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// `https://localhost:port`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("https://localhost:{}", self.address().port())
    }

    /// Finished handshakes so far.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Handshakes that failed so far, mostly for the client's certificate.
    #[must_use]
    pub fn handshake_failures(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Shows another server certificate to connections from now on.
    pub fn replace_certificate(&self, certificate: &std::path::Path, key: &std::path::Path) {
        let Config {
            client_root,
            versions,
            ..
        } = &self.shared.config;
        *lock(&self.shared.tls) = tls::mutual_server(certificate, key, client_root, *versions);
    }
}

fn serve(socket: &Socket, shared: &Shared) -> io::Result<()> {
    let config = Arc::clone(&lock(&shared.tls));
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut wire = socket.clone();
    if let Err(error) = handshake(&mut connection, &mut wire) {
        // Counted before the client can know, so that a test may look at once.
        shared.refused.fetch_add(1, Ordering::SeqCst);
        while connection.wants_write() && connection.write_tls(&mut wire).is_ok() {}
        socket.close_gently(ALERT_LIMIT);
        return Err(error);
    }
    shared.accepted.fetch_add(1, Ordering::SeqCst);
    let chain = connection.peer_certificates().unwrap_or_default().to_vec();
    let mut client = Conn::new(StreamOwned::new(connection, wire));
    while let Some(request) = client.request()? {
        let keep = shared.config.keep_alive && !request.wants_close();
        let whole = forward(&mut client, &request, &chain, &shared.config, keep)?;
        if !(keep && whole) {
            break;
        }
    }
    let stream = client.stream();
    stream.conn.send_close_notify();
    stream.flush()
}

/// Like `complete_io`, but leaves the alert of a failure unsent.
pub(crate) fn handshake(connection: &mut ServerConnection, wire: &mut Socket) -> io::Result<()> {
    while connection.is_handshaking() {
        if connection.wants_write() {
            connection.write_tls(wire)?;
        } else if connection.read_tls(wire)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        } else {
            connection.process_new_packets().map_err(io::Error::other)?;
        }
    }
    Ok(())
}

type Client = Conn<StreamOwned<ServerConnection, Socket>>;

/// Passes one request on and its answer back, octet for octet; true if the answer was whole.
fn forward(
    client: &mut Client,
    request: &Request,
    chain: &[CertificateDer<'_>],
    config: &Config,
    keep: bool,
) -> io::Result<bool> {
    let mut upstream = TcpStream::connect(config.upstream)?;
    upstream.set_read_timeout(Some(UPSTREAM_LIMIT))?;
    upstream.write_all(&rewritten(request, chain, config.header))?;
    let mut answer = Conn::new(upstream);
    // A server that hangs up must look the same from the other side of the proxy.
    let Some(head) = answer.head()? else {
        return Ok(false);
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let framing = BodyEnd::of(&head);
    let keep = keep && framing != BodyEnd::Close;
    client
        .stream()
        .write_all(passed_back(&head, keep).as_bytes())?;
    let mut body = answer.take_buffered();
    client.stream().write_all(&body)?;
    client.stream().flush()?;
    let mut piece = [0_u8; 8192];
    while !framing.reached(&body) {
        let count = answer.stream().read(&mut piece)?;
        if count == 0 {
            break;
        }
        let piece = piece.get(..count).unwrap_or_default();
        client.stream().write_all(piece)?;
        client.stream().flush()?;
        body.extend_from_slice(piece);
    }
    Ok(keep && framing.reached(&body))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyEnd {
    After(usize),
    LastChunk,
    Close,
}

impl BodyEnd {
    fn of(head: &str) -> Self {
        let lower = head.to_ascii_lowercase();
        let value = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name));
        if value("transfer-encoding:").is_some_and(|text| text.contains("chunked")) {
            return Self::LastChunk;
        }
        match value("content-length:").and_then(|text| text.trim().parse().ok()) {
            Some(length) => Self::After(length),
            None => Self::Close,
        }
    }

    fn reached(self, body: &[u8]) -> bool {
        match self {
            Self::After(length) => body.len() >= length,
            Self::LastChunk => body.ends_with(b"0\r\n\r\n"),
            Self::Close => false,
        }
    }
}

fn rewritten(request: &Request, chain: &[CertificateDer<'_>], header: Header) -> Vec<u8> {
    let mut lines = vec![format!("{} {} HTTP/1.1", request.method, request.path)];
    let dropped = |name: &str| {
        let name = name.to_ascii_lowercase();
        // Whoever may set these headers may claim any certificate.
        name == "connection"
            || name.starts_with("x-forwarded-client-cert")
            || name.starts_with("x-forwarded-tls-client-cert")
    };
    let kept = request.headers.iter().filter(|(name, _)| !dropped(name));
    lines.extend(kept.map(|(name, value)| format!("{name}: {value}")));
    match header {
        Header::Traefik => lines.push(format!("X-Forwarded-Tls-Client-Cert: {}", traefik(chain))),
        Header::Envoy => lines.push(format!("x-forwarded-client-cert: {}", envoy(chain))),
        Header::None => {}
    }
    lines.push("Connection: close\r\n\r\n".to_owned());
    let mut octets = lines.join("\r\n").into_bytes();
    octets.extend_from_slice(&request.body);
    octets
}

fn passed_back(head: &str, keep: bool) -> String {
    let named = |line: &str| line.to_ascii_lowercase().starts_with("connection:");
    let mut lines: Vec<&str> = head
        .lines()
        .filter(|line| !line.is_empty() && !named(line))
        .collect();
    if !keep {
        lines.push("Connection: close");
    }
    lines.join("\r\n") + "\r\n\r\n"
}

fn traefik(chain: &[CertificateDer<'_>]) -> String {
    chain
        .iter()
        .map(|certificate| STANDARD.encode(certificate))
        .collect::<Vec<_>>()
        .join(",")
}

fn envoy(chain: &[CertificateDer<'_>]) -> String {
    let Some(leaf) = chain.first() else {
        return String::new();
    };
    let hash = tls::fingerprint(leaf);
    let all: String = chain.iter().map(|certificate| pem(certificate)).collect();
    format!(
        "Hash={hash};Cert=\"{}\";Chain=\"{}\"",
        escape(&pem(leaf)),
        escape(&all)
    )
}

fn pem(der: &[u8]) -> String {
    tls::pem("CERTIFICATE", der)
}

fn escape(text: &str) -> String {
    let one = |octet: u8| match octet {
        b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(octet).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}
