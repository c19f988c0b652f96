//! Reads: `tests/data/cups-vectors.json`, requests and answers with the state around them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// Files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) struct Vectors(pub(crate) Value);

impl Vectors {
    pub(crate) fn load() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cups-vectors.json");
        Self(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    }

    pub(crate) fn positive(&self) -> &[Value] {
        self.0["vectors"].as_array().unwrap()
    }

    pub(crate) fn malformed(&self) -> &[Value] {
        self.0["malformed"].as_array().unwrap()
    }

    /// The positive vector of this name.
    pub(crate) fn named(&self, name: &str) -> &Value {
        let mut all = self.positive().iter();
        all.find(|vector| vector["name"] == name).unwrap()
    }

    /// The files a gateway has before it asks.
    pub(crate) fn before(&self, vector: &Value) -> Files {
        match vector["state_before_like"].as_str() {
            Some(name) => files(&self.named(name)["state_before"]),
            None => files(&vector["state_before"]),
        }
    }

    /// A certificate, key or signature.
    pub(crate) fn material(&self, name: &str) -> Vec<u8> {
        base64(text(&self.0["materials"][name]))
    }
}

pub(crate) fn files(state: &Value) -> Files {
    let entries = state.as_object().unwrap().iter();
    entries
        .map(|(name, octets)| (name.clone(), base64(text(octets))))
        .collect()
}

/// The octets of the answer.
pub(crate) fn body(vector: &Value) -> Vec<u8> {
    hex(text(&vector["response"]["body_hex"]))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |octet: u8| u8::try_from(char::from(octet).to_digit(16).unwrap()).unwrap();
    text.as_bytes()
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |sum, &octet| sum << 4 | digit(octet)))
        .collect()
}

pub(crate) fn base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|&letter| letter != b'=') {
        let six = alphabet.iter().position(|&known| known == letter).unwrap();
        bits = bits << 6 | u32::try_from(six).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xFF).unwrap());
        }
    }
    out
}
