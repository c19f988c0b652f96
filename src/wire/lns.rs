//! Speaks: LNS discovery, the question and answer on `/router-info`.
//!
//! ```json
//! {"router":"123:4567:89ab:cdef"}
//! {"router":"123:4567:89ab:cdef","muxs":"muxs-::0","uri":"wss://host:port/path"}
//! {"router":"::0","muxs":"::0","error":"Unauthorized"}
//! ```
//! `reference/cups-lns.md` section 4.1.

use serde_json::{Value, json};

use super::cups::stack_error::printable;
use super::error::{Code, DecodeError};
use super::eui::Eui64;
use super::uri::{ServerUri, Service};

/// The path of discovery.
pub const DISCOVERY_PATH: &str = "/router-info";

/// Longest discovery answer that is looked at, in octets.
pub const ANSWER_OCTETS_MAX: usize = 4096;

/// What discovery answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovered {
    /// Where the gateway's traffic goes.
    Traffic(ServerUri),
    /// The LNS refused by its own words.
    Refused(String),
}

/// The question.
#[must_use]
pub fn query(router: Eui64) -> String {
    json!({ "router": router.id6().to_string() }).to_string()
}

/// Reads the answer; unknown fields are ignored, as station does.
pub fn parse(text: &str) -> Result<Discovered, DecodeError> {
    let bad = |what: &'static str| DecodeError::of(Code::LnsAnswer, what);
    if text.len() > ANSWER_OCTETS_MAX {
        return Err(bad("discovery: the answer is longer than 4096 octets"));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|_| bad("discovery: the answer is not JSON"))?;
    match value.get("error") {
        None | Some(Value::Null) => {}
        Some(Value::String(error)) if error.is_empty() => {}
        Some(Value::String(error)) => return Ok(Discovered::Refused(printable(error, 200))),
        Some(_) => return Ok(Discovered::Refused("an error that is not text".to_owned())),
    }
    let uri = value.get("uri").and_then(Value::as_str);
    let uri = uri.ok_or_else(|| bad("discovery: the answer names no traffic uri"))?;
    ServerUri::parse(uri, Service::Traffic).map(Discovered::Traffic)
}

#[cfg(test)]
mod tests {
    use super::{Code, Discovered, parse};

    #[test]
    fn a_traffic_address_is_found_among_unknown_fields() {
        let text = r#"{"router":"::1","muxs":"m","uri":"wss://h:1/traffic/x","new":[1]}"#;
        let Ok(Discovered::Traffic(uri)) = parse(text) else {
            panic!("refused")
        };
        assert_eq!(uri.to_string(), "wss://h:1/traffic/x");
    }

    #[test]
    fn an_error_is_a_refusal_even_beside_a_uri() {
        let text = r#"{"uri":"wss://h:1/x","error":"Unauthorized"}"#;
        assert_eq!(
            parse(text),
            Ok(Discovered::Refused("Unauthorized".to_owned()))
        );
    }

    #[test]
    fn unusable_answers_are_named() {
        for (text, code) in [
            ("", Code::LnsAnswer),
            ("[]", Code::LnsAnswer),
            ("{}", Code::LnsAnswer),
            (r#"{"uri":5}"#, Code::LnsAnswer),
            (r#"{"uri":"wss://h:1"}"#, Code::UriPath),
            (r#"{"uri":"wss://h/x"}"#, Code::UriPort),
            (r#"{"uri":"https://h:1/x"}"#, Code::UriScheme),
        ] {
            assert_eq!(parse(text).unwrap_err().code, code, "{text}");
        }
    }
}
