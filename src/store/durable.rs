//! Writes: files that are whole on the disk before a call returns. Reads: never without a bound.
//!
//! The only place in the crate that writes a file which must survive a power cut. Every
//! result of write, fsync, close, rename and fsync of the directory gates success; a file
//! whose fsync failed is never synced again but removed.

use super::disk::{Access, Disk, Handle, RealDisk, read_open};
use nix::fcntl::OFlag;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a plain file of at most `max_octets`; symbolic links are followed, a FIFO or a
/// directory is refused.
///
/// # Errors
/// The operating system's, `InvalidInput` for anything but a plain file, `InvalidData` for a
/// larger one.
pub fn read_bounded(path: &Path, max_octets: usize) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    read_open(&file, max_octets)
}

/// Replaces a file by new octets, whole or not at all, durable on return. A new file is made
/// with the permission bits `mode`. While it works there is a `NAME.tmp` beside it.
///
/// # Errors
/// The operating system's; the old file is then still there, or the new one is there whole.
pub fn replace_file(path: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let disk = RealDisk::open(dir, true)?;
    let owner = (None, None);
    replace(&disk, name, octets, Access { mode, owner })
}

/// Makes a file that must not exist and fills it. The directory still has to be synced.
pub(super) fn create(disk: &dyn Disk, name: &str, octets: &[u8], access: Access) -> io::Result<()> {
    let handle = disk.create_exclusive(name)?;
    fill(disk, handle, octets, access).inspect_err(|_| discard(disk, name))
}

/// Replaces a file by way of `NAME.tmp`. After an error it is not known which of the two is
/// durable; either is whole.
pub(super) fn replace(
    disk: &dyn Disk,
    name: &str,
    octets: &[u8],
    access: Access,
) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    remove(disk, &temporary)?;
    create(disk, &temporary, octets, access)?;
    if let Err(error) = disk.rename(&temporary, name) {
        discard(disk, &temporary);
        return Err(error);
    }
    disk.sync_dir("")
}

/// Removes a file; one that is not there is no error.
pub(super) fn remove(disk: &dyn Disk, name: &str) -> io::Result<()> {
    gone(disk.unlink(name))
}

/// Removes a directory and the files in it; one that is not there is no error.
pub(super) fn remove_dir(disk: &dyn Disk, name: &str) -> io::Result<()> {
    let files = match disk.list(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    for file in files {
        remove(disk, &format!("{name}/{file}"))?;
    }
    gone(disk.rmdir(name))
}

fn fill(disk: &dyn Disk, mut handle: Handle, octets: &[u8], access: Access) -> io::Result<()> {
    disk.set_access(&handle, access)?;
    disk.write_all(&mut handle, octets)?;
    disk.sync(&handle)?;
    disk.close(handle)
}

/// Tidies up on the way out of a failure, whose own error is the one to report.
fn discard(disk: &dyn Disk, name: &str) {
    if let Err(error) = remove(disk, name) {
        tracing::debug!(name, %error, "a temporary file stays until the next start");
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
