//! A station that does not get out of a silent discovery by itself is started again, but not
//! often; one whose set is gone is stopped; one that reconnects is the link again at once.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test waits, and ends when its set-up fails"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod station;
    pub(crate) mod systemctl;
}

use std::collections::VecDeque;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use mtls_agent::agent::ExchangeId;
use mtls_agent::agent::failure::Class;
use mtls_agent::config::Network;
use mtls_agent::daemon::clock::Effective;
use mtls_agent::daemon::discovery::Proof;
use mtls_agent::daemon::holders::station::{Control, Means, Pace, Setup, Station};
use mtls_agent::daemon::linking::{Held, Holder as _};
use mtls_agent::wire::credential::Credential;
use mtls_agent::wire::eui::Eui64;
use mtls_lab::device::{EUI, Scratch};
use mtls_lab::lns::{Config, Fault, LnsDouble};
use mtls_lab::pki::{Pair, Pki};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use support::station::write_program;
use support::systemctl::{SYSTEMCTL, Systemd};

/// All waits of the holder and of its station are so much shorter.
const FASTER: u32 = 20;

/// Longer than anything here takes, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stand {
    station: Station,
    lns: LnsDouble,
    pki: Pki,
    heard: VecDeque<Held>,
    systemd: Option<Systemd>,
    _wake: UnixStream,
    _scratch: Scratch,
}

impl Stand {
    fn new(is_unit: bool) -> Self {
        Self::with(is_unit, false)
    }

    fn with(is_unit: bool, has_journal: bool) -> Self {
        let scratch = Scratch::new();
        let pki = Pki::make(&scratch.path().join("pki"), EUI);
        let lns = LnsDouble::start(&Config {
            tls: Some(pki.lns.server.clone()),
            ..Config::default()
        })
        .unwrap();
        let (home, temp) = (scratch.path().join("home"), scratch.path().join("temp"));
        fs::create_dir(&home).unwrap();
        fs::create_dir(&temp).unwrap();
        fs::write(home.join("tc.uri"), lns.uri()).unwrap();
        fs::write(home.join("tc.trust"), &pki.lns.root_der).unwrap();
        fs::write(home.join("tc.key"), "Authorization: first\r\n").unwrap();
        let program = scratch.path().join("station.sh");
        write_program(&program, "");
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let words = ["-h", &text(&home), "-t", &text(&temp), "--faster", "20"];
        let mut command = vec![text(&program)];
        command.extend(words.map(str::to_owned));
        let systemd = is_unit
            .then(|| Systemd::new(scratch.path().join("bin"), SYSTEMCTL, &command.join(" ")));
        let means = match &systemd {
            None => Means::Command(command),
            Some(systemd) => Means::Unit {
                name: "station.service".to_owned(),
                control: Control::Systemctl(systemd.folder.join("systemctl")),
                journalctl: has_journal.then(|| systemd.folder.join("journalctl")),
            },
        };
        let (wake, bell) = UnixStream::pair().unwrap();
        bell.set_nonblocking(true).unwrap();
        let pace = Pace { faster: FASTER };
        Self {
            station: Station::start(Setup { means, home }, pace, bell).unwrap(),
            lns,
            pki,
            heard: VecDeque::new(),
            systemd,
            _wake: wake,
            _scratch: scratch,
        }
    }

    fn open(&mut self, number: u32) -> ExchangeId {
        self.open_with(number, b"")
    }

    /// `certificate` is that of the set; the double has no use for it.
    fn open_with(&mut self, number: u32, certificate: &[u8]) -> ExchangeId {
        let id = ExchangeId(number);
        let access = Proof {
            router: Eui64::from_hex(EUI).unwrap(),
            tc_uri: self.lns.uri(),
            credential: Some(Credential::from_parts(
                &self.pki.lns.root_der,
                certificate,
                b"Authorization: first\r\n",
            )),
            allow_tls13: true,
            time: Effective::from_passed(&[]),
            network: Network {
                connect_s: 5,
                response_s: 2,
                total_s: 10,
            },
        };
        self.station.open(id, access);
        id
    }

    /// The same up to the connection: on a busy machine the first attempt may be over before.
    fn connected(&mut self, number: u32, certificate: &[u8]) {
        let id = self.open_with(number, certificate);
        loop {
            match self.told() {
                Held::Connected { id: told } | Held::Resumed { id: told } if told == id => return,
                Held::Failed { .. } => {}
                other => panic!("no connection: {other:?}"),
            }
        }
    }

    fn told(&mut self) -> Held {
        let limit = Instant::now() + PATIENCE;
        loop {
            self.heard.extend(self.station.take());
            if let Some(held) = self.heard.pop_front() {
                return held;
            }
            assert!(Instant::now() < limit, "nothing: {}", self.station.status());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn figure(&self, name: &str) -> u64 {
        let status = self.station.status();
        status.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(self) {
            let status = self.station.status();
            assert!(Instant::now() < limit, "still not so: {what}: {status}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The code of the failure that is told for this attempt.
    fn failed(&mut self, id: ExchangeId) -> (&'static str, Class) {
        match self.told() {
            Held::Failed { id: told, failure } if told == id => (failure.code, failure.class),
            other => panic!("not a failure: {other:?}"),
        }
    }
}

fn der(pair: &Pair) -> Vec<u8> {
    let certificate = CertificateDer::from_pem_file(&pair.certificate).unwrap();
    certificate.to_vec()
}

const SILENT: Fault = Fault::SilentAfterUpgrade(Duration::from_secs(3600));

#[test]
fn a_child_whose_discovery_stays_silent_is_started_again_once_and_then_let_alone() {
    let mut stand = Stand::new(false);
    stand.lns.set_fault(SILENT);
    let id = stand.open(1);
    let expected = ("discovery_silent", Class::NotAuthorised);
    assert_eq!(stand.failed(id), expected);
    stand.until("another", |stand| stand.figure("restarts") == 1);
    let id = stand.open(2);
    assert_eq!(stand.failed(id), expected);
    // At most one restart in ten minutes.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(stand.figure("restarts"), 1);
}

#[test]
fn a_unit_whose_log_is_read_is_restarted_over_a_silent_discovery() {
    let mut stand = Stand::with(true, true);
    stand.lns.set_fault(SILENT);
    let id = stand.open(1);
    let first = {
        stand.until("running", |stand| stand.figure("pid") != 0);
        stand.figure("pid")
    };
    let expected = ("discovery_silent", Class::NotAuthorised);
    assert_eq!(stand.failed(id), expected);
    stand.until("another", |stand| {
        ![0, first].contains(&stand.figure("pid"))
    });
    let systemd = stand.systemd.as_ref().unwrap();
    assert_eq!(systemd.count("restart"), 1, "{}", systemd.calls());
    assert!(!support::station::is_alive(first));
}

#[test]
fn a_unit_whose_log_is_read_is_seen_to_be_refused() {
    let mut stand = Stand::with(true, true);
    stand.lns.accept_tokens(["second"]);
    let id = stand.open(1);
    let expected = ("station_refused", Class::NotAuthorised);
    assert_eq!(stand.failed(id), expected);
    stand.lns.accept_any_token();
    assert_eq!(stand.told(), Held::Resumed { id });
    assert_eq!(stand.systemd.as_ref().unwrap().count("restart"), 0);
}

#[test]
fn a_unit_without_its_log_counts_as_connected_once_a_socket_stands() {
    let mut stand = Stand::new(true);
    stand.lns.set_fault(SILENT);
    let id = stand.open(1);
    stand.until("running", |stand| stand.figure("pid") != 0);
    let first = stand.figure("pid");
    // Without its log a silent discovery cannot be told from a connection.
    assert_eq!(stand.told(), Held::Connected { id });
    assert_eq!(stand.figure("pid"), first);
    assert_eq!(stand.systemd.as_ref().unwrap().count("restart"), 0);
}

#[test]
fn a_station_without_a_set_is_stopped_and_a_new_set_starts_it() {
    for is_unit in [false, true] {
        let mut stand = Stand::new(is_unit);
        let id = stand.open(1);
        assert_eq!(stand.told(), Held::Connected { id });
        let first = stand.figure("pid");
        stand.station.close(id);
        stand.until("off", |stand| stand.station.status()["state"] == "off");
        stand.until("gone", |_| !support::station::is_alive(first));
        if let Some(systemd) = &stand.systemd {
            assert_eq!(systemd.count("stop"), 1);
        }
        let id = stand.open(2);
        assert_eq!(stand.told(), Held::Connected { id });
        assert_ne!(stand.figure("pid"), first);
    }
}

#[test]
fn a_live_connection_is_opened_anew_only_when_its_certificate_is_about_to_expire() {
    for is_unit in [false, true] {
        let mut stand = Stand::new(is_unit);
        let (lasting, dying) = (der(&stand.pki.device), der(&stand.pki.expired_device()));
        stand.connected(1, &lasting);
        let first = stand.figure("pid");
        // What comes next says nothing about the connection there is.
        stand.connected(2, &dying);
        thread::sleep(Duration::from_secs(3));
        assert_eq!((stand.figure("pid"), stand.figure("restarts")), (first, 0));
        let mut stand = Stand::new(is_unit);
        stand.connected(1, &dying);
        let first = stand.figure("pid");
        stand.connected(2, &lasting);
        stand.until("another", |stand| {
            ![0, first].contains(&stand.figure("pid"))
        });
        stand.until("nothing waits", |stand| {
            stand.station.status()["newer_credentials_wait"] == false
        });
        assert_eq!(stand.figure("restarts"), 1);
        // On a busy machine the gap may be longer than what counts as none.
        let told = stand.station.take();
        let is_gap = |held: &Held| matches!(held, Held::Closed { .. } | Held::Resumed { .. });
        assert!(told.iter().all(is_gap), "{told:?}");
    }
}

#[test]
fn a_certificate_that_ends_no_later_is_no_reason_to_open_a_live_connection_anew() {
    let mut stand = Stand::new(false);
    let (sooner, later) = (
        der(&stand.pki.expired_device()),
        der(&stand.pki.expired_device()),
    );
    assert_ne!(sooner, later);
    stand.connected(1, &later);
    let first = stand.figure("pid");
    stand.connected(2, &sooner);
    thread::sleep(Duration::from_secs(3));
    assert_eq!((stand.figure("pid"), stand.figure("restarts")), (first, 0));
    // The connection is still the first one.
    let lasting = der(&stand.pki.device);
    stand.connected(3, &lasting);
    stand.until("another", |stand| {
        ![0, first].contains(&stand.figure("pid"))
    });
}

#[test]
fn one_that_reconnects_by_itself_is_told_with_the_number_of_the_last_attempt() {
    let mut stand = Stand::new(false);
    let id = stand.open(1);
    assert_eq!(stand.told(), Held::Connected { id });
    stand.lns.set_fault(Fault::TrafficStatus(503));
    stand.lns.cut(EUI);
    let lost = stand.told();
    assert!(
        matches!(&lost, Held::Closed { id: told, .. } if *told == id),
        "{lost:?}"
    );
    stand.lns.set_fault(Fault::None);
    assert_eq!(stand.told(), Held::Resumed { id });
    assert_eq!(stand.figure("restarts"), 0);
}
