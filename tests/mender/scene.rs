//! Stands: one device and the doubles of an ambassador and of the Mender server behind it.

use std::fs;

use mtls_lab::device::{EUI, MenderDevice, Ran, Scratch, Service};
use mtls_lab::mender::{Attributes, Config, MenderDouble, Recorded, Rules};
use mtls_lab::pki::Pki;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
/// Where devices ask for a token.
pub(crate) const AUTH: &str = "/api/devices/v1/authentication/auth_requests";
/// Where they report what they are.
pub(crate) const INVENTORY: &str = "/api/devices/v1/inventory/device/attributes";

/// Runs what waits most of its time at the same time; a panic names which it was.
pub(crate) fn side_by_side(tests: &[(&str, fn())]) {
    let failed = std::thread::scope(|scope| {
        let spawn = |(name, test): &(&str, fn())| {
            let builder = std::thread::Builder::new().name((*name).to_owned());
            let test = *test;
            (name.to_string(), builder.spawn_scoped(scope, test).unwrap())
        };
        let running: Vec<_> = tests.iter().map(spawn).collect();
        let ended = running
            .into_iter()
            .map(|(name, thread)| (name, thread.join()));
        let failed = ended.filter(|(_, end)| end.is_err());
        failed.map(|(name, _)| name).collect::<Vec<_>>()
    });
    assert!(failed.is_empty(), "{failed:?}");
}

pub(crate) struct Scene {
    pub(crate) device: MenderDevice,
    pub(crate) mender: MenderDouble,
    pub(crate) pki: Pki,
    _scratch: Scratch,
}

impl Scene {
    /// A device before the ambassador, which has a certificate of its CA.
    pub(crate) fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// The same with another set-up of the double.
    pub(crate) fn with(change: impl FnOnce(&mut Config, &Pki)) -> Self {
        let scratch = Scratch::new();
        let pki = Pki::make(&scratch.path().join("pki"), EUI);
        let mut config = Config::of(&pki);
        change(&mut config, &pki);
        let mender = MenderDouble::start(config).unwrap();
        let mut device = MenderDevice::new(BINARY, &pki);
        device.server(&mender.uri());
        Self {
            device,
            mender,
            pki,
            _scratch: scratch,
        }
    }

    /// The same before the Mender server itself, which nobody has told of the device.
    pub(crate) fn without_ambassador() -> Self {
        Self::with(|config, pki| {
            config.door = mtls_lab::mender::Door::Server {
                server: pki.server.clone(),
            };
        })
    }

    pub(crate) fn life_s(token_life_s: u64) -> Self {
        let scene = Self::new();
        scene.mender.change(|rules| {
            *rules = Rules {
                token_life_s,
                ..rules.clone()
            };
        });
        scene
    }

    /// Requests to one path so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<Recorded> {
        let mut requests = self.mender.requests();
        requests.retain(|recorded| recorded.request.path.starts_with(path));
        requests
    }

    /// Answers to auth requests so far.
    pub(crate) fn auths(&self) -> Vec<Option<u16>> {
        let of = |recorded: &Recorded| recorded.status;
        self.asked(AUTH).iter().map(of).collect()
    }

    /// Inventories so far: method and answer.
    pub(crate) fn inventories(&self) -> Vec<(String, Option<u16>)> {
        let of = |recorded: &Recorded| (recorded.request.method.clone(), recorded.status);
        self.asked(INVENTORY).iter().map(of).collect()
    }

    /// The id of the only device.
    pub(crate) fn id(&self) -> String {
        let devices = self.mender.devices();
        assert_eq!(devices.len(), 1, "{devices:?}");
        devices.first().unwrap().id.clone()
    }

    /// The id of its newest auth set.
    pub(crate) fn set(&self) -> String {
        let devices = self.mender.devices();
        let device = devices.first().unwrap();
        device.sets.last().unwrap().id.clone()
    }

    /// What the server has of the only device.
    pub(crate) fn inventory(&self) -> Attributes {
        self.mender.inventory(&self.id()).unwrap()
    }

    pub(crate) fn once(&self) -> Ran {
        self.device.run("once --json")
    }

    /// A running agent that has the state.
    pub(crate) fn serve_until(&self, state: &str) -> Service {
        let service = self.device.serve();
        service.until(state, |service| service.show("/cycle/state") == state);
        service
    }

    /// How often a script of [`Scene::counted`] has run.
    pub(crate) fn count(&self, name: &str) -> usize {
        fs::read_to_string(self.device.path(name)).map_or(0, |text| text.lines().count())
    }

    /// Lines for the shell that count their runs in a file of the device's folder.
    pub(crate) fn counted(&self, name: &str, lines: &str) -> String {
        format!("echo run >> {}; {lines}", self.device.path(name).display())
    }
}
