//! Plays: Basic Station, as far as somebody who starts and watches it can tell.
//!
//! It reads `tc.uri`, `tc.trust` and `tc.key` at each connect, asks discovery, opens the traffic
//! connection and keeps it; after that was closed it tries the same address some times before
//! it asks again. It ends with code 1 over a bad address. Tokens only, no client
//! certificate and no radio. Its log has the original's form.

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tungstenite::client::{IntoClientRequest as _, client_with_config};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::tls;

/// Where the original looks, whatever its folder of temporary files is.
const UPDATE: &str = "/tmp/update.bin";

/// How it behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the `tc.*` files are.
    pub home: PathBuf,
    /// Where `station.pid` is written.
    pub temp: PathBuf,
    /// All waits are divided by this.
    pub faster: u32,
    /// Ends at once with this code.
    pub code: Option<i32>,
    /// Connects to nothing, for ever.
    pub hangs: bool,
    /// Lines written at start.
    pub flood: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            home: PathBuf::from("."),
            temp: std::env::temp_dir(),
            faster: 1,
            code: None,
            hangs: false,
            flood: 0,
        }
    }
}

impl Options {
    /// Reads a command line: `-h DIR -t DIR --faster N --code N --hang --flood N`; everything
    /// else is passed over.
    #[must_use]
    pub fn parse(words: &[String]) -> Self {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().map(String::as_str).unwrap_or_default();
            match word.as_str() {
                "-h" => options.home = value().into(),
                "-t" => options.temp = value().into(),
                "--faster" => options.faster = value().parse().unwrap_or(1),
                "--code" => options.code = value().parse().ok(),
                "--hang" => options.hangs = true,
                "--flood" => options.flood = value().parse().unwrap_or(0),
                _ => {}
            }
        }
        options
    }
}

/// Why a round ended.
enum End {
    /// Discovery failed or was refused.
    Discovery,
    /// Traffic was refused.
    Traffic,
    /// Traffic was open and has been closed.
    Closed,
}

/// Runs until a signal, or gives the exit code.
#[must_use]
pub fn run(options: &Options) -> i32 {
    log("SYS:NOTI", "Starting station");
    for number in 0..options.flood {
        log("RAL:INFO", &format!("line {number} of a flood"));
    }
    log("RAL:WARN", "the radio is a double");
    log("RAL:ERRO", "an error that does not matter");
    log("RAL:VERB", "a detail");
    if let Some(code) = options.code {
        log("SYS:CRIT", &format!("ends with {code} on purpose"));
        return code;
    }
    if already_runs(options) {
        log(
            "SYS:ERRO",
            "A station with this pid file is already running",
        );
        return 6;
    }
    if Path::new(UPDATE).exists() {
        log("SYS:ERRO", "ran a left-over update");
    }
    if options.hangs {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    if address(&options.home).is_none() {
        log("TCE:CRIT", "No TC URI or a bad one");
        return 1;
    }
    log("TCE:INFO", "Starting TC engine");
    let (mut refused, mut closed) = (0, 0);
    // The address of traffic is used again after a connection that was closed.
    let mut known = None;
    loop {
        // The table of waits in seconds: discovery 0, 10, 20 .. 60; traffic refused 10; closed 1 .. 16.
        let (what, wait) = match round(options, &mut known) {
            End::Discovery => {
                refused = (refused + 10).min(60);
                ("INFOS", refused)
            }
            End::Traffic => ("INFOS", 10),
            End::Closed if closed == 16 => {
                (known, closed) = (None, 2);
                ("INFOS", 10)
            }
            End::Closed => {
                closed = (closed * 2).clamp(1, 16);
                ("MUXS", closed)
            }
        };
        log(
            "TCE:INFO",
            &format!("{what} reconnect backoff {wait}s (retry 1)"),
        );
        thread::sleep(Duration::from_secs(wait) / options.faster.max(1));
    }
}

fn already_runs(options: &Options) -> bool {
    let file = options.temp.join("station.pid");
    let own = process::id().to_string();
    let known = fs::read_to_string(&file).unwrap_or_default();
    let known = known.trim();
    if !known.is_empty() && known != own && Path::new("/proc").join(known).exists() {
        return true;
    }
    drop(fs::write(&file, own));
    false
}

fn address(home: &Path) -> Option<String> {
    let text = fs::read_to_string(home.join("tc.uri")).ok()?;
    let text = text.trim();
    (text.starts_with("ws://") || text.starts_with("wss://")).then(|| text.to_owned())
}

fn round(options: &Options, known: &mut Option<String>) -> End {
    let Some(infos) = address(&options.home) else {
        return End::Discovery;
    };
    let traffic = match known.take() {
        Some(uri) => uri,
        None => match find(options, &infos) {
            Some(uri) => uri,
            None => return End::Discovery,
        },
    };
    let mut socket = match open(&options.home, &traffic) {
        Ok(socket) => socket,
        Err(why) => {
            log(mark(&why), &why);
            return End::Traffic;
        }
    };
    log("TCE:VERB", "Connected to MUXS.");
    let version = json!({ "msgtype": "version", "station": "2.0.6(lab)", "protocol": 2 });
    if socket.send(Message::text(version.to_string())).is_ok() {
        while socket.read().is_ok() {}
    }
    log("TCE:INFO", "MUXS connection closed");
    *known = Some(traffic);
    End::Closed
}

fn find(options: &Options, infos: &str) -> Option<String> {
    log("TCE:VERB", &format!("Connecting to INFOS at {infos}"));
    match discover(&options.home, infos) {
        Ok(uri) => {
            let text = format!("Infos: 123:4567:89ab:cdef muxs-::0 {uri}");
            log("TCE:INFO", &text);
            Some(uri)
        }
        Err(why) => {
            log(mark(&why), &why);
            None
        }
    }
}

fn mark(why: &str) -> &'static str {
    if why.contains("WS upgrade") {
        "AIO:ERRO"
    } else {
        "TCE:ERRO"
    }
}

fn discover(home: &Path, infos: &str) -> Result<String, String> {
    let mut socket = open(home, &format!("{infos}/router-info"))?;
    socket
        .send(Message::text(r#"{"router":"123:4567:89ab:cdef"}"#))
        .map_err(|error| format!("TC connect failed: {error}"))?;
    let answer = loop {
        match socket.read() {
            Ok(Message::Text(text)) => break text.as_str().to_owned(),
            Ok(_) => {}
            Err(error) => return Err(format!("TC connect failed: {error}")),
        }
    };
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(format!("Infos error: ::0 {error}"));
    }
    let uri = answer.get("uri").and_then(Value::as_str);
    uri.map(str::to_owned)
        .ok_or_else(|| "Infos error: ::0 (null)".to_owned())
}

/// A plain or a TLS connection.
trait Link: io::Read + io::Write {}
impl<T: io::Read + io::Write> Link for T {}

fn open(home: &Path, uri: &str) -> Result<WebSocket<Box<dyn Link>>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("TC connect failed - URI: {uri}: {why}");
    let mut request = uri.into_client_request().map_err(|error| failed(&error))?;
    let host = request.uri().host().unwrap_or_default().to_owned();
    let port = request.uri().port_u16().unwrap_or(443);
    let is_secure = uri.starts_with("wss://");
    let key = fs::read_to_string(home.join("tc.key")).unwrap_or_default();
    for line in key.lines().filter(|_| is_secure) {
        if let Some((name, value)) = line.split_once(": ") {
            let name = tungstenite::http::HeaderName::from_bytes(name.as_bytes());
            let value = value.trim().parse();
            if let (Ok(name), Ok(value)) = (name, value) {
                request.headers_mut().insert(name, value);
            }
        }
    }
    let socket = TcpStream::connect((host.as_str(), port)).map_err(|error| failed(&error))?;
    let stream: Box<dyn Link> = if is_secure {
        secured(home, host, socket).map_err(|error| failed(&error))?
    } else {
        Box::new(socket)
    };
    match client_with_config(request, stream, Some(limits())) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(format!(
            "[4] WS upgrade failed with HTTP status code: {}",
            answer.status().as_u16()
        )),
        // As the original says it.
        Err(error) if error.to_string().contains("invalid peer certificate") => Err(format!(
            "TLS server certificate verification failed: {error}"
        )),
        Err(error) => Err(failed(&error)),
    }
}

/// The original takes no frame whose length needs 64 bits.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_frame_size(Some(65_535))
}

fn secured(home: &Path, host: String, socket: TcpStream) -> io::Result<Box<dyn Link>> {
    let octets = fs::read(home.join("tc.trust"))?;
    let mut roots = RootCertStore::empty();
    let is_pem = octets.starts_with(b"-----BEGIN");
    let certificates: Vec<CertificateDer<'static>> = if is_pem {
        CertificateDer::pem_slice_iter(&octets)
            .filter_map(Result::ok)
            .collect()
    } else {
        vec![CertificateDer::from(octets)]
    };
    for certificate in certificates {
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, socket)))
}

/// Not by a macro that a test harness would catch.
fn log(mark: &str, text: &str) {
    let line = format!("2022-01-17 10:00:00.123 [{mark}] {text}\n");
    drop(io::stderr().write_all(line.as_bytes()));
}
