//! Holds: one proxy with everything around it, certificates, relay and doubles.

use std::fs;
use std::path::{Path, PathBuf};

use mtls_lab::pki::{Pair, Pki};

use crate::Outcome;
use crate::probe::{self, Answer};
use crate::process::{self, Kind, Running, Site, Tls};
use crate::upstream::Upstream;

/// The gateway of all cases.
const EUI: &str = "58A0CBFFFE800001";

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
            kind.name,
            tls.name()
        ));
        fs::create_dir_all(&folder).map_err(|error| format!("no folder: {error}"))?;
        let pki = Pki::make(&folder.join("pki"), EUI);
        let upstream = Upstream::start(([127, 0, 0, 1], 9).into())
            .map_err(|error| format!("the relay cannot listen: {error}"))?;
        let site = Site {
            client_authorities: authorities(&pki)?,
            server_chain: pki.server.certificate.clone(),
            server_key: pki.server.key.clone(),
            upstream: upstream.address,
            port: process::free_port()?,
            folder,
            tls,
        };
        let ready = || probe::ask(site.port, &pki.server_root, Some(&pki.device));
        let running = kind.start(program, &site, &ready)?;
        Ok(Self {
            kind: kind.name,
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
        } else if let Err(error) = fs::remove_dir_all(&folder) {
            println!("     cannot remove {}: {error}", folder.display());
        }
    }
}

/// Root and issuing authority of the devices in one file, as proxies want them.
fn authorities(pki: &Pki) -> Outcome<PathBuf> {
    let path = pki.dir.join("client-authorities.pem");
    fs::read_to_string(&pki.client_issuing)
        .and_then(|issuing| Ok(issuing + &fs::read_to_string(&pki.client_root)?))
        .and_then(|text| fs::write(&path, text))
        .map_err(|error| format!("cannot join the authorities: {error}"))?;
    Ok(path)
}
