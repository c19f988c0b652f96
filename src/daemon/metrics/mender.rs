//! Acts: what Prometheus hears of a device at Mender.

use serde_json::Value;

use super::{Number, Row, flag, whole};

/// Nothing of this is in the status of another service.
pub(super) const ROWS: [Row; 11] = [
    (
        "mender_authorised",
        "Whether the Mender server has given a token that still counts.",
        |status| is(status, "/cycle/state", "authorised"),
    ),
    (
        "mender_pending",
        "Whether the device waits for acceptance at the Mender server.",
        |status| is(status, "/cycle/state", "pending"),
    ),
    (
        "mender_mutual_tls",
        "Whether the server that gave the token asked for the client certificate.",
        |status| match status.pointer("/mutual_tls")?.as_str()? {
            "used" => Some(Number::Flag(true)),
            "not_requested" => Some(Number::Flag(false)),
            _ => None,
        },
    ),
    (
        "mender_token_expiry_seconds",
        "Seconds until the Mender token expires.",
        |status| whole(status, "/cycle/token/expires_in_s"),
    ),
    (
        "mender_token_renewal_seconds",
        "Seconds until the Mender token is renewed.",
        |status| whole(status, "/cycle/token/renew_in_s"),
    ),
    (
        "mender_token_received_seconds_ago",
        "Seconds since the Mender server last gave a token.",
        |status| whole(status, "/cycle/last_good_s_ago"),
    ),
    (
        "mender_attempts",
        "Auth requests since the last token.",
        |status| whole(status, "/cycle/attempts"),
    ),
    (
        "mender_inventory_last_sent_seconds_ago",
        "Seconds since the inventory was last sent.",
        |status| whole(status, "/cycle/inventory/last_sent_s_ago"),
    ),
    (
        "mender_inventory_failed",
        "Whether the inventory could not be sent the last time.",
        |status| is(status, "/cycle/inventory/state", "failed"),
    ),
    (
        "mender_update_waiting",
        "Whether an update waits at the Mender server.",
        |status| flag(status, "/cycle/update_waiting"),
    ),
    (
        "mender_bus_ready",
        "Whether other Mender programs find the agent on the system bus.",
        |status| is(status, "/consumers/bus", "ready"),
    ),
];

/// Whether there is an identity to speak with.
pub(super) fn has_identity(status: &Value) -> Option<Number> {
    match status.pointer("/cycle/state")?.as_str()? {
        "starting" => None,
        state => Some(Number::Flag(state != "no_identity")),
    }
}

fn is(status: &Value, pointer: &str, wanted: &str) -> Option<Number> {
    let found = status.pointer(pointer)?.as_str()?;
    Some(Number::Flag(found == wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::render;

    #[test]
    fn the_numbers_are_those_of_the_status() {
        let text = render(&json!({
            "service": "mender", "version": "1.2.3",
            "identity": { "subject": "CN=a", "expires_in_s": 86_400, "clock_sane": true },
            "device": { "id": "4d7c" },
            "mutual_tls": "used",
            "consumers": { "bus": "connecting" },
            "cycle": {
                "state": "authorised", "attempts": 0, "last_good_s_ago": 5,
                "token": { "renew_in_s": 100, "expires_in_s": 120 },
                "inventory": { "state": "up_to_date", "last_sent_s_ago": 4 },
                "update_waiting": null,
            },
        }));
        for line in [
            "mtls_agent_identity_usable 1",
            "mtls_agent_identity_expiry_seconds 86400",
            "mtls_agent_mender_authorised 1",
            "mtls_agent_mender_pending 0",
            "mtls_agent_mender_mutual_tls 1",
            "mtls_agent_mender_token_expiry_seconds 120",
            "mtls_agent_mender_token_renewal_seconds 100",
            "mtls_agent_mender_token_received_seconds_ago 5",
            "mtls_agent_mender_attempts 0",
            "mtls_agent_mender_inventory_last_sent_seconds_ago 4",
            "mtls_agent_mender_inventory_failed 0",
            "mtls_agent_mender_bus_ready 0",
            "mtls_agent_info{version=\"1.2.3\",device=\"4d7c\",service=\"mender\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        for name in ["update_waiting", "link_", "set_", "handed_over"] {
            assert!(!text.contains(name), "{name}:\n{text}");
        }
    }

    #[test]
    fn a_device_without_a_token_has_no_numbers_of_one() {
        let text = render(&json!({
            "service": "mender", "identity": null, "mutual_tls": "unknown",
            "cycle": { "state": "no_identity", "token": null },
        }));
        assert!(text.contains("mtls_agent_identity_usable 0\n"), "{text}");
        assert!(text.contains("mtls_agent_mender_authorised 0\n"), "{text}");
        for name in ["mender_token", "inventory", "mutual_tls", "bus"] {
            assert!(!text.contains(name), "{name}:\n{text}");
        }
    }
}
