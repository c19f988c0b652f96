//! Checks: the reading of `mender.conf`, file by file and key by key.

use super::{ConfError, ConfFault, MenderConf, Note};
use crate::wire::mender::auth::Tier;
use crate::wire::mender::server::UrlFault;

const FALLBACK: &str = "/var/lib/mender/mender.conf";
const MAIN: &str = "/etc/mender/mender.conf";

fn read(fallback: &str, main: &str) -> Result<(MenderConf, Vec<Note>), ConfError> {
    MenderConf::read(Some((FALLBACK, fallback)), Some((MAIN, main)))
}

fn one(text: &str) -> Result<(MenderConf, Vec<Note>), ConfError> {
    MenderConf::read(None, Some((MAIN, text)))
}

fn refused(text: &str) -> (Option<String>, ConfFault) {
    let error = one(text).unwrap_err();
    assert_eq!(error.path, MAIN, "{text}");
    (error.key, error.fault)
}

fn notes(text: &str) -> Vec<String> {
    let notes = one(text).unwrap().1;
    notes.iter().map(ToString::to_string).collect()
}

fn servers(conf: &MenderConf) -> Vec<String> {
    conf.servers.iter().map(ToString::to_string).collect()
}

#[test]
fn the_walk_through_configuration_is_read_whole() {
    let (conf, notes) = one(r#"{
        "InventoryPollIntervalSeconds": 28800,
        "RetryPollIntervalSeconds": 300,
        "ServerURL": "https://my-server.com:8443",
        "ServerCertificate": "/etc/mender/ca.crt",
        "TenantToken": " tenant.token.value\n",
        "UpdatePollIntervalSeconds": 1800,
        "HttpsClient": {
            "Certificate": "/data/mender/mender-cert.pem",
            "Key": "/data/mender/mender-cert-private.pem"
        }
    }"#)
    .unwrap();
    assert_eq!(notes, []);
    assert_eq!(servers(&conf), ["https://my-server.com:8443"]);
    let token = conf.tenant_token.as_ref().unwrap();
    assert_eq!(token.expose(), b"tenant.token.value");
    let client = conf.client.as_ref().unwrap();
    assert_eq!(client.certificate, "/data/mender/mender-cert.pem");
    assert_eq!(conf.auth_key, None);
    let key = Some("/data/mender/mender-cert-private.pem");
    assert_eq!(conf.signing_key(), key);
    assert!(!format!("{conf:?}").contains("tenant.token"));
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    let (conf, notes) = MenderConf::read(None, None).unwrap();
    assert_eq!(notes, []);
    assert_eq!((conf.servers.len(), conf.signing_key()), (0, None));
    let polls = (conf.update_poll_s, conf.inventory_poll_s, conf.retry_poll_s);
    assert_eq!(polls, (1800, 28_800, 300));
    assert!(conf.is_dbus_wanted);
    assert_eq!(one("{}").unwrap().0, conf);
}

#[test]
fn the_second_file_wins_for_each_key_and_member() {
    let (conf, _) = read(
        r#"{"serverurl": "https://a", "TenantToken": "t", "Security": {"AuthPrivateKey": "k"},
            "HttpsClient": {"Certificate": "c", "Key": "k"}, "MtlsAgent": {"a": 1, "b": {"c": 2}}}"#,
        r#"{"SERVERURL": "https://b", "httpsclient": {"certificate": "d", "Key": null},
            "MtlsAgent": {"b": [3]}}"#,
    )
    .unwrap();
    assert_eq!(servers(&conf), ["https://b:443"]);
    assert_eq!(conf.tenant_token.unwrap().expose(), b"t");
    let client = conf.client.unwrap();
    assert_eq!(
        (client.certificate.as_str(), client.key.as_str()),
        ("d", "k")
    );
    assert_eq!(conf.auth_key.as_deref(), Some("k"));
    let own = serde_json::json!({ "a": 1, "b": [3] });
    assert_eq!(serde_json::Value::Object(conf.own), own);
}

#[test]
fn servers_keep_their_order_without_doubles() {
    let (conf, _) = one(
        r#"{"ServerURL": "", "Servers": [{"ServerURL": "https://a/"},
        {"serverurl": "https://b:1"}, {"ServerURL": "https://a:443"}]}"#,
    )
    .unwrap();
    assert_eq!(servers(&conf), ["https://a:443", "https://b:1"]);
}

#[test]
fn both_ways_to_name_servers_are_refused_wherever_they_stand() {
    let (single, list) = (
        r#"{"ServerURL": "https://a"}"#,
        r#"{"Servers": [{"ServerURL": "https://a"}]}"#,
    );
    for (fallback, main, path, other) in [
        (single, list, FALLBACK, MAIN),
        (list, single, MAIN, FALLBACK),
    ] {
        let error = read(fallback, main).unwrap_err();
        assert_eq!(error.path, path);
        assert_eq!(error.fault, ConfFault::BothServers(other.to_owned()));
    }
    let error = one(r#"{"ServerURL": "https://a", "Servers": [{"ServerURL": "https://b"}]}"#);
    let told = error.unwrap_err().to_string();
    assert!(
        told.starts_with("/etc/mender/mender.conf: ServerURL is given"),
        "{told}"
    );
}

#[test]
fn every_invalid_address_ends_the_reading() {
    for (text, key, fault) in [
        (r#"{"ServerURL": "h"}"#, "ServerURL", UrlFault::Scheme),
        (
            r#"{"ServerURL": "https://u:p@h"}"#,
            "ServerURL",
            UrlFault::User,
        ),
        (
            r#"{"Servers": [{"ServerURL": "http://h"}]}"#,
            "Servers",
            UrlFault::Plain,
        ),
    ] {
        assert_eq!(refused(text), (Some(key.to_owned()), ConfFault::Url(fault)));
    }
    for (list, fault) in [
        (r#"[{"ServerURL": "https://h"}, {}]"#, ConfFault::NoUrl(2)),
        (r#"["https://h"]"#, ConfFault::NoUrl(1)),
        (
            r#"[{"ServerURL": "https://h", "serverURL": "https://i"}]"#,
            ConfFault::Doubled,
        ),
    ] {
        let text = format!(r#"{{"Servers": {list}}}"#);
        assert_eq!(refused(&text), (Some("Servers".to_owned()), fault));
    }
}

#[test]
fn every_invalid_value_ends_the_reading_with_its_key() {
    const CERTIFICATE: &str = "HttpsClient.Certificate";
    const KEY: &str = "HttpsClient.Key";
    for (text, key, fault) in [
        (
            r#"{"DeviceTier": "Standard"}"#,
            "DeviceTier",
            ConfFault::Tier,
        ),
        (
            r#"{"RetryDownloadCount": 0}"#,
            "RetryDownloadCount",
            ConfFault::DownloadCount,
        ),
        (
            r#"{"RetryDownloadCount": 10001}"#,
            "RetryDownloadCount",
            ConfFault::DownloadCount,
        ),
        (
            r#"{"HttpsClient": {"Certificate": "c", "Key": ""}}"#,
            CERTIFICATE,
            ConfFault::Incomplete(KEY),
        ),
        (
            r#"{"HttpsClient": {"Key": "k"}}"#,
            KEY,
            ConfFault::Incomplete(CERTIFICATE),
        ),
        (
            r#"{"SkipVerify": true}"#,
            "SkipVerify",
            ConfFault::SkipVerify,
        ),
    ] {
        assert_eq!(refused(text), (Some(key.to_owned()), fault), "{text}");
    }
}

#[test]
fn a_wrong_type_where_security_is_decided_ends_the_reading() {
    for (text, key, expected) in [
        (r#"{"SkipVerify": "yes"}"#, "SkipVerify", "true or false"),
        (r#"{"HttpsClient": "c"}"#, "HttpsClient", "an object"),
        (r#"{"HttpsClient": {"Key": 5}}"#, "HttpsClient.Key", "text"),
        (r#"{"Security": []}"#, "Security", "an object"),
        (
            r#"{"ServerCertificate": ["a"]}"#,
            "ServerCertificate",
            "text",
        ),
        (r#"{"MtlsAgent": true}"#, "MtlsAgent", "an object"),
    ] {
        let fault = ConfFault::WrongType(expected);
        assert_eq!(refused(text), (Some(key.to_owned()), fault), "{text}");
    }
}

#[test]
fn a_key_that_is_there_twice_ends_the_reading_whatever_its_case() {
    for (text, key) in [
        (r#"{"TenantToken": "a", "tenanttoken": "b"}"#, "TenantToken"),
        (
            r#"{"Security": {"AuthPrivateKey": "a", "authprivatekey": "b"}}"#,
            "Security.AuthPrivateKey",
        ),
        (r#"{"Security": {}, "SECURITY": {}}"#, "Security"),
        (r#"{"MtlsAgent": {"a": {"b": 1, "b": 2}}}"#, "MtlsAgent.a.b"),
    ] {
        assert_eq!(refused(text), (Some(key.to_owned()), ConfFault::Doubled));
    }
}

#[test]
fn keys_in_hardware_are_named_as_not_supported() {
    for (text, key) in [
        (
            r#"{"HttpsClient": {"SSLEngine": "pkcs11"}}"#,
            "HttpsClient.SSLEngine",
        ),
        (r#"{"Security": {"SSLEngine": "e"}}"#, "Security.SSLEngine"),
        (
            r#"{"Security": {"AuthPrivateKey": "PKCS11:object=key"}}"#,
            "Security.AuthPrivateKey",
        ),
        (
            r#"{"HttpsClient": {"Key": " pkcs11:token=x"}}"#,
            "HttpsClient.Key",
        ),
    ] {
        assert_eq!(refused(text), (Some(key.to_owned()), ConfFault::Hardware));
    }
}

#[test]
fn text_that_is_no_object_of_json_is_refused_without_showing_it() {
    for (text, fault) in [
        ("", ConfFault::NotJson(1, 0)),
        (
            "{\n \"TenantToken\": \"secret\",\n}",
            ConfFault::NotJson(3, 1),
        ),
        ("[]", ConfFault::NotAnObject),
        ("\"secret\"", ConfFault::NotAnObject),
    ] {
        assert_eq!(refused(text), (None, fault));
        assert!(!one(text).unwrap_err().to_string().contains("secret"));
    }
}

#[test]
fn keys_that_are_not_for_us_are_named_with_the_reason() {
    assert_eq!(
        notes(
            r#"{"UpdateLogPath": "/x", "moduletimeoutseconds": [1], "RetryDownloadCount": 10,
                  "Connectivity": {"DisableKeepAlive": true}}"#
        ),
        [
            "/etc/mender/mender.conf: UpdateLogPath: ignored: this agent reports updates and does not install them",
            "/etc/mender/mender.conf: ModuleTimeoutSeconds: ignored: this agent reports updates and does not install them",
            "/etc/mender/mender.conf: RetryDownloadCount: ignored: this agent reports updates and does not install them",
            "/etc/mender/mender.conf: Connectivity: ignored: connections are kept or closed as the agent needs them",
        ]
    );
}

#[test]
fn unknown_keys_are_passed_over_even_doubled() {
    let text = r#"{"Unknown": 1, "unknown": {}, "HttpsClient.Key": "k", "HttpsClient": {"x": 1}}"#;
    let (conf, notes) = one(text).unwrap();
    assert_eq!((conf.client, notes.len()), (None, 0));
}

#[test]
fn a_wrong_type_elsewhere_is_noted_and_leaves_the_other_file_in_force() {
    let (conf, notes) = read(
        r#"{"UpdatePollIntervalSeconds": 3600, "DBus": {"Enabled": false}}"#,
        r#"{"UpdatePollIntervalSeconds": "1800", "DBus": {"Enabled": 1}, "TenantToken": 5}"#,
    )
    .unwrap();
    assert_eq!((conf.update_poll_s, conf.is_dbus_wanted), (3600, false));
    let keys: Vec<&str> = notes.iter().map(|note| note.key.as_str()).collect();
    assert_eq!(
        keys,
        ["UpdatePollIntervalSeconds", "DBus.Enabled", "TenantToken"]
    );
    assert_eq!(
        notes.first().unwrap().text,
        "ignored: it must be a whole number"
    );
}

#[test]
fn intervals_that_hurt_are_noted() {
    let short = one(
        r#"{"UpdatePollIntervalSeconds": 5, "InventoryPollIntervalSeconds": 60,
        "RetryPollIntervalSeconds": 0, "RetryPollCount": -1}"#,
    );
    let (conf, notes) = short.unwrap();
    let polls = (conf.update_poll_s, conf.inventory_poll_s, conf.retry_poll_s);
    assert_eq!(polls, (5, 60, 300));
    assert_eq!(notes.len(), 4);
    for given in ["-5", "0", "18446744073709551615", "99999999999"] {
        let text = format!(r#"{{"UpdatePollIntervalSeconds": {given}}}"#);
        let (conf, notes) = one(&text).unwrap();
        assert_eq!((conf.update_poll_s, notes.len()), (1800, 1), "{given}");
    }
}

#[test]
fn levels_and_tiers_are_put_into_our_words() {
    for (given, ours) in [
        ("fatal", Some("error")),
        ("WARNING", Some("warn")),
        ("trace", Some("debug")),
        ("loud", None),
    ] {
        let text = format!(r#"{{"DaemonLogLevel": "{given}", "DeviceTier": "micro"}}"#);
        let (conf, notes) = one(&text).unwrap();
        assert_eq!(conf.log_level, ours);
        assert_eq!(notes.is_empty(), ours.is_some());
        assert_eq!(conf.tier, Some(Tier::Micro));
    }
}
