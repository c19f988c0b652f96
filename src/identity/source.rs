//! Proves: reads the identity's files, with a bound and a look at who else can.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::error::{Fault, IdentityError};

/// Largest identity file: a chain of RSA-4096 certificates has about 10 KiB.
const FILE_KIB_MAX: u64 = 64;
/// Largest file of trust anchors: the roots of a whole system are about 220 KiB.
const ANCHORS_KIB_MAX: u64 = 1024;

/// Reads a certificate file of at most 64 KiB.
pub(super) fn read_certificate(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let file = open(path)?;
    read(file, path, FILE_KIB_MAX).map(|octets| octets.to_vec())
}

/// Reads a file of trust anchors of at most 1 MiB.
pub(super) fn read_anchors(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let file = open(path)?;
    read(file, path, ANCHORS_KIB_MAX).map(|octets| octets.to_vec())
}

/// Reads a private key file. It must belong to root or to us, and to nobody else. In
/// systemd's folder of credentials the group's bit only mirrors an access list with us alone.
pub(super) fn read_key(
    path: &Path,
    credentials: Option<&Path>,
) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let fail = |fault| IdentityError {
        path: path.to_owned(),
        fault,
    };
    let file = open(path)?;
    // On the open file, not on the path: nobody can swap it in between.
    let metadata = file.metadata().map_err(|error| fail(unreadable(&error)))?;
    if metadata.uid() != 0 && metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(fail(Fault::Owner(metadata.uid())));
    }
    let is_credential =
        metadata.uid() == 0 && credentials.is_some() && path.parent() == credentials;
    let is_foreign = if is_credential { 0o037 } else { 0o077 };
    if metadata.mode() & is_foreign != 0 {
        return Err(fail(Fault::Permissions(metadata.mode() & 0o7777)));
    }
    read(file, path, FILE_KIB_MAX)
}

fn open(path: &Path) -> Result<File, IdentityError> {
    let fail = |fault| IdentityError {
        path: path.to_owned(),
        fault,
    };
    // Without O_NONBLOCK a FIFO in its place would stop the agent for ever.
    let opened = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    let file = opened.map_err(|error| {
        fail(if error.kind() == ErrorKind::NotFound {
            Fault::Missing
        } else {
            unreadable(&error)
        })
    })?;
    let metadata = file.metadata().map_err(|error| fail(unreadable(&error)))?;
    if !metadata.is_file() {
        return Err(fail(Fault::Unreadable("it is not a file".to_owned())));
    }
    Ok(file)
}

fn read(file: File, path: &Path, kib_max: u64) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let fail = |fault| IdentityError {
        path: path.to_owned(),
        fault,
    };
    let mut octets = Zeroizing::new(Vec::with_capacity(4096));
    let octets_max = kib_max.saturating_mul(1024);
    file.take(octets_max.saturating_add(1))
        .read_to_end(&mut octets)
        .map_err(|error| fail(unreadable(&error)))?;
    if u64::try_from(octets.len()).unwrap_or(u64::MAX) > octets_max {
        return Err(fail(Fault::TooLarge { kib_max }));
    }
    Ok(octets)
}

fn unreadable(error: &std::io::Error) -> Fault {
    let why = match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Fault::Unreadable(why)
}
