//! Runs: a whole operator behind a real Envoy, driven line by line by whoever tests a device.
//!
//! ```text
//! device --mutual TLS--> Envoy --HTTP--> CUPS double
//!        --TLS---------> Envoy --ws----> LNS double a, or b
//!        --mutual TLS--> Envoy --HTTP--> Mender double with the ambassador's checks
//! ```
//!
//! Sets are numbered. An even one leads to LNS a, an odd one to b; each has another root and
//! takes only its own keys. A device that mixes two sets reaches neither.

mod mender;

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mtls_lab::cups::{self, CupsDouble, Gateway};
use mtls_lab::lns::{self, LnsDouble};
use mtls_lab::pki::{LnsIdentity, Pki};
use mtls_lab::proxy::envoy::{self, ENVOY, Site};
use mtls_lab::proxy::{Running, steady_port};
use mtls_lab::tls::Versions;

use self::mender::Mender;
use crate::Failure;
use crate::args::{Args, eui};

/// How often new events are looked for: a power cut is timed by them.
const GLANCE: Duration = Duration::from_millis(5);
/// An answer of CUPS that is no longer brings nothing.
const EMPTY_ANSWER: usize = 18;
/// What the number of a set is appended to.
const KEY: &str = "NNSXS.SET-";

/// One LNS and how it is reached.
struct Lns {
    identity: LnsIdentity,
    port: u16,
    double: LnsDouble,
    keys: BTreeSet<String>,
    /// Events that were printed.
    discoveries: usize,
    connections: usize,
}

struct Operator {
    folder: PathBuf,
    program: PathBuf,
    host: String,
    pki: Pki,
    cups: CupsDouble,
    asked: usize,
    lns: [Lns; 2],
    mender: Mender,
    sites: [Site; 4],
    envoy: Option<Running>,
}

/// Starts everything, prints where it is, and obeys until standard input ends.
pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let mut operator = Operator::start(args)?;
    let [cups, .., mender] = &operator.sites;
    let host = &operator.host;
    println!(
        "ready https://{host}:{} https://{host}:{}",
        cups.port, mender.port
    );
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    loop {
        match lines.recv_timeout(GLANCE) {
            Ok(line) => operator.obey(&line)?,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(true),
        }
        operator.tell();
    }
}

impl Operator {
    fn start(args: &Args) -> Result<Self, Failure> {
        let program = ENVOY.find();
        let program = program.ok_or_else(|| Failure::Work("there is no Envoy".to_owned()))?;
        let folder = PathBuf::from(args.need("out")?);
        let host = args.get("address").unwrap_or("127.0.0.1").to_owned();
        let eui = eui(args.get("eui").unwrap_or("0123456789ABCDEF"))?;
        let pki = Pki::make_for(&folder, &eui, std::slice::from_ref(&host));
        let cups = CupsDouble::start(&cups::Config {
            ca_store: vec![pki.client_issuing.clone()],
            ..cups::Config::default()
        })
        .map_err(|error| Failure::work("cannot listen", &error))?;
        let lns = [Lns::start(pki.lns.clone())?, Lns::start(pki.second_lns())?];
        let mender = Mender::start()?;
        let sites = sites(&pki, &cups, &lns, &mender)?;
        let mut operator = Self {
            folder,
            program,
            host,
            pki,
            cups,
            asked: 0,
            lns,
            mender,
            sites,
            envoy: None,
        };
        operator.offer(0);
        operator.start_envoy()?;
        Ok(operator)
    }

    fn obey(&mut self, line: &str) -> Result<(), Failure> {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["offer", number] => {
                let number = number.parse::<u32>();
                self.offer(number.map_err(|_| Failure::Usage(line.to_owned()))?);
            }
            ["proxy", "stop"] => self.envoy = None,
            ["proxy", "start"] => self.start_envoy()?,
            ["server", "future"] => {
                let [cups, ..] = &mut self.sites;
                cups.server = self.pki.future_server();
                self.start_envoy()?;
            }
            ["mender", ref words @ ..] if self.mender.obey(words).is_some() => {}
            _ => return Err(Failure::Usage(format!("what is {line:?}?"))),
        }
        println!("done {line}");
        Ok(())
    }

    /// CUPS has this set for the device from now on.
    fn offer(&mut self, number: u32) {
        let key = format!("{KEY}{number}");
        let [a, b] = &mut self.lns;
        let lns = if number % 2 == 0 { a } else { b };
        lns.keys.insert(key.clone());
        lns.double
            .accept_tokens(lns.keys.iter().map(String::as_str));
        let gateway = Gateway {
            lns_uri: format!("wss://{}:{}", self.host, lns.port),
            lns_trust_der: lns.identity.root_der.clone(),
            lns_key: Some(key),
            cups_target: None,
        };
        self.cups.set_gateway(&self.pki.eui, gateway);
    }

    fn start_envoy(&mut self) -> Result<(), Failure> {
        self.envoy = None;
        let command = envoy::command(&self.program, &self.folder, &self.sites)
            .map_err(|error| Failure::work("cannot configure Envoy", &error))?;
        let ready = || {
            let all = self.sites.iter().try_for_each(|site| {
                TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, site.port))).map(drop)
            });
            all.map_err(|error| error.to_string())
        };
        let running = Running::start(&command, &self.folder.join("envoy.log"), &ready);
        self.envoy = Some(running.map_err(Failure::Work)?);
        Ok(())
    }

    /// Prints what happened since the last time.
    fn tell(&mut self) {
        for seen in self.cups.requests_after(self.asked) {
            self.asked += 1;
            let news = match seen.answer.len() {
                0..=EMPTY_ANSWER => "nothing",
                _ if seen.status != 200 => "refusal",
                _ => "set",
            };
            println!("asked {} {news}", seen.status);
        }
        self.mender.tell();
        for (name, lns) in ["a", "b"].into_iter().zip(&mut self.lns) {
            for seen in lns.double.discoveries_after(lns.discoveries) {
                lns.discoveries += 1;
                let set = set(seen.token.as_deref());
                let outcome = if seen.accepted { "accepted" } else { "refused" };
                println!("proved {name} {set} {outcome}");
            }
            for seen in lns.double.connections_after(lns.connections) {
                lns.connections += 1;
                let set = set(seen.token.as_deref());
                println!("linked {name} {set} {}", seen.status);
            }
        }
    }
}

impl Lns {
    fn start(identity: LnsIdentity) -> Result<Self, Failure> {
        let config = lns::Config {
            is_behind_tls: true,
            accept_tokens: Some(BTreeSet::new()),
            ..lns::Config::default()
        };
        let double = LnsDouble::start(&config);
        Ok(Self {
            identity,
            port: port()?,
            double: double.map_err(|error| Failure::work("cannot listen", &error))?,
            keys: BTreeSet::new(),
            discoveries: 0,
            connections: 0,
        })
    }
}

/// What Envoy listens for: CUPS, both LNS and Mender, in this order.
fn sites(
    pki: &Pki,
    cups: &CupsDouble,
    lns: &[Lns; 2],
    mender: &Mender,
) -> Result<[Site; 4], Failure> {
    let mutual = |name, upstream| -> Result<Site, Failure> {
        Ok(Site {
            name,
            port: port()?,
            server: pki.server.clone(),
            versions: Versions::Both,
            takes_websockets: false,
            client_authorities: Some(pki.client_authorities()),
            upstream,
        })
    };
    let open = |name, lns: &Lns| Site {
        name,
        port: lns.port,
        server: lns.identity.server.clone(),
        versions: Versions::Both,
        takes_websockets: true,
        client_authorities: None,
        upstream: lns.double.address(),
    };
    let [a, b] = lns;
    Ok([
        mutual("cups", cups.address())?,
        open("a", a),
        open("b", b),
        mutual("mender", mender.double.address())?,
    ])
}

fn port() -> Result<u16, Failure> {
    steady_port().map_err(|error| Failure::work("no port is free", &error))
}

/// The number of the set that a token is of.
fn set(token: Option<&str>) -> &str {
    let number = token.and_then(|token| token.strip_prefix(KEY));
    number.unwrap_or("unknown")
}
