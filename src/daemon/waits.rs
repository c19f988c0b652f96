//! Acts: keeps the waits after refusals where a restarted agent finds them.
//!
//! In `runtime_dir`, which is tmpfs: the flash is not written for a refusal, and after a
//! reboot they begin anew. They count only for the same configuration, identity and trust
//! anchors: whoever mended one of these is not made to wait.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::{debug, info};

use super::service::Service;
use crate::agent::Event;
use crate::agent::memory::Memory;
use crate::store::Digest;
use crate::store::durable::read_bounded;

const NAME: &str = "waits";
const OCTETS_MAX: usize = 4096;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the file holds.
#[derive(Debug, Default)]
pub(super) struct Waits {
    written: Memory,
}

impl Service {
    /// Tells the machine what the process before this one had to wait for.
    pub(super) fn recall(&mut self) {
        let Some(heading) = self.heading() else {
            return;
        };
        let octets = read_bounded(&self.waits_path(), OCTETS_MAX).unwrap_or_default();
        let text = String::from_utf8(octets).unwrap_or_default();
        let Some(lines) = text.strip_prefix(heading.as_str()) else {
            return;
        };
        let memory = Memory::decode(lines);
        if memory != Memory::default() {
            info!("takes up the waits after refusals from before the restart");
            self.waits.written = memory.clone();
            self.tell(Event::Remembered { memory });
        }
    }

    /// Writes down what has changed. A failure costs only the next process its patience.
    pub fn remember(&mut self) {
        let memory = self.memory();
        if memory == self.waits.written {
            return;
        }
        let path = self.waits_path();
        let done = match self.heading() {
            Some(heading) if memory != Memory::default() => {
                replace(&path, &[heading, memory.encode()].concat())
            }
            _ => fs::remove_file(&path),
        };
        if let Err(error) = done {
            debug!("{} is not as it should be: {error}", path.display());
        }
        self.waits.written = memory;
    }

    fn waits_path(&self) -> PathBuf {
        self.config().runtime_dir.join(NAME)
    }

    /// The line that must be the same for the rest to count.
    fn heading(&self) -> Option<String> {
        let boot = read_bounded(Path::new(BOOT_ID), OCTETS_MAX).ok()?;
        let boot = String::from_utf8(boot).ok()?;
        let standing = self.standing()?;
        let (identity, anchors) = (&standing.identity, &standing.anchors);
        let all = [
            format!("{:?}", self.config()).as_bytes(),
            &identity.certificate_octets,
            &anchors.octets,
        ]
        .map(|octets| Digest::of(octets).to_string())
        .concat();
        Some(format!(
            "1 {} {}\n",
            boot.trim(),
            Digest::of(all.as_bytes())
        ))
    }
}

/// Whole or not at all for whoever reads it, and never synced.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    fs::rename(temporary, path)
}
