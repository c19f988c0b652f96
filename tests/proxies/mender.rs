//! Proves: the life of a device at Mender behind each proxy, from its first contact to the day it
//! is decommissioned. The cases build on each other.
//!
//! ```text
//! agent --mutual TLS--> proxy --HTTP, certificate in a header--> ambassador's checks, Mender server
//! ```
//! A token is renewed half a minute after its receipt at the soonest, so all proxies are proved
//! at the same time, and beside the cases of CUPS.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use mtls_lab::device::{MenderDevice, Scratch, Service};
use mtls_lab::mender::{Config, Door, MenderDouble};
use mtls_lab::pki::{Pair, Pki};
use mtls_lab::proxy::{Running, free_port};
use serde_json::{Value, json};

use crate::bench::EUI;
use crate::process::{Kind, Site, Tls};
use crate::upstream::Upstream;
use crate::{Done, Outcome, agent, probe};

/// Longest wait for what must come at once, on a machine with more to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// Renewed after 32 s to 34 s.
const TOKEN_LIFE_S: u64 = 42;
/// The soonest that inventory is looked at again.
const INVENTORY_POLL_S: u64 = 5;
/// How often a refusal is repeated: each proxy has its own way of ending a connection.
const REFUSALS: u32 = 3;
const AUTH: &str = "/api/devices/v1/authentication/auth_requests";

struct Case {
    name: &'static str,
    run: fn(&mut Life) -> Outcome<()>,
}

/// Those that need no running service.
const AT_ONCE: [Case; 2] = [
    Case {
        name: "a certificate of an unknown authority is named every time",
        run: stranger,
    },
    Case {
        name: "the first contact is accepted and the server shows the inventory",
        run: first_contact,
    },
];

const SERVICE: [Case; 4] = [
    Case {
        name: "the service is accepted by its certificate",
        run: accepted,
    },
    Case {
        name: "a token that ends in mid-life is replaced, and the inventory follows",
        run: refused_in_mid_life,
    },
    Case {
        name: "the token is renewed before it expires",
        run: renewed,
    },
    Case {
        name: "a decommissioned device says so and backs off",
        run: decommissioned,
    },
];

/// One proxy, the double behind it and the device before it.
struct Life {
    /// The program.
    agent: PathBuf,
    pki: Pki,
    port: u16,
    double: MenderDouble,
    device: MenderDevice,
    service: Option<Service>,
    _running: Running,
    _scratch: Scratch,
}

/// All cases of a proxy.
pub(crate) fn prove(kind: &Kind, program: &Path, tls: Tls) -> Vec<Done> {
    let mut life = Life::begin(kind, program, tls);
    // Peaks are measured of runs with an end.
    let has_peaks = std::env::var_os("MTLS_PEAKS").is_some();
    let service = SERVICE.iter().filter(|_| !has_peaks);
    let mut done = Vec::new();
    for case in AT_ONCE.iter().chain(service) {
        let begun = Instant::now();
        let outcome = match &mut life {
            Ok(life) => (case.run)(life),
            Err(reason) => Err(reason.clone()),
        };
        if outcome.is_err() {
            life = Err("a case before has failed".to_owned());
        }
        done.push(Done {
            name: format!("Mender: {}", case.name),
            taken: begun.elapsed(),
            outcome,
        });
    }
    done
}

/// The names of all cases, for a proxy that is not there.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let all = AT_ONCE.iter().chain(&SERVICE);
    all.map(|case| format!("Mender: {}", case.name))
}

impl Life {
    fn begin(kind: &Kind, program: &Path, tls: Tls) -> Outcome<Self> {
        let scratch = Scratch::new();
        let pki = Pki::make(&scratch.path().join("pki"), EUI);
        let double = MenderDouble::start(Config::new(Door::BehindProxy))
            .map_err(|error| format!("the Mender double cannot listen: {error}"))?;
        double.change(|rules| rules.token_life_s = TOKEN_LIFE_S);
        let upstream = Upstream::start(double.address())
            .map_err(|error| format!("the relay cannot listen: {error}"))?;
        let site = Site {
            client_authorities: pki.client_authorities(),
            server_chain: pki.server.certificate.clone(),
            server_key: pki.server.key.clone(),
            upstream: upstream.address,
            port: free_port().map_err(|error| format!("no free port: {error}"))?,
            folder: scratch.path().to_owned(),
            tls,
        };
        let ready = || probe::ask(site.port, &pki.server_root, Some(&pki.device));
        let running = kind.start(program, &site, &ready)?;
        let agent = agent::as_one_file(scratch.path())?;
        let device = device(&agent, &pki, &pki.device, site.port);
        Ok(Self {
            agent,
            port: site.port,
            pki,
            double,
            device,
            service: None,
            _running: running,
            _scratch: scratch,
        })
    }

    fn service(&self) -> Outcome<&Service> {
        let service = self.service.as_ref();
        service.ok_or_else(|| "the service was not started".to_owned())
    }

    /// Waits until something is so.
    fn until(&self, what: &str, is_so: impl Fn(&Self, &Service) -> bool) -> Outcome<()> {
        let service = self.service()?;
        let limit = Instant::now() + PATIENCE;
        while !is_so(self, service) {
            if Instant::now() > limit {
                return Err(format!(
                    "still not so after {PATIENCE:?}: {what}; {}",
                    seen(service)
                ));
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// The id of the one device the server knows.
    fn device_id(&self) -> Outcome<String> {
        match self.double.devices().as_slice() {
            [device] => Ok(device.id.clone()),
            devices => Err(format!("the server knows {} devices", devices.len())),
        }
    }

    /// An attribute of the inventory that the server shows.
    fn shown(&self, name: &str) -> Option<Value> {
        let inventory = self.double.inventory(&self.device_id().ok()?)?;
        inventory.get(name).cloned()
    }

    fn asked(&self) -> usize {
        let requests = self.double.requests();
        requests
            .iter()
            .filter(|one| one.request.path == AUTH)
            .count()
    }

    fn note(&self, text: &str) -> Outcome<()> {
        fs::write(self.device.path("note"), format!("note={text}\n"))
            .map_err(|error| format!("cannot write the note: {error}"))
    }
}

fn device(agent: &Path, pki: &Pki, identity: &Pair, port: u16) -> MenderDevice {
    let mut device = MenderDevice::new(&agent.display().to_string(), pki);
    device.server(&format!("https://localhost:{port}"));
    device.conf("HttpsClient.Certificate", json!(identity.certificate));
    device.conf("HttpsClient.Key", json!(identity.key));
    device.conf("InventoryPollIntervalSeconds", INVENTORY_POLL_S);
    // Whatever else is installed on this machine.
    device.set("mender.inventory", "on");
    let note = format!("cat '{}'", device.path("note").display());
    device.inventory_script("note", &note);
    device
}

fn stranger(life: &mut Life) -> Outcome<()> {
    let device = device(
        &life.agent,
        &life.pki,
        &life.pki.unknown_ca_device(),
        life.port,
    );
    for run in 1..=REFUSALS {
        let ran = device.run("once --json");
        if ran.code != Some(1) || ran.text("class") != "client_cert_refused" {
            return Err(format!("run {run}: {:?} {}{}", ran.code, ran.out, ran.log));
        }
    }
    if life.asked() == 0 {
        return Ok(());
    }
    Err("the proxy let the stranger through".to_owned())
}

fn first_contact(life: &mut Life) -> Outcome<()> {
    life.note("first")?;
    let ran = life.device.run("once --json");
    if ran.code != Some(0) || ran.text("outcome") != "accepted" {
        return Err(format!("{:?} {}{}", ran.code, ran.out, ran.log));
    }
    match life.shown("note") {
        Some(note) if note == "first" => Ok(()),
        note => Err(format!("the server shows {note:?}")),
    }
}

fn accepted(life: &mut Life) -> Outcome<()> {
    life.service = Some(life.device.serve());
    life.until("authorised", |_, service| {
        service.show("/cycle/state") == "authorised"
    })?;
    let service = life.service()?;
    let requests = life.double.requests();
    let leaf = requests.last().and_then(|one| one.client.as_ref());
    let leaf = leaf.ok_or("no certificate came with the last request")?;
    let facts = [
        ("the subject", leaf.subject.contains(EUI)),
        (
            "the key",
            service.show("/identity/key_sha256") == leaf.key_sha256.as_str(),
        ),
        (
            "the device id",
            service.show("/device/id") == life.device_id()?.as_str(),
        ),
        ("mutual TLS", service.show("/mutual_tls") == "used"),
    ];
    match facts.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((what, _)) => Err(format!(
            "{what} is not the same: {leaf:?}, {}",
            seen(service)
        )),
    }
}

fn refused_in_mid_life(life: &mut Life) -> Outcome<()> {
    let devices = life.double.devices();
    let sets = devices.iter().flat_map(|device| &device.sets);
    for set in sets {
        life.double.delete_token(&set.id);
    }
    life.note("second")?;
    life.until("the new inventory is shown", |life, _| {
        life.shown("note").is_some_and(|note| note == "second")
    })?;
    let service = life.service()?;
    if service.count("the server refused the Mender token in use") == 1 {
        return Ok(());
    }
    Err(format!("nothing was said of the 401; {}", seen(service)))
}

fn renewed(life: &mut Life) -> Outcome<()> {
    let asked = life.asked();
    life.until("renewed", |_, service| {
        service.count("the Mender token is renewed") > 0
    })?;
    let service = life.service()?;
    let was_lost = service.count("has expired") > 0;
    let token = service.show("/cycle/token/expires_in_s").as_u64();
    let is_fresh = token.is_some_and(|left_s| left_s > TOKEN_LIFE_S / 2);
    if life.asked() == asked + 1 && is_fresh && !was_lost {
        return Ok(());
    }
    Err(format!(
        "{token:?} s left, {asked} auth requests before; {}",
        seen(service)
    ))
}

fn decommissioned(life: &mut Life) -> Outcome<()> {
    life.double.begin_decommissioning(&life.device_id()?);
    life.device.refresh();
    life.until("decommissioned", |_, service| {
        service.show("/cycle/why/code") == "decommissioned"
    })?;
    let service = life.service()?;
    let wait = service.show("/cycle/next/in_s").as_u64();
    let words = "no longer accepted, decommissioned or rejected";
    let facts = [
        (
            "the state is pending",
            service.show("/cycle/state") == "pending",
        ),
        ("the next attempt is 30 s away or more", wait >= Some(29)),
        ("it is said once", service.count(words) == 1),
        ("there is no token", service.show("/cycle/token").is_null()),
    ];
    match facts.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((what, _)) => Err(format!("expected: {what}; {}", seen(service))),
    }
}

/// What a reader needs when something was not so.
fn seen(service: &Service) -> String {
    format!(
        "status {}; log:\n{}",
        service.status(),
        service.lines().join("\n")
    )
}
