//! Hands over: a credential set to Basic Station's home directory, and takes one from there.
//!
//! ```text
//! tc.uri  tc.trust  tc.crt  tc.key     what station reads, one by one, at each connect
//! tc-temp.uri ...                      the next set, durable before the marker is made
//! tc-temp.upd                          marker: station (or we) finish the renames at start
//! ```
//! The files are a projection of the current set and can be made again at any time. Station
//! makes its marker before its data is durable; here it is the other way round.
//! `reference/cups-lns.md` section 3.

mod facts;
#[cfg(test)]
mod tests;

pub use facts::{configured_eui, signature_keys, version_text, warnings};

use super::disk::{Access, Disk, RealDisk};
use super::durable;
use super::error::StoreError;
use super::generation::MAX_CREDENTIAL_OCTETS;
use super::set::SetContents;
use crate::wire::credential::Credential;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const MARKER: &str = "tc-temp.upd";
/// In the order in which station renames them.
const ENDINGS: [&str; 4] = ["trust", "crt", "key", "uri"];
/// The most octets of a file that is read: as much as a set may hold. The roots of a whole
/// system, which many gateways have for their `tc.trust`, are about 220 KiB.
const MAX_FILE_OCTETS: usize = MAX_CREDENTIAL_OCTETS;

/// Reads the set that Basic Station has, octet for octet, so that the CRC is the one station
/// computes. Renames that station had not finished count as done. `None` if there is no
/// usable `tc.uri`: nothing to adopt. Writes nothing.
pub fn adopt(home: &Path) -> Result<Option<SetContents>, StoreError> {
    let disk = match RealDisk::open(home, true) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(|error| StoreError::io("open", home, error))?,
    };
    let is_pending = read(&disk, home, MARKER)?.is_some();
    let part = |ending: &str| -> Result<Vec<u8>, StoreError> {
        let pending = if is_pending {
            read(&disk, home, &temporary(ending))?
        } else {
            None
        };
        match pending {
            Some(octets) => Ok(octets),
            None => read(&disk, home, &regular(ending)).map(Option::unwrap_or_default),
        }
    };
    let Some(tc_uri) = usable_uri(&part("uri")?) else {
        return Ok(None);
    };
    let (trust, certificate, key) = (part("trust")?, part("crt")?, part("key")?);
    let is_empty = trust.is_empty() && certificate.is_empty() && key.is_empty();
    Ok(Some(SetContents {
        tc_uri,
        tc: (!is_empty).then(|| Credential::from_parts(&trust, &certificate, &key)),
        cups_uri: None,
        cups: None,
    }))
}

/// Makes Basic Station's `tc.*` files those of a set; returns whether anything was written.
/// A reader sees the old set, the new one, or one that station's own recovery completes.
/// What an interruption left is finished or made again by the next call. The directory is
/// made (0750) if only its last part is missing.
///
/// # Errors
/// [`StoreError::Link`] if one of the files is a symbolic link, [`StoreError::Missing`] if
/// the directory cannot be made because its parent is missing, otherwise the operating
/// system's.
pub fn render(home: &Path, contents: &SetContents) -> Result<bool, StoreError> {
    make_home(home)?;
    let disk = RealDisk::open(home, true).map_err(|error| StoreError::io("open", home, error))?;
    let access = access(&disk).map_err(|error| StoreError::io("read", home, error))?;
    render_on(&disk, home, contents, access)
}

/// [`render`] on a directory that exists.
fn render_on(
    disk: &dyn Disk,
    home: &Path,
    contents: &SetContents,
    access: Access,
) -> Result<bool, StoreError> {
    let credential = contents.tc.as_ref();
    let files: [(&str, &[u8]); 4] = [
        (
            "trust",
            credential.map(Credential::trust).unwrap_or_default(),
        ),
        (
            "crt",
            credential.map(Credential::certificate).unwrap_or_default(),
        ),
        ("key", credential.map(Credential::key).unwrap_or_default()),
        ("uri", contents.tc_uri.as_bytes()),
    ];
    let failed = |error| StoreError::io("write the credentials in", home, error);
    let is_pending = read(disk, home, MARKER)?.is_some();
    if is_pending {
        // Without this a crash below could leave the marker beside temporary files of ours
        // that are only half written, and station would install them.
        refuse_links(disk, home)?;
        finish(disk).map_err(failed)?;
    }
    remove_temporaries(disk).map_err(failed)?;
    if is_same(disk, home, &files)? {
        return Ok(is_pending);
    }
    prepare(disk, &files, access).map_err(failed)?;
    finish(disk).map_err(failed)?;
    if is_same(disk, home, &files)? {
        return Ok(true);
    }
    Err(StoreError::Unusable {
        path: home.to_owned(),
        why: "another program changed the tc.* files at the same time".to_owned(),
    })
}

/// Makes the temporary files and then the marker, all durable.
fn prepare(disk: &dyn Disk, files: &[(&str, &[u8])], access: Access) -> io::Result<()> {
    let write = || -> io::Result<()> {
        for (ending, octets) in files {
            durable::create(disk, &temporary(ending), octets, access)?;
        }
        disk.sync_dir("")?;
        durable::create(disk, MARKER, &[], access)
    };
    write().inspect_err(|_| {
        // Without a marker these files mean nothing to station; the next call removes them
        // if this does not.
        if let Err(error) = remove_temporaries(disk) {
            tracing::debug!(%error, "tc-temp.* files stay for now");
        }
    })?;
    disk.sync_dir("")
}

/// Renames what is there, as station does at start, and takes the marker away.
fn finish(disk: &dyn Disk) -> io::Result<()> {
    for ending in ENDINGS {
        match disk.rename(&temporary(ending), &regular(ending)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    disk.sync_dir("")?;
    durable::remove(disk, MARKER)?;
    disk.sync_dir("")
}

/// Removes temporary files that no marker gives a meaning to.
fn remove_temporaries(disk: &dyn Disk) -> io::Result<()> {
    // A marker whose own fsync failed was removed by its maker, or else this must stop.
    let names = disk.list("")?;
    if names.iter().any(|name| name == MARKER) {
        return Ok(());
    }
    for ending in ENDINGS {
        let name = temporary(ending);
        if names.contains(&name) {
            disk.unlink(&name)?;
        }
    }
    Ok(())
}

fn is_same(disk: &dyn Disk, home: &Path, files: &[(&str, &[u8])]) -> Result<bool, StoreError> {
    let mut is_same = true;
    // All four are looked at, so that a symbolic link is refused wherever it is.
    for (ending, octets) in files {
        // Station takes a missing file for an empty one and trims the address, so a home that
        // differs in this only, as an adopted one may, is left as it is.
        let name = regular(ending);
        let found = match disk.read(&name, MAX_FILE_OCTETS) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            // Larger than any of ours: replaced like every other file.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                is_same = false;
                continue;
            }
            Err(error) => return Err(StoreError::io("read", &home.join(name), error)),
        };
        is_same &= match *ending {
            "uri" => found.trim_ascii() == *octets,
            _ => found == *octets,
        };
    }
    Ok(is_same)
}

fn refuse_links(disk: &dyn Disk, home: &Path) -> Result<(), StoreError> {
    for ending in ENDINGS {
        read(disk, home, &temporary(ending))?;
    }
    Ok(())
}

/// A file's octets; `None` if it is not there.
fn read(disk: &dyn Disk, home: &Path, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    match disk.read(name, MAX_FILE_OCTETS) {
        Ok(octets) => Ok(Some(octets)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", &home.join(name), error)),
    }
}

/// Who may read the files: station runs as the owner of its home directory, or in its group.
fn access(disk: &RealDisk) -> io::Result<Access> {
    let (user, group) = disk.owner()?;
    let (our_user, our_group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let other_group = (our_group.as_raw() != group).then_some(group);
    if our_user.is_root() {
        let owner = ((user != 0).then_some(user), other_group);
        return Ok(Access { mode: 0o600, owner });
    }
    if our_user.as_raw() == user {
        return Ok(Access::PRIVATE);
    }
    Ok(Access {
        mode: 0o640,
        owner: (None, other_group),
    })
}

fn make_home(home: &Path) -> Result<(), StoreError> {
    if home.is_dir() {
        return Ok(());
    }
    let parent = match home.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(StoreError::Missing(parent.to_owned()));
    }
    DirBuilder::new()
        .mode(0o750)
        .create(home)
        .and_then(|()| RealDisk::open(parent, true)?.sync_dir(""))
        .map_err(|error| StoreError::io("make", home, error))
}

/// Station trims the address and exits at start over one it cannot read; so does not adopt.
fn usable_uri(octets: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(octets).ok()?.trim();
    let is_printable = text.bytes().all(|octet| octet.is_ascii_graphic());
    let has_scheme = text.starts_with("wss://") || text.starts_with("ws://");
    (is_printable && has_scheme).then(|| text.to_owned())
}

fn regular(ending: &str) -> String {
    format!("tc.{ending}")
}

fn temporary(ending: &str) -> String {
    format!("tc-temp.{ending}")
}
