//! Holds: the LNS link in this very process, against a double, with the times made short.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use mtls_agent::agent::ExchangeId;
use mtls_agent::config::Network;
use mtls_agent::daemon::clock::Effective;
use mtls_agent::daemon::discovery::Proof;
use mtls_agent::daemon::holders::session::{Pace, SessionHolder};
use mtls_agent::daemon::linking::{Held, Holder as _};
use mtls_agent::wire::credential::Credential;
use mtls_agent::wire::eui::Eui64;
use mtls_agent::wire::traffic::About;
use mtls_lab::device::{EUI, Scratch};
use mtls_lab::lns::{Config, LnsDouble};
use mtls_lab::pki::Pki;
use serde_json::Value;

/// Longer than anything here takes, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A holder and the LNS it talks to.
pub(crate) struct Stand {
    pub(crate) lns: LnsDouble,
    pub(crate) pki: Pki,
    pub(crate) holder: SessionHolder,
    heard: VecDeque<Held>,
    next: u32,
    _wake: UnixStream,
    _scratch: Scratch,
}

impl Stand {
    pub(crate) fn new(pace: Pace) -> Self {
        let scratch = Scratch::new();
        let pki = Pki::make(&scratch.path().join("pki"), EUI);
        let lns = LnsDouble::start(&Config {
            tls: Some(pki.lns.server.clone()),
            ..Config::default()
        })
        .unwrap();
        let (wake, bell) = UnixStream::pair().unwrap();
        bell.set_nonblocking(true).unwrap();
        let about = About {
            station: "test".to_owned(),
            ..About::default()
        };
        Self {
            holder: SessionHolder::start(&about, pace, bell).unwrap(),
            lns,
            pki,
            heard: VecDeque::new(),
            next: 0,
            _wake: wake,
            _scratch: scratch,
        }
    }

    /// The means to reach an LNS on this port with this token.
    pub(crate) fn access(&self, port: u16, token: &str) -> Proof {
        let line = format!("Authorization: {token}\r\n");
        Proof {
            router: Eui64::from_hex(EUI).unwrap(),
            tc_uri: format!("wss://localhost:{port}"),
            credential: Some(Credential::from_parts(
                &self.pki.lns.root_der,
                b"",
                line.as_bytes(),
            )),
            allow_tls13: true,
            time: Effective::from_passed(&[]),
            network: Network {
                connect_s: 5,
                response_s: 2,
                total_s: 10,
            },
        }
    }

    /// Opens the link through this port.
    pub(crate) fn open_through(&mut self, port: u16, token: &str) -> ExchangeId {
        self.next += 1;
        let id = ExchangeId(self.next);
        let access = self.access(port, token);
        self.holder.open(id, access);
        id
    }

    pub(crate) fn open(&mut self, token: &str) -> ExchangeId {
        self.open_through(self.lns.address().port(), token)
    }

    /// The next thing that the holder tells.
    pub(crate) fn told(&mut self) -> Held {
        let limit = Instant::now() + PATIENCE;
        loop {
            self.heard.extend(self.holder.take());
            if let Some(held) = self.heard.pop_front() {
                return held;
            }
            assert!(Instant::now() < limit, "nothing: {}", self.holder.status());
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn up(&mut self, token: &str) -> ExchangeId {
        let id = self.open(token);
        assert_eq!(self.told(), Held::Connected { id });
        id
    }

    pub(crate) fn shows(&self, name: &str) -> Value {
        self.holder.status().get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(
                Instant::now() < limit,
                "still not so: {what}: {}",
                self.holder.status()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}
