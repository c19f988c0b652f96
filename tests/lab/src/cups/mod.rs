//! Doubles: the CUPS server behind the proxy, as The Things Stack behaves.
//!
//! It speaks plain HTTP on loopback and knows the client only by the headers of the proxy before
//! it, so never let an untrusted client reach it directly.

pub mod answer;
pub mod certificate;
mod refusal;
pub mod router;
mod rules;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use self::answer::Dialect;
pub use self::refusal::Refusal;
pub use self::rules::Budget;
use self::rules::Registry;
use crate::http::{Conn, RawAnswer, Request};
use crate::server::{Listener, Socket, lock};
use crate::tls;

/// What the registry holds about one gateway.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Gateway {
    /// `wss://host:port` of its network server.
    pub lns_uri: String,
    /// The root certificate of that server, DER.
    pub lns_trust_der: Vec<u8>,
    /// The key, without `Authorization:` and without `Bearer`; `None` if nobody has stored one.
    pub lns_key: Option<String>,
    /// Another CUPS to send the gateway to; while it is set the LNS is never configured.
    pub cups_target: Option<CupsTarget>,
}

/// The key stays out of logs.
impl fmt::Debug for Gateway {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gateway")
            .field("lns_uri", &self.lns_uri)
            .finish_non_exhaustive()
    }
}

/// Where CUPS wants to move a gateway.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CupsTarget {
    /// `https://host:port`.
    pub uri: String,
    /// The root certificate of that server, DER.
    pub trust_der: Vec<u8>,
    /// Its key.
    pub key: Option<String>,
}

/// What a double starts with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// PEM files of the CA store: the issuing CA itself, not (only) the root.
    pub ca_store: Vec<PathBuf>,
    /// Keys accepted as `Authorization: Bearer KEY` instead of a certificate.
    pub api_keys: Vec<String>,
    /// Whose way of writing answers.
    pub dialect: Dialect,
    /// The rate limit, if any.
    pub budget: Option<Budget>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            ca_store: Vec::new(),
            api_keys: Vec::new(),
            dialect: Dialect::TheThingsStack,
            budget: None,
        }
    }
}

/// A request as it came, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// Method, path, headers and body.
    pub request: Request,
    /// The CN in the header of the proxy, whether accepted or not.
    pub client_cn: Option<String>,
    /// Status that was answered.
    pub status: u16,
    /// Body that was answered, before any fault of the framing.
    pub answer: Vec<u8>,
}

/// A running CUPS double; it ends when dropped.
#[derive(Debug)]
pub struct CupsDouble {
    listener: Listener,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    registry: Registry,
    next: VecDeque<RawAnswer>,
    always: Option<RawAnswer>,
    requests: Vec<RecordedRequest>,
}

impl CupsDouble {
    /// Starts to listen on 127.0.0.1.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(config: &Config) -> io::Result<Self> {
        let store = config
            .ca_store
            .iter()
            .flat_map(|file| tls::certificates(file));
        let store = store.map(|der| Certificate::from_der(&der).expect("a CA certificate"));
        let registry = Registry {
            gateways: std::collections::BTreeMap::new(),
            api_keys: config.api_keys.iter().cloned().collect(),
            store: store.collect(),
            budget: config.budget,
            window: None,
            trouble: None,
            dialect: config.dialect,
        };
        let (next, requests) = (VecDeque::new(), Vec::new());
        let state = Arc::new(Mutex::new(State {
            registry,
            next,
            always: None,
            requests,
        }));
        let shared = Arc::clone(&state);
        let listener = Listener::start(config.port, move |socket| serve(socket, &shared))?;
        Ok(Self { listener, state })
    }

    /// `http://127.0.0.1:port`: what stands behind the proxy.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Registers a gateway (16 upper-case hex digits), or changes its record.
    pub fn set_gateway(&self, eui: &str, gateway: Gateway) {
        lock(&self.state)
            .registry
            .gateways
            .insert(eui.to_owned(), gateway);
    }

    /// Forgets a gateway.
    pub fn remove_gateway(&self, eui: &str) {
        lock(&self.state).registry.gateways.remove(eui);
    }

    /// Stores another LNS key for a registered gateway.
    pub fn rotate_key(&self, eui: &str, new_key: &str) {
        if let Some(gateway) = lock(&self.state).registry.gateways.get_mut(eui) {
            gateway.lns_key = Some(new_key.to_owned());
        }
    }

    /// Sets or lifts the rate limit; either begins a new window.
    pub fn set_budget(&self, budget: Option<Budget>) {
        let registry = &mut lock(&self.state).registry;
        (registry.budget, registry.window) = (budget, None);
    }

    /// Refuses every request that would succeed, until lifted: 403, 500 or 503 for instance.
    pub fn set_trouble(&self, trouble: Option<Refusal>) {
        lock(&self.state).registry.trouble = trouble;
    }

    /// Answers the next request with this, whatever it is; several queue up.
    pub fn answer_next(&self, answer: RawAnswer) {
        lock(&self.state).next.push_back(answer);
    }

    /// Answers every request with this until lifted; answers of the queue come first.
    pub fn answer_always(&self, answer: Option<RawAnswer>) {
        lock(&self.state).always = answer;
    }

    /// Everything that was asked so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.requests_after(0)
    }

    /// The same without the first so many.
    #[must_use]
    pub fn requests_after(&self, count: usize) -> Vec<RecordedRequest> {
        lock(&self.state)
            .requests
            .iter()
            .skip(count)
            .cloned()
            .collect()
    }
}

fn serve(socket: Socket, state: &Mutex<State>) {
    let mut conn = Conn::new(socket);
    while let Ok(Some(request)) = conn.request() {
        let keep = !request.wants_close();
        let answer = lock(state).answer(request);
        if !conn.answer(&answer, keep).unwrap_or(false) {
            break;
        }
    }
    conn.stream().close();
}

impl State {
    fn answer(&mut self, request: Request) -> RawAnswer {
        let given = self.next.pop_front().or_else(|| self.always.clone());
        let number = u64::try_from(self.requests.len()).unwrap_or(u64::MAX);
        let answer = given.unwrap_or_else(|| match self.registry.decide(&request) {
            Ok(body) => RawAnswer::octets(body),
            Err(refusal) => refusal.answer(number),
        });
        let leaf = certificate::forwarded(&request);
        self.requests.push(RecordedRequest {
            client_cn: leaf.as_ref().and_then(certificate::common_name),
            status: answer.status,
            answer: answer.body.clone(),
            request,
        });
        answer
    }
}
