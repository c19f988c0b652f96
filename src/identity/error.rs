//! Why an identity cannot be used: one exact sentence each, with the file and the cure.

use core::fmt;
use std::path::PathBuf;

use crate::wire::eui::Eui64;
use crate::wire::x509::KeyKind;

/// What is wrong with a file of the identity or with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The common name is not an EUI.
    CommonName(Option<String>),
    /// The file is empty.
    Empty,
    /// The key needs a passphrase.
    Encrypted,
    /// Certificate and configuration or station.conf name different gateways.
    EuiDiffers {
        /// What the certificate says.
        certificate: Eui64,
        /// What the other place says.
        other: Eui64,
        /// Which place that is.
        place: String,
    },
    /// The certificate ended that many days ago.
    Expired {
        /// Whole days since the end of validity.
        days: u64,
    },
    /// The provider cannot use this type of key.
    KeyUnsupported(KeyKind),
    /// Key and certificate are not a pair.
    Mismatch,
    /// The file does not exist.
    Missing,
    /// The certificate names purposes, and client authentication is not among them.
    NoClientAuth,
    /// The file holds no PEM of the wanted kind.
    NotPem(&'static str),
    /// The octets inside the PEM are not a certificate.
    NotX509,
    /// The key belongs to another user.
    Owner(u32),
    /// The key can be read by others.
    Permissions(u32),
    /// The file is larger than such a file may be.
    TooLarge {
        /// The most it may hold, KiB.
        kib_max: u64,
    },
    /// The system refuses to read it.
    Unreadable(String),
}

/// An identity that cannot be used: the file and the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityError {
    /// The file that is looked at.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

impl IdentityError {
    /// The stable name of the fault.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.fault {
            Fault::CommonName(_) => "cn_not_eui",
            Fault::Empty => "empty",
            Fault::Encrypted => "key_encrypted",
            Fault::EuiDiffers { .. } => "eui_differs",
            Fault::Expired { .. } => "expired",
            Fault::KeyUnsupported(_) => "key_unsupported",
            Fault::Mismatch => "key_mismatch",
            Fault::Missing => "missing",
            Fault::NoClientAuth => "no_client_auth",
            Fault::NotPem(_) => "not_pem",
            Fault::NotX509 => "not_x509",
            Fault::Owner(_) => "key_owner",
            Fault::Permissions(_) => "key_permissions",
            Fault::TooLarge { .. } => "too_large",
            Fault::Unreadable(_) => "unreadable",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self.fault {
            Fault::CommonName(_) => {
                "issue the certificate with CN = the EUI as 16 upper-case hex digits"
            }
            Fault::Empty | Fault::NotPem(_) | Fault::NotX509 | Fault::TooLarge { .. } => {
                "copy the file to the device again"
            }
            Fault::Encrypted => {
                "store the key without passphrase: openssl pkey -in KEY -out KEY.plain"
            }
            Fault::EuiDiffers { .. } => {
                "use the certificate of this very gateway, or correct the EUI"
            }
            Fault::Expired { .. } => {
                "install a renewed certificate, or set the clock if it is wrong"
            }
            Fault::KeyUnsupported(_) => "use a P-256, P-384 or RSA key of 2048 to 4096 bits",
            Fault::Mismatch => "install the certificate that was issued for this very key",
            Fault::Missing => {
                "copy the file to the device, or correct the path in the configuration"
            }
            Fault::NoClientAuth => {
                "issue the certificate with extendedKeyUsage = clientAuth, or without that extension"
            }
            Fault::Owner(_) => "chown the key to the user the agent runs as, or to root",
            Fault::Permissions(_) => "chmod 600 the key",
            Fault::Unreadable(_) => "check owner and mode of the file and of its folders",
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::CommonName(None) => write!(f, "the certificate in {path} has no common name"),
            Fault::CommonName(Some(name)) => {
                write!(f, "the common name {name:?} in {path} is not an EUI")
            }
            Fault::Empty => write!(f, "{path} is empty"),
            Fault::Encrypted => write!(f, "the key in {path} is encrypted and needs a passphrase"),
            Fault::EuiDiffers {
                certificate,
                other,
                place,
            } => {
                write!(
                    f,
                    "the certificate in {path} is for {certificate}, but {place} says {other}"
                )
            }
            Fault::Expired { days } => {
                write!(f, "the certificate in {path} expired {days} days ago")
            }
            Fault::KeyUnsupported(kind) => write!(f, "the key in {path} ({kind}) cannot be used"),
            Fault::Mismatch => write!(f, "the key in {path} does not belong to the certificate"),
            Fault::Missing => write!(f, "{path} does not exist"),
            Fault::NoClientAuth => {
                write!(
                    f,
                    "the certificate in {path} is not allowed for client authentication"
                )
            }
            Fault::NotPem(what) => write!(f, "{path} holds no {what} in PEM form"),
            Fault::NotX509 => write!(f, "a certificate in {path} is damaged"),
            Fault::Owner(uid) => write!(f, "the key {path} belongs to user {uid}"),
            Fault::Permissions(mode) => {
                write!(f, "the key {path} can be read by others (mode {mode:04o})")
            }
            Fault::TooLarge { kib_max } => write!(f, "{path} is larger than {kib_max} KiB"),
            Fault::Unreadable(why) => write!(f, "{path} cannot be read: {why}"),
        }
    }
}

impl core::error::Error for IdentityError {}
