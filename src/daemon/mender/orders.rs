//! Acts: what the worker is given for each of the machine's commands.

use core::time::Duration;
use std::sync::Arc;

use super::attempt::Attempt;
use super::call::Access;
use super::gathering::{Asking, Authorised, Gathering};
use super::service::Service;
use super::standing::Standing;
use crate::agent::failure::{Class, Failure};
use crate::agent::mender::Settings;
use crate::config;

impl Service {
    pub(super) fn attempt(&self) -> Result<Box<Attempt>, Failure> {
        let standing = self.standing.as_ref().ok_or_else(no_identity)?;
        // A renewal is the time to look whether the first server is back.
        let servers = &self.config.conf.servers;
        let last = self.last_server.as_ref().filter(|_| self.current.is_none());
        let first = last.and_then(|last| servers.iter().position(|server| server == last));
        Ok(Box::new(Attempt {
            standing: Arc::clone(standing),
            access: self.access(standing),
            servers: servers.clone(),
            first: first.unwrap_or_default(),
            giver: self.current.as_ref().map(|current| current.server.clone()),
            tenant_token: self.config.conf.tenant_token.clone(),
            tier: self.config.conf.tier,
            identity_script: self.config.identity_script.clone(),
            identity_pairs: self.config.identity_pairs.clone(),
        }))
    }

    pub(super) fn access(&self, standing: &Standing) -> Access {
        Access {
            tls: standing.tls.clone(),
            network: self.config.network,
            own_certificate_valid: standing.is_certificate_valid(),
            silent_closes: self.silent_closes,
        }
    }

    pub(super) fn authorised(&self) -> Result<Authorised, Failure> {
        let standing = self.standing.as_ref().ok_or_else(no_identity)?;
        let no_token = || Failure::new(Class::Protocol, "no_token", "there is no token");
        let current = self.current.as_ref().ok_or_else(no_token)?;
        Ok(Authorised {
            access: self.access(standing),
            server: current.server.clone(),
            token: current.token.clone(),
        })
    }

    pub(super) fn gathering(&self) -> Result<Box<Gathering>, Failure> {
        Ok(Box::new(Gathering {
            authorised: self.authorised()?,
            inventory_dir: self.config.inventory_dir.clone(),
            device_type_file: self.config.device_type_file.clone(),
            sent: self.sent,
        }))
    }

    pub(super) fn asking(&self) -> Result<Box<Asking>, Failure> {
        Ok(Box::new(Asking {
            authorised: self.authorised()?,
            device_type_file: self.config.device_type_file.clone(),
        }))
    }

    /// Whether the certificate is used at all: a server that does not ask for it is not the
    /// ambassador, and accepts the device only by hand.
    pub(super) fn mutual_tls(&self) -> &'static str {
        let why = self.machine.status().why;
        match (&self.config.identity, &self.current) {
            (None, _) => "off",
            (Some(_), Some(current)) if current.certificate_requested => "used",
            (Some(_), Some(_)) => "not_requested",
            (Some(_), None) if why.is_some_and(|why| why.code == "mtls_not_requested") => {
                "not_requested"
            }
            (Some(_), None) => "unknown",
        }
    }
}

/// The machine's settings out of the configuration.
pub(super) fn settings(config: &config::Mender) -> Settings {
    let seconds = Duration::from_secs;
    let polls = !config.update_command.is_empty();
    let sends = config.inventory.unwrap_or_else(|| !is_mender_update_here());
    Settings {
        retry: seconds(config.conf.retry_poll_s),
        first_retry_spread: seconds(config.retry_s_max),
        boot_delay_max: seconds(config.boot_s_max),
        inventory_poll: sends.then(|| seconds(config.conf.inventory_poll_s)),
        update_poll: polls.then(|| seconds(config.conf.update_poll_s)),
    }
}

/// Its inventory would be replaced by ours, and ours by its.
fn is_mender_update_here() -> bool {
    ["/usr/bin/mender-update", "/usr/sbin/mender-update"]
        .iter()
        .any(|path| std::path::Path::new(path).exists())
}

fn no_identity() -> Failure {
    Failure::new(
        Class::IdentityInvalid,
        "missing",
        "no device identity is loaded",
    )
}
