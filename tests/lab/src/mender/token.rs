//! Issues: the tokens of the Mender server, and checks those that come back.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{self, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// How tokens are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519; short tokens.
    #[default]
    EdDsa,
    /// RSA of 2048 bits, as most servers have it. The key is made with the `openssl` command.
    Rs256,
}

/// The server's key. It is made anew for each double.
#[derive(Debug)]
pub(super) enum Signer {
    Ed25519(Ed25519KeyPair),
    Rsa(Box<rsa::KeyPair>),
}

impl Signer {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDsa => {
                let random = SystemRandom::new();
                let made = Ed25519KeyPair::generate_pkcs8(&random).expect("there is randomness");
                let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("ring made this key");
                Self::Ed25519(pair)
            }
            Algorithm::Rs256 => {
                let words = ["genpkey", "-algorithm", "RSA", "-pkeyopt"];
                let made = Command::new("openssl")
                    .args(words)
                    .arg("rsa_keygen_bits:2048")
                    .output()
                    .expect("the openssl command is installed");
                let key =
                    PrivatePkcs8KeyDer::from_pem_slice(&made.stdout).expect("openssl made a key");
                let pair = rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der());
                Self::Rsa(Box::new(pair.expect("ring can read this key")))
            }
        }
    }

    /// A signed token with these claims.
    pub(super) fn issue(&self, claims: &Value) -> String {
        let name = match self {
            Self::Ed25519(_) => "EdDSA",
            Self::Rsa(_) => "RS256",
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(&json!({ "alg": name, "typ": "JWT" }));
        let signed = format!("{head}.{}", part(claims));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token this key has signed.
    pub(super) fn claims(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let own = match self {
            Self::Ed25519(pair) => {
                UnparsedPublicKey::new(&signature::ED25519, pair.public_key().as_ref().to_vec())
            }
            Self::Rsa(pair) => UnparsedPublicKey::new(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                pair.public().as_ref().to_vec(),
            ),
        };
        own.verify(signed.as_bytes(), &signature).ok()?;
        claims(token)
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut out)
                    .expect("the buffer has the length of the key");
                out
            }
        }
    }
}

/// The claims of a token, unchecked.
#[must_use]
pub fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
