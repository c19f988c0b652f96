//! Keeps: one generation, a directory that is immutable once it has its name.
//!
//! ```text
//! gen-0000000042.tmp/   under construction; MANIFEST is written last
//! gen-0000000042/       tc.uri  [tc.cred]  [cups.uri]  [cups.cred]  MANIFEST
//! gen-0000000042.del/   being deleted
//! ```

use super::disk::{Access, Disk};
use super::durable;
use super::error::StoreError;
use super::manifest::{self, Defect, FileLine, Manifest, Parts};
use super::set::{Digest, Set, SetContents, SetNumber};
use crate::wire::credential::Credential;
use std::io;

/// The most octets of a credential blob. CUPS sends at most 65535; an adopted set may hold a
/// bundle of PEM certificates.
pub(super) const MAX_CREDENTIAL_OCTETS: usize = 256 * 1024;
/// The most octets of an address. CUPS sends at most 255.
pub(super) const MAX_URI_OCTETS: usize = 4096;

const PREFIX: &str = "gen-";

/// Why a generation is not used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It is not there.
    Absent,
    /// A newer version of this program made it.
    Newer(u64),
    /// It is not what was written.
    Damaged(String),
    /// The disk would not say.
    Unreadable(io::Error),
}

/// A generation that checks out.
#[derive(Debug)]
pub(super) struct Loaded {
    /// What it holds.
    pub(super) set: Set,
    /// The digest of its manifest, which pointers carry.
    pub(super) manifest: Digest,
}

/// The directory's name.
pub(super) fn directory(number: SetNumber) -> String {
    format!("{PREFIX}{:010}", number.0)
}

/// The number in a directory's name, and what follows it: nothing, `.tmp` or `.del`.
pub(super) fn number_of(name: &str) -> Option<(SetNumber, &str)> {
    let rest = name.strip_prefix(PREFIX)?;
    let (digits, suffix) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    let number = SetNumber(digits.parse().ok()?);
    name.strip_suffix(suffix)
        .is_some_and(|name| name == directory(number))
        .then_some((number, suffix))
}

/// Writes a generation, gives it its name and makes both durable. After an error nothing of
/// it counts: what could not be removed is swept away at the next start.
pub(super) fn write(disk: &dyn Disk, set: &Set) -> io::Result<()> {
    let name = directory(set.number);
    let temporary = format!("{name}.tmp");
    durable::remove_dir(disk, &temporary)?;
    disk.mkdir(&temporary)?;
    let result = fill(disk, set, &temporary).and_then(|()| disk.rename(&temporary, &name));
    if let Err(error) = result {
        if let Err(error) = durable::remove_dir(disk, &temporary) {
            tracing::debug!(%temporary, %error, "stays until the next start");
        }
        return Err(error);
    }
    disk.sync_dir("")
}

/// Reads a generation and checks every octet of it.
pub(super) fn load(disk: &dyn Disk, number: SetNumber) -> Result<Loaded, Unusable> {
    let name = directory(number);
    let octets = disk
        .read(&format!("{name}/{}", manifest::NAME), manifest::MAX_OCTETS)
        .map_err(|error| unusable(error, Unusable::Absent))?;
    let manifest = Manifest::decode(&octets).map_err(|defect| match defect {
        Defect::Newer(format) => Unusable::Newer(format),
        Defect::Damaged(why) => Unusable::Damaged(why.to_owned()),
    })?;
    if manifest.number != number {
        let why = format!("its manifest belongs to set {}", manifest.number);
        return Err(Unusable::Damaged(why));
    }
    let contents = contents(disk, &name, &manifest)?;
    Ok(Loaded {
        set: Set {
            number,
            contents,
            origin: manifest.origin,
            created_s: manifest.created_s,
            parent: manifest.parent,
        },
        manifest: Digest::of(&octets),
    })
}

/// Refuses what could not be read back.
pub(super) fn check_size(contents: &SetContents) -> Result<(), StoreError> {
    let uri = |part, uri: Option<&str>| (part, uri.map_or(0, str::len), MAX_URI_OCTETS);
    let credential = |part, credential: Option<&Credential>| {
        let octets = credential.map_or(0, |credential| credential.octets().len());
        (part, octets, MAX_CREDENTIAL_OCTETS)
    };
    let parts = [
        uri("the address of the LNS", Some(&contents.tc_uri)),
        credential("the credential for the LNS", contents.tc.as_ref()),
        uri("the address of CUPS", contents.cups_uri.as_deref()),
        credential("the credential for CUPS", contents.cups.as_ref()),
    ];
    let too_large = parts.into_iter().find(|(_, octets, limit)| octets > limit);
    too_large.map_or(Ok(()), |(part, _, limit)| {
        Err(StoreError::TooLarge { part, limit })
    })
}

fn fill(disk: &dyn Disk, set: &Set, dir: &str) -> io::Result<()> {
    let contents = &set.contents;
    let files = [
        ("tc.uri", Some(contents.tc_uri.as_bytes())),
        ("tc.cred", contents.tc.as_ref().map(Credential::octets)),
        ("cups.uri", contents.cups_uri.as_deref().map(str::as_bytes)),
        ("cups.cred", contents.cups.as_ref().map(Credential::octets)),
    ];
    let mut lines = Vec::new();
    for (name, octets) in files {
        let Some(octets) = octets else { continue };
        durable::create(disk, &format!("{dir}/{name}"), octets, Access::PRIVATE)?;
        lines.push(FileLine {
            name: name.to_owned(),
            size: octets.len(),
            digest: Digest::of(octets),
        });
    }
    let manifest = Manifest {
        number: set.number,
        parent: set.parent,
        origin: set.origin,
        created_s: set.created_s,
        tc: contents.tc.as_ref().map(Parts::of),
        cups: contents.cups.as_ref().map(Parts::of),
        files: lines,
    };
    let name = format!("{dir}/{}", manifest::NAME);
    durable::create(disk, &name, manifest.encode().as_bytes(), Access::PRIVATE)?;
    disk.sync_dir(dir)
}

fn contents(disk: &dyn Disk, dir: &str, manifest: &Manifest) -> Result<SetContents, Unusable> {
    let file = |name: &str, max_octets: usize| -> Result<Option<Vec<u8>>, Unusable> {
        let line = manifest.files.iter().find(|line| line.name == name);
        line.map(|line| checked(disk, dir, line, max_octets))
            .transpose()
    };
    let uri = |name: &str| -> Result<Option<String>, Unusable> {
        let octets = file(name, MAX_URI_OCTETS)?;
        octets
            .map(|octets| {
                String::from_utf8(octets)
                    .map_err(|_| Unusable::Damaged(format!("{name} is not text")))
            })
            .transpose()
    };
    let credential = |name: &str, parts: Option<Parts>| -> Result<Option<Credential>, Unusable> {
        let wrong = || Unusable::Damaged(format!("{name} does not fit the manifest"));
        match (file(name, MAX_CREDENTIAL_OCTETS)?, parts) {
            (None, None) => Ok(None),
            (Some(octets), Some(parts)) => Credential::from_lengths(octets, parts.lengths)
                .map(Some)
                .ok_or_else(wrong),
            _ => Err(wrong()),
        }
    };
    Ok(SetContents {
        tc_uri: uri("tc.uri")?.ok_or_else(|| Unusable::Damaged("tc.uri is missing".to_owned()))?,
        tc: credential("tc.cred", manifest.tc)?,
        cups_uri: uri("cups.uri")?,
        cups: credential("cups.cred", manifest.cups)?,
    })
}

fn checked(
    disk: &dyn Disk,
    dir: &str,
    line: &FileLine,
    max_octets: usize,
) -> Result<Vec<u8>, Unusable> {
    let name = &line.name;
    let missing = Unusable::Damaged(format!("{name} is missing"));
    let octets = disk
        .read(&format!("{dir}/{name}"), max_octets)
        .map_err(|error| unusable(error, missing))?;
    if octets.len() != line.size || Digest::of(&octets) != line.digest {
        let why = format!("{name} is not what was written");
        return Err(Unusable::Damaged(why));
    }
    Ok(octets)
}

/// Tells a file that is wrong from a disk that fails: only the former condemns a set.
fn unusable(error: io::Error, if_absent: Unusable) -> Unusable {
    match error.kind() {
        io::ErrorKind::NotFound => if_absent,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Unusable::Damaged(error.to_string())
        }
        _ => Unusable::Unreadable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{SetNumber, directory, number_of};

    #[test]
    fn only_canonical_names_are_generations() {
        assert_eq!(directory(SetNumber(42)), "gen-0000000042");
        assert_eq!(number_of("gen-0000000042"), Some((SetNumber(42), "")));
        assert_eq!(
            number_of("gen-0000000042.tmp"),
            Some((SetNumber(42), ".tmp"))
        );
        assert_eq!(
            number_of("gen-12345678901"),
            Some((SetNumber(12_345_678_901), ""))
        );
        for name in [
            "gen-42",
            "gen-",
            "gen-+000000042",
            "CURRENT",
            "gen-00000000042",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
