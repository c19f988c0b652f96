//! Says: why the store could not do what it was asked, worded for the person on the mast.

use super::set::SetNumber;
use core::fmt;
use nix::errno::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Why a credential set could not be kept, read or handed over. `CURRENT` is as it was.
#[derive(Debug)]
pub enum StoreError {
    /// A directory that must exist does not.
    Missing(PathBuf),
    /// Another process holds the store.
    Held {
        /// The store's directory.
        dir: PathBuf,
        /// Process id of the holder, where its lock file names one.
        pid: Option<u32>,
    },
    /// The store was opened with [`super::Store::open_read_only`].
    ReadOnly,
    /// There is no such set, or it was made by a newer version of this program.
    NoSuchSet(SetNumber),
    /// The set is `CURRENT` or `GOOD` and therefore not deleted.
    InUse(SetNumber),
    /// Only the current set can be confirmed.
    NotCurrent(SetNumber),
    /// A set on disk is not what was written.
    Damaged {
        /// The set.
        number: SetNumber,
        /// What is wrong with it.
        why: String,
    },
    /// A set is larger than the store would read back.
    TooLarge {
        /// The part.
        part: &'static str,
        /// The most that is kept, in octets.
        limit: usize,
    },
    /// A symbolic link stands where only a plain file is accepted.
    Link(PathBuf),
    /// A file of Basic Station says something that cannot be used.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system refused.
    Io {
        /// The act: `read`, `write` and so on.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

impl StoreError {
    /// An error of the operating system; a refused symbolic link becomes [`Self::Link`].
    pub(super) fn io(act: &'static str, path: &Path, source: io::Error) -> Self {
        if is(&source, Errno::ELOOP) {
            return Self::Link(path.to_owned());
        }
        Self::Io {
            act,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether space or inodes ran out: worth retrying at the next poll, nothing was lost.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if is(source, Errno::ENOSPC) || is(source, Errno::EDQUOT))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(dir) => write!(
                f,
                "{} does not exist (is the data partition mounted?)",
                dir.display()
            ),
            Self::Held {
                dir,
                pid: Some(pid),
            } => write!(
                f,
                "{} is in use by process {pid}: only one mtls-agent can run on it",
                dir.display()
            ),
            Self::Held { dir, pid: None } => write!(
                f,
                "{} is in use by another process: only one mtls-agent can run on it",
                dir.display()
            ),
            Self::ReadOnly => f.write_str("the credential store was opened for reading only"),
            Self::NoSuchSet(number) => write!(f, "there is no usable credential set {number}"),
            Self::InUse(number) => write!(f, "credential set {number} is in use and is kept"),
            Self::NotCurrent(number) => write!(f, "credential set {number} is not the current one"),
            Self::Damaged { number, why } => write!(f, "credential set {number} is damaged: {why}"),
            Self::TooLarge { part, limit } => {
                write!(f, "{part} is larger than {limit} octets and is not kept")
            }
            Self::Link(path) => write!(
                f,
                "{} is a symbolic link: replace it by a plain file",
                path.display()
            ),
            Self::Unusable { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Io { act, path, .. } => {
                write!(f, "cannot {act} {}", path.display())?;
                if self.is_full() {
                    f.write_str(" (no space left: free some and it is tried again)")?;
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
