//! Words: the error answers of The Things Stack.

use serde_json::json;

use crate::http::RawAnswer;

/// One kind of refusal, with what its text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 429; carries the limit and the seconds until the next try.
    RateLimit {
        /// Requests allowed in the window.
        limit: u32,
        /// Seconds until the client may try again.
        retry_s: u64,
    },
    /// 404 for any path but `/update-info`.
    RouteNotFound(String),
    /// 405.
    MethodNotAllowed,
    /// 409: no JSON, wrong types, or an EUI in a form that is not accepted.
    Parse,
    /// 400: no EUI, or zero.
    MissingRouter,
    /// 404 before any authentication.
    GatewayNotFound(String),
    /// 401: no key, no certificate, or neither is good.
    Unauthenticated,
    /// 404: the gateway has no LNS key.
    LnsCredentialsNotFound(String),
    /// 404: a CUPS target without a key.
    TargetCredentialsNotFound(String),
    /// 400: a text longer than an attribute may be.
    Attributes,
    /// 403.
    Forbidden,
    /// 500.
    Internal,
    /// 503.
    Unavailable,
}

impl Refusal {
    /// The answer, with the correlation id that its log line would have.
    #[must_use]
    pub fn answer(&self, correlation_id: u64) -> RawAnswer {
        let (status, code, namespace, name) = self.words();
        let text = self.text();
        let body = json!({
            "code": code,
            "message": format!("error:{namespace}:{name} ({text})"),
            "details": [{
                "@type": "type.googleapis.com/ttn.lorawan.v3.ErrorDetails",
                "namespace": namespace,
                "name": name,
                "message_format": text,
                "correlation_id": format!("{correlation_id:032x}"),
                "code": code,
            }],
        });
        let mut answer =
            RawAnswer::typed(status, "application/json", body.to_string().into_bytes());
        if let Self::RateLimit { limit, retry_s } = self {
            let headers = [
                ("x-rate-limit-limit", u64::from(*limit)),
                ("x-rate-limit-available", 0),
                ("x-rate-limit-reset", *retry_s),
                ("x-rate-limit-retry", *retry_s),
            ];
            let text = headers.map(|(name, value)| (name.to_owned(), value.to_string()));
            answer.headers.extend(text);
        }
        answer
    }

    /// Status, gRPC code, namespace and name.
    fn words(&self) -> (u16, u8, &'static str, &'static str) {
        const CUPS: &str = "pkg/basicstation/cups";
        match self {
            Self::RateLimit { .. } => (429, 8, "pkg/ratelimit", "exceeded"),
            Self::RouteNotFound(_) => (404, 5, "pkg/webhandlers", "route_not_found"),
            Self::MethodNotAllowed => (405, 12, "pkg/webhandlers", "method_not_allowed"),
            Self::Parse => (409, 10, CUPS, "parse"),
            Self::MissingRouter => (400, 3, CUPS, "missing_router"),
            Self::GatewayNotFound(_) => {
                (404, 5, "pkg/identityserver/store", "gateway_eui_not_found")
            }
            Self::Unauthenticated => (401, 16, CUPS, "unauthenticated"),
            Self::LnsCredentialsNotFound(_) => (404, 5, CUPS, "lns_credentials_not_found"),
            Self::TargetCredentialsNotFound(_) => {
                (404, 5, CUPS, "target_cups_credentials_not_found")
            }
            Self::Attributes => (400, 3, "pkg/errors", "validation"),
            Self::Forbidden => (403, 7, "pkg/auth/rights", "insufficient_gateway_rights"),
            Self::Internal => (500, 13, "pkg/errors", "unknown"),
            Self::Unavailable => (503, 14, "pkg/cluster", "peer_unavailable"),
        }
    }

    fn text(&self) -> String {
        let plain = match self {
            Self::RateLimit { limit, .. } => {
                return format!("rate limit of {limit} accesses per minute exceeded");
            }
            Self::RouteNotFound(path) => return format!("route `{path}` not found"),
            Self::GatewayNotFound(eui) => return format!("gateway with EUI `{eui}` not found"),
            Self::LnsCredentialsNotFound(eui) => {
                return format!("LNS credentials not found for gateway `eui-{eui}`");
            }
            Self::TargetCredentialsNotFound(eui) => {
                return format!("target CUPS credentials not found for gateway `eui-{eui}`");
            }
            Self::MethodNotAllowed => "method not allowed",
            Self::Parse => "parse request body",
            Self::MissingRouter => "missing router EUI",
            Self::Unauthenticated => "call was not authenticated",
            Self::Attributes => "invalid `attributes`: value length must be at most 200",
            Self::Forbidden => "no rights",
            Self::Internal => "an error occurred",
            Self::Unavailable => "peer unavailable",
        };
        plain.to_owned()
    }
}
