//! Holds: one proxy with everything around it, certificates, relay and doubles.

use std::fs;
use std::path::{Path, PathBuf};

use mtls_lab::cups::{self, CupsDouble};
use mtls_lab::lns::{self, LnsDouble};
use mtls_lab::pki::{Pair, Pki};
use mtls_lab::proxy::{Running, free_port};

use crate::Outcome;
use crate::agent::Agent;
use crate::probe::{self, Answer};
use crate::process::{Kind, Site, Tls};
use crate::upstream::Upstream;

/// The gateway of all cases.
pub(crate) const EUI: &str = "58A0CBFFFE800001";

/// A running proxy in front of the CUPS double.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The proxy's kind.
    pub(crate) kind: &'static str,
    /// Whether a refused certificate is answered in HTTP.
    pub(crate) refuses_in_http: bool,
    /// The one version the proxy speaks.
    pub(crate) tls: Tls,
    /// The port of 127.0.0.1 it listens on.
    pub(crate) port: u16,
    /// Where the case's files are.
    pub(crate) folder: PathBuf,
    /// The certificates.
    pub(crate) pki: Pki,
    /// The CUPS double behind the proxy.
    pub(crate) cups: CupsDouble,
    /// The LNS double, reached without the proxy.
    pub(crate) lns: LnsDouble,
    /// The device with the good identity.
    pub(crate) agent: Agent,
    /// What the proxy forwards to.
    pub(crate) upstream: Upstream,
    _running: Running,
}

impl Bench {
    /// Starts the doubles and the proxy and waits for its first real answer.
    pub(crate) fn set_up(kind: &Kind, program: &Path, tls: Tls) -> Outcome<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "proxies-{}/{}-{}",
            std::process::id(),
            kind.name(),
            tls.name()
        ));
        fs::create_dir_all(&folder).map_err(|error| format!("no folder: {error}"))?;
        let pki = Pki::make(&folder.join("pki"), EUI);
        let (cups, lns) = doubles(&pki)?;
        let upstream = Upstream::start(cups.address())
            .map_err(|error| format!("the relay cannot listen: {error}"))?;
        let site = Site {
            client_authorities: pki.client_authorities(),
            server_chain: pki.server.certificate.clone(),
            server_key: pki.server.key.clone(),
            upstream: upstream.address,
            port: free_port().map_err(|error| format!("no free port: {error}"))?,
            folder,
            tls,
        };
        let ready = || probe::ask(site.port, &pki.server_root, Some(&pki.device));
        let running = kind.start(program, &site, &ready)?;
        let agent = Agent::new(&site.folder.join("device"), site.port, &pki, &pki.device)?;
        Ok(Self {
            cups,
            lns,
            agent,
            kind: kind.name(),
            refuses_in_http: kind.refuses_in_http,
            tls,
            port: site.port,
            folder: site.folder,
            pki,
            upstream,
            _running: running,
        })
    }

    /// Asks the proxy itself, without the agent.
    pub(crate) fn ask(&self, papers: Option<&Pair>) -> Outcome<Answer> {
        probe::ask(self.port, &self.pki.server_root, papers)
    }

    /// Stops the proxy; its folder stays for the reader when a case failed.
    pub(crate) fn end(self, keep: bool) {
        let folder = self.folder.clone();
        drop(self);
        if keep {
            println!("     configuration and logs: {}", folder.display());
            return;
        }
        if let Err(error) = fs::remove_dir_all(&folder) {
            println!("     cannot remove {}: {error}", folder.display());
        }
        // The folder of the whole run goes with its last entry, and not before.
        let _still_used = folder.parent().map(fs::remove_dir);
    }
}

fn doubles(pki: &Pki) -> Outcome<(CupsDouble, LnsDouble)> {
    let ca_store = vec![pki.client_issuing.clone()];
    let cups = CupsDouble::start(&cups::Config {
        ca_store,
        ..cups::Config::default()
    })
    .map_err(|error| format!("the CUPS double cannot listen: {error}"))?;
    let tls = Some(pki.lns.server.clone());
    let lns = LnsDouble::start(&lns::Config {
        tls,
        ..lns::Config::default()
    })
    .map_err(|error| format!("the LNS double cannot listen: {error}"))?;
    Ok((cups, lns))
}
