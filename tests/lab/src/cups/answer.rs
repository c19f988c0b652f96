//! Encodes: CUPS answers and credential blobs, in both dialects.
//!
//! ```text
//! 1+n cupsUri | 1+n tcUri | 2+n cupsCred | 2+n tcCred | 4 sigLen [4 key CRC + signature] | 4+n update
//! ```
//! The protocol document counts the key CRC in sigLen and leaves it out with the signature; The
//! Things Stack always writes it and never counts it. All lengths are little endian.

/// Whose way of writing the signature segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The protocol document: "nothing changed" is 14 zero octets.
    Canonical,
    /// The Things Stack: "nothing changed" is 18 zero octets.
    TheThingsStack,
}

/// A signature over update data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    /// CRC of the key that made it.
    pub key_crc: u32,
    /// ASN.1 DER.
    pub der: &'a [u8],
}

/// The parts of an answer; an empty one means "no change".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segments<'a> {
    /// New CUPS address.
    pub cups_uri: &'a str,
    /// New LNS address.
    pub tc_uri: &'a str,
    /// New CUPS credential blob.
    pub cups_credentials: &'a [u8],
    /// New LNS credential blob.
    pub tc_credentials: &'a [u8],
    /// Signature over `update`.
    pub signature: Option<Signature<'a>>,
    /// Firmware or script.
    pub update: &'a [u8],
}

/// Writes an answer. Lengths that do not fit their field are cut to it, which makes a bad answer.
#[must_use]
pub fn encode(segments: &Segments<'_>, dialect: Dialect) -> Vec<u8> {
    let mut out = Vec::new();
    for uri in [segments.cups_uri, segments.tc_uri] {
        put(&mut out, uri.as_bytes(), 1);
    }
    for blob in [segments.cups_credentials, segments.tc_credentials] {
        put(&mut out, blob, 2);
    }
    let signature = segments
        .signature
        .map_or(&[][..], |signature| signature.der);
    let key_crc = segments.signature.map_or(0, |signature| signature.key_crc);
    let counted = match (dialect, segments.signature) {
        (Dialect::Canonical, Some(_)) => signature.len().saturating_add(4),
        _ => signature.len(),
    };
    out.extend(little_endian(counted, 4));
    if dialect == Dialect::TheThingsStack || segments.signature.is_some() {
        out.extend(key_crc.to_le_bytes());
    }
    out.extend(signature);
    put(&mut out, segments.update, 4);
    out
}

/// What stands in the key's place in a credential blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// Four zero octets.
    None,
    /// A private key in DER.
    Der(&'a [u8]),
    /// Header lines, as they are.
    Token(&'a str),
}

/// Writes a credential blob of trust, certificate (or its marker) and key.
#[must_use]
pub fn credential(trust: &[u8], certificate: Option<&[u8]>, key: Key<'_>) -> Vec<u8> {
    let mut blob = trust.to_vec();
    blob.extend(certificate.unwrap_or(&[0; 4]));
    blob.extend(match key {
        Key::None => &[0; 4][..],
        Key::Der(der) => der,
        Key::Token(text) => text.as_bytes(),
    });
    blob
}

/// The blob The Things Stack makes of a trust certificate and a key: the key without `Bearer`.
#[must_use]
pub fn token_credential(trust: &[u8], key: &str) -> Vec<u8> {
    let line = format!("Authorization: {}\r\n", key.trim_end_matches(['\r', '\n']));
    credential(trust, None, Key::Token(&line))
}

/// CRC-32 as in zlib, octet by octet and bit by bit: slow, and obviously right.
#[must_use]
pub fn crc32(octets: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for octet in octets {
        crc ^= u32::from(*octet);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

fn put(out: &mut Vec<u8>, part: &[u8], width: usize) {
    out.extend(little_endian(part.len(), width));
    out.extend(part);
}

fn little_endian(length: usize, width: usize) -> impl Iterator<Item = u8> {
    length.to_le_bytes().into_iter().take(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changed_is_14_octets_by_the_document_and_18_by_the_things_stack() {
        let nothing = Segments::default();
        assert_eq!(encode(&nothing, Dialect::Canonical), [0; 14]);
        assert_eq!(encode(&nothing, Dialect::TheThingsStack), [0; 18]);
    }

    #[test]
    fn the_crc_of_an_empty_set_is_the_known_one() {
        assert_eq!(crc32(&[0; 12]), 0x7BD5_C66F);
    }

    #[test]
    fn the_signature_length_counts_the_key_crc_only_by_the_document() {
        let signature = Some(Signature {
            key_crc: 0x0403_0201,
            der: &[9, 9],
        });
        let segments = Segments {
            signature,
            update: &[7],
            ..Segments::default()
        };
        let canonical = [
            0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1, 2, 3, 4, 9, 9, 1, 0, 0, 0, 7,
        ];
        let stack = [
            0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4, 9, 9, 1, 0, 0, 0, 7,
        ];
        assert_eq!(encode(&segments, Dialect::Canonical), canonical);
        assert_eq!(encode(&segments, Dialect::TheThingsStack), stack);
    }
}
