//! The way from a CA to an accepted Mender device, as `docs/mender.md` tells it, runs as it stands
//! there: its commands are taken out of the document, and what it says that the agent says is said.

#![cfg(feature = "mender")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test ends when its set-up fails; it runs the document's commands"
)]

mod walk;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mtls_lab::mender::{Config, Door, MenderDouble, Status};
use mtls_lab::openssl::set_mode;
use mtls_lab::tls;
use serde_json::json;

use self::walk::{Walk, blocks};

const OTHER_PIN: &str = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn every_command_of_the_document_is_run_or_says_why_not() {
    let tests = concat!(include_str!("main.rs"), include_str!("walk.rs"));
    for block in blocks() {
        let comment = block.comment;
        match block.kind {
            "sh" if comment.starts_with("not run: ") => {}
            "sh" => {
                let name = comment.strip_prefix("run: ").unwrap_or_default();
                let is_run = !name.is_empty() && tests.contains(&format!("\"{name}\""));
                assert!(is_run, "nobody runs {:?}: {}", comment, block.text);
            }
            "text" => {
                let name = comment.strip_prefix("said: ").unwrap_or_default();
                let is_said = !name.is_empty() && tests.contains(&format!("\"{name}\""));
                assert!(is_said, "nobody says {:?}: {}", comment, block.text);
            }
            kind => panic!("a block of kind {kind:?}: {}", block.text),
        }
    }
}

#[test]
fn the_whole_walk_from_the_ca_to_the_accepted_device() {
    let walk = Walk::prepared();
    walk.run("check");
    // By the book: what Mender's own clients take and rustls cannot.
    let (code, said) = if walk.version("server-cert.pem") == 1 {
        ("server_certificate", "version one")
    } else {
        ("server_name", "common name only")
    };
    let words = walk.expect_refused("server_untrusted", code, said);
    assert!(words.contains("openssl x509 -req"), "{words}");
    assert!(words.contains("-extfile"), "{words}");
    assert!(words.contains("subjectAltName=DNS:HOST"), "{words}");
    assert!(words.contains("tls.server_pin"), "{words}");

    walk.run("mend");
    walk.ambassador("server-cert.pem", "server-private.key");
    walk.expect_accepted();
    // The device's certificate is still the one by the book.
    let version = walk.version("device-cert.pem");
    let double = walk.ambassador.borrow();
    let requests = double.as_ref().unwrap().requests();
    let leaf = requests[0].client.as_ref().unwrap();
    assert_eq!(leaf.version, version);
    assert_eq!(leaf.subject, "O=Example,CN=my-device");
    let is_warned = walk.check().contains(&"x509_version".to_owned());
    assert_eq!(is_warned, version == 1);
    // No key was made beside the certificate's, which signed.
    assert!(!walk.path("data/mender/mender-agent.pem").exists());
    for (name, mode) in [
        ("data/mender", 0o700),
        ("data/mender/mender-cert-private.pem", 0o600),
        ("etc/mender/mender.conf", 0o600),
    ] {
        let facts = fs::metadata(walk.path(name)).unwrap();
        assert_eq!(facts.permissions().mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn a_server_name_in_the_common_name_only_is_named_as_such() {
    let walk = Walk::prepared();
    let own = "printf 'basicConstraints = CA:FALSE\\n' > none.ext && openssl x509 -req \
        -CA ca-cert.pem -CAkey ca-private.key -CAcreateserial -in server-cert.req \
        -out server-cert.pem -days 730 -extfile none.ext";
    assert_eq!(walk.shell(own).code, Some(0));
    walk.ambassador("server-cert.pem", "server-private.key");
    let words = walk.expect_refused("server_untrusted", "server_name", "common name only");
    assert!(words.contains("subjectAltName=DNS:HOST"), "{words}");
}

#[test]
fn a_pinned_key_is_enough_and_nothing_else_is() {
    let walk = Walk::prepared();
    for name in ["pin", "configure-pin"] {
        walk.run(name);
    }
    let pin = |name: &str| fs::read_to_string(walk.path("work").join(name)).unwrap();
    assert_eq!(
        (pin("server.pin").len(), pin("reserve.pin").len()),
        (44, 44)
    );
    // The certificate is the one by the book, and no CA is named.
    assert!(!walk.check().contains(&"pin_alone".to_owned()));
    walk.expect_accepted();

    // The day the reserve key is needed: whatever certificate it has, nobody is locked out.
    let reserve = "openssl req -new -x509 -key reserve-private.key -out reserve-cert.pem \
        -config server-cert.conf -days 1";
    assert_eq!(walk.shell(reserve).code, Some(0));
    walk.ambassador("reserve-cert.pem", "reserve-private.key");
    walk.expect_accepted();

    // Only the pin counts: with another one a perfect certificate and its CA are of no use.
    walk.run("mend");
    walk.ambassador("server-cert.pem", "server-private.key");
    walk.change(|conf| {
        conf["ServerCertificate"] = json!(walk.path("etc/mender/ca-cert.pem"));
        conf["MtlsAgent"]["tls"]["server_pin"] = json!([]);
    });
    walk.expect_accepted();
    walk.change(|conf| conf["MtlsAgent"]["tls"]["server_pin"] = json!([OTHER_PIN]));
    assert!(walk.check().contains(&"pin_alone".to_owned()));
    let words = walk.expect_failed("server_untrusted", "server_pin");
    let own = format!("sha256//{}", pin("server.pin"));
    assert!(words.contains(&own), "{words}");
}

#[test]
fn a_ca_certificate_as_the_servers_is_named_and_a_leaf_or_a_pin_is_the_cure() {
    let walk = Walk::mended();
    walk.run("demo");
    walk.ambassador("demo-cert.pem", "demo-private.key");
    let words = walk.expect_refused("server_untrusted", "server_certificate", "authority");
    assert!(words.contains("let that CA issue"), "{words}");
    assert!(words.contains("tls.server_pin"), "{words}");

    walk.run("demo-leaf");
    walk.ambassador("demo-leaf.pem", "server-private.key");
    walk.expect_accepted();

    let file = walk.path("work/demo-cert.pem");
    fs::copy(file, walk.path("work/server-cert.pem")).unwrap();
    walk.ambassador("demo-cert.pem", "demo-private.key");
    for name in ["pin", "configure-pin"] {
        walk.run(name);
    }
    walk.expect_accepted();
}

#[test]
fn past_the_ambassador_the_device_waits_for_a_person_and_is_told_why() {
    let walk = Walk::mended();
    walk.ambassador("server-cert.pem", "server-private.key");
    let door = Door::Server {
        server: walk.shown(),
    };
    let server = MenderDouble::start(Config::new(door)).unwrap();
    walk.server.replace(Some(server));
    walk.run("bypass");
    let ran = walk.expect_refused("pending", "mtls_not_requested", "bypassed");
    assert!(ran.contains("HTTP 401"), "{ran}");
    {
        let server = walk.server.borrow();
        let server = server.as_ref().unwrap();
        assert_eq!(server.devices()[0].status(), Some(Status::Pending));
        assert!(server.requests().iter().all(|seen| seen.client.is_none()));
    }
    walk.run("return");
    walk.expect_accepted();
}

#[test]
fn the_certificates_key_signs_and_another_one_is_refused_before_anybody_is_asked() {
    let walk = Walk::mended();
    walk.expect_accepted();
    let key = walk.path("data/mender/mender-cert-private.pem");
    walk.change(|conf| conf["Security"] = json!({ "AuthPrivateKey": key }));
    walk.expect_accepted();

    let other = walk.path("work/other.key");
    let make = "openssl ecparam -genkey -name prime256v1 -noout -out other.key";
    assert_eq!(walk.shell(make).code, Some(0));
    set_mode(&other, 0o600);
    walk.change(|conf| conf["Security"] = json!({ "AuthPrivateKey": other }));
    let asked = walk.asked();
    let ran = walk.attempt("verify");
    assert_eq!(ran.code, Some(78), "{}", ran.out);
    assert!(ran.out.contains("is not the key of"), "{}", ran.out);
    assert!(ran.out.contains("Security.AuthPrivateKey"), "{}", ran.out);
    assert_eq!(walk.asked(), asked, "the ambassador was asked");
    let ran = walk.attempt("check");
    assert_eq!(ran.code, Some(78), "{}", ran.out);
    assert!(walk.check().contains(&"auth_key_differs".to_owned()));
}

#[test]
fn the_documents_certificates_have_no_more_than_the_book_gives_them() {
    let walk = Walk::prepared();
    let has_name = |certificate: &str| {
        let words = format!("openssl x509 -noout -text -in {certificate}");
        walk.shell(&words).out.contains("Subject Alternative Name")
    };
    for certificate in ["ca-cert.pem", "server-cert.pem", "device-cert.pem"] {
        let file: &Path = &walk.path("work").join(certificate);
        assert_eq!(tls::certificates(file).len(), 1);
        assert!(!has_name(certificate), "{certificate}");
    }
    walk.run("mend");
    assert!(has_name("server-cert.pem"));
}
