//! Touches: one directory by its descriptor. The only file system calls of the store.
//!
//! A name is `leaf` or `directory/leaf`, relative to that directory; no part of it may be a
//! symbolic link. The seam exists so that a test can fail or stop at any call.

use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::{File, Permissions, read_dir};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Mode and owner of a file to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    /// Permission bits, set whatever the umask.
    pub(super) mode: u32,
    /// User and group to give the file to, where they differ from the maker's.
    pub(super) owner: (Option<u32>, Option<u32>),
}

impl Access {
    /// The owner alone reads and writes.
    pub(super) const PRIVATE: Self = Self {
        mode: 0o600,
        owner: (None, None),
    };
}

/// A file being written.
#[derive(Debug)]
pub(super) struct Handle {
    file: File,
}

/// Every call the store makes; each result gates what follows.
pub(super) trait Disk {
    /// Makes a file that must not exist. Nothing but the file's owner can read it yet.
    fn create_exclusive(&self, name: &str) -> io::Result<Handle>;
    /// Sets mode and owner of a file being written.
    fn set_access(&self, handle: &Handle, access: Access) -> io::Result<()>;
    /// Writes all octets.
    fn write_all(&self, handle: &mut Handle, octets: &[u8]) -> io::Result<()>;
    /// Makes a file's contents durable. After an error the file is dead: never ask again.
    fn sync(&self, handle: &Handle) -> io::Result<()>;
    /// Closes a file; some file systems report a failed write only here.
    fn close(&self, handle: Handle) -> io::Result<()>;
    /// Makes the entries of a directory durable; `""` is the directory itself.
    fn sync_dir(&self, name: &str) -> io::Result<()>;
    /// Renames within the directory, replacing a file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn unlink(&self, name: &str) -> io::Result<()>;
    /// Makes a directory, 0700.
    fn mkdir(&self, name: &str) -> io::Result<()>;
    /// Removes an empty directory.
    fn rmdir(&self, name: &str) -> io::Result<()>;
    /// Reads a plain file of at most `max_octets`.
    fn read(&self, name: &str, max_octets: usize) -> io::Result<Vec<u8>>;
    /// The names in a directory, sorted; `""` is the directory itself.
    fn list(&self, name: &str) -> io::Result<Vec<String>>;
}

/// The real file system.
#[derive(Debug)]
pub(super) struct RealDisk {
    root: File,
}

impl RealDisk {
    /// Opens the directory; `path` itself may be a symbolic link only if `follow`.
    pub(super) fn open(path: &Path, follow: bool) -> io::Result<Self> {
        let no_follow = if follow {
            OFlag::empty()
        } else {
            OFlag::O_NOFOLLOW
        };
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | no_follow;
        let root = File::options()
            .read(true)
            .custom_flags(flags.bits())
            .open(path)?;
        Ok(Self { root })
    }

    /// Takes the group's and others' permissions away from the directory, if it has any.
    /// Returns whether it had.
    pub(super) fn make_private(&self) -> io::Result<bool> {
        let mode = self.root.metadata()?.mode();
        let is_open = mode & 0o077 != 0;
        if is_open {
            self.root.set_permissions(Permissions::from_mode(0o700))?;
        }
        Ok(is_open)
    }

    /// Who owns the directory: user and group.
    pub(super) fn owner(&self) -> io::Result<(u32, u32)> {
        let facts = self.root.metadata()?;
        Ok((facts.uid(), facts.gid()))
    }

    /// Runs a call on the directory that holds `name`, and the last part of the name.
    fn at<T>(
        &self,
        name: &str,
        call: impl FnOnce(BorrowedFd<'_>, &str) -> nix::Result<T>,
    ) -> io::Result<T> {
        let result = match name.split_once('/') {
            Some((dir, leaf)) => {
                let dir = openat(&self.root, dir, directory_flags(), Mode::empty())?;
                call(dir.as_fd(), leaf)
            }
            None => call(self.root.as_fd(), name),
        };
        result.map_err(io::Error::from)
    }
}

impl Disk for RealDisk {
    fn create_exclusive(&self, name: &str) -> io::Result<Handle> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let descriptor = self.at(name, |dir, leaf| openat(dir, leaf, flags, mode))?;
        let file = File::from(descriptor);
        Ok(Handle { file })
    }

    fn set_access(&self, handle: &Handle, access: Access) -> io::Result<()> {
        let facts = handle.file.metadata()?;
        let (user, group) = lacking(access.owner, (facts.uid(), facts.gid()));
        if (user, group) != (None, None) {
            fchown(&handle.file, user, group).map_err(advise)?;
        }
        handle
            .file
            .set_permissions(Permissions::from_mode(access.mode))
    }

    fn write_all(&self, handle: &mut Handle, octets: &[u8]) -> io::Result<()> {
        handle.file.write_all(octets)
    }

    fn sync(&self, handle: &Handle) -> io::Result<()> {
        handle.file.sync_all()
    }

    fn close(&self, handle: Handle) -> io::Result<()> {
        nix::unistd::close(handle.file).map_err(io::Error::from)
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        if name.is_empty() {
            return self.root.sync_all();
        }
        let dir = openat(&self.root, name, directory_flags(), Mode::empty())?;
        File::from(dir).sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        renameat(&self.root, from, &self.root, to).map_err(io::Error::from)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.at(name, |dir, leaf| {
            unlinkat(dir, leaf, UnlinkatFlags::NoRemoveDir)
        })
    }

    fn mkdir(&self, name: &str) -> io::Result<()> {
        mkdirat(&self.root, name, Mode::S_IRWXU).map_err(io::Error::from)
    }

    fn rmdir(&self, name: &str) -> io::Result<()> {
        unlinkat(&self.root, name, UnlinkatFlags::RemoveDir).map_err(io::Error::from)
    }

    fn read(&self, name: &str, max_octets: usize) -> io::Result<Vec<u8>> {
        // Without O_NONBLOCK a planted FIFO would stop the agent for ever.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let descriptor = self.at(name, |dir, leaf| openat(dir, leaf, flags, Mode::empty()))?;
        read_open(&File::from(descriptor), max_octets)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let name = if name.is_empty() { "." } else { name };
        let dir = openat(&self.root, name, directory_flags(), Mode::empty())?;
        // The open folder by its number: nix lists with 32-bit inodes and offsets on 32-bit
        // machines, where an overlay or a large file system has wider ones.
        let entries = read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Reads an open plain file whole, or fails when it holds more than `max_octets`.
pub(super) fn read_open(file: &File, max_octets: usize) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        let text = "not a plain file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let limit = u64::try_from(max_octets).unwrap_or(u64::MAX);
    let mut octets = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut octets)?;
    if octets.len() > max_octets {
        let text = format!("larger than {max_octets} octets");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(octets)
}

/// What of the wanted user and group a file does not have. In a folder with the set-group bit it
/// has the folder's group from the start, and nobody need be allowed to give files away.
fn lacking(wanted: (Option<u32>, Option<u32>), has: (u32, u32)) -> (Option<u32>, Option<u32>) {
    let (user, group) = wanted;
    (
        user.filter(|user| *user != has.0),
        group.filter(|group| *group != has.1),
    )
}

/// A unit's sandbox may be why a file cannot be given to somebody.
fn advise(error: io::Error) -> io::Error {
    let is_refused = matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
    );
    if !is_refused {
        return error;
    }
    let cure = "chmod g+s the folder, or give the unit PrivateUsers=no and SystemCallFilter=@chown";
    let text = format!("a file cannot be given its user and group ({error}): {cure}");
    io::Error::new(error.kind(), text)
}

fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

#[cfg(test)]
mod tests {
    use super::{advise, io, lacking};
    use nix::errno::Errno;

    #[test]
    fn a_file_is_given_only_what_it_lacks() {
        assert_eq!(lacking((None, Some(7)), (1, 7)), (None, None));
        assert_eq!(lacking((None, Some(7)), (1, 2)), (None, Some(7)));
        assert_eq!(lacking((Some(1), Some(7)), (0, 7)), (Some(1), None));
    }

    #[test]
    fn a_sandbox_that_lets_no_file_be_given_away_is_named() {
        let refused = advise(io::Error::from_raw_os_error(Errno::EPERM as i32)).to_string();
        assert!(refused.contains("PrivateUsers=no"), "{refused}");
        let other = advise(io::Error::from_raw_os_error(Errno::EIO as i32));
        assert_eq!(other.raw_os_error(), Some(Errno::EIO as i32));
    }
}
