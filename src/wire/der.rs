//! Speaks: where a DER value ends, which is how CUPS separates certificate and key.
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
    use super::total_length;

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
}
