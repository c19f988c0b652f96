//! Mender's own client and our agent, with the same key, certificate, identity and tenant token at
//! the same double: both are accepted, and what they ask agrees field by field but for the
//! differences that are listed here with their reasons. Any other fails, and so does a listed one
//! that is none any more.

#![cfg(feature = "mender")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test ends when its set-up fails; it names its programs, and prints what differs"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support {
    pub(crate) mod mender_device;
}

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mtls_lab::http::Request;
use mtls_lab::mender::{MenderDouble, Recorded, Status};
use serde_json::{Value, json};
use support::mender_device::{AUTH, Device, INVENTORY, NEXT, Running, names};

/// In which way a field differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Differs {
    /// Both have it, with another value.
    Value,
    /// Only Mender's client has it.
    TheirsAlone,
    /// Only ours has it.
    OursAlone,
}
use Differs::{OursAlone, TheirsAlone, Value as Other};

const EVERY: [&str; 3] = [AUTH, INVENTORY, NEXT];

/// Where a difference is meant to be: paths, field, kind, reason.
const MEANT: &[(&[&str], &str, Differs, &str)] = &[
    (
        &EVERY,
        "certificates shown",
        Other,
        "OpenSSL adds the issuer if it is among the roots it trusts servers by; ours sends the \
         file as it is, and a server that trusts the root does not need to be shown it",
    ),
    (
        &EVERY,
        "head: user-agent",
        Other,
        "each names itself; the server looks at neither",
    ),
    (
        &EVERY,
        "head: accept-encoding",
        TheirsAlone,
        "Go's client unpacks gzip; ours has no decoder, and an answer that expands is a risk",
    ),
    (
        &EVERY,
        "head: accept",
        OursAlone,
        "client 5.1 says that it takes JSON; 3.4.0 says nothing",
    ),
    (
        &EVERY,
        "order of headers",
        Other,
        "of no meaning (RFC 9110 section 5.3); each library has its own",
    ),
    (
        &EVERY,
        "order of body",
        Other,
        "that of client 5.1: members by name, attributes by name; JSON gives it no meaning",
    ),
    (
        &[AUTH],
        "head: content-length",
        Other,
        "follows from the differences of the body",
    ),
    (
        &[AUTH],
        "head: authorization",
        Other,
        "API_KEY as client 5.1 says; 3.4.0 puts the tenant token there. The server ignores it on \
         this path, and a token that is not needed in a header is not shown in one",
    ),
    (
        &[AUTH],
        "head: x-men-signature",
        Other,
        "over other octets, and ECDSA is not deterministic; the double verifies both",
    ),
    (
        &[AUTH, INVENTORY],
        "end of body",
        Other,
        "Go's encoder ends a document with a line feed; client 5.1 and ours do not",
    ),
    (
        &[INVENTORY, NEXT],
        "head: transfer-encoding",
        TheirsAlone,
        "3.4.0 sends what follows a token in chunks; client 5.1 and ours know the length",
    ),
    (
        &[INVENTORY, NEXT],
        "head: content-length",
        OursAlone,
        "in place of chunks",
    ),
    (
        &[INVENTORY],
        "body: mender_client_version",
        Other,
        "each says its own name and version",
    ),
    (
        &[INVENTORY],
        "body: mender_client_version_provider",
        OursAlone,
        "since client 4: who provides it; ours is external to Mender",
    ),
    (
        &[INVENTORY],
        "body: hostname",
        OursAlone,
        "Mender's comes from a script that Debian leaves out; ours knows it without",
    ),
    (
        &[INVENTORY],
        "body: kernel",
        OursAlone,
        "Mender's comes from a script that Debian leaves out; ours knows it without",
    ),
    (
        &[INVENTORY],
        "body: ipv4_lo",
        OursAlone,
        "Mender's comes from a script that Debian leaves out; ours knows it without",
    ),
    (
        &[INVENTORY],
        "body: mac_lo",
        OursAlone,
        "Mender's comes from a script that Debian leaves out; ours knows it without",
    ),
    (
        &[NEXT],
        "body: update_control_map",
        TheirsAlone,
        "3.4.0 announces that it can pause an update; client 5.1 and ours cannot",
    ),
];

#[test]
#[ignore = "needs Mender's client: tests/run mender"]
fn the_double_accepts_both_and_they_differ_only_where_it_is_meant() {
    let device = Device::new("agree", "P-256", true);
    let double = device.ambassador();
    let configuration = device.configuration(&double.uri());
    let theirs = {
        let _theirs = Running::start(device.client(&configuration, &["daemon"]));
        every_kind(&device, &double, 0)
    };
    let seen = double.requests().len();
    let own = json!({ "dbus": false, "forwarder": "", "update_command": ["/bin/true"] });
    let ours = {
        let _ours = Running::start(device.agent(&configuration, &own, &["run"]));
        every_kind(&device, &double, seen)
    };

    // One device with one key, accepted both times.
    let devices = double.devices();
    assert_eq!((devices.len(), devices[0].sets.len()), (1, 1));
    assert_eq!(devices[0].status(), Some(Status::Accepted));

    let mut meant = BTreeMap::new();
    for (paths, field, differs, reason) in MEANT {
        for path in *paths {
            let before = meant.insert(
                ((*path).to_owned(), (*field).to_owned()),
                (*differs, *reason),
            );
            assert_eq!(before, None, "{path} {field} is listed twice");
        }
    }
    let mut wrong = Vec::new();
    let mut agreed = 0;
    for (path, (theirs, ours)) in EVERY.into_iter().zip(theirs.iter().zip(&ours)) {
        let (theirs, ours) = (fields(theirs), fields(ours));
        let fields: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for field in fields {
            let differs = match (theirs.get(field), ours.get(field)) {
                (Some(theirs), Some(ours)) if theirs == ours => {
                    agreed += 1;
                    continue;
                }
                (Some(_), Some(_)) => Other,
                (Some(_), None) => TheirsAlone,
                _ => OursAlone,
            };
            let values = format!("{:?} / {:?}", theirs.get(field), ours.get(field));
            match meant.remove(&(path.to_owned(), field.clone())) {
                Some((listed, reason)) if listed == differs => {
                    println!("{path}\n  {field}: {values}\n  {reason}");
                }
                _ => wrong.push(format!("not meant: {path} {field}: {differs:?}: {values}")),
            }
        }
    }
    let gone = meant
        .keys()
        .map(|(path, field)| format!("no difference any more: {path} {field}"));
    wrong.extend(gone);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{agreed} fields agree");
}

/// The first good request of each kind after so many others.
fn every_kind(device: &Device, double: &MenderDouble, after: usize) -> Vec<Recorded> {
    let find = |path: &str| {
        let mut requests = double.requests().into_iter().skip(after);
        let is_good = |seen: &Recorded| matches!(seen.status, Some(200 | 204));
        requests.find(|seen| seen.request.path == path && is_good(seen))
    };
    EVERY
        .into_iter()
        .map(|path| {
            device.until(path, || find(path).is_some());
            find(path).unwrap()
        })
        .collect()
}

/// Everything of a request that can be compared, by a name.
fn fields(seen: &Recorded) -> BTreeMap<String, String> {
    let request = &seen.request;
    let leaf = seen.client.as_ref().expect("both show the certificate");
    let mut fields = BTreeMap::from([
        ("method".to_owned(), request.method.clone()),
        ("path".to_owned(), request.path.clone()),
        ("status".to_owned(), format!("{:?}", seen.status)),
        ("TLS".to_owned(), format!("{:?}", seen.tls)),
        ("subject".to_owned(), leaf.subject.clone()),
        ("certificate".to_owned(), leaf.sha256.clone()),
        ("key".to_owned(), leaf.key_sha256.clone()),
        (
            "certificates shown".to_owned(),
            leaf.certificates.to_string(),
        ),
        (
            "order of headers".to_owned(),
            names(request).join(", ").to_lowercase(),
        ),
    ]);
    for (name, value) in &request.headers {
        let field = format!("head: {}", name.to_lowercase());
        let before = fields.insert(field, without_dates(value));
        assert_eq!(before, None, "{name} twice");
    }
    body(request, &mut fields);
    fields
}

/// Members of the document, or attributes of a list, and how they are written down.
fn body(request: &Request, fields: &mut BTreeMap<String, String>) {
    let text = core::str::from_utf8(&request.body).unwrap();
    let end = text.strip_prefix(text.trim_end()).unwrap();
    fields.insert("end of body".to_owned(), format!("{end:?}"));
    let whole: Value = serde_json::from_str(text).unwrap();
    let mut members = Vec::new();
    flatten("", &whole, &mut members);
    let place = |name: &str| text.find(&format!("\"{}\"", name.rsplit('.').next().unwrap()));
    let mut order: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    order.sort_by_key(|name| place(name));
    fields.insert("order of body".to_owned(), order.join(", "));
    for (name, value) in members {
        fields.insert(format!("body: {name}"), value);
    }
}

fn flatten(prefix: &str, value: &Value, members: &mut Vec<(String, String)>) {
    let name = |name: &str| {
        if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}.{name}")
        }
    };
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                flatten(&name(key), value, members);
            }
        }
        Value::Array(attributes) if prefix.is_empty() => {
            for attribute in attributes {
                let names: Vec<&String> = attribute.as_object().unwrap().keys().collect();
                assert_eq!(names, ["name", "value"]);
                let key = attribute["name"].as_str().unwrap();
                members.push((name(key), attribute["value"].to_string()));
            }
        }
        // With its type: a text is not a number.
        value => members.push((prefix.to_owned(), value.to_string())),
    }
}

/// A token as what it says of the device: the times in it are another matter.
fn without_dates(value: &str) -> String {
    let claims = || {
        let token = value.strip_prefix("Bearer ")?;
        let octets = BASE64_URL_SAFE_NO_PAD
            .decode(token.split('.').nth(1)?)
            .ok()?;
        let claims: Value = serde_json::from_slice(&octets).ok()?;
        Some(format!("Bearer of {} by {}", claims["sub"], claims["jti"]))
    };
    claims().unwrap_or_else(|| value.to_owned())
}
