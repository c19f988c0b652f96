//! Acts: the token in the runtime directory, for scripts of the operator.
//!
//! Readable by our user alone, renamed into place and never synced: it is lost with the power,
//! and wanted so. It is not written where the runtime directory is not in memory.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
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
    let mut file = File::create_new(&temporary)?;
    let done = file
        .set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(octets))
        .and_then(|()| fs::rename(&temporary, path));
    done.inspect_err(|_| drop(fs::remove_file(&temporary)))
}
