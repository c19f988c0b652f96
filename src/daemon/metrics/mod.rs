//! Acts: renders the status object as Prometheus' text format.
//!
//! ```text
//! # HELP name text          backslash and line feed escaped
//! # TYPE name gauge
//! name{label="value"} 1     backslash, quote and line feed escaped
//! ```
//! What the status does not know is left out: a missing sample is honest, a zero is not.

#[cfg(feature = "mender")]
mod mender;

use core::fmt::{self, Write as _};

use serde_json::Value;

/// One gauge: its name after `mtls_agent_`, its help, and where its value comes from.
type Row = (&'static str, &'static str, fn(&Value) -> Option<Number>);

const ROWS: [Row; 13] = [
    ("up", "Whether the agent runs.", |_| {
        Some(Number::Flag(true))
    }),
    (
        "identity_expiry_seconds",
        "Seconds until the device certificate expires.",
        |status| whole(status, "/identity/expires_in_s"),
    ),
    (
        "clock_sane",
        "Whether the system clock is not behind what the device has already seen.",
        |status| flag(status, "/identity/clock_sane"),
    ),
    (
        "set_number",
        "Number of the credential set in use.",
        |status| whole(status, "/current/number"),
    ),
    (
        "set_proven",
        "Whether the set in use has passed its trial.",
        |status| {
            let current = status.pointer("/cycle/current")?.as_u64()?;
            let proven = status.pointer("/cycle/proven")?.as_u64();
            Some(Number::Flag(proven == Some(current)))
        },
    ),
    ("link_up", "Whether the LNS link is up.", |status| {
        let state = status.pointer("/lns/link/state")?.as_str()?;
        Some(Number::Flag(state == "up"))
    }),
    (
        "link_failures",
        "Failures of the LNS link since it was last good.",
        |status| whole(status, "/lns/link/failures"),
    ),
    (
        "cycle_last_success_seconds_ago",
        "Seconds since a service cycle last went well.",
        |status| {
            whole(status, "/cycle/last_success_s_ago")
                .or_else(|| whole(status, "/cycle/last_good_s_ago"))
        },
    ),
    (
        "cycle_attempts",
        "Asks since the service last answered well.",
        |status| {
            whole(status, "/cycle/attempts_since_success")
                .or_else(|| whole(status, "/cycle/attempts"))
        },
    ),
    (
        "identity_usable",
        "Whether there is an identity to speak with.",
        |status| {
            #[cfg(feature = "mender")]
            if is_mender(status) {
                return mender::has_identity(status);
            }
            let state = status.pointer("/cycle/identity/state")?.as_str()?;
            Some(Number::Flag(state == "loaded"))
        },
    ),
    (
        "handed_over",
        "Whether the set in use is where its consumer reads it.",
        |status| {
            Some(Number::Flag(
                status.get("handed_over")?.as_bool() == Some(true),
            ))
        },
    ),
    (
        "sandbox_seccomp",
        "Whether the process has given up system calls.",
        |status| {
            Some(Number::Flag(
                status.pointer("/sandbox/seccomp")?.is_string(),
            ))
        },
    ),
    (
        "sandbox_landlock_abi",
        "The version of Landlock that confines the process to its folders; 0: none.",
        |status| {
            let abi = status.pointer("/sandbox/landlock_abi")?.as_u64();
            Some(Number::Whole(abi.unwrap_or_default()))
        },
    ),
];

/// The status object as text for Prometheus.
#[must_use]
pub fn render(status: &Value) -> String {
    let mut out = String::new();
    write_rows(&mut out, &ROWS, status);
    #[cfg(feature = "mender")]
    if is_mender(status) {
        write_rows(&mut out, &mender::ROWS, status);
    }
    head(&mut out, "info", "Which agent this is.");
    let device = if status.pointer("/device/id").is_some() {
        ("device", "/device/id")
    } else {
        ("eui", "/identity/eui")
    };
    let labels = [("version", "/version"), device, ("service", "/service")];
    let labels = labels.map(|(label, pointer)| {
        let value = status.pointer(pointer).and_then(Value::as_str);
        format!("{label}=\"{}\"", escaped(value.unwrap_or_default()))
    });
    let _ = writeln!(out, "mtls_agent_info{{{}}} 1", labels.join(","));
    out
}

fn write_rows(out: &mut String, rows: &[Row], status: &Value) {
    for (name, help, value) in rows {
        if let Some(number) = value(status) {
            head(out, name, help);
            let _ = writeln!(out, "mtls_agent_{name} {number}");
        }
    }
}

#[cfg(feature = "mender")]
fn is_mender(status: &Value) -> bool {
    status.get("service").and_then(Value::as_str) == Some("mender")
}

enum Number {
    Flag(bool),
    Whole(u64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{}", u8::from(*flag)),
            Self::Whole(number) => write!(f, "{number}"),
        }
    }
}

fn whole(status: &Value, pointer: &str) -> Option<Number> {
    status.pointer(pointer)?.as_u64().map(Number::Whole)
}

fn flag(status: &Value, pointer: &str) -> Option<Number> {
    status.pointer(pointer)?.as_bool().map(Number::Flag)
}

fn head(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP mtls_agent_{name} {help}");
    let _ = writeln!(out, "# TYPE mtls_agent_{name} gauge");
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "service": "cups",
            "version": "1.2.3",
            "identity": { "eui": "0123456789ABCDEF", "expires_in_s": 86_400, "clock_sane": true },
            "current": { "number": 7 },
            "handed_over": true,
            "lns": { "link": { "state": "waiting", "failures": 3 } },
            "cycle": {
                "current": 7, "proven": 6, "last_success_s_ago": null,
                "attempts_since_success": 2, "identity": { "state": "loaded" },
            },
        })
    }

    #[test]
    fn every_sample_follows_its_help_and_type() {
        let text = render(&status());
        let mut lines = text.lines();
        while let Some(help) = lines.next() {
            let name = help.strip_prefix("# HELP ").unwrap();
            let name = name.split(' ').next().unwrap();
            assert_eq!(lines.next(), Some(&*format!("# TYPE {name} gauge")));
            let sample = lines.next().unwrap();
            let rest = sample.strip_prefix(name).unwrap();
            assert!(rest.starts_with([' ', '{']), "{sample}");
            let number = sample.rsplit(' ').next().unwrap();
            assert!(number.parse::<u64>().is_ok(), "{sample}");
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn the_numbers_are_those_of_the_status() {
        let text = render(&status());
        for line in [
            "mtls_agent_up 1",
            "mtls_agent_identity_expiry_seconds 86400",
            "mtls_agent_clock_sane 1",
            "mtls_agent_set_number 7",
            "mtls_agent_set_proven 0",
            "mtls_agent_link_up 0",
            "mtls_agent_link_failures 3",
            "mtls_agent_cycle_attempts 2",
            "mtls_agent_info{version=\"1.2.3\",eui=\"0123456789ABCDEF\",service=\"cups\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = render(&json!({ "identity": null, "current": null, "lns": null }));
        for name in ["set_number", "link_up", "seconds_ago", "expiry"] {
            assert!(!text.contains(name), "{text}");
        }
        assert!(text.contains("mtls_agent_up 1\n"));
    }

    #[test]
    fn label_values_are_escaped() {
        let text = render(&json!({ "version": "a\"b\\c\nd" }));
        assert!(text.contains(r#"version="a\"b\\c\nd","#), "{text}");
    }
}
