//! Decides: on every request, as the ambassador and the server behind it do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::connect::Connected;
use super::deployments::Deployments;
use super::devices::{Registry, Verdict};
use super::identity::Identity;
use super::inventory;
use super::key::PublicKey;
use super::leaf::Leaf;
use super::token::Signer;
use super::trouble::{At, Trouble, error};
use super::{Ambassador, Recorded, Rules};
use crate::http::{RawAnswer, Request};

/// Where devices ask for a token.
const AUTH: &str = "/api/devices/v1/authentication/auth_requests";
/// Where they report what they are.
const INVENTORY: &str = "/api/devices/v1/inventory/device/attributes";
/// Where a terminal session is carried.
const CONNECT: &str = "/api/devices/v1/deviceconnect/connect";
/// Most octets of an auth request or an inventory.
const BODY_LIMIT: usize = 1024 * 1024;

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Decision {
    Answer(RawAnswer),
    /// The connection becomes a WebSocket of this device.
    Upgrade(String),
}

/// Everything the server knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rules: Rules,
    /// `None`: the device talks to the server itself.
    pub(super) ambassador: Option<Ambassador>,
    pub(super) registry: Registry,
    pub(super) signer: Signer,
    /// The auth sets whose tokens are on record.
    pub(super) issued: BTreeSet<String>,
    pub(super) inventories: BTreeMap<String, inventory::Attributes>,
    pub(super) deployments: Deployments,
    pub(super) troubles: VecDeque<(At, usize, Trouble)>,
    pub(super) requests: Vec<Recorded>,
    pub(super) connects: Vec<Connected>,
}

impl State {
    /// Decides, with any trouble that waits for this kind of request.
    pub(super) fn decide(&mut self, request: &Request, leaf: Option<&Leaf>) -> Decision {
        let path = request.path.split('?').next().unwrap_or_default();
        let trouble = self.trouble(place(path));
        if let Some(answer) = trouble.as_ref().and_then(Trouble::instead) {
            return Decision::Answer(answer);
        }
        let decision = self
            .route(path, request, leaf)
            .unwrap_or_else(Decision::Answer);
        match (decision, trouble) {
            (Decision::Answer(answer), Some(trouble)) => Decision::Answer(trouble.spoil(answer)),
            (decision, _) => decision,
        }
    }

    fn trouble(&mut self, at: At) -> Option<Trouble> {
        let fits = |(known, _, _): &(At, usize, Trouble)| *known == at || *known == At::Everything;
        let index = self.troubles.iter().position(fits)?;
        let (_, left, trouble) = self.troubles.get_mut(index)?;
        let trouble = trouble.clone();
        *left -= 1;
        if *left == 0 {
            self.troubles.remove(index);
        }
        Some(trouble)
    }

    fn route(
        &mut self,
        path: &str,
        request: &Request,
        leaf: Option<&Leaf>,
    ) -> Result<Decision, RawAnswer> {
        let method = request.method.as_str();
        if path == "/status" && method == "GET" && self.ambassador.is_some() {
            let body = br#"{"status":"ok"}"#.to_vec();
            return Ok(Decision::Answer(RawAnswer::typed(
                200,
                "application/json",
                body,
            )));
        }
        if path == AUTH && method == "POST" {
            let tier = tier_rule(self.rules.enterprise);
            if let Some(ambassador) = self.ambassador {
                ambassador.check(request, leaf, &mut self.registry, tier)?;
            }
            return self.authenticate(request).map(Decision::Answer);
        }
        if !path.starts_with("/api/devices/") {
            return Err(error(404, "not found"));
        }
        let device = self.bearer(request)?;
        match (path, method) {
            (INVENTORY, "PUT" | "PATCH") => {
                if method == "PUT" && self.rules.inventory_patch_only {
                    return Err(error(405, "method not allowed"));
                }
                let known = self.inventories.entry(device).or_default();
                within_limit(request)?;
                inventory::take(known, &request.body, method == "PUT")
                    .map_err(|word| error(400, word))?;
                let kind = "application/json; charset=utf-8";
                Ok(Decision::Answer(RawAnswer::typed(200, kind, Vec::new())))
            }
            (CONNECT, "GET") => Ok(Decision::Upgrade(device)),
            _ => {
                let old = self.rules.deployments_v1_only;
                self.deployments
                    .answer(&device, path, request, old)
                    .map(Decision::Answer)
            }
        }
    }

    /// The server's own part of an auth request.
    fn authenticate(&mut self, request: &Request) -> Result<RawAnswer, RawAnswer> {
        content_type(request)?;
        within_limit(request)?;
        let undecodable = || error(400, "failed to decode auth request");
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| undecodable())?;
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let (Some(id_data), Some(public_key)) = (text("id_data"), text("pubkey")) else {
            return Err(undecodable());
        };
        let key = PublicKey::from_pem(public_key)
            .ok_or_else(|| error(400, "invalid auth request: cannot decode public key"))?;
        let signature = request
            .header("x-men-signature")
            .ok_or_else(|| error(400, "missing request signature header"))?;
        if !key.signed(&request.body, signature) {
            return Err(error(401, "signature verification failed"));
        }
        let identity = Identity::parse(id_data)
            .ok_or_else(|| error(400, "invalid auth request: cannot decode identity data"))?;
        let tenant = text("tenant_token").unwrap_or_default();
        if self
            .rules
            .tenant_token
            .as_deref()
            .is_some_and(|own| own != tenant)
        {
            return Err(error(401, "dev auth: unauthorized"));
        }
        let tier = tier_rule(self.rules.enterprise)(&body);
        let most = self.rules.max_devices.unwrap_or(usize::MAX);
        match self.registry.request(&identity, &key, &tier, most) {
            Verdict::Refused(word) => Err(error(401, word)),
            Verdict::Accepted { device, set } => {
                let token = self.issue(&device, &set).into_bytes();
                Ok(RawAnswer::typed(200, "application/jwt", token))
            }
        }
    }

    fn issue(&mut self, device: &str, set: &str) -> String {
        let now = now_s();
        let mut claims = json!({
            "jti": set,
            "sub": device,
            "iss": "Mender",
            "iat": now,
            "exp": now + self.rules.token_life_s,
            "mender.device": true,
        });
        if let (true, Some(claims)) = (self.rules.enterprise, claims.as_object_mut()) {
            claims.insert("mender.plan".to_owned(), json!("enterprise"));
            claims.insert(
                "mender.tenant".to_owned(),
                json!("0123456789abcdef01234567"),
            );
            claims.insert("mender.trial".to_owned(), json!(false));
        }
        self.issued.insert(set.to_owned());
        self.signer.issue(&claims)
    }

    /// The device whose token this is.
    fn bearer(&self, request: &Request) -> Result<String, RawAnswer> {
        let header = request.header("authorization").unwrap_or_default();
        let token = header
            .strip_prefix("Bearer ")
            .filter(|token| !token.is_empty())
            .ok_or_else(|| error(401, "unauthorized: no token"))?;
        let claims = self
            .signer
            .claims(token)
            .ok_or_else(|| error(401, "unauthorized: bad token"))?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let (device, set) = (text("sub"), text("jti"));
        if claims.get("exp").and_then(Value::as_u64).unwrap_or(0) <= now_s() {
            return Err(error(401, "token expired"));
        }
        if !self.issued.contains(set) || !self.registry.accepted(device, set) {
            return Err(error(401, "token not found"));
        }
        Ok(device.to_owned())
    }
}

fn place(path: &str) -> At {
    match path {
        AUTH => At::Auth,
        INVENTORY => At::Inventory,
        CONNECT => At::Connect,
        _ if path.contains("/deployments/") => At::Deployments,
        _ => At::Everything,
    }
}

/// Only Enterprise servers look at the tier.
fn tier_rule(enterprise: bool) -> impl Fn(&Value) -> String {
    move |body| {
        let given = body.get("tier").and_then(Value::as_str);
        given
            .filter(|_| enterprise)
            .unwrap_or("standard")
            .to_owned()
    }
}

fn content_type(request: &Request) -> Result<(), RawAnswer> {
    let header = request.header("content-type").unwrap_or_default();
    let media_type = header.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    if header.is_empty() || media_type.contains('/') {
        return Err(error(415, "unsupported media type"));
    }
    Err(error(400, "cannot read the content type"))
}

fn within_limit(request: &Request) -> Result<(), RawAnswer> {
    if request.body.len() > BODY_LIMIT {
        return Err(error(413, "request body too large"));
    }
    Ok(())
}

/// Seconds since 1970, as the server's clock has them.
pub(super) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
