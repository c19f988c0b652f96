//! Keeps: `CURRENT` and `GOOD`, one text line each that names a generation.
//!
//! ```text
//! 1 42 <SHA-256 of gen-0000000042/MANIFEST> <CRC-32 of the line up to here>
//! ```
//! Number 0 says that no set was ever committed. It keeps a set that was staged first of all
//! apart from a set whose pointer was lost.

use super::disk::{Access, Disk};
use super::durable;
use super::set::{Digest, SetNumber};
use crate::wire::crc::crc32;
use std::io;

/// The pointer to the set in use.
pub(super) const CURRENT: &str = "CURRENT";
/// The pointer to the last set that finished an authenticated exchange.
pub(super) const GOOD: &str = "GOOD";

const FORMAT: u64 = 1;
const MAX_OCTETS: usize = 256;

/// What a pointer file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer {
    /// The generation.
    pub(super) number: SetNumber,
    /// The digest of its manifest.
    pub(super) manifest: Digest,
}

impl Pointer {
    /// The pointer that names nothing.
    pub(super) fn nowhere() -> Self {
        Self {
            number: SetNumber(0),
            manifest: Digest::of(&[]),
        }
    }

    /// The file's text.
    fn encode(self) -> String {
        let line = format!("{FORMAT} {} {}", self.number, self.manifest);
        format!("{line} {:08x}\n", crc32(line.as_bytes()))
    }

    fn decode(text: &str) -> Option<Self> {
        let (line, crc) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        if format!("{:08x}", crc32(line.as_bytes())) != crc {
            return None;
        }
        let mut words = line.split(' ');
        if words.next()?.parse() != Ok(FORMAT) {
            return None;
        }
        let number = SetNumber(words.next()?.parse().ok()?);
        let manifest = Digest::from_hex(words.next()?)?;
        words.next().is_none().then_some(Self { number, manifest })
    }
}

/// What was found in the place of a pointer.
#[derive(Debug)]
pub(super) enum Found {
    /// No file.
    Absent,
    /// A line that checks out.
    Line(Pointer),
    /// Something else.
    Garbage,
    /// A line of a format that a newer version writes.
    Newer,
    /// The disk would not say.
    Unreadable(io::Error),
}

/// Reads a pointer.
pub(super) fn read(disk: &dyn Disk, name: &str) -> Found {
    let octets = match disk.read(name, MAX_OCTETS) {
        Ok(octets) => octets,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound => Found::Absent,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Found::Garbage,
                _ => Found::Unreadable(error),
            };
        }
    };
    let text = core::str::from_utf8(&octets).unwrap_or_default();
    if let Some(pointer) = Pointer::decode(text) {
        return Found::Line(pointer);
    }
    let format = text.split(' ').next().and_then(|word| word.parse().ok());
    if format.is_some_and(|format: u64| format > FORMAT) {
        return Found::Newer;
    }
    Found::Garbage
}

/// Replaces a pointer durably.
pub(super) fn write(disk: &dyn Disk, name: &str, pointer: Pointer) -> io::Result<()> {
    durable::replace(disk, name, pointer.encode().as_bytes(), Access::PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::{Digest, Pointer, SetNumber};

    fn pointer() -> Pointer {
        Pointer {
            number: SetNumber(42),
            manifest: Digest::of(b"manifest"),
        }
    }

    #[test]
    fn a_pointer_reads_back() {
        assert_eq!(Pointer::decode(&pointer().encode()), Some(pointer()));
    }

    #[test]
    fn no_single_flipped_bit_and_no_cut_goes_unnoticed() {
        let text = pointer().encode().into_bytes();
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut broken = text.clone();
                broken[position] ^= 1 << bit;
                let broken = String::from_utf8_lossy(&broken).into_owned();
                assert_eq!(Pointer::decode(&broken), None, "{broken:?}");
            }
            let cut = core::str::from_utf8(&text[..position]).unwrap();
            assert_eq!(Pointer::decode(cut), None);
        }
    }
}
