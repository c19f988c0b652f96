//! Acts: everything that `status` shows of the Mender service, as one object; never a token.

use serde_json::{Value, json};

use super::service::Service;
use crate::agent::Moment;
use crate::daemon::clock;

/// Everything `status` shows.
pub(super) fn overview(service: &Service) -> Value {
    let now = Moment::from_boot(clock::since_boot());
    let servers: Vec<String> = service
        .config
        .conf
        .servers
        .iter()
        .map(ToString::to_string)
        .collect();
    let current = service.current.as_ref();
    let server = current.map(|current| current.server.to_string());
    json!({
        "service": "mender",
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "server": server.or_else(|| servers.first().cloned()),
        "servers": servers,
        "identity": identity(service),
        "device": {
            "id": service.device_id,
            "id_data": service.id_data,
        },
        "mutual_tls": service.mutual_tls(),
        "consumers": service.consumers.overview(),
        "update": service.update.as_ref().map(|update| &update.artifact_name),
        "cycle": service.status().to_json(now),
    })
}

fn identity(service: &Service) -> Option<Value> {
    let standing = service.standing.as_ref()?;
    let time = standing.tls.time;
    let facts = standing.facts.as_ref();
    let left_s = facts.map(|facts| facts.not_after_s.saturating_sub(time.now_s()));
    let warnings = standing.warnings.iter();
    let warnings: Vec<&str> = warnings.map(|warning| warning.text.as_str()).collect();
    Some(json!({
        "subject": facts.map(|facts| facts.subject.clone()),
        "issuer": facts.map(|facts| facts.issuer.clone()),
        "key": standing.signer.kind().to_string(),
        "key_sha256": standing.signer.fingerprint(),
        "expires_in_days": left_s.map(|left_s| left_s / 86_400),
        "expires_in_s": left_s,
        "warnings": warnings,
        "clock_sane": time.is_sane(),
    }))
}
