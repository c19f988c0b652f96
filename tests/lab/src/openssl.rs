//! Issues: certificates and keys the way an operator makes them, with the `openssl` command.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::pki::Pair;

/// What `openssl ca` needs to be told beside the command line.
const CONFIGURATION: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nnew_certs_dir = .\n\
    default_md = sha256\npolicy = any\nrand_serial = yes\nunique_subject = no\n[any]\n\
    commonName = optional\norganizationName = optional\n";

/// A folder in which `openssl` works.
#[derive(Debug)]
pub struct Workshop {
    dir: PathBuf,
    serial: AtomicU32,
}

/// One certificate to issue.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The files are `name.pem` and `name.key`.
    pub name: &'a str,
    /// As in `-subj`.
    pub subject: &'a str,
    /// `P-256`, `P-384`, `P-521` or `rsa:BITS`.
    pub key: &'a str,
    /// The name of the issuer; `None` for a certificate signed by itself.
    pub issuer: Option<&'a str>,
    /// Lines of an extension file; `None` makes an X.509v1 certificate, unless signed by itself.
    pub extensions: Option<&'a str>,
    /// First and last moment as `YYYYMMDDHHMMSSZ`; ten years from now otherwise.
    pub dates: Option<(&'a str, &'a str)>,
}

impl Default for Order<'_> {
    fn default() -> Self {
        Self {
            name: "leaf",
            subject: "/CN=0123456789ABCDEF",
            key: "P-256",
            issuer: Some("root"),
            extensions: Some("basicConstraints = CA:FALSE\n"),
            dates: None,
        }
    }
}

impl Workshop {
    /// Works in `dir`, which is created.
    ///
    /// # Panics
    /// The folder cannot be written.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("the folder can be made");
        fs::write(dir.join("ca.cnf"), CONFIGURATION).expect("the folder can be written");
        fs::write(dir.join("index"), "").expect("the folder can be written");
        Self {
            dir: dir.to_owned(),
            serial: AtomicU32::new(4096),
        }
    }

    /// A file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs `openssl` with these words, separated by blanks, in the folder.
    ///
    /// # Panics
    /// It fails.
    pub fn run(&self, words: &str) {
        self.command(&words.split_whitespace().collect::<Vec<_>>());
    }

    /// Makes `name.key` of a kind (see [`Order::key`]) with mode 0600.
    pub fn key(&self, name: &str, kind: &str) {
        match kind.strip_prefix("rsa:") {
            Some(bits) => self.run(&format!(
                "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits} -out {name}.key"
            )),
            None => self.run(&format!(
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{kind} -out {name}.key"
            )),
        }
        set_mode(&self.path(&format!("{name}.key")), 0o600);
    }

    /// A root with `CA:TRUE`.
    pub fn root(&self, name: &str, key: &str) {
        self.issue(Order {
            name,
            subject: &format!("/CN={name}"),
            key,
            issuer: None,
            extensions: Some("basicConstraints = critical, CA:TRUE\n"),
            dates: None,
        });
    }

    /// An intermediate with `CA:TRUE`.
    pub fn intermediate(&self, name: &str, issuer: &str) {
        self.issue(Order {
            name,
            subject: &format!("/CN={name}"),
            issuer: Some(issuer),
            extensions: Some("basicConstraints = critical, CA:TRUE\n"),
            ..Order::default()
        });
    }

    /// Issues one certificate for a new key.
    pub fn issue(&self, order: Order<'_>) -> Pair {
        let name = order.name;
        self.key(name, order.key);
        let subject = order.subject;
        self.command(&words(
            &["req -new -key", &format!("{name}.key"), "-subj"],
            subject,
        ));
        fs::rename(self.path("request"), self.path(&format!("{name}.csr")))
            .expect("openssl wrote the request");
        let extensions = order.extensions.map_or_else(String::new, |text| {
            fs::write(self.path(&format!("{name}.ext")), text).expect("the folder can be written");
            format!("-extfile {name}.ext")
        });
        let signer = |issuer: &str, certificate: &str, key: &str| {
            format!("{certificate} {issuer}.pem {key} {issuer}.key")
        };
        if let Some((first, last)) = order.dates {
            let signer = order.issuer.map_or_else(
                || format!("-selfsign -keyfile {name}.key"),
                |issuer| signer(issuer, "-cert", "-keyfile"),
            );
            self.run(&format!(
                "ca -config ca.cnf -batch -notext -in {name}.csr {signer} {extensions} \
                 -startdate {first} -enddate {last} -out {name}.pem"
            ));
        } else {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let signer = order.issuer.map_or_else(
                || format!("-signkey {name}.key"),
                |issuer| signer(issuer, "-CA", "-CAkey"),
            );
            self.run(&format!(
                "x509 -req -in {name}.csr {signer} {extensions} -set_serial {serial} \
                 -days 3650 -out {name}.pem"
            ));
        }
        self.pair(name)
    }

    /// `name.pem` and `name.key`.
    #[must_use]
    pub fn pair(&self, name: &str) -> Pair {
        Pair {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }

    /// Writes `name` with the contents of other files, one after the other.
    ///
    /// # Panics
    /// One of them is missing.
    #[must_use]
    pub fn join(&self, name: &str, parts: &[&str]) -> PathBuf {
        let whole: Vec<u8> = parts
            .iter()
            .flat_map(|part| fs::read(self.path(part)).expect("a part is there"))
            .collect();
        fs::write(self.path(name), whole).expect("the folder can be written");
        self.path(name)
    }

    fn command(&self, words: &[&str]) {
        let output = Command::new("openssl")
            .args(words)
            .current_dir(&self.dir)
            .output()
            .expect("the openssl command is installed");
        assert!(
            output.status.success(),
            "openssl {words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Sets the mode of a file.
///
/// # Panics
/// The file is missing.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is there");
}

/// Words separated by blanks, then a subject, which may hold blanks.
fn words<'a>(parts: &[&'a str], subject: &'a str) -> Vec<&'a str> {
    let mut words: Vec<&str> = parts
        .iter()
        .flat_map(|part| part.split_whitespace())
        .collect();
    words.extend([subject, "-out", "request"]);
    words
}
