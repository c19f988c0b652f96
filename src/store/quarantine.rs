//! Keeps: the digests of sets that a server refused, so that the same set is not tried again
//! at every poll.
//!
//! ```text
//! format 1
//! held <SHA-256 of the contents> <refused at, s> <hold, s>      oldest refusal first
//! crc <CRC-32 of all lines above>
//! ```
//! A hold is 1 h and doubles to 7 d with each further refusal. The file is advice, not truth:
//! one that cannot be read counts as empty.

use super::disk::{Access, Disk};
use super::durable;
use super::set::Digest;
use crate::wire::crc::crc32;
use core::fmt::Write;
use std::io;

/// The name of the file.
pub(super) const NAME: &str = "QUARANTINE";

const MAX_ENTRIES: usize = 8;
const MAX_OCTETS: usize = 2048;
const FIRST_HOLD_S: u64 = 3600;
const LONGEST_HOLD_S: u64 = 7 * 24 * 3600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    digest: Digest,
    refused_s: u64,
    hold_s: u64,
}

/// The refused sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Quarantine {
    entries: Vec<Entry>,
}

impl Quarantine {
    /// Reads the file. The flag says that there was one which could not be used.
    pub(super) fn read(disk: &dyn Disk) -> (Self, bool) {
        match disk.read(NAME, MAX_OCTETS) {
            Err(error) => (Self::default(), error.kind() != io::ErrorKind::NotFound),
            Ok(octets) => {
                let text = core::str::from_utf8(&octets).ok();
                match text.and_then(Self::decode) {
                    Some(quarantine) => (quarantine, false),
                    None => (Self::default(), true),
                }
            }
        }
    }

    /// Writes the file durably.
    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        durable::replace(disk, NAME, self.encode().as_bytes(), Access::PRIVATE)
    }

    /// Holds a set from now on; returns for how many seconds.
    pub(super) fn hold(&mut self, digest: &Digest, now_s: u64) -> u64 {
        let before = self.entry(digest).map(|entry| entry.hold_s);
        let hold_s = before.map_or(FIRST_HOLD_S, |hold_s| {
            hold_s.saturating_mul(2).min(LONGEST_HOLD_S)
        });
        self.release(digest);
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(Entry {
            digest: *digest,
            refused_s: now_s,
            hold_s,
        });
        hold_s
    }

    /// The end of a set's hold in seconds since 1970, if it is held now. A clock that went
    /// back before the refusal ends the hold: it must delay, never lock out.
    pub(super) fn until(&self, digest: &Digest, now_s: u64) -> Option<u64> {
        let entry = self.entry(digest)?;
        let until_s = entry.refused_s.saturating_add(entry.hold_s);
        (entry.refused_s..until_s)
            .contains(&now_s)
            .then_some(until_s)
    }

    /// Forgets a set; returns whether it was known.
    pub(super) fn release(&mut self, digest: &Digest) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.digest != *digest);
        self.entries.len() != before
    }

    fn entry(&self, digest: &Digest) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.digest == *digest)
    }

    fn encode(&self) -> String {
        let mut text = "format 1\n".to_owned();
        for entry in &self.entries {
            // Writing to a String does not fail.
            let _: core::fmt::Result = writeln!(
                text,
                "held {} {} {}",
                entry.digest, entry.refused_s, entry.hold_s
            );
        }
        let crc = crc32(text.as_bytes());
        format!("{text}crc {crc:08x}\n")
    }

    fn decode(text: &str) -> Option<Self> {
        let at = text.rfind("crc ")?;
        let (lines, crc) = text.split_at_checked(at)?;
        let sum = crc32(lines.as_bytes());
        if crc != format!("crc {sum:08x}\n") || !lines.starts_with("format 1\n") {
            return None;
        }
        let entries = lines.lines().filter_map(entry).take(MAX_ENTRIES).collect();
        Some(Self { entries })
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.strip_prefix("held ")?.split(' ');
    Some(Entry {
        digest: Digest::from_hex(words.next()?)?,
        refused_s: words.next()?.parse().ok()?,
        hold_s: words.next()?.parse::<u64>().ok()?.min(LONGEST_HOLD_S),
    })
}

#[cfg(test)]
mod tests {
    use super::{Digest, LONGEST_HOLD_S, Quarantine};

    #[test]
    fn each_refusal_doubles_the_hold_up_to_a_week() {
        let digest = Digest::of(b"set");
        let mut quarantine = Quarantine::default();
        assert_eq!(quarantine.hold(&digest, 0), 3600);
        assert_eq!(quarantine.hold(&digest, 10), 7200);
        assert_eq!(quarantine.until(&digest, 11), Some(7210));
        let last = (0..20).map(|_| quarantine.hold(&digest, 10)).last();
        assert_eq!(last, Some(LONGEST_HOLD_S));
    }

    #[test]
    fn a_hold_ends_by_time_by_release_and_by_a_clock_that_went_back() {
        let digest = Digest::of(b"set");
        let mut quarantine = Quarantine::default();
        quarantine.hold(&digest, 1000);
        assert_eq!(quarantine.until(&digest, 1000), Some(4600));
        assert_eq!(quarantine.until(&digest, 4600), None);
        assert_eq!(quarantine.until(&digest, 999), None);
        assert!(quarantine.release(&digest));
        assert_eq!(quarantine.until(&digest, 1000), None);
    }

    #[test]
    fn at_most_eight_are_held_and_the_oldest_refusal_goes_first() {
        let digests: Vec<Digest> = (0..9_u8).map(|number| Digest::of(&[number])).collect();
        let mut quarantine = Quarantine::default();
        for digest in &digests {
            quarantine.hold(digest, 5);
        }
        assert_eq!(quarantine.until(&digests[0], 5), None);
        assert!(
            digests[1..]
                .iter()
                .all(|digest| quarantine.until(digest, 5).is_some())
        );
        assert_eq!(Quarantine::decode(&quarantine.encode()), Some(quarantine));
    }

    #[test]
    fn a_damaged_file_counts_as_empty() {
        let mut quarantine = Quarantine::default();
        quarantine.hold(&Digest::of(b"set"), 5);
        let text = quarantine.encode();
        for position in 0..text.len() {
            assert_eq!(Quarantine::decode(&text[..position]), None);
        }
    }
}
