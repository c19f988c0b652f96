//! Holds: the lock that keeps a second agent out of the store, until the process ends.

use super::error::StoreError;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The lock, released on drop and when the process dies in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    _held: Flock<File>,
}

const NAME: &str = "LOCK";

/// Takes the lock of a store directory or says who has it; never waits.
pub(super) fn take(dir: &Path) -> Result<Lock, StoreError> {
    let path = dir.join(NAME);
    let file = open(&path).map_err(|error| StoreError::io("open", &path, error))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut held) => {
            // The number only helps whoever is refused; the lock holds without it.
            if let Err(error) = write_pid(&mut held) {
                tracing::debug!(%error, "the process id was not noted in LOCK");
            }
            Ok(Lock { _held: held })
        }
        Err((file, Errno::EWOULDBLOCK)) => Err(StoreError::Held {
            dir: dir.to_owned(),
            pid: read_pid(&file),
        }),
        Err((_, errno)) => Err(StoreError::io("lock", &path, errno.into())),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
    let mut options = File::options();
    let options = options.read(true).mode(0o600).custom_flags(flags);
    match options.clone().write(true).create(true).open(path) {
        // A partition mounted read-only still runs on its current set.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => options.open(path),
        result => result,
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &File) -> Option<u32> {
    let octets = super::disk::read_open(file, 32).ok()?;
    core::str::from_utf8(&octets).ok()?.trim().parse().ok()
}
