//! Acts: one pass over the servers with an auth request, until one gives a token.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{debug, info, warn};
use ureq::http::Method;

use super::call::{Access, Call, CallError};
use super::facts;
use super::scripts;
use super::standing::Standing;
use crate::agent::failure::{Class, Failure};
use crate::agent::mender::refusal::most_telling;
use crate::daemon::clock::Cutoff;
use crate::wire::mender::auth::{AUTH_PATH, AUTHORIZATION, Request, SIGNATURE_HEADER, Tier};
use crate::wire::mender::id_data::IdData;
use crate::wire::mender::server::ServerUrl;
use crate::wire::mender::token::{TOKEN_OCTETS_MAX, Token};
use crate::wire::secret::Secret;
use crate::wire::token::withheld;

/// A pass ends before the machine gives it up, however many servers there are.
const PASS_MAX: Duration = Duration::from_secs(270);
/// A token, and some white space around it.
const ANSWER_OCTETS_MAX: usize = TOKEN_OCTETS_MAX + 1024;

/// What a pass needs.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Certificate, auth key, anchors.
    pub standing: Arc<Standing>,
    /// How calls are made.
    pub access: Access,
    /// In the order of trying.
    pub servers: Vec<ServerUrl>,
    /// The server to begin with.
    pub first: usize,
    /// The server that gave the token in use, if there is one.
    pub giver: Option<ServerUrl>,
    /// Sent in the body, if there is one.
    pub tenant_token: Option<Secret>,
    /// Sent in the body, if it is configured.
    pub tier: Option<Tier>,
    /// The identity script.
    pub identity_script: PathBuf,
    /// Identity without a script.
    pub identity_pairs: Vec<(String, String)>,
}

/// A token, and where it came from.
#[derive(Debug)]
pub struct Accepted {
    /// The token.
    pub token: Token,
    /// Which server gave it.
    pub server: ServerUrl,
    /// Who we said we are.
    pub id_data: String,
    /// Whether that server asked for the client certificate.
    pub certificate_requested: bool,
}

/// No server gave one.
#[derive(Debug)]
pub struct Refused {
    /// The failure that tells most.
    pub failure: Failure,
    /// Who we said we are, if it came to that.
    pub id_data: Option<String>,
    /// Whether a server closed silently after asking for our certificate.
    pub is_silent_close: bool,
}

impl Attempt {
    /// Asks one server after the other. May take 5 minutes.
    pub fn run(&self) -> Result<Accepted, Refused> {
        let id_data = self.id_data().map_err(|failure| Refused {
            failure,
            id_data: None,
            is_silent_close: false,
        })?;
        let shown = Some(id_data.as_str().to_owned());
        let refused = |failure, is_silent_close| Refused {
            failure,
            id_data: shown.clone(),
            is_silent_close,
        };
        let public_key_pem = self.standing.signer.spki_pem();
        let body = Request {
            id_data: &id_data,
            public_key_pem: &public_key_pem,
            tenant_token: self.tenant_token.as_ref(),
            tier: self.tier,
        }
        .body();
        let signature = self.standing.signer.sign(body.expose()).map_err(|error| {
            let failure = Failure::new(Class::IdentityInvalid, "not_signed", error.to_string());
            refused(failure, false)
        })?;
        let latest = Cutoff::after(PASS_MAX);
        let mut failures = Vec::new();
        let mut is_silent_close = false;
        for server in self.order() {
            match self.ask(server, &body, &signature, latest) {
                Ok((token, certificate_requested)) => {
                    return Ok(Accepted {
                        token,
                        server: server.clone(),
                        id_data: id_data.as_str().to_owned(),
                        certificate_requested,
                    });
                }
                Err(error) => {
                    debug!("no token: {}", error.failure);
                    is_silent_close |= error.is_silent_close;
                    failures.push((self.giver.as_ref() == Some(server), error.failure));
                }
            }
        }
        let failure = most_telling(failures).unwrap_or_else(no_server);
        Err(refused(failure, is_silent_close))
    }

    /// All servers, beginning with the first and going round.
    fn order(&self) -> impl Iterator<Item = &ServerUrl> {
        let none = (<&[_]>::default(), self.servers.as_slice());
        let (before, from) = self.servers.split_at_checked(self.first).unwrap_or(none);
        from.iter().chain(before)
    }

    fn ask(
        &self,
        url: &ServerUrl,
        body: &Secret,
        signature: &str,
        latest: Cutoff,
    ) -> Result<(Token, bool), CallError> {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = [
            header("Authorization", AUTHORIZATION),
            header(SIGNATURE_HEADER, signature),
            header("Accept", "application/json"),
        ];
        let call = Call {
            method: &Method::POST,
            server: url,
            path: AUTH_PATH,
            headers: &headers,
            body: core::str::from_utf8(body.expose()).unwrap_or_default(),
            octets_max: ANSWER_OCTETS_MAX,
        };
        let answer = self.access.call(call, latest).map_err(|mut error| {
            error.failure.message = self.without_tenant_token(&error.failure.message);
            error
        })?;
        let peer = url.uri().authority();
        let body = Secret::new(answer.body);
        let token = Token::parse(body.expose()).map_err(|error| {
            let text = format!("{peer}: {error}");
            Failure::new(Class::Protocol, "mender_token", text)
                .with_hint("check that ServerURL names a Mender server or its ambassador")
        })?;
        let request_id = answer.request_id.as_deref().unwrap_or("none");
        info!(
            request_id,
            key = self.standing.signer.fingerprint(),
            "{peer} accepted the device"
        );
        Ok((token, answer.certificate_requested))
    }

    /// A server may repeat what is in the body, too.
    fn without_tenant_token(&self, text: &str) -> String {
        self.tenant_token.as_ref().map_or_else(
            || text.to_owned(),
            |token| {
                let mut line = b"TenantToken: ".to_vec();
                line.extend_from_slice(token.expose());
                line.push(b'\n');
                withheld(text, &line)
            },
        )
    }

    fn id_data(&self) -> Result<IdData, Failure> {
        let failed = |code, why: String| {
            Failure::new(Class::IdentityInvalid, code, why)
                .with_hint("the identity script must print name=value lines and end with 0")
        };
        let script = &self.identity_script;
        let id_data = if script.is_file() {
            let said = scripts::run(script).map_err(|error| {
                failed("identity_script", format!("{}: {error}", script.display()))
            })?;
            IdData::from_script(&said).map_err(|error| {
                failed("identity_script", format!("{}: {error}", script.display()))
            })?
        } else if self.identity_pairs.is_empty() {
            let (interface, mac) = facts::first_real_interface().ok_or_else(|| {
                let text = format!(
                    "there is nothing to identify the device by: no {}, no mender.identity and no network interface with a device",
                    script.display()
                );
                failed("no_identity", text)
            })?;
            debug!("identified by the address of {interface}");
            IdData::from_pairs([("mac", mac)])
                .map_err(|error| failed("identity_script", error.to_string()))?
        } else {
            IdData::from_pairs(self.identity_pairs.iter().cloned())
                .map_err(|error| failed("identity_script", format!("mender.identity: {error}")))?
        };
        if id_data.has_reserved_name() {
            warn!(
                code = "id_status",
                "the identity has a name \"status\", which the server counts and never shows"
            );
        }
        Ok(id_data)
    }
}

fn no_server() -> Failure {
    Failure::new(Class::Configuration, "no_server", "no server is configured")
        .with_hint("set ServerURL to the address of the mTLS ambassador")
}
