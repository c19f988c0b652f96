//! Speaks: the pin of a server: the SHA-256 of its public key, as the operator writes it.
//!
//! ```text
//! sha256//YLh1dUR9y6Kja30RrAn7JKnbQG/uEtLMkBgFF2Fuihg=   as curl's --pinnedpubkey
//! 60b87575447dcba2a36b7d11ac09fb24a9db406fee12d2cc90180517616e8a18
//! 60:B8:75:75:...                                        as openssl prints digests
//! ```
//! The digest is over the DER `SubjectPublicKeyInfo` (RFC 7469 section 2.4), so it outlives a
//! renewal of the certificate with the same key.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const LENGTH: usize = 32;
const PREFIX: &str = "sha256//";

/// The SHA-256 of a server's public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; LENGTH]);

/// What was given is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPin;

impl Pin {
    /// Of a digest that was counted.
    #[must_use]
    pub const fn of(digest: [u8; LENGTH]) -> Self {
        Self(digest)
    }

    /// Reads one of the three spellings.
    pub fn parse(text: &str) -> Result<Self, NoPin> {
        let text = text.trim();
        let octets = match text.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| NoPin)?,
            None => from_hex(text)?,
        };
        octets.try_into().map(Self).map_err(|_| NoPin)
    }
}

/// Digits in pairs, with colons between all pairs or none.
fn from_hex(text: &str) -> Result<Vec<u8>, NoPin> {
    let digits = if text.len() == LENGTH.saturating_mul(3).saturating_sub(1) {
        let pairs: Vec<&str> = text.split(':').collect();
        if pairs.len() != LENGTH || pairs.iter().any(|pair| pair.len() != 2) {
            return Err(NoPin);
        }
        pairs.concat()
    } else {
        text.to_owned()
    };
    if digits.len() != LENGTH.saturating_mul(2) || !digits.is_ascii() {
        return Err(NoPin);
    }
    let mut octets = Vec::with_capacity(LENGTH);
    for pair in digits.as_bytes().chunks(2) {
        let pair = core::str::from_utf8(pair).map_err(|_| NoPin)?;
        if pair.starts_with('+') {
            return Err(NoPin);
        }
        octets.push(u8::from_str_radix(pair, 16).map_err(|_| NoPin)?);
    }
    Ok(octets)
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NoPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be sha256//BASE64 or 64 hex digits: the SHA-256 of a public key")
    }
}

impl core::error::Error for NoPin {}

#[cfg(test)]
mod tests {
    use super::Pin;

    const BASE64: &str = "sha256//YLh1dUR9y6Kja30RrAn7JKnbQG/uEtLMkBgFF2Fuihg=";
    const HEX: &str = "60b87575447dcba2a36b7d11ac09fb24a9db406fee12d2cc90180517616e8a18";

    fn with_colons() -> String {
        let pairs: Vec<&str> = HEX
            .as_bytes()
            .chunks(2)
            .map(|pair| core::str::from_utf8(pair).unwrap())
            .collect();
        pairs.join(":").to_uppercase()
    }

    #[test]
    fn the_three_spellings_are_one_pin() {
        let pin = Pin::parse(BASE64).unwrap();
        assert_eq!(Pin::parse(HEX), Ok(pin));
        assert_eq!(Pin::parse(&with_colons()), Ok(pin));
        assert_eq!(pin.to_string(), BASE64);
    }

    #[test]
    fn what_is_no_digest_of_this_kind_is_refused() {
        let plus = format!("+1{}", HEX.get(2..).unwrap());
        let wide = "\u{e9}".repeat(32);
        for text in [
            "",
            "sha256//",
            "sha256//AAAA",
            "sha1//AAAA",
            &HEX[1..],
            &plus,
            &wide,
            "a:",
        ] {
            assert!(Pin::parse(text).is_err(), "{text}");
        }
    }
}
