//! Acts: gathers the inventory and sends it, or asks whether an update waits.

use core::time::Duration;
use std::path::PathBuf;

use ring::digest::{SHA256, digest};
use tracing::warn;
use ureq::http::Method;

use super::call::{Access, Call, CallError};
use super::facts;
use super::scripts;
use crate::agent::failure::{Class, Failure};
use crate::daemon::clock::Cutoff;
use crate::wire::mender::deployments::{self, ANSWER_OCTETS_MAX, Deployment};
use crate::wire::mender::inventory::{INVENTORY_PATH, Inventory, InventoryError};
use crate::wire::mender::server::ServerUrl;
use crate::wire::mender::token::Token;

/// A job ends before the machine gives it up.
const JOB_MAX: Duration = Duration::from_secs(270);
/// No script is started later: their time is out of that of the job.
const SCRIPTS_TOGETHER_MAX: Duration = Duration::from_secs(120);
/// Octets of an answer that nobody reads.
const IGNORED_OCTETS_MAX: usize = 64 * 1024;
const NOT_ALLOWED: u16 = 405;
const NOT_FOUND: u16 = 404;

/// What a call with the token needs.
#[derive(Debug, Clone)]
pub struct Authorised {
    /// How calls are made.
    pub access: Access,
    /// The server that gave the token.
    pub server: ServerUrl,
    /// The token.
    pub token: Token,
}

/// The inventory to be sent.
#[derive(Debug, Clone)]
pub struct Gathering {
    /// To whom.
    pub authorised: Authorised,
    /// Where the scripts are.
    pub inventory_dir: PathBuf,
    /// Says what kind of device this is.
    pub device_type_file: PathBuf,
    /// What was sent last: it is not sent again.
    pub sent: Option<[u8; 32]>,
}

/// The question whether an update waits.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Whom.
    pub authorised: Authorised,
    /// Says what kind of device this is.
    pub device_type_file: PathBuf,
}

/// Why a call with the token came to nothing.
#[derive(Debug)]
pub struct GatherError {
    /// What it means.
    pub failure: Failure,
    /// The status of the answer, if there was one: 401 and 403 speak of the token.
    pub status: Option<u16>,
}

impl From<CallError> for GatherError {
    fn from(error: CallError) -> Self {
        Self {
            failure: error.failure,
            status: error.status,
        }
    }
}

impl Gathering {
    /// Runs the scripts and sends what they say; the digest of what the server has now, or
    /// `None` if it had it. May take 5 minutes.
    pub fn run(&self) -> Result<Option<[u8; 32]>, GatherError> {
        let latest = Cutoff::after(JOB_MAX);
        let body = self.gather().body().map_err(|error| unusable(&error))?;
        let mut octets = [0; 32];
        octets.copy_from_slice(digest(&SHA256, body.as_bytes()).as_ref());
        if self.sent == Some(octets) {
            return Ok(None);
        }
        let send = |method| self.authorised.call(method, INVENTORY_PATH, &body, latest);
        match send(&Method::PUT) {
            // A server of before 2022 knows only how to add and change.
            Err(error) if error.status == Some(NOT_ALLOWED) => send(&Method::PATCH)?,
            done => done?,
        };
        Ok(Some(octets))
    }

    fn gather(&self) -> Inventory {
        let mut inventory = Inventory::default();
        let cutoff = Cutoff::after(SCRIPTS_TOGETHER_MAX);
        for script in scripts::inventory_scripts(&self.inventory_dir) {
            let shown = script.display();
            if cutoff.left().is_none() {
                warn!(
                    code = "inventory_script",
                    "{shown}: those before it took too long; left out"
                );
                continue;
            }
            match scripts::run(&script) {
                Ok(said) => {
                    if let Err(error) = inventory.add_script(&said) {
                        warn!(code = "inventory_script", "{shown}: {error}; left out");
                    }
                }
                Err(error) => warn!(code = "inventory_script", "{shown} {error}; left out"),
            }
        }
        for (name, value) in facts::attributes(&self.device_type_file) {
            // A name of ours is never too long; what a script says goes first.
            let _ = inventory.set_missing(&name, &value);
        }
        inventory
    }
}

impl Asking {
    /// The update that waits, if one does.
    pub fn run(&self) -> Result<Option<Deployment>, GatherError> {
        let kind = facts::device_type(&self.device_type_file).unwrap_or_default();
        let name = facts::artifact_name().unwrap_or_else(|| "unknown".to_owned());
        let question = deployments::question(&kind, &name);
        let latest = Cutoff::after(JOB_MAX);
        let post = |path: &str| self.authorised.call(&Method::POST, path, &question, latest);
        let answer = match post(deployments::NEXT_PATH) {
            Err(error) if error.status == Some(NOT_FOUND) => {
                let path = deployments::old_next_path(&kind, &name);
                self.authorised.call(&Method::GET, &path, "", latest)?
            }
            answer => answer?,
        };
        let (status, body) = answer;
        if status != 200 {
            return Ok(None);
        }
        let deployment = Deployment::parse(&body).map_err(|error| GatherError {
            failure: Failure::new(Class::Protocol, "mender_deployment", error.to_string()),
            status: None,
        })?;
        Ok(Some(deployment))
    }
}

impl Authorised {
    fn call(
        &self,
        method: &Method,
        path: &str,
        body: &str,
        latest: Cutoff,
    ) -> Result<(u16, Vec<u8>), CallError> {
        let header = |name: &str, value: String| (name.to_owned(), value);
        let headers = [
            header("Authorization", format!("Bearer {}", self.token.expose())),
            header("Accept", "application/json".to_owned()),
        ];
        let call = Call {
            method,
            server: &self.server,
            path,
            headers: &headers,
            body,
            octets_max: IGNORED_OCTETS_MAX.max(ANSWER_OCTETS_MAX),
        };
        let answer = self.access.call(call, latest)?;
        Ok((answer.status, answer.body))
    }
}

fn unusable(error: &InventoryError) -> GatherError {
    GatherError {
        failure: Failure::new(Class::Configuration, "inventory_script", error.to_string())
            .with_hint("look at what the inventory scripts print"),
        status: None,
    }
}
