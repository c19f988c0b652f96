//! Speaks: keys as PEM; a public one in the form that every ambassador compares equal.
//!
//! Old ambassadors compare the text, octet by octet, with what Go makes of the certificate's
//! key: 64 columns, `\n`, a line end at the last line too. `reference/mender.md` section 2.7.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::wire::secret::Secret;

/// Columns of the text inside.
const COLUMNS: usize = 64;

/// The PEM of a DER `SubjectPublicKeyInfo`.
#[must_use]
pub fn pem(spki: &[u8]) -> String {
    written("PUBLIC KEY", spki)
}

/// The PEM of a private key, DER in PKCS#8.
#[must_use]
pub fn private_pem(key: &[u8]) -> Secret {
    Secret::new(written("PRIVATE KEY", key).into_bytes())
}

fn written(label: &str, octets: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(octets));
    // Room for everything, so that no copy of a key stays behind when it grows.
    let mut pem = String::with_capacity(text.len().saturating_mul(2).saturating_add(128));
    let mut push = |line: &[&str]| line.iter().for_each(|part| pem.push_str(part));
    push(&["-----BEGIN ", label, "-----\n"]);
    let mut rest = text.as_str();
    // Base64 is ASCII, so every place is a border of characters.
    while let Some((line, after)) = rest.split_at_checked(COLUMNS) {
        push(&[line, "\n"]);
        rest = after;
    }
    if !rest.is_empty() {
        push(&[rest, "\n"]);
    }
    push(&["-----END ", label, "-----\n"]);
    pem
}

#[cfg(test)]
mod tests {
    use super::pem;

    #[test]
    fn lines_have_64_columns_and_the_last_one_ends() {
        for (octets, lines) in [(0, 2), (1, 3), (48, 3), (49, 4), (96, 4), (97, 5)] {
            let text = pem(&vec![0; octets]);
            assert!(text.ends_with("-----END PUBLIC KEY-----\n"));
            assert_eq!(text.lines().count(), lines, "{octets} octets");
            assert!(
                text.lines()
                    .all(|line| line.len() <= 64 && !line.is_empty())
            );
        }
    }
}
