//! Acts: what people see of a device at Mender.

use core::fmt::Write as _;

use serde_json::Value;

use super::{Lines, due, identity, part, span, state, text, why};

/// Digits of a fingerprint that a person compares.
const FINGERPRINT_DIGITS: usize = 16;

/// In the order of the screen.
pub(super) fn lines(status: &Value) -> Lines {
    let cycle = part(status, "/cycle");
    let mut lines = vec![(
        "service",
        format!(
            "{}; mtls-agent {}, process {}",
            server(status),
            text(status, "version"),
            status["pid"]
        ),
    )];
    lines.extend(identity(&status["identity"], &who(&status["identity"])));
    lines.push(("mutual TLS", mutual_tls(status).to_owned()));
    lines.push(("device", device(&status["device"])));
    lines.extend(standing(cycle));
    lines.push(("token", token(&cycle["token"])));
    lines.extend(inventory(&cycle["inventory"]));
    lines.push(("update", update(status)));
    lines.push(("programs", programs(&status["consumers"])));
    lines.push(("next", next(cycle)));
    lines
}

/// The server in use, and its place among several.
fn server(status: &Value) -> String {
    let server = text(status, "server");
    let servers = status["servers"].as_array().map_or(&[][..], Vec::as_slice);
    let place = servers.iter().position(|one| one.as_str() == Some(server));
    match place {
        Some(place) if servers.len() > 1 => {
            format!(
                "mender at {server}, server {} of {}",
                place + 1,
                servers.len()
            )
        }
        _ => format!("mender at {server}"),
    }
}

fn who(identity: &Value) -> String {
    let fingerprint: String = text(identity, "key_sha256")
        .chars()
        .take(FINGERPRINT_DIGITS)
        .collect();
    let key = format!("{}, SHA-256 {fingerprint}...", text(identity, "key"));
    match identity["subject"].as_str() {
        Some(subject) => format!("{subject} ({key})"),
        None => format!("no certificate, a key ({key})"),
    }
}

fn mutual_tls(status: &Value) -> &'static str {
    match text(status, "mutual_tls") {
        "used" => "used",
        "not_requested" => {
            "not used: the server did not ask for the certificate; is ServerURL the ambassador?"
        }
        "off" => "off, no certificate is configured",
        _ => "not known before the first token",
    }
}

fn device(device: &Value) -> String {
    let id = device["id"].as_str().unwrap_or("no number yet");
    match device["id_data"].as_str() {
        Some(id_data) => format!("{id} {id_data}"),
        None => id.to_owned(),
    }
}

fn standing(cycle: &Value) -> Lines {
    let mut line = state(cycle, "state");
    if let Some(ago) = cycle["last_good_s_ago"].as_u64() {
        let _ = write!(line, ", last token {} ago", span(ago));
    }
    let _ = write!(line, ", attempts since: {}", cycle["attempts"]);
    let mut lines = vec![("state", line)];
    lines.extend(why(&cycle["why"]));
    lines
}

fn token(token: &Value) -> String {
    let Some(renewal) = token["renew_in_s"].as_u64() else {
        return "none".to_owned();
    };
    match token["expires_in_s"].as_u64() {
        Some(end) => format!("expires in {}, renewed in {}", span(end), span(renewal)),
        None => format!("does not tell its end, renewed in {}", span(renewal)),
    }
}

fn inventory(inventory: &Value) -> Lines {
    let state = text(inventory, "state");
    let mut line = match state {
        "off" => "off, another program sends it".to_owned(),
        state => state.replace('_', " "),
    };
    if let Some(ago) = inventory["last_sent_s_ago"].as_u64() {
        let _ = write!(line, ", last sent {} ago", span(ago));
    }
    let mut lines = vec![("inventory", line)];
    lines.extend(why(&inventory["why"]));
    lines
}

fn update(status: &Value) -> String {
    match (&status["update"], part(status, "/cycle/update_waiting")) {
        (Value::String(name), _) => format!("{name} waits"),
        (_, Value::Bool(true)) => "one waits".to_owned(),
        (_, Value::Bool(false)) => "none waits".to_owned(),
        _ => "not asked for".to_owned(),
    }
}

/// How other Mender programs reach the token.
fn programs(consumers: &Value) -> String {
    let mut line = match consumers["bus"].as_str() {
        Some("ready") => "D-Bus ready".to_owned(),
        Some(trouble) => format!("D-Bus: {trouble}"),
        None => "D-Bus off".to_owned(),
    };
    match text(consumers, "url") {
        "" => line.push_str("; forwarder off"),
        url => {
            let _ = write!(line, "; forwarder {url}");
        }
    }
    for name in ["requests", "failed"] {
        let count = part(consumers, "/forwarder").get(name);
        if let Some(count) = count.and_then(Value::as_u64) {
            let _ = write!(line, ", {name} {count}");
        }
    }
    line
}

fn next(cycle: &Value) -> String {
    let next = &cycle["next"];
    if next.is_object() {
        return due(next);
    }
    "nothing".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{COLUMNS, LINES, screen};
    use super::*;

    fn status() -> Value {
        json!({
            "service": "mender", "version": "1.2.3", "pid": 17,
            "server": "https://b:443", "servers": ["https://a:443", "https://b:443"],
            "identity": { "subject": "CN=gateway 1", "key": "EC P-256",
                "key_sha256": "0123456789abcdef0123456789abcdef", "expires_in_s": 864_000,
                "warnings": ["a warning"], "clock_sane": true },
            "device": { "id": "4d7c", "id_data": "{\"mac\":\"02:00:00:ab:cd:01\"}" },
            "mutual_tls": "used",
            "consumers": { "bus": "ready", "url": "http://127.0.0.1:4711",
                "forwarder": { "requests": 3, "failed": 1 } },
            "update": "release-2",
            "cycle": { "state": "authorised", "state_s": 600, "why": null, "job": null,
                "next": { "reason": "renewal", "in_s": 3000 }, "attempts": 0,
                "last_good_s_ago": 600, "token": { "renew_in_s": 3000, "expires_in_s": 3600 },
                "inventory": { "state": "up_to_date", "last_sent_s_ago": 590, "why": null },
                "update_waiting": true },
        })
    }

    #[test]
    fn one_screen_says_who_this_is_and_what_comes_next() {
        let expected = "\
service    mender at https://b:443, server 2 of 2; mtls-agent 1.2.3, process 17
identity   CN=gateway 1 (EC P-256, SHA-256 0123456789abcdef...), expires in 10
           days
           warning: a warning
mutual TLS used
device     4d7c {\"mac\":\"02:00:00:ab:cd:01\"}
state      authorised for 10 min, last token 10 min ago, attempts since: 0
token      expires in 60 min, renewed in 50 min
inventory  up to date, last sent 9 min ago
update     release-2 waits
programs   D-Bus ready; forwarder http://127.0.0.1:4711, requests 3, failed 1
next       renewal in 50 min
";
        assert_eq!(screen(&status()), expected);
    }

    #[test]
    fn a_refused_device_shows_why_and_what_to_do() {
        let mut status = status();
        status["mutual_tls"] = json!("not_requested");
        status["device"]["id"] = Value::Null;
        status["update"] = Value::Null;
        status["consumers"] = json!({ "bus": null, "url": "", "forwarder": null });
        let cycle = &mut status["cycle"];
        cycle["state"] = json!("pending");
        cycle["token"] = Value::Null;
        cycle["update_waiting"] = Value::Null;
        cycle["why"] = json!({ "class": "pending", "code": "pending",
            "message": "waiting for acceptance", "hint": "accept the device" });
        cycle["inventory"] = json!({ "state": "off", "last_sent_s_ago": null, "why": null });
        let screen = screen(&status);
        for line in [
            "mutual TLS not used: the server did not ask for the certificate; is ServerURL\n",
            "device     no number yet {\"mac\":\"02:00:00:ab:cd:01\"}\n",
            "state      pending for 10 min, ",
            "           pending: waiting for acceptance\n           accept the device\n",
            "token      none\n",
            "inventory  off, another program sends it\n",
            "update     not asked for\n",
            "programs   D-Bus off; forwarder off\n",
        ] {
            assert!(screen.contains(line), "{line}:\n{screen}");
        }
    }

    #[test]
    fn the_longest_texts_still_fit_a_small_terminal() {
        let long = "ein-sehr-langes-Wort/".repeat(20);
        let words = "several words that go on and on ".repeat(20);
        let why = json!({ "class": "network", "message": words, "hint": words });
        let mut status = status();
        status["server"] = json!(long);
        status["identity"]["subject"] = json!(format!("CN=a\u{1b}[2J{long}"));
        status["identity"]["warnings"] = json!([words, long, words, long, long]);
        status["device"]["id_data"] = json!(long);
        status["update"] = json!(words);
        status["consumers"]["bus"] = json!(words);
        status["cycle"]["why"] = why.clone();
        status["cycle"]["inventory"]["why"] = why;
        let screen = screen(&status);
        assert!(screen.lines().count() <= LINES, "{screen}");
        for line in screen.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
            assert!(!line.contains('\u{1b}'), "{line}");
        }
        for word in ["CN=a?[2J", "and 2 warnings more", "next       renewal"] {
            assert!(screen.contains(word), "{word}:\n{screen}");
        }
    }

    #[test]
    fn a_status_without_anything_is_shown_too() {
        let screen = screen(&json!({ "service": "mender" }));
        assert!(screen.contains("identity   none that can be used"));
        assert!(screen.contains("token      none\n"));
        assert!(screen.ends_with("next       nothing\n"));
    }
}
