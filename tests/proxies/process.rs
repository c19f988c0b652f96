//! Starts: one kind of proxy with its configuration, and waits until it really answers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use mtls_lab::proxy::{Program, Running};

use crate::Outcome;
use crate::probe::{self, Reply};

/// The one TLS version a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// TLS 1.2 only.
    V12,
    /// TLS 1.3 only.
    V13,
}

impl Tls {
    /// The version as it is printed in the case's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V12 => "tls1.2",
            Self::V13 => "tls1.3",
        }
    }
}

/// Everything a proxy needs to be configured.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// An own empty folder for the configuration and the logs.
    pub(crate) folder: PathBuf,
    /// The HTTP server behind the proxy.
    pub(crate) upstream: SocketAddr,
    /// The proxy's own certificate for `localhost`, leaf first, PEM.
    pub(crate) server_chain: PathBuf,
    /// The key of the proxy's certificate, PEM.
    pub(crate) server_key: PathBuf,
    /// The authorities of the devices, root and issuing, PEM.
    pub(crate) client_authorities: PathBuf,
    /// The version to speak.
    pub(crate) tls: Tls,
    /// The free loopback port to listen on.
    pub(crate) port: u16,
}

impl Site {
    /// Writes one configuration file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    }
}

/// One kind of proxy: how its program is found and how it is started.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Where its program is; its name is that of the output and of `--filter`.
    pub(crate) program: Program,
    /// Whether a refused certificate is answered in HTTP instead of by an alert.
    pub(crate) refuses_in_http: bool,
    /// Writes the configuration and makes the command.
    pub(crate) command: fn(&Path, &Site) -> Outcome<Command>,
}

impl Kind {
    /// The name in the output and for `--filter`.
    pub(crate) const fn name(&self) -> &'static str {
        self.program.name
    }

    /// Starts the program and returns once a request through it has reached the upstream.
    /// `ready` asks one question of the proxy at the site's port.
    pub(crate) fn start(
        &self,
        program: &Path,
        site: &Site,
        ready: &dyn Fn() -> Outcome<probe::Answer>,
    ) -> Outcome<Running> {
        let command = (self.command)(program, site)?;
        Running::start(
            &command,
            &site.folder.join("proxy.log"),
            &|| match ready()? {
                probe::Answer {
                    reply: Reply::Status { code: 200, .. },
                    ..
                } => Ok(()),
                answer => Err(format!("{answer:?}")),
            },
        )
    }
}
