//! Speaks: the names in a certificate, as text for people.
//!
//! ```text
//! SEQUENCE, most general part first
//!   SET                 one part, nearly always of one attribute
//!     SEQUENCE          OID of the type, string of the value
//! ```
//! Written as in RFC 4514: most specific part first, `CN=...,O=...`. Values of any string type
//! are decoded as well as can be: a name with an octet out of place still tells who it is.

use core::fmt::Write as _;

use super::der::{Reader, SEQUENCE, Value};

const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const T61_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1A;
const UNIVERSAL_STRING: u8 = 0x1C;
const BMP_STRING: u8 = 0x1E;

const UNREADABLE: char = char::REPLACEMENT_CHARACTER;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The types that have a short name; the others are written as dotted numbers.
const SHORT_NAMES: [(&[u8], &str); 11] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x04], "SN"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x55, 0x04, 0x0A], "O"),
    (&[0x55, 0x04, 0x0B], "OU"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1],
        "emailAddress",
    ),
];

/// A name, decoded. May hold any character, control characters too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// All of it, RFC 4514.
    pub text: String,
    /// The last common name, which is the most specific one, without escapes.
    pub common_name: Option<String>,
}

impl Name {
    /// Reads what the SEQUENCE of a name holds; `None` if it is not a name.
    #[must_use]
    pub fn read(content: &[u8]) -> Option<Self> {
        let mut sets = Reader::new(content);
        let mut parts = Vec::new();
        let mut common_name = None;
        while !sets.is_at_end() {
            let mut set = sets.inside(SET)?;
            let mut part = String::new();
            while !set.is_at_end() {
                let mut attribute = set.inside(SEQUENCE)?;
                let kind = attribute.optional(OBJECT_IDENTIFIER)?.content;
                let value = attribute.any()?;
                if !part.is_empty() {
                    part.push('+');
                }
                write_kind(&mut part, kind);
                part.push('=');
                let text = decode(value);
                write_value(&mut part, value, text.as_deref());
                if kind == COMMON_NAME {
                    common_name = text;
                }
            }
            parts.push(part);
        }
        parts.reverse();
        Some(Self {
            text: parts.join(","),
            common_name,
        })
    }
}

fn write_kind(out: &mut String, kind: &[u8]) {
    if let Some((_, short)) = SHORT_NAMES.iter().find(|(octets, _)| *octets == kind) {
        out.push_str(short);
        return;
    }
    let mut number: u128 = 0;
    let mut is_first = true;
    for octet in kind {
        number = number.saturating_mul(128) | u128::from(octet & 0x7F);
        if octet & 0x80 != 0 {
            continue;
        }
        // The first two numbers share one: 40 times the one, which is at most 2, and the other.
        let _ = if is_first {
            let root = number.checked_div(40).unwrap_or_default().min(2);
            let rest = number.saturating_sub(root.saturating_mul(40));
            write!(out, "{root}.{rest}")
        } else {
            write!(out, ".{number}")
        };
        is_first = false;
        number = 0;
    }
}

fn write_value(out: &mut String, value: Value<'_>, text: Option<&str>) {
    let Some(text) = text else {
        out.push('#');
        for octet in value.whole {
            let _ = write!(out, "{octet:02x}");
        }
        return;
    };
    let mut rest = text.chars().peekable();
    let mut is_first = true;
    while let Some(c) = rest.next() {
        let is_edge = is_first || rest.peek().is_none();
        let is_special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\');
        if is_special || (is_edge && c == ' ') || (is_first && c == '#') {
            out.push('\\');
        }
        out.push(c);
        is_first = false;
    }
}

/// The text of a string of any type; `None` if it is no string.
fn decode(value: Value<'_>) -> Option<String> {
    let octets = value.content;
    match value.tag {
        UTF8_STRING | NUMERIC_STRING | PRINTABLE_STRING | IA5_STRING | VISIBLE_STRING => {
            Some(String::from_utf8_lossy(octets).into_owned())
        }
        // Said to be T.61, is Latin-1 wherever it is met.
        T61_STRING => Some(octets.iter().copied().map(char::from).collect()),
        BMP_STRING => {
            let units = octets.chunks_exact(2).map(|pair| {
                pair.iter()
                    .fold(0_u16, |sum, octet| sum << 8 | u16::from(*octet))
            });
            let points = char::decode_utf16(units);
            Some(points.map(|c| c.unwrap_or(UNREADABLE)).collect())
        }
        UNIVERSAL_STRING => {
            let points = octets.chunks_exact(4).map(|quad| {
                quad.iter()
                    .fold(0_u32, |sum, octet| sum << 8 | u32::from(*octet))
            });
            Some(
                points
                    .map(|point| char::from_u32(point).unwrap_or(UNREADABLE))
                    .collect(),
            )
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    /// A name of one attribute each part: type, tag and octets of the value.
    fn name(parts: &[(&[u8], u8, &[u8])]) -> Name {
        let wrap = |tag: u8, content: &[u8]| {
            let mut octets = vec![tag, u8::try_from(content.len()).unwrap()];
            octets.extend_from_slice(content);
            octets
        };
        let part = |(kind, tag, value): &(&[u8], u8, &[u8])| {
            let attribute = [wrap(6, kind), wrap(*tag, value)].concat();
            wrap(0x31, &wrap(0x30, &attribute))
        };
        let content: Vec<u8> = parts.iter().flat_map(part).collect();
        Name::read(&content).unwrap()
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];

    #[test]
    fn the_most_specific_part_comes_first() {
        let name = name(&[(O, 0x13, b"Field"), (CN, 0x0C, b"gw"), (CN, 0x0C, b"gw 2")]);
        assert_eq!(name.text, "CN=gw 2,CN=gw,O=Field");
        assert_eq!(name.common_name.as_deref(), Some("gw 2"));
    }

    #[test]
    fn special_characters_are_escaped_in_the_text_only() {
        let name = name(&[(CN, 0x0C, b"#a,b+\"c\" ")]);
        assert_eq!(name.text, "CN=\\#a\\,b\\+\\\"c\\\"\\ ");
        assert_eq!(name.common_name.as_deref(), Some("#a,b+\"c\" "));
    }

    #[test]
    fn every_string_type_is_decoded() {
        for (tag, octets, text) in [
            (0x0C, "Z\u{fc}rich".as_bytes(), "Z\u{fc}rich"),
            (0x0C, b"Z\xFCrich", "Z\u{fffd}rich"),
            (0x14, b"Z\xFCrich", "Z\u{fc}rich"),
            (0x16, b"a@b", "a@b"),
            (0x1E, b"\0Z\0\xFC\xD8\0\0\0", "Z\u{fc}\u{fffd}\0"),
            (0x1C, b"\0\0\0Z\xFF\xFF\xFF\xFF", "Z\u{fffd}"),
        ] {
            let name = name(&[(CN, tag, octets)]);
            assert_eq!(name.common_name.as_deref(), Some(text), "{octets:02x?}");
        }
    }

    #[test]
    fn what_is_no_string_or_has_no_short_name_is_written_in_numbers() {
        let name = name(&[
            (CN, 0x02, &[7]),
            (&[0x2A, 0x03], 0x0C, b"x"),
            (&[0x88, 0x37], 0x0C, b"y"),
        ]);
        assert_eq!(name.text, "2.999=y,1.2.3=x,CN=#020107");
        assert_eq!(name.common_name, None);
    }

    #[test]
    fn other_octets_are_not_a_name() {
        for octets in [
            &[0x31][..],
            &[0x30, 0],
            &[0x31, 2, 0x30, 0],
            &[0x31, 1, 0x30],
        ] {
            assert_eq!(Name::read(octets), None, "{octets:02x?}");
        }
        assert_eq!(Name::read(&[]).unwrap().text, "");
    }
}
