//! Keeps: the text that says what a generation must contain, and proves itself.
//!
//! ```text
//! format 1
//! sequence 42
//! parent 41                      left out when nothing was current
//! source cups                    or adopted
//! created 1764000000             seconds since 1970
//! method tc token                how the set authenticates, for people
//! parts tc 1391 4 57             octets of trust, certificate and key in tc.cred
//! file tc.uri 30 <SHA-256>       octets and digest, one line a file
//! file tc.cred 1452 <SHA-256>
//! sha256 <SHA-256 of all lines above>
//! ```
//! Unknown words at the start of a line are ignored, so that an older version can read what
//! a newer one added; a newer format number is not used at all, and never deleted.

use super::set::{Digest, Origin, SetNumber};
use crate::wire::credential::{Credential, Method};
use core::fmt::Write;

/// The name of the file.
pub(super) const NAME: &str = "MANIFEST";
/// More than any manifest of this format has.
pub(super) const MAX_OCTETS: usize = 8192;

const FORMAT: u64 = 1;

/// How a credential blob is cut, and its method for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    /// Octets of trust, certificate and key.
    pub(super) lengths: [usize; 3],
    /// How it authenticates. Not read back: the blob itself says.
    pub(super) method: Method,
}

impl Parts {
    /// The parts of a credential.
    pub(super) fn of(credential: &Credential) -> Self {
        Self {
            lengths: credential.lengths(),
            method: credential.method(),
        }
    }
}

/// One file of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileLine {
    /// Its name.
    pub(super) name: String,
    /// Its octets.
    pub(super) size: usize,
    /// Its digest.
    pub(super) digest: Digest,
}

/// What a generation must contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Its number.
    pub(super) number: SetNumber,
    /// The set that was current then.
    pub(super) parent: Option<SetNumber>,
    /// Where it came from.
    pub(super) origin: Origin,
    /// Seconds since 1970.
    pub(super) created_s: u64,
    /// The cuts of `tc.cred`.
    pub(super) tc: Option<Parts>,
    /// The cuts of `cups.cred`.
    pub(super) cups: Option<Parts>,
    /// Every file but the manifest.
    pub(super) files: Vec<FileLine>,
}

/// Why a manifest is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// Its format number is newer than this program.
    Newer(u64),
    /// It is not what was written.
    Damaged(&'static str),
}

impl Manifest {
    /// The file's octets.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("format {FORMAT}\nsequence {}\n", self.number);
        let mut line = |arguments: core::fmt::Arguments<'_>| {
            // Writing to a String does not fail.
            let _: core::fmt::Result = text.write_fmt(arguments);
        };
        if let Some(parent) = self.parent {
            line(format_args!("parent {parent}\n"));
        }
        line(format_args!("source {}\n", self.origin.name()));
        line(format_args!("created {}\n", self.created_s));
        for (name, parts) in [("tc", self.tc), ("cups", self.cups)] {
            if let Some(parts) = parts {
                let [trust, certificate, key] = parts.lengths;
                line(format_args!("method {name} {}\n", parts.method.name()));
                line(format_args!("parts {name} {trust} {certificate} {key}\n"));
            }
        }
        for file in &self.files {
            line(format_args!(
                "file {} {} {}\n",
                file.name, file.size, file.digest
            ));
        }
        let seal = Digest::of(text.as_bytes());
        format!("{text}sha256 {seal}\n")
    }

    /// Reads a manifest back.
    pub(super) fn decode(octets: &[u8]) -> Result<Self, Defect> {
        let text = core::str::from_utf8(octets)
            .map_err(|_| Defect::Damaged("the manifest is not text"))?;
        let format = text.lines().next().and_then(|line| {
            let number = line.strip_prefix("format ")?;
            number.parse::<u64>().ok()
        });
        if let Some(newer) = format.filter(|&format| format > FORMAT) {
            return Err(Defect::Newer(newer));
        }
        let lines = unseal(text).ok_or(Defect::Damaged("the manifest's own digest is wrong"))?;
        let mut draft = Draft::default();
        for line in lines.lines() {
            draft.take(line);
        }
        (format == Some(FORMAT))
            .then(|| draft.finish())
            .flatten()
            .ok_or(Defect::Damaged("the manifest lacks a line"))
    }
}

/// A manifest while its lines come in.
#[derive(Default)]
struct Draft {
    number: Option<SetNumber>,
    parent: Option<SetNumber>,
    origin: Option<Origin>,
    created_s: Option<u64>,
    tc: Option<[usize; 3]>,
    cups: Option<[usize; 3]>,
    methods: [Option<Method>; 2],
    files: Vec<FileLine>,
}

impl Draft {
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["sequence", number] => self.number = number.parse().ok().map(SetNumber),
            ["parent", number] => self.parent = number.parse().ok().map(SetNumber),
            ["source", name] => self.origin = Origin::from_name(name),
            ["created", seconds] => self.created_s = seconds.parse().ok(),
            ["parts", "tc", trust, certificate, key] => {
                self.tc = lengths([trust, certificate, key]);
            }
            ["parts", "cups", trust, certificate, key] => {
                self.cups = lengths([trust, certificate, key]);
            }
            ["method", "tc", name] => self.methods[0] = method(name),
            ["method", "cups", name] => self.methods[1] = method(name),
            ["file", name, size, digest] => self.files.extend(file(name, size, digest)),
            _ => {}
        }
    }

    fn finish(self) -> Option<Manifest> {
        let [tc_method, cups_method] = self.methods;
        let parts = |lengths: Option<[usize; 3]>, method: Option<Method>| {
            let method = method.unwrap_or(Method::Server);
            lengths.map(|lengths| Parts { lengths, method })
        };
        Some(Manifest {
            number: self.number?,
            parent: self.parent,
            origin: self.origin?,
            created_s: self.created_s?,
            tc: parts(self.tc, tc_method),
            cups: parts(self.cups, cups_method),
            files: self.files,
        })
    }
}

/// The lines above the last one, if the last one is their digest.
fn unseal(text: &str) -> Option<&str> {
    let (above, seal) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let lines = text.get(..above.len().checked_add(1)?)?;
    let seal = Digest::from_hex(seal.strip_prefix("sha256 ")?)?;
    (seal == Digest::of(lines.as_bytes())).then_some(lines)
}

fn lengths(words: [&str; 3]) -> Option<[usize; 3]> {
    let [trust, certificate, key] = words.map(|word| word.parse().ok());
    Some([trust?, certificate?, key?])
}

fn method(name: &str) -> Option<Method> {
    [Method::Server, Method::Token, Method::Mutual]
        .into_iter()
        .find(|method| method.name() == name)
}

fn file(name: &str, size: &str, digest: &str) -> Option<FileLine> {
    Some(FileLine {
        name: name.to_owned(),
        size: size.parse().ok()?,
        digest: Digest::from_hex(digest)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Defect, Digest, FileLine, Manifest, Method, Origin, Parts, SetNumber};

    fn manifest() -> Manifest {
        Manifest {
            number: SetNumber(42),
            parent: Some(SetNumber(41)),
            origin: Origin::Cups,
            created_s: 1_764_000_000,
            tc: Some(Parts {
                lengths: [10, 4, 20],
                method: Method::Token,
            }),
            cups: None,
            files: vec![FileLine {
                name: "tc.uri".to_owned(),
                size: 0,
                digest: Digest::of(&[]),
            }],
        }
    }

    fn sealed(lines: &str) -> Vec<u8> {
        format!("{lines}sha256 {}\n", Digest::of(lines.as_bytes())).into_bytes()
    }

    #[test]
    fn a_manifest_reads_back() {
        assert_eq!(
            Manifest::decode(manifest().encode().as_bytes()),
            Ok(manifest())
        );
    }

    #[test]
    fn no_single_flipped_bit_and_no_cut_is_accepted() {
        let text = manifest().encode().into_bytes();
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut broken = text.clone();
                broken[position] ^= 1 << bit;
                assert!(Manifest::decode(&broken).is_err(), "{position}.{bit}");
            }
            assert!(Manifest::decode(&text[..position]).is_err());
        }
    }

    #[test]
    fn an_unknown_line_is_ignored() {
        let text = manifest().encode();
        let (lines, _) = text.split_once("sha256").unwrap();
        let more = sealed(&format!("{lines}colour green\n"));
        assert_eq!(Manifest::decode(&more), Ok(manifest()));
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        assert_eq!(Manifest::decode(b"format 2\nwhat"), Err(Defect::Newer(2)));
        let empty = sealed("format 1\n");
        assert!(matches!(Manifest::decode(&empty), Err(Defect::Damaged(_))));
    }
}
