//! Acts: takes the update segment of an answer off the wire, and verifies its signature.
//!
//! The data is hashed as it passes and goes to a file only when updates are on; a gateway
//! with little memory never holds it. Never run unsigned, never by another key than the one
//! the signature names, never under a name that others can guess or write.
//! `reference/cups-lns.md` section 2.4.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

#[cfg(feature = "updates")]
use crate::wire::crc::crc32;
use crate::wire::cups::answer::Signature;
use crate::wire::error::{Code, DecodeError};

/// The file below the data directory that holds an update while it is checked and run.
const FILE: &str = "update/update.bin";

/// The same while the program runs that was given it.
const RUNNING: &str = "running.bin";

/// The two coordinates of a P-256 point.
const KEY_OCTETS: usize = 64;

/// Why an update is not there.
#[derive(Debug)]
pub enum SinkError {
    /// It is not signed as it must be.
    Refused(DecodeError),
    /// The disk did not take it.
    Storage(io::Error),
}

/// Where update data goes.
pub struct Sink {
    hash: Hash,
    file: Option<Unverified>,
}

/// A file that is removed unless it is found good, wherever the answer breaks off.
struct Unverified {
    file: File,
    path: PathBuf,
    is_good: bool,
}

impl Drop for Unverified {
    fn drop(&mut self) {
        if !self.is_good {
            // Nothing runs it, and the next update replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Sink {
    /// Opens a sink; with a data directory the octets are kept, otherwise only hashed.
    pub fn open(data_dir: Option<&Path>) -> io::Result<Self> {
        let file = data_dir.map(create).transpose()?;
        Ok(Self {
            hash: Hash::new(),
            file,
        })
    }

    /// Takes some octets.
    pub fn take(&mut self, octets: &[u8]) -> io::Result<()> {
        self.hash.take(octets);
        match &mut self.file {
            Some(kept) => kept.file.write_all(octets),
            None => Ok(()),
        }
    }

    /// Ends the data and checks the signature over it. Returns the file, if one was kept and
    /// is good; a bad one is removed.
    pub fn finish(
        self,
        signature: Option<&Signature>,
        keys: &[Vec<u8>],
    ) -> Result<Option<PathBuf>, SinkError> {
        let verdict = match signature {
            None => {
                let what = "update: it is not signed";
                Err(DecodeError::of(Code::UpdateUnsigned, what))
            }
            Some(signature) => self.hash.verify(signature, keys),
        };
        verdict.map_err(SinkError::Refused)?;
        let path = self.file.map(Unverified::keep).transpose();
        path.map_err(SinkError::Storage)
    }
}

impl Unverified {
    fn keep(mut self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        self.is_good = true;
        Ok(self.path.clone())
    }
}

/// Takes the file of an update out of the way of the next one, for a program that is about to
/// run it.
pub(super) fn set_aside(update: &Path) -> io::Result<PathBuf> {
    let aside = update.with_file_name(RUNNING);
    fs::rename(update, &aside)?;
    Ok(aside)
}

fn create(data_dir: &Path) -> io::Result<Unverified> {
    let path = data_dir.join(FILE);
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&path)?;
    Ok(Unverified {
        file,
        path,
        is_good: false,
    })
}

/// Whether these octets are a key that an update can be verified by.
#[must_use]
pub fn is_key(octets: &[u8]) -> bool {
    octets.len() == KEY_OCTETS && is_point(octets)
}

#[cfg(feature = "updates")]
fn is_point(octets: &[u8]) -> bool {
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&[&[4_u8][..], octets].concat()).is_ok()
}

#[cfg(not(feature = "updates"))]
const fn is_point(_: &[u8]) -> bool {
    true
}

#[cfg(feature = "updates")]
struct Hash(sha2::Sha512);

#[cfg(feature = "updates")]
impl Hash {
    fn new() -> Self {
        Self(sha2::Digest::new())
    }

    fn take(&mut self, octets: &[u8]) {
        sha2::Digest::update(&mut self.0, octets);
    }

    fn verify(&self, signature: &Signature, keys: &[Vec<u8>]) -> Result<(), DecodeError> {
        use p256::ecdsa::signature::hazmat::PrehashVerifier;

        let refused = |what: String| DecodeError::of(Code::UpdateSignature, what);
        // Station tries every key and ignores the CRC; the signature names one, so only it.
        let key = keys.iter().find(|key| crc32(key) == signature.key_crc);
        let key = key.ok_or_else(|| {
            refused(format!(
                "update: no installed key has the CRC {:08x}",
                signature.key_crc
            ))
        })?;
        let point = [&[4_u8][..], key].concat();
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
            .map_err(|_| refused("update: the installed key is not a P-256 point".to_owned()))?;
        let parsed = p256::ecdsa::Signature::from_der(&signature.der)
            .map_err(|_| refused("update: the signature is not DER".to_owned()))?;
        let digest = sha2::Digest::finalize(self.0.clone());
        key.verify_prehash(&digest, &parsed)
            .map_err(|_| refused("update: the signature does not fit the data".to_owned()))
    }
}

#[cfg(not(feature = "updates"))]
struct Hash;

#[cfg(not(feature = "updates"))]
impl Hash {
    const fn new() -> Self {
        Self
    }

    fn take(&mut self, _: &[u8]) {}

    #[expect(clippy::unused_self, reason = "the same interface as with the feature")]
    fn verify(&self, _: &Signature, _: &[Vec<u8>]) -> Result<(), DecodeError> {
        let what = "update: this build cannot verify signatures";
        Err(DecodeError::of(Code::UpdateSignature, what))
    }
}

#[cfg(test)]
mod tests {
    use crate::store::durable::read_bounded;

    use super::{File, OpenOptions, Path, PathBuf, Sink, Unverified, fs, io, set_aside};

    #[test]
    fn a_file_that_cannot_be_made_durable_is_an_error_of_the_disk() {
        // Takes every octet and refuses fsync.
        let file: io::Result<File> = OpenOptions::new().write(true).open("/dev/null");
        let unverified = Unverified {
            file: file.unwrap(),
            path: PathBuf::from("/nowhere/update.bin"),
            is_good: false,
        };
        let error = unverified.keep().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_next_update_does_not_touch_the_one_that_runs() {
        let name = format!("mtls-agent-update-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        let first = kept(&folder, b"first");
        let running = set_aside(&first).unwrap();
        let second = kept(&folder, b"second");
        assert_ne!(running, second);
        assert_eq!(read_bounded(&running, 10).unwrap(), b"first");
        assert_eq!(read_bounded(&second, 10).unwrap(), b"second");
        fs::remove_dir_all(folder).unwrap();
    }

    fn kept(folder: &Path, octets: &[u8]) -> PathBuf {
        let mut sink = Sink::open(Some(folder)).unwrap();
        sink.take(octets).unwrap();
        sink.file.unwrap().keep().unwrap()
    }
}
