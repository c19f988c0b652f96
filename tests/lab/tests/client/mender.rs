//! Asks: what a Mender client asks, signed with a device's key.

use mtls_lab::mender::key::PublicKey;
use mtls_lab::mender::{Leaf, MenderDouble};
use mtls_lab::pki::Pair;
use mtls_lab::tls;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::client::{Lab, ask, connect};

/// Where devices ask for a token.
pub(crate) const AUTH: &str = "/api/devices/v1/authentication/auth_requests";
/// Where they report what they are.
pub(crate) const INVENTORY: &str = "/api/devices/v1/inventory/device/attributes";
/// The identity of the tests.
pub(crate) const IDENTITY: &str = r#"{"mac":"02:00:00:ab:cd:01"}"#;

/// Status, head and body of an answer.
pub(crate) type Answer = (u16, String, Vec<u8>);

/// The key of a certificate file, as PEM.
pub(crate) fn public_key(pair: &Pair) -> String {
    let chain: Vec<CertificateDer<'_>> = tls::certificates(&pair.certificate);
    assert!(Leaf::of(&chain).is_some());
    let leaf = Certificate::from_der(&chain[0]).unwrap();
    let info = &leaf.tbs_certificate.subject_public_key_info;
    PublicKey::from_info(info).unwrap().pem()
}

/// `X-MEN-Signature` of a body.
pub(crate) fn signature(pair: &Pair, body: &str) -> String {
    use base64::Engine as _;
    let random = SystemRandom::new();
    let key = tls::private_key(&pair.key);
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der(), &random);
    let signature = key.unwrap().sign(&random, body.as_bytes()).unwrap();
    base64::engine::general_purpose::STANDARD.encode(signature)
}

/// The body of an auth request.
pub(crate) fn body(pair: &Pair) -> String {
    json!({ "id_data": IDENTITY, "pubkey": public_key(pair), "tenant_token": "T" }).to_string()
}

/// Asks for a token with a good request of `pair`, over TLS as `pair` or without a certificate.
pub(crate) fn authenticate(lab: &Lab, double: &MenderDouble, pair: &Pair, mutual: bool) -> Answer {
    let body = body(pair);
    let head = head(&signature(pair, &body));
    call(
        lab,
        double,
        mutual.then_some(pair),
        ("POST", AUTH),
        &head,
        &body,
    )
}

/// The headers of an auth request.
pub(crate) fn head(signature: &str) -> String {
    format!("Content-Type: application/json\r\nX-MEN-Signature: {signature}\r\n")
}

/// One request on a connection of its own.
pub(crate) fn call(
    lab: &Lab,
    double: &MenderDouble,
    pair: Option<&Pair>,
    (method, path): (&str, &str),
    head: &str,
    body: &str,
) -> Answer {
    let mut stream = connect(double.address(), &lab.pki.server_root, pair).unwrap();
    ask(&mut stream, method, path, head, body).unwrap()
}

/// A token, and the headers that show it.
pub(crate) fn bearer(lab: &Lab, double: &MenderDouble) -> String {
    let (status, _, token) = authenticate(lab, double, &lab.pki.device, true);
    assert_eq!(status, 200);
    let token = String::from_utf8(token).unwrap();
    format!("Authorization: Bearer {}\r\n", token.trim())
}
