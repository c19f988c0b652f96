//! Speaks: the 64-bit extended unique identifier of a gateway in its three spellings.
//!
//! | spelling | example | where |
//! |---|---|---|
//! | hex | `0123456789ABCDEF` | certificate common name, logs |
//! | ID6 | `123:4567:89ab:cdef` | CUPS `router`, LNS `router` |
//! | octets | `01-23-45-67-89-AB-CD-EF` | `station.conf` routerid |
//!
//! Rules of ID6: `reference/cups-lns.md` section 1.3.

use core::fmt;

/// An EUI-64. `Display` prints 16 upper-case hex digits, the form The Things Stack
/// compares with a certificate's common name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Eui64(u64);

/// Text that is not an EUI in any accepted spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnEui(pub String);

impl Eui64 {
    /// Takes the number itself.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number itself.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Reads exactly 16 hex digits of either case, as in a certificate's common name.
    pub fn from_hex(text: &str) -> Result<Self, NotAnEui> {
        let is_hex = text.len() == 16 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        if !is_hex {
            return Err(NotAnEui(text.to_owned()));
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| NotAnEui(text.to_owned()))
    }

    /// Reads any spelling that Basic Station accepts as `routerid`: 16 hex digits, eight
    /// octets joined by `-` or `:`, ID6, or a 6-octet MAC (expanded by inserting `FFFE`,
    /// without flipping the U/L bit).
    pub fn from_any(text: &str) -> Result<Self, NotAnEui> {
        let text = text.trim();
        Self::from_hex(text)
            .ok()
            .or_else(|| octets(text))
            .or_else(|| id6(text))
            .ok_or_else(|| NotAnEui(text.to_owned()))
    }

    /// Returns the ID6 spelling, lower case, zeros compressed.
    #[must_use]
    pub fn id6(self) -> Id6 {
        Id6(self)
    }
}

impl fmt::Display for Eui64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for Eui64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Eui64({self})")
    }
}

impl fmt::Display for NotAnEui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an EUI (16 hex digits, or octets joined by - or :)",
            self.0
        )
    }
}

impl core::error::Error for NotAnEui {}

/// An EUI that prints itself as ID6.
#[derive(Debug, Clone, Copy)]
pub struct Id6(Eui64);

impl fmt::Display for Id6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.0;
        let group = |shift: u32| (number >> shift) & 0xFFFF;
        match (group(48), group(32), group(16), group(0)) {
            (0, 0, 0, g3) => write!(f, "::{g3:x}"),
            (0, 0, g2, g3) => write!(f, "::{g2:x}:{g3:x}"),
            (g0, 0, 0, 0) => write!(f, "{g0:x}::"),
            (g0, g1, 0, 0) => write!(f, "{g0:x}:{g1:x}::"),
            (g0, 0, 0, g3) => write!(f, "{g0:x}::{g3:x}"),
            (g0, g1, g2, g3) => write!(f, "{g0:x}:{g1:x}:{g2:x}:{g3:x}"),
        }
    }
}

/// Eight octets of an EUI or six of a MAC, two hex digits each, one kind of separator.
fn octets(text: &str) -> Option<Eui64> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut number: u64 = 0;
    let mut count = 0_usize;
    for part in text.split(separator) {
        if part.len() != 2 || !part.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return None;
        }
        number = (number << 8) | u64::from(u8::from_str_radix(part, 16).ok()?);
        count = count.saturating_add(1);
        if count > 8 {
            return None;
        }
    }
    match count {
        8 => Some(Eui64(number)),
        6 => Some(Eui64(
            (number >> 24) << 40 | 0xFF_FE00_0000 | (number & 0xFF_FFFF),
        )),
        _ => None,
    }
}

/// Four groups of at most four hex digits; one `::` stands for the missing zero groups.
fn id6(text: &str) -> Option<Eui64> {
    let groups = |part: &str| -> Option<Vec<u64>> {
        if part.is_empty() {
            return Some(Vec::new());
        }
        part.split(':')
            .map(|group| {
                let is_hex = !group.is_empty()
                    && group.len() <= 4
                    && group.bytes().all(|octet| octet.is_ascii_hexdigit());
                is_hex
                    .then(|| u64::from_str_radix(group, 16).ok())
                    .flatten()
            })
            .collect()
    };
    let (head, tail, is_compressed) = match text.split_once("::") {
        Some((head, tail)) => (groups(head)?, groups(tail)?, true),
        None => (groups(text)?, Vec::new(), false),
    };
    let given = head.len().checked_add(tail.len())?;
    let missing = 4_usize.checked_sub(given)?;
    if is_compressed == (missing == 0) {
        return None;
    }
    let zeros = core::iter::repeat_n(0, missing);
    Some(Eui64(
        head.into_iter()
            .chain(zeros)
            .chain(tail)
            .fold(0, |sum, group| sum << 16 | group),
    ))
}

#[cfg(test)]
mod tests {
    use super::Eui64;

    #[test]
    fn id6_of_every_edge_group_reads_back() {
        let edges = [0_u64, 1, 0xF, 0x10, 0xFFF, 0xFFFF];
        for a in edges {
            for b in edges {
                for c in edges {
                    for d in edges {
                        let eui = Eui64::new(a << 48 | b << 32 | c << 16 | d);
                        assert_eq!(Eui64::from_any(&eui.id6().to_string()), Ok(eui));
                    }
                }
            }
        }
    }

    #[test]
    fn a_mac_is_expanded_without_flipping_a_bit() {
        let eui = Eui64::from_any("b8:27:eb:12:34:56").unwrap();
        assert_eq!(eui.to_string(), "B827EBFFFE123456");
    }

    #[test]
    fn octets_and_hex_agree() {
        let eui = Eui64::from_hex("0123456789abcdef").unwrap();
        assert_eq!(Eui64::from_any("01-23-45-67-89-AB-CD-EF"), Ok(eui));
        assert_eq!(Eui64::from_any("01:23:45:67:89:ab:cd:ef"), Ok(eui));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "0123",
            "0123456789ABCDEG",
            "1::2::3",
            "12345::",
            "1:2:3",
            "01-23",
            "::1:2:3:4",
        ] {
            assert!(Eui64::from_any(text).is_err(), "{text}");
        }
    }
}
