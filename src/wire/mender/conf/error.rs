//! Speaks: why a `mender.conf` cannot be used, and what is to be known about one that can.

use core::fmt;

use super::super::server::UrlFault;

/// Why the configuration cannot be used. Nothing of it is: a half-read one would switch mutual
/// TLS off in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfError {
    /// The file, as it was named by the caller.
    pub path: String,
    /// The key, as the documentation writes it; `None` for the file as a whole.
    pub key: Option<String>,
    /// What is wrong.
    pub fault: ConfFault,
}

/// What is wrong with a file or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfFault {
    /// `ServerURL` here and `Servers` in the named file, or the other way round.
    BothServers(String),
    /// The key is there twice, perhaps in another case of letters.
    Doubled,
    /// `RetryDownloadCount` outside 1 to 10000.
    DownloadCount,
    /// A key in a TPM or another token.
    Hardware,
    /// The key that is missing beside this one.
    Incomplete(&'static str),
    /// An entry of `Servers` without an address, counted from 1.
    NoUrl(usize),
    /// The file is JSON and not an object.
    NotAnObject,
    /// The file is not JSON: line and column, counted from 1.
    NotJson(usize, usize),
    /// `SkipVerify`.
    SkipVerify,
    /// Not a tier.
    Tier,
    /// The address is wrong.
    Url(UrlFault),
    /// What is expected.
    WrongType(&'static str),
}

/// Something to know about a configuration that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file, as it was named by the caller.
    pub path: String,
    /// The key, as the documentation writes it.
    pub key: String,
    /// What is to be known.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path, self.key, self.text)
    }
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        if let Some(key) = &self.key {
            write!(f, "{key} ")?;
        }
        match &self.fault {
            ConfFault::BothServers(other) => write!(
                f,
                "is given and so is the other of ServerURL and Servers (in {other}); keep one of them"
            ),
            ConfFault::Doubled => {
                f.write_str("is there twice (upper and lower case are the same); keep one of them")
            }
            ConfFault::DownloadCount => f.write_str("must be a number from 1 to 10000"),
            ConfFault::Hardware => f.write_str(
                "asks for a key in hardware (SSLEngine, pkcs11:), and keys in hardware are not supported yet; name a PEM file",
            ),
            ConfFault::Incomplete(missing) => write!(
                f,
                "is given without {missing}; mutual TLS needs the certificate and its key"
            ),
            ConfFault::NoUrl(entry) => write!(f, "has no ServerURL in its entry {entry}"),
            ConfFault::NotAnObject => f.write_str("the file is not a JSON object"),
            ConfFault::NotJson(line, column) => {
                write!(f, "the file is not JSON (line {line} column {column})")
            }
            ConfFault::SkipVerify => f.write_str(
                "is true and is never honoured: anybody could be the server; name its certificate in ServerCertificate, or pin its key with server_pin",
            ),
            ConfFault::Tier => f.write_str("must be standard, system or micro"),
            ConfFault::Url(fault) => fault.fmt(f),
            ConfFault::WrongType(expected) => write!(f, "must be {expected}"),
        }
    }
}

impl core::error::Error for ConfError {}
