//! Acts: everything that `status` shows, as one object.

use serde_json::{Value, json};

use super::clock;
use super::linking::Linking;
use super::service::Service;
use crate::agent::Moment;

/// Everything `status` shows.
pub(super) fn overview(service: &Service, linking: Option<&Linking>) -> Value {
    let now = Moment::from_boot(clock::since_boot());
    let identity = service.standing().map(|standing| {
        let facts = &standing.identity.facts;
        let left_s = facts.not_after_s.saturating_sub(standing.time.now_s());
        json!({
            "eui": standing.identity.eui.to_string(),
            "subject": facts.subject,
            "issuer": facts.issuer,
            "key": facts.key.to_string(),
            "expires_in_days": left_s / 86_400,
            "expires_in_s": left_s,
            "warnings": standing.identity.warnings.iter().map(|w| w.text.clone()).collect::<Vec<_>>(),
            "clock_sane": standing.time.is_sane(),
        })
    });
    let current = service.current().map(|set| {
        json!({
            "number": set.number.0,
            "origin": set.origin.name(),
            "lns_uri": set.contents.tc_uri,
            "method": set.contents.tc.as_ref().map(|tc| tc.method().name()),
            "created_s": set.created_s,
        })
    });
    json!({
        "service": "cups",
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "cups_uri": service.config().cups.uri.to_string(),
        "identity": identity,
        "current": current,
        "handed_over": service.export_failure().map_or(Value::Bool(true), |f| json!(f.message)),
        "lns": linking.map(Linking::status),
        "cycle": service.status().to_json(now),
    })
}
