//! Speaks: DER, one value after the other: where each ends, and what is inside.
//!
//! CUPS separates certificate and key by nothing else than these lengths.
//!
//! ```text
//! 30 77 ...           short form, 2 + 0x77 octets
//! 30 81 87 ...        one length octet (Basic Station misreads this one)
//! 30 82 01 a3 ...     two length octets
//! 30 83 01 86 a0 ...  three length octets
//! ```
//! Indefinite (`80`), longer and non-minimal lengths are refused. ITU-T X.690 section 10.1.

/// The tag of a DER SEQUENCE, with which every certificate and private key begins.
pub const SEQUENCE: u8 = 0x30;

/// A DER value that is wholly there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// The identifier octet.
    pub tag: u8,
    /// What it holds.
    pub content: &'a [u8],
    /// Identifier, length and content.
    pub whole: &'a [u8],
}

/// Reads DER values that follow each other. It never goes into one by itself, so depth of
/// nesting costs nothing. Tags of several octets are refused: certificates have none.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the first octet.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next value; `None` at the end or where it is not DER.
    pub fn any(&mut self) -> Option<Value<'a>> {
        let whole = self.0.get(..total_length(self.0)?)?;
        let (&tag, _) = whole.split_first().filter(|(tag, _)| *tag & 0x1F != 0x1F)?;
        let length_octets = match whole.get(1)? {
            count @ 0x80.. => usize::from(count & 0x7F),
            _ => 0,
        };
        let content = whole.get(length_octets.checked_add(2)?..)?;
        self.0 = self.0.get(whole.len()..)?;
        Some(Value {
            tag,
            content,
            whole,
        })
    }

    /// The next value if it has this tag; otherwise nothing is passed over.
    pub fn optional(&mut self, tag: u8) -> Option<Value<'a>> {
        if self.0.first() == Some(&tag) {
            self.any()
        } else {
            None
        }
    }

    /// What the next value holds, if it has this tag, to be read in turn.
    pub fn inside(&mut self, tag: u8) -> Option<Self> {
        self.optional(tag).map(|value| Self::new(value.content))
    }

    /// Whether every octet has been passed.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the number of octets of the DER value at the start of `octets`, header
/// included; `None` if the length is not DER. The value itself may be cut short.
#[must_use]
pub fn total_length(octets: &[u8]) -> Option<usize> {
    let (&first, rest) = octets.get(1..)?.split_first()?;
    if first < 0x80 {
        return usize::from(first).checked_add(2);
    }
    let count = usize::from(first & 0x7F);
    if !(1..=3).contains(&count) {
        return None;
    }
    let digits = rest.get(..count)?;
    let length = digits
        .iter()
        .fold(0_usize, |sum, &digit| sum << 8 | usize::from(digit));
    let smallest = if count == 1 {
        0x80
    } else {
        1_usize << (8 * (count - 1))
    };
    if length < smallest {
        return None;
    }
    length.checked_add(2)?.checked_add(count)
}

#[cfg(test)]
mod tests {
    use super::{Reader, SEQUENCE, total_length};

    #[test]
    fn legal_lengths_are_read() {
        assert_eq!(total_length(&[0x30, 0x77]), Some(121));
        assert_eq!(total_length(&[0x30, 0x81, 0x87]), Some(138));
        assert_eq!(total_length(&[0x30, 0x82, 0x01, 0xA3]), Some(423));
        assert_eq!(total_length(&[0x30, 0x83, 0x01, 0x86, 0xA0]), Some(100_005));
    }

    #[test]
    fn other_lengths_are_refused() {
        for octets in [
            &[0x30][..],
            &[0x30, 0x80],
            &[0x30, 0x81],
            &[0x30, 0x81, 0x7F],
            &[0x30, 0x82, 0x00, 0xFF],
            &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            assert_eq!(total_length(octets), None, "{octets:02x?}");
        }
    }

    #[test]
    fn values_are_read_one_after_the_other() {
        let mut reader = Reader::new(&[0x30, 0x03, 0x02, 0x01, 0x07, 0x04, 0x00]);
        assert_eq!(reader.optional(0x02), None);
        let mut inside = reader.inside(SEQUENCE).unwrap();
        let number = inside.any().unwrap();
        assert_eq!((number.tag, number.content), (0x02, &[0x07][..]));
        assert_eq!(number.whole, [0x02, 0x01, 0x07]);
        assert!(inside.is_at_end());
        assert!(!reader.is_at_end());
        assert_eq!(reader.any().unwrap().whole, [0x04, 0x00]);
        assert!(reader.is_at_end());
        assert_eq!(reader.any(), None);
    }

    #[test]
    fn a_long_value_is_read_without_its_length() {
        let mut octets = vec![0x04, 0x82, 0x01, 0x00];
        octets.resize(4 + 256, 7);
        let value = Reader::new(&octets).any().unwrap();
        assert_eq!(value.content, [7; 256]);
        assert_eq!(value.whole, octets);
    }

    #[test]
    fn a_value_that_is_cut_short_or_has_a_long_tag_is_not_read() {
        assert_eq!(Reader::new(&[0x04, 0x02, 0x00]).any(), None);
        assert_eq!(Reader::new(&[0x1F, 0x81, 0x00]).any(), None);
        assert_eq!(Reader::new(&[0x04]).any(), None);
    }
}
