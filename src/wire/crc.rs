//! Speaks: the CRC-32 of zlib, by which CUPS compares credentials and names signature keys.
//!
//! A table of 1 KiB is enough: what is summed is a few kilobytes a day.

const TABLE: [u32; 256] = table();

/// CRC-32 as zlib, gzip and Ethernet compute it (polynomial `EDB88320`, reflected).
#[must_use]
pub fn crc32(octets: &[u8]) -> u32 {
    let sum = octets.iter().fold(u32::MAX, |sum, octet| {
        let [low, ..] = sum.to_le_bytes();
        let change = TABLE.get(usize::from(low ^ octet)).copied();
        sum >> 8 ^ change.unwrap_or_default()
    });
    !sum
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which would refuse an index outside the table"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            let change = if sum & 1 == 1 { 0xEDB8_8320 } else { 0 };
            sum = sum >> 1 ^ change;
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn known_sums_are_computed() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(&[0; 12]), 0x7BD5_C66F);
        assert_eq!(crc32(&[0xFF; 32]), 0xFF6C_AB0B);
    }
}
