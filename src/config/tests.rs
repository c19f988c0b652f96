//! Tests of the configuration as a whole: defaults, and each mistake named with its place.

use super::Config;
use std::path::Path;

const SMALLEST: &str = r#"{ "identity": { "certificate": "d.crt", "key": "/k" },
    "trust_anchors": ["r.pem"], "cups": { "uri": "https://c:8987" } }"#;

fn error(text: &str) -> String {
    Config::parse(text, Path::new("/etc/mtls-agent"))
        .unwrap_err()
        .to_string()
}

#[test]
fn the_smallest_configuration_has_all_defaults_and_resolves_paths() {
    let config = Config::parse(SMALLEST, Path::new("/etc/mtls-agent")).unwrap();
    assert_eq!(
        config.identity.certificate,
        Path::new("/etc/mtls-agent/d.crt")
    );
    assert_eq!(config.identity.key, Path::new("/k"));
    assert_eq!(config.data_dir, Path::new("/data/mtls-agent"));
    assert_eq!(config.cups.poll_s, 86400);
    assert!(config.lns.prove && config.allow_tls13 && !config.updates_are_on());
    assert_eq!(config.lns.station_home, None);
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let with = |extra: &str| SMALLEST.replacen('{', &format!("{{ {extra},"), 1);
    for (text, expected) in [
        (
            with(r#""servce": "cups""#),
            "servce is not a setting; did you mean service?",
        ),
        (
            with(r#""lns": {"prov": true}"#),
            "lns.prov is not a setting; did you mean lns.prove?",
        ),
        (
            with(r#""lns": {"prove": "yes"}"#),
            "lns.prove must be true or false",
        ),
        (with(r#""lns": true"#), "lns must be an object: { ... }"),
        (
            with(r#""eui": "12""#),
            "eui must be an EUI (16 hex digits) or null",
        ),
        (with(r#""eui": null, "eui": null"#), "eui is given twice"),
        (with(r#""data_dir": """#), "data_dir must be a path"),
        (
            with(r#""tls": {"version_max": "1.1"}"#),
            "tls.version_max must be one of 1.2, 1.3",
        ),
        ("[]".to_owned(), "must be a JSON object: { ... }"),
        (
            SMALLEST.replace("https", "http"),
            "cups.uri is not https:// and cups.allow_plain is not set",
        ),
        (
            SMALLEST.replace(r#"["r.pem"]"#, "[]"),
            "trust_anchors must name at least one PEM file",
        ),
        (
            SMALLEST.replace("\"key\"", "\"kye\""),
            "identity.kye is not a setting; did you mean identity.key?",
        ),
    ] {
        assert_eq!(error(&text), expected, "{text}");
    }
    assert!(error("{").starts_with("is not valid JSON"));
    assert!(error("{}").contains("identity.certificate is missing"));
}
