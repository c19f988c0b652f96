//! Sets: ambassadors, server and device of the story, and looks at what became of them.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use mtls_lab::device::{MenderDevice, Ran, Service};
use mtls_lab::front::{self, Front};
use mtls_lab::mender::{Config, Door, MenderDouble};
use mtls_lab::openssl::set_mode;
use mtls_lab::pki::Pki;
use serde_json::Value;

use super::bus::Bus;
use crate::Failure;
use crate::demo::tell::{Checks, Scene};

/// The common name of the device's certificate.
pub(super) const NAME: &str = "0123456789ABCDEF";
/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(20);

/// Everything on stage.
pub(super) struct Stage {
    pub(super) pki: Pki,
    /// The Mender server, with the ambassador's checks.
    pub(super) server: MenderDouble,
    /// The first TLS door before it; gone while it is down.
    pub(super) first: Option<Front>,
    pub(super) second: Front,
    pub(super) device: MenderDevice,
    pub(super) service: Option<Service>,
    pub(super) bus: Option<Bus>,
    pub(super) dir: PathBuf,
    first_config: front::Config,
    /// Lines of the log that were told.
    told: usize,
    /// Everything the agent printed in runs that have ended.
    printed: String,
}

impl Stage {
    /// Starts everything in a directory.
    pub(super) fn set(dir: &Path, binary: &Path) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::work("cannot set the stage", &error);
        fs::create_dir_all(dir).map_err(cannot)?;
        let dir = dir.canonicalize().map_err(cannot)?;
        set_mode(&dir, 0o700);
        let pki = Pki::make(&dir.join("pki"), NAME);
        let server = MenderDouble::start(Config::new(Door::BehindProxy)).map_err(cannot)?;
        let config = front::Config::new(&pki, server.address());
        let first = Front::start(config.clone()).map_err(cannot)?;
        let second = Front::start(config.clone()).map_err(cannot)?;
        let bus = Bus::start(&dir)?;
        let mut device = match &bus {
            Some(bus) => {
                let on_it = bus.with_agent(binary, &dir)?;
                MenderDevice::new(&on_it.display().to_string(), &pki)
            }
            None => MenderDevice::new(&binary.display().to_string(), &pki),
        };
        device.servers(&[&first.uri(), &second.uri()]);
        device.conf("InventoryPollIntervalSeconds", 5);
        // Whatever else is installed on this machine.
        device.set("mender.inventory", "on");
        device.set("mender.dbus", bus.is_some());
        let site = format!("cat '{}'", device.path("site").display());
        device.inventory_script("site", &site);
        let first_config = front::Config {
            port: first.address().port(),
            ..config
        };
        let stage = Self {
            pki,
            server,
            first: Some(first),
            second,
            device,
            service: None,
            bus,
            dir,
            first_config,
            told: 0,
            printed: String::new(),
        };
        stage.stand_at("a roof in Bern")?;
        Ok(stage)
    }

    /// Says who is on stage.
    pub(super) fn introduce(&self) {
        let first = self.first.as_ref().map(Front::uri).unwrap_or_default();
        println!(
            "\nThe life of a device at Mender: a real mtls-agent, every server a double on loopback\n"
        );
        println!("  agent --- mutual TLS ---> ambassador {first} ---.");
        println!(
            "    '------ mutual TLS ---> ambassador {} ---'---> Mender server",
            self.second.uri()
        );
        if self.bus.is_some() {
            println!("    '------ D-Bus --------> other Mender programs, as mender-connect");
        }
    }

    /// Changes what the inventory script prints.
    pub(super) fn stand_at(&self, place: &str) -> Result<(), Failure> {
        fs::write(self.device.path("site"), format!("site={place}\n"))
            .map_err(|error| Failure::work("cannot write the site", &error))
    }

    /// One run of a command with another `mender.conf`, which is changed back after it.
    pub(super) fn once(&mut self, change: impl FnOnce(&mut Value)) -> Ran {
        let usual = self.device.conf.clone();
        change(&mut self.device.conf);
        let ran = self.device.run("once --json");
        self.device.conf = usual;
        self.device.configure();
        self.printed.push_str(&ran.out);
        self.printed.push_str(&ran.log);
        ran
    }

    /// Starts the service, which asks at once.
    pub(super) fn serve(&mut self) {
        self.service = Some(self.device.serve());
    }

    /// A person asks the agent to do everything now.
    pub(super) fn refresh(&self) {
        self.device.refresh();
    }

    /// Copies what is in the device's folder to where all files are.
    pub(super) fn keep(&self) -> Result<(), Failure> {
        let copied = copy(&self.device.path(""), &self.dir.join("device"));
        copied.map_err(|error| Failure::work("cannot copy the device's files", &error))
    }

    /// Starts the first door again, at its old address.
    pub(super) fn open_first(&mut self) -> Result<(), Failure> {
        let front = Front::start(self.first_config.clone());
        self.first = Some(front.map_err(|error| Failure::work("the first ambassador", &error))?);
        Ok(())
    }

    /// How many lines of the service's log hold this text.
    pub(super) fn said(&self, text: &str) -> usize {
        self.service
            .as_ref()
            .map_or(0, |service| service.count(text))
    }

    /// A member of the status; null when it is missing.
    pub(super) fn show(&self, pointer: &str) -> Value {
        let service = self.service.as_ref();
        service
            .map(|service| service.show(pointer))
            .unwrap_or_default()
    }

    /// A text of the status.
    pub(super) fn text(&self, pointer: &str) -> String {
        let found = self.show(pointer);
        found.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until something is so, and notes whether it came.
    pub(super) fn wait(&self, checks: &mut Checks, what: &str, is_so: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(self) && Instant::now() < limit {
            thread::sleep(GLANCE);
        }
        checks.that(what, is_so(self));
    }

    /// An attribute that the server shows of the one device it has.
    pub(super) fn shown(&self, name: &str) -> Option<Value> {
        let devices = self.server.devices();
        let inventory = self.server.inventory(&devices.first()?.id)?;
        inventory.get(name).cloned()
    }

    /// The scene as the service told it since the last.
    pub(super) fn scene(&mut self, checks: Checks) -> Scene {
        let lines = self.service.as_ref().map(Service::lines);
        let lines = lines.unwrap_or_default();
        // What a laboratory brings with it is not the device's story.
        let is_told = |line: &&String| {
            let codes = ["[code=runtime_on_disk]", "[code=mender_conf]"];
            codes.iter().all(|code| !line.contains(code))
        };
        let new = lines.iter().skip(self.told).filter(is_told);
        let said: Vec<String> = new.map(|line| bare(line)).collect();
        self.told = lines.len();
        Scene {
            agent: said.join(" | "),
            now: self.standing(),
            checks,
            ..Scene::default()
        }
    }

    fn standing(&self) -> String {
        let next = self.show("/cycle/next/in_s").as_u64();
        let token = match self.show("/cycle/token/expires_in_s").as_u64() {
            Some(left_s) => format!("for {} h", left_s.div_ceil(3600)),
            None => "none".to_owned(),
        };
        format!(
            "{}; {}; mutual TLS {}; token {token}; next: {} in {} s",
            self.text("/cycle/state"),
            self.text("/server"),
            self.text("/mutual_tls").replace('_', " "),
            self.text("/cycle/next/reason").replace('_', " "),
            next.unwrap_or_default(),
        )
    }

    /// No token may stand in anything the agent printed or shows.
    pub(super) fn secrets_stayed_inside(&self) -> Checks {
        let mut checks = Checks::default();
        let lines = self
            .service
            .as_ref()
            .map(Service::lines)
            .unwrap_or_default();
        let shown = [
            self.printed.clone(),
            lines.join("\n"),
            self.show("").to_string(),
        ]
        .concat();
        let requests = self.server.requests();
        let headers = requests
            .iter()
            .filter_map(|one| one.request.header("authorization"));
        let tokens: Vec<_> = headers
            .filter_map(|header| header.strip_prefix("Bearer "))
            .collect();
        let hidden = tokens.iter().all(|token| !shown.contains(token));
        checks.that(
            &format!(
                "none of the {} tokens sent stands in what it printed",
                tokens.len()
            ),
            !tokens.is_empty() && hidden,
        );
        checks
    }
}

/// The scene as a run of a command went.
pub(super) fn scene_of(ran: &Ran, checks: Checks) -> Scene {
    let words = |names: [&str; 2], form: fn(&str) -> String| {
        let words = names.map(|name| ran.text(name));
        let words = words.into_iter().filter(|text| !text.is_empty());
        words.map(form).collect::<Vec<_>>()
    };
    let first = [
        vec![ran.text("outcome").to_owned()],
        words(["class", "code"], |mark| format!("[{mark}]")),
    ];
    let rest = words(["message", "hint"], str::to_owned);
    let parts = [vec![first.concat().join(" ")], rest];
    Scene {
        agent: parts.concat().join(" | "),
        checks,
        ..Scene::default()
    }
}

/// A line of the log without its priority, and without numbers nobody compares here.
fn bare(line: &str) -> String {
    let line = line.split_once('>').map_or(line, |(_, rest)| rest);
    let is_told = |word: &&str| !word.starts_with("[request_id=") && !word.starts_with("[key=");
    let words: Vec<&str> = line.split_whitespace().filter(is_told).collect();
    words.join(" ")
}

/// Files and folders, without sockets.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
