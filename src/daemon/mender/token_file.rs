//! Acts: the token in the runtime directory, for scripts of the operator.
//!
//! Readable by our user alone, renamed into place and never synced: it is lost with the power,
//! and wanted so. It is not written where the runtime directory is not in memory.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tracing::warn;

use crate::wire::mender::token::Token;

const NAME: &str = "mender-token";

/// The file, while there is a token.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: Option<PathBuf>,
}

impl TokenFile {
    /// In this folder, if that is kept in memory. What a killed process has left is removed.
    pub(super) fn new(runtime_dir: &Path) -> Self {
        let path = runtime_dir.join(NAME);
        let _ = fs::remove_file(&path);
        let kind = statfs(runtime_dir).map(|facts| facts.filesystem_type());
        let is_memory = kind == Ok(TMPFS_MAGIC);
        if !is_memory {
            warn!(
                code = "runtime_on_disk",
                "{} is not in memory (tmpfs), so the token is not written there",
                runtime_dir.display()
            );
        }
        Self {
            path: is_memory.then_some(path),
        }
    }

    /// Replaces the token.
    pub(super) fn write(&self, token: &Token) {
        let Some(path) = &self.path else { return };
        if let Err(error) = replace(path, token.expose().as_bytes()) {
            warn!("{} cannot be written: {error}", path.display());
        }
    }

    /// There is no token any more.
    pub(super) fn remove(&self) {
        let Some(path) = &self.path else { return };
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                warn!("{} cannot be removed: {error}", path.display());
            }
            _ => {}
        }
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let _ = fs::remove_file(&temporary);
    let mut file = only_ours(&temporary)?;
    let done = file
        .write_all(octets)
        .and_then(|()| fs::rename(&temporary, path));
    done.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// A new file that is nobody else's from its first moment: who has opened it before its mode is
/// changed goes on reading what is written later.
fn only_ours(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::only_ours;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_is_closed_to_others_before_anything_is_written() {
        let path = std::env::temp_dir().join(format!("mender-token-{}", std::process::id()));
        let file = only_ours(&path).unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mode & 0o7777, 0o600);
    }
}
