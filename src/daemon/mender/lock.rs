//! Holds: the runtime directory, so that no second agent takes token file and sockets away.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

/// Octets of a process number.
const NUMBER_OCTETS_MAX: u64 = 32;
const NAME: &str = "LOCK";

/// The lock; it ends with the process, in whatever way that ends.
#[derive(Debug)]
pub(super) struct RuntimeLock {
    _held: Flock<File>,
}

/// Takes the lock, or says in a sentence who has it; never waits.
pub(super) fn take(runtime_dir: &Path) -> Result<RuntimeLock, String> {
    let path = runtime_dir.join(NAME);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
        .open(&path)
        .map_err(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut held) => {
            // The number only helps whoever is refused; the lock holds without it.
            let _ = held
                .set_len(0)
                .and_then(|()| held.rewind())
                .and_then(|()| writeln!(held, "{}", std::process::id()));
            Ok(RuntimeLock { _held: held })
        }
        Err((file, Errno::EWOULDBLOCK)) => Err(in_use(runtime_dir, file)),
        Err((_, errno)) => Err(failed(errno.into())),
    }
}

fn in_use(runtime_dir: &Path, file: File) -> String {
    let mut text = String::new();
    let _ = file.take(NUMBER_OCTETS_MAX).read_to_string(&mut text);
    let number: Option<u32> = text.trim().parse().ok();
    let who = number.map_or_else(String::new, |number| format!(" (process {number})"));
    format!(
        "another agent{who} works in {}; `mtls-agent refresh` has it ask the server now, or stop it first",
        runtime_dir.display()
    )
}
