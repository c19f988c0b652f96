//! Measures: the relay, stunnel and HAProxy before the same echo LNS, side by side.
//!
//! Left alone, the scheduler now keeps a way on the core of its client and now moves it to
//! another, for seconds at a time, and that counts for more than what the ways differ in. So
//! all three are measured in both places, in turn within each round.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it looks at the clock, ends when its set-up fails, and prints"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mtls_lab::device::{EUI, Scratch};
use mtls_lab::relay::{Scene, address, open, traffic};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::{Message, WebSocket};

const ROUNDS: usize = 40;
const PINGS: usize = 400;
/// Not measured, before the pings of a round.
const WARMING: usize = 40;
/// Rounds in which the CPU for a MB is measured too.
const BULK_ROUNDS: usize = 15;
const HELD: usize = 500;
const MEGABYTES: u64 = 12;

/// One way to the LNS.
struct Way {
    name: &'static str,
    address: String,
    pid: u32,
    /// Nanoseconds of each ping of each round, sorted.
    rounds: Vec<Vec<u128>>,
    /// Milliseconds of CPU for a MB, and microseconds for a ping, of each round.
    megabyte_ms: Vec<f64>,
    ping_us: Vec<f64>,
}

/// A peer; it is killed when dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() {
    let scratch = Scratch::new();
    let scene = Scene::new(env!("CARGO_BIN_EXE_mtls-agent"));
    let service = scene.serve();
    drop(traffic(&address(&service)));
    let root = scratch.path().join("root.pem");
    fs::copy(&scene.around.pki.lns.root, &root).unwrap();
    let port = scene.around.lns.address().port();
    let (stunnel, at_stunnel) = stunnel(scratch.path(), &root, port);
    let (haproxy, at_haproxy) = haproxy(scratch.path(), &root, port);
    let mut ways = [
        way("relay", address(&service), service.pid()),
        way("stunnel", at_stunnel, stunnel.0.id()),
        way("haproxy", at_haproxy, haproxy.0.id()),
    ];
    let mut direct = direct(&scene, port);
    let cores = cores();
    for core in &cores {
        for (pid, core) in [(std::process::id(), &cores[0])]
            .into_iter()
            .chain(ways.iter().map(|way| (way.pid, core)))
        {
            pin(pid, core);
        }
        let straight = measure(&mut ways, &mut direct);
        let load = fs::read_to_string("/proc/loadavg").unwrap();
        let load = load.split_whitespace().next().unwrap();
        println!(
            "client and LNS on core {}, way on core {core}; load {load}",
            cores[0]
        );
        report(&ways, &straight);
    }
    println!("anonymous kB for a held connection");
    let [relay, stunnel, haproxy] = ways.each_ref().map(held);
    println!(
        "relay {relay:.2}, stunnel {stunnel:.2} ({:.2}), haproxy {haproxy:.2} ({:.2})",
        relay / stunnel,
        relay / haproxy
    );
}

/// All rounds of one place; gives back the pings that take no way.
fn measure<S: Read + Write>(ways: &mut [Way; 3], direct: &mut WebSocket<S>) -> Vec<Vec<u128>> {
    for way in ways.iter_mut() {
        way.rounds.clear();
        way.megabyte_ms.clear();
        way.ping_us.clear();
    }
    let mut straight = Vec::new();
    for round in 0..ROUNDS {
        straight.push(ping(direct));
        // The order changes from round to round.
        for place in 0..ways.len() {
            let way = &mut ways[(place + round) % 3];
            let mut socket = way.open();
            let before = cpu_ns(way.pid);
            way.rounds.push(ping(&mut socket));
            let spent = cpu_ns(way.pid) - before;
            way.ping_us
                .push(us(u128::from(spent) / (WARMING + PINGS) as u128));
            if round < BULK_ROUNDS {
                let spent = cpu_per_mb(way);
                way.megabyte_ms.push(spent);
            }
        }
    }
    straight
}

fn report(ways: &[Way; 3], straight: &[Vec<u128>]) {
    let base = (least(straight), median(straight));
    println!(
        "direct TLS: ping min {:.1} us, p50 {:.1} us",
        us(base.0),
        us(base.1)
    );
    println!("way       ping min  p50   added min  added p50   CPU us/ping  CPU ms/MB");
    for way in ways {
        println!(
            "{:8}  {:7.1} {:6.1}   {:7.1}   {:7.1}     {:7.1}     {:7.2}",
            way.name,
            us(least(&way.rounds)),
            us(median(&way.rounds)),
            us(least(&way.rounds)) - us(base.0),
            us(median(&way.rounds)) - us(base.1),
            middle(&way.ping_us),
            middle(&way.megabyte_ms)
        );
    }
    let [relay, peers @ ..] = ways;
    for peer in peers {
        println!(
            "relay / {}: ping min {}, p50 {}, CPU for a ping {}, for a MB {}",
            peer.name,
            ratio(&at_rank(0, relay), &at_rank(0, peer)),
            ratio(&at_rank(PINGS / 2, relay), &at_rank(PINGS / 2, peer)),
            ratio(&relay.ping_us, &peer.ping_us),
            ratio(&relay.megabyte_ms, &peer.megabyte_ms)
        );
    }
}

/// The first two cores that we may use, or the only one.
fn cores() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = text
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap();
    let ranges = allowed.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    });
    ranges
        .flatten()
        .take(2)
        .map(|core| core.to_string())
        .collect()
}

/// Keeps all threads of a process on one core, and those that they will start.
fn pin(pid: u32, core: &str) {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", core, &pid.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(pinned.unwrap().success(), "{pid} cannot be kept on {core}");
}

impl Way {
    fn open(&self) -> WebSocket<TcpStream> {
        let uri = format!("ws://{}/traffic/eui-{EUI}", self.address);
        open(&uri, &[]).unwrap()
    }
}

const fn way(name: &'static str, address: String, pid: u32) -> Way {
    Way {
        name,
        address,
        pid,
        rounds: Vec::new(),
        megabyte_ms: Vec::new(),
        ping_us: Vec::new(),
    }
}

/// 128 octets there and back, again and again.
fn ping<S: Read + Write>(socket: &mut WebSocket<S>) -> Vec<u128> {
    let message = Message::binary(vec![b'x'; 128]);
    let pings = (0..WARMING + PINGS).map(|_| {
        let start = Instant::now();
        socket.send(message.clone()).unwrap();
        socket.read().unwrap();
        start.elapsed().as_nanos()
    });
    let mut times: Vec<u128> = pings.skip(WARMING).collect();
    times.sort_unstable();
    times
}

/// Milliseconds of CPU that the way itself takes for one MB there and back.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn cpu_per_mb(way: &Way) -> f64 {
    let mut socket = way.open();
    let message = Message::binary(vec![b'x'; 16 * 1024]);
    let before = cpu_ns(way.pid);
    for _ in 0..MEGABYTES * 64 {
        socket.send(message.clone()).unwrap();
        socket.read().unwrap();
    }
    let spent = cpu_ns(way.pid) - before;
    spent as f64 / 1e6 / MEGABYTES as f64
}

/// Anonymous kB for each of many held connections that have each carried one message.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn held(way: &Way) -> f64 {
    let before = anonymous_kb(way.pid);
    let sockets: Vec<_> = (0..HELD)
        .map(|_| {
            let mut socket = way.open();
            socket.send(Message::text("x")).unwrap();
            socket.read().unwrap();
            socket
        })
        .collect();
    let after = anonymous_kb(way.pid);
    drop(sockets);
    after.saturating_sub(before) as f64 / HELD as f64
}

fn direct(scene: &Scene, port: u16) -> WebSocket<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(scene.around.pki.lns.root_der.clone().into())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_nodelay(true).unwrap();
    let uri = format!("ws://localhost:{port}/traffic/eui-{EUI}");
    tungstenite::client(uri, StreamOwned::new(connection, socket))
        .unwrap()
        .0
}

fn stunnel(dir: &Path, root: &Path, port: u16) -> (Peer, String) {
    let own = free_port();
    let text = format!(
        "foreground = yes\npid =\ndebug = 3\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n[lns]\nclient = yes\naccept = 127.0.0.1:{own}\nconnect = 127.0.0.1:{port}\nCAfile = {}\nverifyChain = yes\ncheckHost = localhost\n",
        root.display()
    );
    let file = dir.join("stunnel.conf");
    fs::write(&file, text).unwrap();
    start(Command::new("stunnel4").arg(file), own)
}

fn haproxy(dir: &Path, root: &Path, port: u16) -> (Peer, String) {
    let own = free_port();
    let text = format!(
        "global\n  nbthread 1\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\nlisten lns\n  bind 127.0.0.1:{own}\n  server lns 127.0.0.1:{port} ssl verify required ca-file {} sni str(localhost)\n",
        root.display()
    );
    let file = dir.join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    start(Command::new("haproxy").arg("-db").arg("-f").arg(file), own)
}

fn start(command: &mut Command, port: u16) -> (Peer, String) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    let limit = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < limit, "a peer does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    (Peer(child), address)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

fn anonymous_kb(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn least(rounds: &[Vec<u128>]) -> u128 {
    rounds
        .iter()
        .filter_map(|round| round.first())
        .copied()
        .min()
        .unwrap()
}

/// The median of the rounds.
fn middle(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median and the quartiles of the ratios of each round: what else the machine did in it,
/// it did to both.
fn ratio(own: &[f64], others: &[f64]) -> String {
    let pairs = own.iter().zip(others);
    let mut ratios: Vec<f64> = pairs.map(|(own, other)| own / other).collect();
    ratios.sort_by(f64::total_cmp);
    let quarter = ratios.len() / 4;
    let high = ratios[ratios.len() - 1 - quarter];
    format!(
        "{:.2} ({:.2} to {high:.2})",
        middle(&ratios),
        ratios[quarter]
    )
}

/// The median of all pings.
fn median(rounds: &[Vec<u128>]) -> u128 {
    let mut all = rounds.concat();
    all.sort_unstable();
    all[all.len() / 2]
}

/// Of each round the ping of that rank, microseconds.
fn at_rank(rank: usize, way: &Way) -> Vec<f64> {
    way.rounds.iter().map(|round| us(round[rank])).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn us(nanoseconds: u128) -> f64 {
    nanoseconds as f64 / 1e3
}
