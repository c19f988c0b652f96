//! Holds: one device in mode `session`, and a real Envoy that ends TLS before CUPS and LNS.
//!
//! ```text
//! agent --mutual TLS------------> Envoy --HTTP--> CUPS double
//!       --TLS--> path (a Pipe) -> Envoy --ws----> LNS double
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use mtls_agent::daemon::sockets::{Verb, give_verb};
use mtls_lab::cups::{self, CupsDouble, Gateway};
use mtls_lab::device::{Device, EUI, Scratch, Service};
use mtls_lab::lns::{self, LnsDouble};
use mtls_lab::pipe::Pipe;
use mtls_lab::pki::Pki;
use mtls_lab::proxy::envoy::{self, ENVOY, Site};
use mtls_lab::proxy::{Running, steady_port};
use mtls_lab::tls::Versions;
use serde_json::json;

const FRAME: &str = "uplink 4004030226820100AABB0AC0FFEE01020304";

const LOOKS: usize = 9;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Everything around one device.
pub(crate) struct Scene {
    pub(crate) device: Device,
    pub(crate) cups: CupsDouble,
    /// Between the agent and Envoy's port for the LNS.
    pub(crate) path: Pipe,
    /// Frames that the agent took.
    pub(crate) sent: usize,
    program: PathBuf,
    sites: [Site; 2],
    envoy: Option<Running>,
    lns: Option<LnsDouble>,
    /// What LNS doubles that are gone had seen.
    before: Seen,
    scratch: Scratch,
}

/// What came to the LNS.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Traffic sockets that were opened.
    pub(crate) sessions: usize,
    /// Frames.
    pub(crate) frames: usize,
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// kB.
    pub(crate) resident: u64,
    pub(crate) descriptors: usize,
}

impl Scene {
    /// Starts Envoy and the doubles; `None` without the program.
    pub(crate) fn set_up(binary: &str) -> Option<Self> {
        let program = ENVOY.find()?;
        let scratch = Scratch::new();
        let pki = Pki::make(&scratch.path().join("pki"), EUI);
        let cups = CupsDouble::start(&cups::Config {
            ca_store: vec![pki.client_issuing.clone()],
            ..cups::Config::default()
        })
        .expect("a port is free");
        let sites = sites(&pki, cups.address());
        let [cups_site, lns_site] = &sites;
        let path = Pipe::start_at(port(), loopback(lns_site.port)).expect("a port is free");
        let gateway = Gateway {
            lns_uri: format!("wss://localhost:{}", path.address().port()),
            lns_trust_der: pki.lns.root_der.clone(),
            lns_key: Some("first".to_owned()),
            cups_target: None,
        };
        cups.set_gateway(EUI, gateway);
        let mut device = Device::new(binary, &pki, loopback(cups_site.port));
        device.set("lns.mode", "session");
        let mut scene = Self {
            device,
            cups,
            path,
            sent: 0,
            program,
            sites,
            envoy: None,
            lns: None,
            before: Seen::default(),
            scratch,
        };
        scene.start_lns();
        scene.start_envoy();
        Some(scene)
    }

    /// Starts Envoy if it does not run, and waits until it listens.
    pub(crate) fn start_envoy(&mut self) {
        if self.envoy.is_some() {
            return;
        }
        let folder = self.scratch.path();
        let command = envoy::command(&self.program, folder, &self.sites).expect("it is writable");
        let ready = || {
            let connect = |site: &Site| TcpStream::connect(loopback(site.port)).map(drop);
            let all = self.sites.iter().try_for_each(connect);
            all.map_err(|error| error.to_string())
        };
        let running = Running::start(&command, &folder.join("envoy.log"), &ready);
        self.envoy = Some(running.expect("Envoy starts"));
    }

    /// Kills Envoy.
    pub(crate) fn stop_envoy(&mut self) {
        self.envoy = None;
    }

    /// Starts the LNS at its port if it does not run.
    pub(crate) fn start_lns(&mut self) {
        let [_, site] = &self.sites;
        let port = site.upstream.port();
        self.lns.get_or_insert_with(|| {
            LnsDouble::start(&lns::Config {
                port,
                is_behind_tls: true,
                ..lns::Config::default()
            })
            .expect("its port is still free")
        });
    }

    /// Stops the LNS: Envoy's upstream is gone.
    pub(crate) fn stop_lns(&mut self) {
        self.before = self.seen();
        self.lns = None;
    }

    /// The LNS, if it runs.
    pub(crate) fn lns(&self) -> &LnsDouble {
        self.lns.as_ref().expect("it was started")
    }

    /// What came to the LNS so far, through all its starts.
    pub(crate) fn seen(&self) -> Seen {
        let lns = self.lns.as_ref();
        Seen {
            sessions: self.before.sessions + lns.map_or(0, LnsDouble::session_count),
            frames: self.before.frames + lns.map_or(0, LnsDouble::uplink_count),
        }
    }

    /// Gives the agent a frame to send.
    pub(crate) fn uplink(&mut self) {
        let verb = Verb::parse(FRAME).expect("a good frame");
        let answer = give_verb(&self.device.path("run"), &verb);
        self.sent += usize::from(answer.is_ok_and(|answer| answer == "sent"));
    }
}

/// Waits for something of the agent's status, and ends the program if it does not come.
pub(crate) fn until(
    service: &Service,
    (what, limit, step): (&str, Duration, Duration),
    mut is_so: impl FnMut(&serde_json::Value) -> bool,
) {
    let limit = Instant::now() + limit;
    loop {
        let status = service.status();
        if is_so(&status) {
            return;
        }
        if Instant::now() > limit {
            let lines = service.lines();
            let last = lines.iter().skip(lines.len().saturating_sub(30));
            let log: Vec<&str> = last.map(String::as_str).collect();
            panic!("still not so: {what}; {status}; log:\n{}", log.join("\n"));
        }
        thread::sleep(step);
    }
}

/// Whether the agent says that the link is up.
pub(crate) fn is_up(status: &serde_json::Value) -> bool {
    status.pointer("/lns/link/state") == Some(&json!("up"))
}

/// Resident memory and open descriptors of the agent, the middle one of some looks: in one of
/// them it may be asking CUPS, or answering us.
pub(crate) fn footprint(service: &Service) -> Footprint {
    let mut looks = [(); LOOKS].map(|()| {
        thread::sleep(BETWEEN_LOOKS);
        look(service)
    });
    looks.sort_by_key(|seen| seen.descriptors);
    looks[LOOKS / 2]
}

fn look(service: &Service) -> Footprint {
    let folder = format!("/proc/{}", service.pid());
    let status = fs::read_to_string(format!("{folder}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = line.and_then(|line| line.split_whitespace().next());
    let descriptors = fs::read_dir(format!("{folder}/fd")).expect("it runs");
    Footprint {
        resident: resident.expect("Linux says so").parse().expect("a number"),
        descriptors: descriptors.count(),
    }
}

/// The agent of this build, or the one of `MTLS_AGENT`.
pub(crate) fn program(own: &str) -> String {
    std::env::var("MTLS_AGENT").unwrap_or_else(|_| own.to_owned())
}

/// A number from the environment.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Both of Envoy's ports: mutual TLS before CUPS, a server's TLS before the LNS.
fn sites(pki: &Pki, cups: SocketAddr) -> [Site; 2] {
    let cups = Site {
        name: "cups",
        port: port(),
        server: pki.server.clone(),
        versions: Versions::Both,
        client_authorities: Some(pki.client_authorities()),
        takes_websockets: false,
        upstream: cups,
    };
    let lns = Site {
        name: "lns",
        port: port(),
        server: pki.lns.server.clone(),
        versions: Versions::Both,
        client_authorities: None,
        takes_websockets: true,
        upstream: loopback(port()),
    };
    [cups, lns]
}

fn port() -> u16 {
    steady_port().expect("a port is free")
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
