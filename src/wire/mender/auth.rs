//! Speaks: the auth request, and the JSON that comes with a status other than 200.
//!
//! ```text
//! POST /api/devices/v1/authentication/auth_requests
//! X-MEN-Signature: base64 over the very octets of the body
//!
//! {"id_data":"{\"mac\":\"..\"}","pubkey":"-----BEGIN..","tenant_token":"..","tier":"system"}
//!
//! {"error":"dev auth: unauthorized","request_id":"3b2f7e0c-..."}
//! ```
//! The form is that of Mender client 5.1. `reference/mender.md` sections 2.1 and 2.3.

use core::fmt;
use std::collections::BTreeMap;

use serde_json::Value;

use super::id_data::IdData;
use crate::wire::cups::stack_error::printable;
use crate::wire::secret::Secret;

/// The path of the auth request.
pub const AUTH_PATH: &str = "/api/devices/v1/authentication/auth_requests";
/// What every path of the device side begins with.
pub const DEVICES_PATH: &str = "/api/devices/";
/// The header with the signature.
pub const SIGNATURE_HEADER: &str = "X-MEN-Signature";
/// The header by which the operator of the server finds a request in their log.
pub const REQUEST_ID_HEADER: &str = "X-MEN-RequestID";
/// What stands in `Authorization` of an auth request; the server ignores it.
pub const AUTHORIZATION: &str = "API_KEY";
/// The `Content-Type` of every body; the server answers 415 to any other.
pub const CONTENT_TYPE: &str = "application/json";

/// Longest error body that is looked at, in octets.
const ERROR_OCTETS_MAX: usize = 64 * 1024;

/// What kind of device the server is to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Small microcontrollers.
    Micro,
    /// What a server assumes when it is not told.
    Standard,
    /// A system of several devices behind this one.
    System,
}

impl Tier {
    /// Reads a name; upper and lower case count.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Micro, Self::Standard, Self::System]
            .into_iter()
            .find(|tier| tier.name() == name)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Micro => "micro",
            Self::Standard => "standard",
            Self::System => "system",
        }
    }
}

/// What an auth request says.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who the device is.
    pub id_data: &'a IdData,
    /// The public key as [`super::spki::pem`] writes it.
    pub public_key_pem: &'a str,
    /// The tenant's token; left out if there is none or it is empty.
    pub tenant_token: Option<&'a Secret>,
    /// Left out unless configured: an absent tier is `standard` on every server.
    pub tier: Option<Tier>,
}

impl Request<'_> {
    /// The body, written once: sign these octets and send these octets. Secret because it holds
    /// the tenant token.
    #[must_use]
    pub fn body(&self) -> Secret {
        let token = self.tenant_token.map(Secret::expose).unwrap_or_default();
        let token = core::str::from_utf8(token).unwrap_or_default();
        let mut members = BTreeMap::from([
            ("id_data", self.id_data.as_str()),
            ("pubkey", self.public_key_pem),
        ]);
        if !token.is_empty() {
            members.insert("tenant_token", token);
        }
        if let Some(tier) = self.tier {
            members.insert("tier", tier.name());
        }
        // Room for every escape, so that no copy of the token stays behind when it grows.
        let octets: usize = members.values().map(|text| text.len()).sum();
        let mut body = Vec::with_capacity(octets.saturating_mul(6).saturating_add(128));
        let written = serde_json::to_writer(&mut body, &members);
        debug_assert!(written.is_ok(), "writing texts into memory cannot fail");
        Secret::new(body)
    }
}

/// The parts of an error body. Printable ASCII only, bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The server's own words.
    pub error: String,
    /// What the operator of the server can search their log for.
    pub request_id: Option<String>,
}

impl ServerError {
    /// Reads an error body; `None` if it is not one: the ambassador's own answers are empty.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let body = body.get(..body.len().min(ERROR_OCTETS_MAX))?;
        let value: Value = serde_json::from_slice(body).ok()?;
        let error = value.get("error")?.as_str()?;
        Some(Self {
            error: printable(error, 200),
            request_id: value
                .get("request_id")
                .and_then(Value::as_str)
                .and_then(request_id),
        })
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

/// A request id made printable, from an error body or [`REQUEST_ID_HEADER`]; `None` if nothing
/// is left of it.
#[must_use]
pub fn request_id(text: &str) -> Option<String> {
    Some(printable(text, 64)).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Request, ServerError, Tier, request_id};
    use crate::wire::mender::id_data::IdData;
    use crate::wire::secret::Secret;

    fn body(tenant_token: Option<&Secret>, tier: Option<Tier>) -> String {
        let id_data = &IdData::from_script(b"mac=a").unwrap();
        let public_key_pem = "P\n";
        let request = Request {
            id_data,
            public_key_pem,
            tenant_token,
            tier,
        };
        String::from_utf8(request.body().expose().to_vec()).unwrap()
    }

    #[test]
    fn token_and_tier_stand_only_where_there_is_one() {
        let start = r#"{"id_data":"{\"mac\":\"a\"}","pubkey":"P\n""#;
        assert_eq!(body(None, None), format!("{start}}}"));
        let empty = Secret::new(Vec::new());
        assert_eq!(body(Some(&empty), None), format!("{start}}}"));
        let token = Secret::new(b"t\"t".to_vec());
        assert_eq!(
            body(Some(&token), Some(Tier::System)),
            format!(r#"{start},"tenant_token":"t\"t","tier":"system"}}"#)
        );
    }

    #[test]
    fn tiers_are_read_as_they_are_written() {
        for tier in [Tier::Micro, Tier::Standard, Tier::System] {
            assert_eq!(Tier::parse(tier.name()), Some(tier));
        }
        assert_eq!(Tier::parse("Standard"), None);
    }

    #[test]
    fn error_and_request_id_are_found_and_made_printable() {
        let error = ServerError::parse(br#"{"error":"dev\nauth: \u00fc","request_id":"1-\u0007"}"#);
        let error = error.unwrap();
        assert_eq!(error.to_string(), "dev auth:");
        assert_eq!(error.request_id.as_deref(), Some("1-"));
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(5000));
        assert_eq!(
            ServerError::parse(long.as_bytes()).unwrap().error.len(),
            200
        );
        assert_eq!(request_id("\r\n"), None);
    }

    #[test]
    fn other_bodies_are_not_errors() {
        for body in [&b""[..], b"<html>", b"[]", b"{}", br#"{"error":1}"#] {
            assert_eq!(ServerError::parse(body), None);
        }
    }
}
