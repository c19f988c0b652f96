//! Decides: what The Things Stack answers to one CUPS request, in its order of checks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use x509_cert::Certificate;

use super::answer::{self, Dialect, Segments};
use super::refusal::Refusal;
use super::{Gateway, certificate, router};
use crate::http::Request;

/// Longest value of a gateway attribute, into which station, model and package are written.
const ATTRIBUTE_LIMIT: usize = 200;

/// A rate limit over all requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Requests allowed in a window.
    pub limit: u32,
    /// How long a window lasts.
    pub window: Duration,
}

/// What the server knows.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) gateways: BTreeMap<String, Gateway>,
    pub(super) api_keys: BTreeSet<String>,
    pub(super) store: Vec<Certificate>,
    pub(super) budget: Option<Budget>,
    pub(super) window: Option<(Instant, u32)>,
    pub(super) trouble: Option<Refusal>,
    pub(super) dialect: Dialect,
}

/// The fields of a request that count.
struct Asked {
    eui: Option<u64>,
    cups_uri: String,
    tc_uri: String,
    cups_crc: u32,
    tc_crc: u32,
    texts_fit: bool,
}

impl Registry {
    /// The body of a 200, or why there is none.
    pub(super) fn decide(&mut self, request: &Request) -> Result<Vec<u8>, Refusal> {
        self.spend()?;
        if request.path != "/update-info" {
            return Err(Refusal::RouteNotFound(request.path.clone()));
        }
        if request.method != "POST" {
            return Err(Refusal::MethodNotAllowed);
        }
        let asked = parse(&request.body).ok_or(Refusal::Parse)?;
        let eui = asked
            .eui
            .filter(|eui| *eui != 0)
            .ok_or(Refusal::MissingRouter)?;
        let eui = router::eui_text(eui);
        let gateway = self.gateways.get(&eui);
        let gateway = gateway.ok_or_else(|| Refusal::GatewayNotFound(eui.clone()))?;
        if !self.authenticated(request, &eui) {
            return Err(Refusal::Unauthenticated);
        }
        let answer = self.answer(gateway, &eui, &asked)?;
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        // The attributes are written last, when the answer is ready.
        if asked.texts_fit {
            Ok(answer)
        } else {
            Err(Refusal::Attributes)
        }
    }

    fn spend(&mut self) -> Result<(), Refusal> {
        let Some(budget) = self.budget else {
            return Ok(());
        };
        let now = Instant::now();
        let (start, used) = match self.window {
            Some((start, used)) if now.duration_since(start) < budget.window => (start, used),
            _ => (now, 0),
        };
        if used >= budget.limit {
            let left = budget.window.saturating_sub(now.duration_since(start));
            let retry_s = left.as_secs().saturating_add(1);
            return Err(Refusal::RateLimit {
                limit: budget.limit,
                retry_s,
            });
        }
        self.window = Some((start, used.saturating_add(1)));
        Ok(())
    }

    fn authenticated(&self, request: &Request, eui: &str) -> bool {
        let bearer = request
            .header("authorization")
            .and_then(|text| text.strip_prefix("Bearer "));
        if let Some(key) = bearer {
            return self.api_keys.contains(key.trim());
        }
        certificate::forwarded(request)
            .is_some_and(|leaf| certificate::accepted(&leaf, eui, &self.store))
    }

    fn answer(&self, gateway: &Gateway, eui: &str, asked: &Asked) -> Result<Vec<u8>, Refusal> {
        let encode = |segments: &Segments<'_>| answer::encode(segments, self.dialect);
        if let Some(target) = &gateway.cups_target {
            let key = target.key.as_deref();
            let key = key.ok_or_else(|| Refusal::TargetCredentialsNotFound(eui.to_owned()))?;
            let blob = answer::token_credential(&target.trust_der, key);
            return Ok(encode(&Segments {
                cups_uri: changed(&target.uri, &asked.cups_uri),
                cups_credentials: renewed(&blob, asked.cups_crc),
                ..Segments::default()
            }));
        }
        let key = gateway.lns_key.as_deref();
        let key = key.ok_or_else(|| Refusal::LnsCredentialsNotFound(eui.to_owned()))?;
        let blob = answer::token_credential(&gateway.lns_trust_der, key);
        // Without TLS there is nothing to trust and nothing to show.
        let secure = gateway.lns_uri.starts_with("wss://");
        Ok(encode(&Segments {
            tc_uri: changed(&gateway.lns_uri, &asked.tc_uri),
            tc_credentials: if secure {
                renewed(&blob, asked.tc_crc)
            } else {
                &[]
            },
            ..Segments::default()
        }))
    }
}

fn changed<'a>(wanted: &'a str, asked: &str) -> &'a str {
    if wanted == asked { "" } else { wanted }
}

fn renewed(blob: &[u8], asked: u32) -> &[u8] {
    if answer::crc32(blob) == asked {
        &[]
    } else {
        blob
    }
}

fn parse(body: &[u8]) -> Option<Asked> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let object = value.as_object()?;
    let field = |name: &str| object.get(name).filter(|value| !value.is_null());
    let text = |name: &str| match field(name) {
        None => Some(String::new()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    let number = |name: &str| match field(name) {
        None => Some(0),
        Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    let eui = match field("router") {
        None => None,
        Some(value) => Some(router::parse(value)?),
    };
    let keys = field("keys").map_or(Some(&[][..]), |value| value.as_array().map(Vec::as_slice))?;
    if !keys
        .iter()
        .all(|key| key.as_u64().is_some_and(|crc| u32::try_from(crc).is_ok()))
    {
        return None;
    }
    let texts = [text("station")?, text("model")?, text("package")?];
    Some(Asked {
        eui,
        cups_uri: text("cupsUri")?,
        tc_uri: text("tcUri")?,
        cups_crc: number("cupsCredCrc")?,
        tc_crc: number("tcCredCrc")?,
        texts_fit: texts
            .iter()
            .all(|text| text.chars().count() <= ATTRIBUTE_LIMIT),
    })
}
