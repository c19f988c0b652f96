//! Doubles: the mTLS ambassador, and the Mender server behind it.
//!
//! | file | part |
//! |---|---|
//! | `verifier`, `leaf` | the ambassador's TLS, or the header of a proxy that ended TLS before it |
//! | `ambassador` | what it checks and preauthorises before the server sees an auth request |
//! | `state` | the server: auth requests, tokens, the way to everything else |
//! | `devices`, `identity`, `key`, `token` | devices, their auth sets and their tokens |
//! | `inventory`, `deployments`, `connect` | what a device does with a token |
//! | `operator` | what a person does at the server, and looks up there |
//! | `trouble` | one switch for each way in which an answer goes wrong |
//! | `conversation` | one connection, and the record of what was asked on it |

mod ambassador;
mod connect;
mod conversation;
mod deployments;
mod devices;
pub mod identity;
mod inventory;
pub mod key;
mod leaf;
mod operator;
mod state;
pub mod token;
mod trouble;
mod verifier;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{CertificateError, ServerConfig};

pub use self::ambassador::Ambassador;
pub use self::connect::{Connected, Frame};
pub use self::deployments::{Deployment, DeploymentStatus};
pub use self::devices::{AuthSet, Device, IdentityExists, Status};
pub use self::inventory::Attributes;
pub use self::leaf::Leaf;
use self::state::State;
pub use self::trouble::{At, Trouble};
use self::verifier::{Refusal, Verifier};
use crate::http::Request;
use crate::pki::{Pair, Pki};
use crate::server::{Listener, lock};
use crate::tls::{self, Versions};

/// What a device comes through.
#[derive(Debug, Clone)]
pub enum Door {
    /// The ambassador with its own TLS: it requires a certificate of this root, PEM.
    Ambassador {
        /// Its certificate and key.
        server: Pair,
        /// Root of the device certificates, PEM.
        client_root: PathBuf,
    },
    /// The ambassador's checks behind a proxy that has ended TLS: plain HTTP, and the certificate
    /// in a header. Never let an untrusted client reach it directly.
    BehindProxy,
    /// The server itself, which asks for no certificate.
    Server {
        /// Its certificate and key.
        server: Pair,
    },
}

impl Door {
    fn is_behind_a_proxy(&self) -> bool {
        matches!(self, Self::BehindProxy)
    }
}

/// What the server is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How long a token is good, in seconds.
    pub token_life_s: u64,
    /// The one tenant token that is known; `None` takes any and none.
    pub tenant_token: Option<String>,
    /// Whether tiers are part of an auth set.
    pub enterprise: bool,
    /// Most accepted devices.
    pub max_devices: Option<usize>,
    /// Answers 405 to a PUT of inventory.
    pub inventory_patch_only: bool,
    /// Answers 404 to version 2 of deployments.
    pub deployments_v1_only: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            token_life_s: 604_800,
            tenant_token: None,
            enterprise: false,
            max_devices: None,
            inventory_patch_only: false,
            deployments_v1_only: false,
        }
    }
}

/// What a double starts with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// What devices come through.
    pub door: Door,
    /// TLS versions offered.
    pub versions: Versions,
    /// How the ambassador behaves.
    pub ambassador: Ambassador,
    /// What the server is set to; can be changed later.
    pub rules: Rules,
    /// How tokens are signed.
    pub tokens: token::Algorithm,
    /// Whether a connection carries more than one request.
    pub keep_alive: bool,
}

impl Config {
    /// This door, and the defaults of the real ones.
    #[must_use]
    pub fn new(door: Door) -> Self {
        Self {
            port: 0,
            door,
            versions: Versions::Both,
            ambassador: Ambassador::default(),
            rules: Rules::default(),
            tokens: token::Algorithm::default(),
            keep_alive: true,
        }
    }

    /// The ambassador with the certificates of a laboratory.
    #[must_use]
    pub fn of(pki: &Pki) -> Self {
        Self::new(Door::Ambassador {
            server: pki.server.clone(),
            client_root: pki.client_root.clone(),
        })
    }
}

/// A request as it came, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The connection, counted from 0.
    pub connection: usize,
    /// `TLSv1_2` or `TLSv1_3`; `None` without TLS.
    pub tls: Option<String>,
    /// The client certificate, if one was presented or forwarded.
    pub client: Option<Leaf>,
    /// Method, target, headers in their order and body.
    pub request: Request,
    /// Status that was answered; `None` if nothing was.
    pub status: Option<u16>,
}

/// A running double; it ends when dropped.
#[derive(Debug)]
pub struct MenderDouble {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    refusal: Refusal,
    state: Mutex<State>,
    connections: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

impl MenderDouble {
    /// Starts to listen on 127.0.0.1.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(config: Config) -> io::Result<Self> {
        let refusal = Refusal::default();
        let tls = server_config(&config.door, config.versions, &refusal);
        let state = State {
            rules: config.rules.clone(),
            ambassador: match config.door {
                Door::Server { .. } => None,
                _ => Some(config.ambassador),
            },
            registry: devices::Registry::default(),
            signer: token::Signer::new(config.tokens),
            issued: BTreeSet::new(),
            inventories: BTreeMap::new(),
            deployments: deployments::Deployments::default(),
            troubles: VecDeque::new(),
            requests: Vec::new(),
            connects: Vec::new(),
        };
        let port = config.port;
        let shared = Arc::new(Shared {
            config,
            tls: Mutex::new(tls),
            refusal,
            state: Mutex::new(state),
            connections: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        let served = Arc::clone(&shared);
        let listener = Listener::start(port, move |socket| {
            // What went wrong is seen by the client, which is the one under test.
            let _seen_by_client = conversation::serve(&socket, &served);
            socket.close();
        })?;
        Ok(Self { listener, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// `https://localhost:port`, or `http://127.0.0.1:port` behind a proxy.
    #[must_use]
    pub fn uri(&self) -> String {
        if self.shared.config.door.is_behind_a_proxy() {
            return format!("http://{}", self.address());
        }
        format!("https://localhost:{}", self.address().port())
    }

    /// Everything that was asked so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.state).requests.clone()
    }

    /// What was asked after the first so many requests, oldest first.
    #[must_use]
    pub fn requests_after(&self, count: usize) -> Vec<Recorded> {
        let state = lock(&self.shared.state);
        state.requests.iter().skip(count).cloned().collect()
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

    /// Spoils the answers to the next so many requests of a kind; several queue up. Requests that
    /// no trouble is left for are answered as ever; `usize::MAX` lasts until lifted.
    pub fn trouble(&self, at: At, times: usize, trouble: Trouble) {
        if times > 0 {
            lock(&self.shared.state)
                .troubles
                .push_back((at, times, trouble));
        }
    }

    /// Ends all trouble.
    pub fn lift_troubles(&self) {
        lock(&self.shared.state).troubles.clear();
    }

    /// Refuses every client certificate with the alert of this error until lifted. In TLS 1.3
    /// the client sees it only after its handshake is done.
    pub fn refuse_certificates(&self, error: Option<CertificateError>) {
        *lock(&self.shared.refusal) = error;
    }

    /// Offers other TLS versions from now on.
    pub fn offer(&self, versions: Versions) {
        let Shared {
            config, refusal, ..
        } = &*self.shared;
        *lock(&self.shared.tls) = server_config(&config.door, versions, refusal);
    }

    /// Changes the settings of the server.
    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut lock(&self.shared.state).rules);
    }

    /// Changes the behaviour of the ambassador, if there is one.
    pub fn change_ambassador(&self, change: impl FnOnce(&mut Ambassador)) {
        lock(&self.shared.state).ambassador.as_mut().map(change);
    }
}

fn server_config(door: &Door, versions: Versions, refusal: &Refusal) -> Option<Arc<ServerConfig>> {
    let (server, verifier) = match door {
        Door::BehindProxy => return None,
        Door::Server { server } => (server, None),
        Door::Ambassador {
            server,
            client_root,
        } => (
            server,
            Some(Verifier::new(client_root, Arc::clone(refusal))),
        ),
    };
    let builder = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&versions.list())
        .expect("ring knows these versions");
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
    };
    let shown = tls::shown(&server.certificate, &server.key);
    Some(Arc::new(builder.with_cert_resolver(Arc::new(shown))))
}
