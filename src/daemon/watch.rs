//! Acts: notices that a file of the identity, an anchor or the configuration has changed.
//!
//! The folders are watched, because a renewed certificate arrives by rename; that of a
//! symbolic link and that of what it leads to.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Watches the folders of some files.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    names: Vec<OsString>,
}

impl Watch {
    /// Starts watching. A folder that does not exist is left out.
    pub fn start(files: &[PathBuf]) -> Result<Self, Errno> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let targets = files.iter().filter_map(|file| file.canonicalize().ok());
        let files: Vec<PathBuf> = files.iter().cloned().chain(targets).collect();
        let mut folders: Vec<&Path> = files.iter().filter_map(|file| folder(file)).collect();
        folders.sort_unstable();
        folders.dedup();
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_ONLYDIR;
        for folder in folders {
            let _ = inotify.add_watch(folder, flags);
        }
        let names = files
            .iter()
            .filter_map(|file| file.file_name())
            .map(Into::into)
            .collect();
        Ok(Self { inotify, names })
    }

    /// Whether one of the files was touched since the last call.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let mut has_changed = false;
        while let Ok(events) = self.inotify.read_events() {
            // An overflow carries no name: something was lost, so look.
            has_changed |= events.iter().any(|event| {
                event
                    .name
                    .as_ref()
                    .is_none_or(|name| self.names.contains(name))
            });
        }
        has_changed
    }
}

/// The folder of a file; a bare name is in the working directory.
fn folder(file: &Path) -> Option<&Path> {
    let parent = file.parent()?;
    let is_bare = parent.as_os_str().is_empty();
    Some(if is_bare { Path::new(".") } else { parent })
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
