//! Doubles: the network server, with discovery (`/router-info`) and traffic.
//!
//! It accepts any gateway unless told otherwise. A token is the value of `Authorization`, with or
//! without `Bearer`.

mod session;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;

use crate::pki::Pair;
use crate::server::{Listener, Socket, lock};
use crate::tls::{self, Versions};

/// What goes wrong on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The upgrade succeeds, then nothing comes for so long.
    SilentAfterUpgrade(Duration),
    /// This HTTP status instead of the upgrade, for discovery.
    DiscoveryStatus(u16),
    /// This HTTP status instead of the upgrade, for discovery, with a `Retry-After` in seconds.
    DiscoveryBusy(u16, u64),
    /// This HTTP status instead of the upgrade, for traffic.
    TrafficStatus(u16),
    /// This HTTP status instead of the upgrade, for traffic, with a `Retry-After` in seconds.
    TrafficBusy(u16, u64),
    /// This HTTP status instead of the upgrade, for traffic, with a `Retry-After` and a `Date`.
    TrafficBusyUntil(u16, &'static str, &'static str),
    /// This HTTP status instead of the upgrade, for traffic, with the token in its body.
    TrafficRepeatsToken(u16),
    /// The traffic socket opens and no `router_config` comes.
    NoRouterConfig,
    /// The server says this after `router_config`, then listens on.
    Says(Vec<Speech>),
    /// The server says this instead of `router_config`, then listens on.
    SaysFirst(Vec<Speech>),
    /// The answer to the upgrade of traffic has this header, beside or instead of its own.
    TrafficHeader(&'static str, String),
    /// Discovery answers with an address that lacks the port.
    UriWithoutPort,
    /// Discovery answers with this address.
    Uri(String),
    /// Discovery answers with this `error`.
    ErrorText(String),
    /// Discovery answers with a message of so many octets.
    Oversize(usize),
    /// Discovery answers with this text, word for word.
    Text(String),
}

/// What a server may say on the traffic socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speech {
    /// One text.
    Text(String),
    /// One text in fragments of so many octets, with a pause after each.
    Fragments(String, usize, Duration),
    /// A ping.
    Ping,
    /// A close frame with code and reason.
    Close(u16, String),
    /// A close frame without either.
    CloseMute,
    /// These octets as they are, frames or not.
    Raw(Vec<u8>),
    /// These octets again and again until the client is gone; nothing is read meanwhile.
    Flood(Vec<u8>),
    /// These octets one by one with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Nothing, and nothing is read, for so long.
    Deaf(Duration),
}

/// How traffic is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// Every message comes back as it was; otherwise only `version` is answered.
    pub echo: bool,
    /// A gateway may have many sessions; otherwise a new one ends the one before.
    pub keeps_older: bool,
    /// Pause before each message is read.
    pub pause: Duration,
}

/// What a double starts with.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where it listens, and what it calls itself; `None` is 127.0.0.1, called `localhost`.
    pub host: Option<IpAddr>,
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// Certificate and key; without them it speaks plain `ws`.
    pub tls: Option<Pair>,
    /// Whether a proxy ends TLS before it: the addresses it names are `wss` all the same.
    pub is_behind_tls: bool,
    /// TLS versions offered.
    pub versions: Versions,
    /// Root of client certificates, if they are required.
    pub client_root: Option<PathBuf>,
    /// Accepted tokens; `None` accepts any, and none at all.
    pub accept_tokens: Option<BTreeSet<String>>,
    /// Known gateways, 16 upper-case hex digits; `None` knows any.
    pub gateways: Option<BTreeSet<String>>,
    /// Whether discovery already checks the token, as The Things Stack does since 3.28.2.
    pub discovery_ignores_token: bool,
}

/// One discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The `router` of the query, as written.
    pub router: String,
    /// The gateway it names, if it could be read.
    pub eui: Option<String>,
    /// The token that came with the upgrade.
    pub token: Option<String>,
    /// Whether an address was answered.
    pub accepted: bool,
}

/// One try to open the traffic socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The gateway of the path.
    pub eui: String,
    /// The token that came with the upgrade.
    pub token: Option<String>,
    /// 101, or why not.
    pub status: u16,
    /// The `version` message, once it came.
    pub version: Option<String>,
    /// Whether it is open now.
    pub open: bool,
    /// Messages that came.
    pub messages: u64,
    /// Octets in them.
    pub octets: u64,
    /// How the gateway closed it, 1005 without a code; `None` if it did not say.
    pub closed: Option<u16>,
}

/// A running LNS double; it ends when dropped.
#[derive(Debug)]
pub struct LnsDouble {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    tls: Option<Mutex<Arc<ServerConfig>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accept_tokens: Option<BTreeSet<String>>,
    gateways: Option<BTreeSet<String>>,
    discovery_ignores_token: bool,
    fault: Fault,
    manner: Manner,
    discoveries: Vec<Discovery>,
    connections: Vec<Connection>,
    uplinks: Vec<String>,
    pongs: usize,
    opened: usize,
    /// The running session of each gateway: its place in `connections` and its socket.
    sessions: BTreeMap<String, (usize, Socket)>,
}

impl Shared {
    /// Of the addresses it names.
    fn scheme(&self) -> &'static str {
        if self.tls.is_some() || self.config.is_behind_tls {
            "wss"
        } else {
            "ws"
        }
    }
}

impl LnsDouble {
    /// Starts to listen.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(config: &Config) -> io::Result<Self> {
        let tls = config
            .tls
            .as_ref()
            .map(|pair| Mutex::new(server_config(config, pair)));
        let state = Mutex::new(State {
            accept_tokens: config.accept_tokens.clone(),
            gateways: config.gateways.clone(),
            discovery_ignores_token: config.discovery_ignores_token,
            ..State::default()
        });
        let shared = Arc::new(Shared {
            config: config.clone(),
            tls,
            state,
        });
        let served = Arc::clone(&shared);
        let host = config.host.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let listener = Listener::start_at((host, config.port).into(), move |socket| {
            session::serve(&socket, &served);
        })?;
        Ok(Self { listener, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// `wss://localhost:port`, or `ws://` without TLS.
    #[must_use]
    pub fn uri(&self) -> String {
        let host = self.shared.config.host.map(|host| host.to_string());
        format!(
            "{}://{}:{}",
            self.shared.scheme(),
            host.as_deref().unwrap_or("localhost"),
            self.address().port()
        )
    }

    /// Accepts these tokens from now on, and no others.
    pub fn accept_tokens<'a>(&self, tokens: impl IntoIterator<Item = &'a str>) {
        let tokens = tokens.into_iter().map(str::to_owned).collect();
        lock(&self.shared.state).accept_tokens = Some(tokens);
    }

    /// Accepts any token from now on, and none at all.
    pub fn accept_any_token(&self) {
        lock(&self.shared.state).accept_tokens = None;
    }

    /// Goes wrong in this way from now on.
    pub fn set_fault(&self, fault: Fault) {
        lock(&self.shared.state).fault = fault;
    }

    /// Answers traffic of new sessions in this way from now on.
    pub fn set_manner(&self, manner: Manner) {
        lock(&self.shared.state).manner = manner;
    }

    /// Shows another certificate to connections from now on; nothing changes without TLS.
    pub fn replace_certificate(&self, pair: &Pair) {
        if let Some(tls) = &self.shared.tls {
            *lock(tls) = server_config(&self.shared.config, pair);
        }
    }

    /// Every discovery so far, oldest first.
    #[must_use]
    pub fn discoveries(&self) -> Vec<Discovery> {
        self.discoveries_after(0)
    }

    /// The same without the first so many.
    #[must_use]
    pub fn discoveries_after(&self, count: usize) -> Vec<Discovery> {
        lock(&self.shared.state)
            .discoveries
            .iter()
            .skip(count)
            .cloned()
            .collect()
    }

    /// Every try to open the traffic socket so far, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        self.connections_after(0)
    }

    /// The same without the first so many.
    #[must_use]
    pub fn connections_after(&self, count: usize) -> Vec<Connection> {
        lock(&self.shared.state)
            .connections
            .iter()
            .skip(count)
            .cloned()
            .collect()
    }

    /// Every message but `version` that came on a traffic socket so far, oldest first.
    #[must_use]
    pub fn uplinks(&self) -> Vec<String> {
        lock(&self.shared.state).uplinks.clone()
    }

    /// How many those are.
    #[must_use]
    pub fn uplink_count(&self) -> usize {
        lock(&self.shared.state).uplinks.len()
    }

    /// How many pongs came on traffic sockets so far.
    #[must_use]
    pub fn pongs(&self) -> usize {
        lock(&self.shared.state).pongs
    }

    /// How many traffic sockets were opened so far, refusals not counted.
    #[must_use]
    pub fn session_count(&self) -> usize {
        lock(&self.shared.state).opened
    }

    /// Cuts the session of a gateway, as the server does when its key is deleted.
    pub fn cut(&self, eui: &str) {
        if let Some((_, socket)) = lock(&self.shared.state).sessions.get(eui) {
            socket.close();
        }
    }
}

fn server_config(config: &Config, pair: &Pair) -> Arc<ServerConfig> {
    match &config.client_root {
        None => tls::server(&pair.certificate, &pair.key, config.versions),
        Some(root) => tls::mutual_server(&pair.certificate, &pair.key, root, config.versions),
    }
}
