//! Acts: loads who this device is to a Mender server: certificate, auth key and anchors.
//!
//! | configured | signs | shown in TLS |
//! |---|---|---|
//! | nothing | `mender-agent.pem`, made when missing | nothing |
//! | `HttpsClient` | its key | its certificate |
//! | `HttpsClient` and `AuthPrivateKey` | the latter, which must be the same key | its certificate |
//!
//! `reference/mender.md` sections 0.2 and 2.6: with two keys the ambassador answers an empty 400.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use crate::agent::failure::{Class, Failure};
use crate::config::Mender;
use crate::daemon::clock::Effective;
use crate::daemon::notify::credentials_directory;
use crate::daemon::tls::TlsAccess;
use crate::identity::error::IdentityError;
use crate::identity::signing::Signer;
use crate::identity::{self, KeyPair, Warning, anchors, keygen};
use crate::store::durable;
use crate::wire::x509::Facts;

/// Where distributions keep the system's roots, in the order of looking.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Who we are, as loaded last.
#[derive(Debug)]
pub struct Standing {
    /// Facts of the certificate, if there is one.
    pub facts: Option<Facts>,
    /// Signs auth requests.
    pub signer: Signer,
    /// How servers are judged, and what they are shown.
    pub tls: TlsAccess,
    /// What to know about it.
    pub warnings: Vec<Warning>,
    certificate_octets: Vec<u8>,
}

impl Standing {
    /// Whether certificate and keys are the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.certificate_octets == other.certificate_octets
            && self.signer.fingerprint() == other.signer.fingerprint()
            && self.tls.roots.roots == other.tls.roots.roots
            && self.tls.pins == other.tls.pins
    }

    /// Whether our own certificate is within its validity; true without one.
    #[must_use]
    pub fn is_certificate_valid(&self) -> bool {
        let now_s = self.tls.time.now_s();
        let facts = self.facts.as_ref();
        facts.is_none_or(|facts| facts.not_after_s >= now_s)
    }
}

/// What loading may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Nothing.
    Nothing,
    /// The mode of a key that others can read. An auth key that is missing is not made: whoever
    /// has one already would be another device by it.
    Mode,
    /// That, and an auth key that may be made is made when it is missing.
    ModeAndKey,
}

/// Loads everything anew.
pub fn load(config: &Mender, writes: Writes) -> Result<Standing, Failure> {
    if writes != Writes::Nothing {
        prepare(config, writes)?;
    }
    let pair = pair(config)?;
    let not_before_s = pair.as_ref().map(|pair| pair.facts.not_before_s);
    let time = Effective::from_passed(not_before_s.as_slice());
    let signer = signer(config)?;
    if let (Some(pair), Some(files)) = (&pair, &config.identity) {
        let leaf = pair.certified.cert.first();
        if !leaf.is_some_and(|leaf| signer.is_key_of(leaf)) {
            return Err(other_key(config, &files.certificate, &signer));
        }
    }
    let (roots, anchor_warnings) = roots(config, time.now_s())?;
    let mut warnings = anchor_warnings;
    warnings.extend(pair.iter().flat_map(|pair| pair.warnings.iter().cloned()));
    let certified = pair.as_ref().map(|pair| Arc::clone(&pair.certified));
    Ok(Standing {
        certificate_octets: pair
            .as_ref()
            .map(|pair| pair.certificate_octets.clone())
            .unwrap_or_default(),
        facts: pair.map(|pair| pair.facts),
        signer,
        tls: tls(config, roots, certified, time),
        warnings,
    })
}

fn prepare(config: &Mender, writes: Writes) -> Result<(), Failure> {
    if is_key_to_be_made(config) {
        if writes != Writes::ModeAndKey {
            return Err(not_replaced(&config.auth_key));
        }
        make_key(config)?;
    }
    let credentials = credentials_directory();
    let keys = config.identity.iter().map(|files| files.key.as_path());
    for key in keys.chain([config.auth_key.as_path()]) {
        repair_mode(key, credentials.as_deref());
    }
    Ok(())
}

/// Whether the next start makes an auth key.
#[must_use]
pub fn is_key_to_be_made(config: &Mender) -> bool {
    // Any other error than that it is not there may hide a key, and with it the device.
    let facts = config.auth_key.symlink_metadata();
    config.may_make_key && facts.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn tls(
    config: &Mender,
    roots: RootCertStore,
    certified: Option<Arc<CertifiedKey>>,
    time: Effective,
) -> TlsAccess {
    TlsAccess {
        roots: Arc::new(roots),
        pins: config.server_pins.clone(),
        certified,
        allow_tls13: config.allow_tls13,
        time,
    }
}

fn pair(config: &Mender) -> Result<Option<KeyPair>, Failure> {
    let Some(files) = &config.identity else {
        return Ok(None);
    };
    let early = Effective::from_passed(&[]);
    let credentials = credentials_directory();
    let (certificate, key) = (&files.certificate, &files.key);
    identity::load_pair(certificate, key, credentials.as_deref(), early.now_s())
        .map(Some)
        .map_err(|error| refused(&error))
}

fn signer(config: &Mender) -> Result<Signer, Failure> {
    let path = &config.auth_key;
    let credentials = credentials_directory();
    Signer::load(path, credentials.as_deref()).map_err(|error| refused(&error))
}

/// A key that others can merely read is mended, as the official client does; one that they can
/// write is refused when it is loaded.
fn repair_mode(path: &Path, credentials: Option<&Path>) {
    let Ok(facts) = path.metadata() else { return };
    // What systemd provides is as systemd made it.
    if credentials.is_some_and(|folder| path.starts_with(folder)) {
        return;
    }
    let path_shown = path.display();
    let mode = facts.mode() & 0o7777;
    let (is_foreign, is_foreign_written) = (mode & 0o077 > 0, mode & 0o022 > 0);
    if !facts.is_file() || !is_foreign || is_foreign_written {
        return;
    }
    match std::fs::set_permissions(path, Permissions::from_mode(0o600)) {
        Ok(()) => warn!(
            code = "key_mode",
            "{path_shown} had mode {mode:o}, others could read it; it has 600 now"
        ),
        Err(error) => warn!(
            code = "key_mode",
            "{path_shown} has mode {mode:o} and others can read it; chmod 600 failed: {error}"
        ),
    }
}

/// A new key is a new device to the server, so it is made only where it will be found again.
fn make_key(config: &Mender) -> Result<(), Failure> {
    let path = &config.auth_key;
    let failed = |why: String| {
        let text = format!("no auth key can be made at {}: {why}", path.display());
        Failure::new(Class::IdentityInvalid, "key_not_made", text)
    };
    if let Some(folder) = config
        .mount_point
        .as_deref()
        .filter(|folder| !is_mounted(folder))
    {
        let why = format!("{} is not mounted", folder.display());
        return Err(failed(why)
            .with_hint("mount the data partition; a key made without it would be another device"));
    }
    let pem = keygen::ed25519_pem().map_err(|error| failed(error.to_string()))?;
    durable::replace_file(path, pem.expose(), 0o600).map_err(|error| {
        failed(error.to_string()).with_hint("make the folder of mender.data_dir, and writable")
    })?;
    info!("made a new auth key, {}", path.display());
    Ok(())
}

/// The file may be away for a moment: an editor, a copy, a partition.
fn not_replaced(path: &Path) -> Failure {
    let text = format!(
        "{} is not there, and none is made in its place while the agent runs",
        path.display()
    );
    Failure::new(Class::IdentityInvalid, "key_not_made", text)
        .with_hint("bring the key back; a restart would make another, and with it another device")
}

fn is_mounted(folder: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|facts| (facts.dev(), facts.ino()));
    match (device(folder), device(&folder.join(".."))) {
        // The root of a file system is on another device than its parent, or is its own.
        (Ok((own, inode)), Ok((parent, parent_inode))) => own != parent || inode == parent_inode,
        _ => false,
    }
}

fn other_key(config: &Mender, certificate: &Path, signer: &Signer) -> Failure {
    let text = format!(
        "{} is not the key of {} (its public key is {}): the ambassador would answer an empty 400",
        config.auth_key.display(),
        certificate.display(),
        signer.fingerprint()
    );
    Failure::new(Class::IdentityInvalid, "auth_key_differs", text)
        .with_hint("name the certificate's own key in Security.AuthPrivateKey, or leave that out")
}

fn roots(config: &Mender, now_s: u64) -> Result<(RootCertStore, Vec<Warning>), Failure> {
    let mut roots = RootCertStore::empty();
    let mut warnings = Vec::new();
    if !config.server_pins.is_empty() {
        return Ok((roots, warnings));
    }
    let system = config.system_roots.then(system_roots).flatten();
    let has_system = system.is_some();
    if let Some(path) = &config.server_certificate {
        match anchors::load(&[PathBuf::from(path)], now_s) {
            Ok(anchors) => {
                roots.extend(anchors.roots.roots.iter().cloned());
                warnings.extend(anchors.warnings);
            }
            Err(error) if has_system => warnings.push(Warning {
                code: "server_certificate",
                text: format!("ServerCertificate is left out, the system's roots decide: {error}"),
            }),
            Err(error) => {
                return Err(Failure {
                    class: Class::Configuration,
                    ..refused(&error)
                });
            }
        }
    }
    roots.extend(system.into_iter().flat_map(|store| store.roots));
    if roots.is_empty() {
        let text =
            "nothing to judge the server by: no ServerCertificate, and no roots of the system";
        return Err(Failure::new(Class::Configuration, "no_anchor", text)
            .with_hint("name the CA of the ambassador's certificate in ServerCertificate"));
    }
    Ok((roots, warnings))
}

fn system_roots() -> Option<RootCertStore> {
    let path = SYSTEM_ROOTS
        .iter()
        .map(Path::new)
        .find(|path| path.is_file())?;
    anchors::of_system(path)
        .ok()
        .filter(|roots| !roots.is_empty())
}

fn refused(error: &IdentityError) -> Failure {
    Failure::new(Class::IdentityInvalid, error.code(), error.to_string()).with_hint(error.hint())
}
