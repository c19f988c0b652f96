//! Forwards: the forwarder in this very process, programs before it and a server behind it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mtls_agent::config::Network;
use mtls_agent::daemon::clock::{Cutoff, Effective, wall_s};
use mtls_agent::daemon::mender::call::{Access, Call};
use mtls_agent::daemon::mender::forwarder::{Forwarder, Patience};
use mtls_agent::daemon::mender::gathering::Authorised;
use mtls_agent::daemon::tls::TlsAccess;
use mtls_agent::identity::signing::Signer;
use mtls_agent::identity::{anchors, load_pair};
use mtls_agent::wire::mender::auth::{AUTH_PATH, Request, SIGNATURE_HEADER};
use mtls_agent::wire::mender::id_data::IdData;
use mtls_agent::wire::mender::server::ServerUrl;
use mtls_agent::wire::mender::token::Token;
use mtls_lab::device::{EUI, Scratch};
use mtls_lab::pki::Pki;
use mtls_lab::server::{Listener, Socket};
use mtls_lab::tls::{Versions, mutual_server};
use rustls::{ServerConnection, StreamOwned};
use ureq::http::Method;

/// Longer than anything here takes, unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const INVENTORY: &str = "/api/devices/v1/inventory/device/attributes";
/// Tokens whose server does not look at them.
pub(crate) const TOKEN: &str = "e30.e30.aaaa";
pub(crate) const NEXT_TOKEN: &str = "e30.e30.bbbb";

/// The forwarder, and main's end of its wire.
pub(crate) struct Stand {
    pub(crate) forwarder: Forwarder,
    pub(crate) pki: Pki,
    pub(crate) network: Network,
    pub(crate) wake: UnixStream,
    _scratch: Scratch,
}

impl Stand {
    pub(crate) fn new() -> Self {
        Self::with(Patience::default())
    }

    pub(crate) fn with(patience: Patience) -> Self {
        let scratch = Scratch::new();
        let pki = Pki::make(&scratch.path().join("pki"), EUI);
        let (wake, far) = UnixStream::pair().unwrap();
        wake.set_read_timeout(Some(PATIENCE)).unwrap();
        let forwarder =
            Forwarder::start_with("127.0.0.1:0".parse().unwrap(), patience, far).unwrap();
        Self {
            forwarder,
            pki,
            network: Network {
                connect_s: 10,
                response_s: 10,
                total_s: 10,
            },
            wake,
            _scratch: scratch,
        }
    }

    pub(crate) fn access(&self) -> Access {
        let pair = load_pair(
            &self.pki.device.certificate,
            &self.pki.device.key,
            None,
            wall_s(),
        )
        .unwrap();
        let root = self.pki.server_root.clone();
        Access {
            tls: TlsAccess {
                roots: anchors::load(&[root], wall_s()).unwrap().roots,
                pins: Vec::new(),
                certified: Some(pair.certified),
                allow_tls13: true,
                time: Effective::from_passed(&[]),
            },
            network: self.network,
            own_certificate_valid: true,
            silent_closes: 0,
        }
    }

    /// What is lent: this server and this token.
    pub(crate) fn lent(&self, server: &str, token: &str) -> Authorised {
        Authorised {
            access: self.access(),
            server: ServerUrl::parse(server).unwrap(),
            token: Token::parse(token.as_bytes()).unwrap(),
        }
    }

    pub(crate) fn lend(&self, server: &str, token: &str) {
        self.forwarder.lend(Some(self.lent(server, token)));
    }

    /// A fresh token of the double, got as the agent gets it.
    pub(crate) fn token(&self, server: &str) -> String {
        let signer = Signer::load(&self.pki.device.key, None).unwrap();
        let id_data = IdData::from_pairs([("mac", "02:00:00:00:00:01")]).unwrap();
        let body = Request {
            id_data: &id_data,
            public_key_pem: &signer.spki_pem(),
            tenant_token: None,
            tier: None,
        }
        .body();
        let signature = signer.sign(body.expose()).unwrap();
        let headers = [(SIGNATURE_HEADER.to_owned(), signature)];
        let call = Call {
            method: &Method::POST,
            server: &ServerUrl::parse(server).unwrap(),
            path: AUTH_PATH,
            headers: &headers,
            body: std::str::from_utf8(body.expose()).unwrap(),
            octets_max: 65_536,
        };
        let answer = self.access().call(call, Cutoff::after(PATIENCE)).unwrap();
        String::from_utf8(answer.body).unwrap()
    }

    /// Waits until the forwarder says that the token was refused.
    pub(crate) fn refusal(&self) {
        (&self.wake).read_exact(&mut [0]).unwrap();
        assert!(self.forwarder.take_refusal());
        assert!(!self.forwarder.take_refusal());
    }

    pub(crate) fn address(&self) -> String {
        self.forwarder.url().replace("http://", "")
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these octets and gives all that comes back.
    pub(crate) fn say(&self, octets: &[u8]) -> String {
        let mut stream = self.connect();
        // A refusal may come before all is sent.
        let _ = stream.write_all(octets);
        heard(&mut stream)
    }

    /// A request with a token and further lines.
    pub(crate) fn ask(&self, line: &str, token: &str, rest: &str) -> String {
        self.say(request(line, token, rest).as_bytes())
    }

    pub(crate) fn figure(&self, name: &str) -> u64 {
        self.forwarder.figures()[name].as_u64().unwrap()
    }
}

/// A head with a token, and what follows its lines.
pub(crate) fn request(line: &str, token: &str, rest: &str) -> String {
    let rest = if rest.is_empty() { "\r\n" } else { rest };
    format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAuthorization: Bearer {token}\r\n{rest}")
}

/// All that comes until the end, orderly or not.
pub(crate) fn heard(stream: &mut TcpStream) -> String {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return String::from_utf8(all).unwrap(),
            Ok(amount) => all.extend_from_slice(&chunk[..amount]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return format!("{}[reset]", String::from_utf8(all).unwrap());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The status and the body of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    let word = answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no answer: {answer:?}"));
    word.parse().unwrap()
}

pub(crate) fn body(answer: &str) -> &str {
    answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {answer:?}"))
        .1
}

pub(crate) type Wire = StreamOwned<ServerConnection, Socket>;

/// A server that does what its script says with each connection, and notes each head.
pub(crate) struct Scripted {
    listener: Listener,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// `script` gets the connection after the head was read, the head, and the connection's number.
    pub(crate) fn start<S>(pki: &Pki, script: S) -> Self
    where
        S: Fn(&mut Wire, &str, usize) -> io::Result<()> + Send + Sync + 'static,
    {
        let config = mutual_server(
            &pki.server.certificate,
            &pki.server.key,
            &pki.client_root,
            Versions::Both,
        );
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heads);
        let listener = Listener::start(0, move |socket| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut wire = StreamOwned::new(connection, socket.clone());
            let Ok(head) = read_until(&mut wire, "\r\n\r\n") else {
                return;
            };
            let number = {
                let mut heads = noted.lock().unwrap();
                heads.push(head.clone());
                heads.len() - 1
            };
            if script(&mut wire, &head, number).is_ok() {
                wire.conn.send_close_notify();
                let _ = wire.flush();
                socket.close_gently(Duration::from_millis(500));
            }
        })
        .unwrap();
        Self { listener, heads }
    }

    pub(crate) fn uri(&self) -> String {
        format!("https://localhost:{}", self.listener.address().port())
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Reads octet by octet until these were the last.
pub(crate) fn read_until(wire: &mut impl Read, end: &str) -> io::Result<String> {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let mut octet = [0];
        wire.read_exact(&mut octet)?;
        all.push(octet[0]);
    }
    Ok(String::from_utf8(all).unwrap())
}
