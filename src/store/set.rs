//! Names: a credential set, its number, its digest, and where it came from.

use crate::wire::credential::Credential;
use core::fmt;
use ring::digest::{Context, SHA256};

/// The number of a credential set. Grows with every set staged and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetNumber(pub u64);

impl fmt::Display for SetNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a set came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An answer of CUPS.
    Cups,
    /// Files that Basic Station had before the agent came.
    Adopted,
}

impl Origin {
    /// The name in the manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cups => "cups",
            Self::Adopted => "adopted",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Cups, Self::Adopted]
            .into_iter()
            .find(|origin| origin.name() == name)
    }
}

/// A SHA-256. `Display` and `Debug` print lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(octets);
        Self::finish(context)
    }

    /// Reads 64 lower-case hex digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text
            .bytes()
            .all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 64 || !is_hex {
            return None;
        }
        let mut octets = [0; 32];
        for (octet, pair) in octets.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = core::str::from_utf8(pair).ok()?;
            *octet = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(octets))
    }

    fn finish(context: Context) -> Self {
        let mut octets = [0; 32];
        for (to, from) in octets.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(octets)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Full snapshot of what CUPS manages, octets as received. Both categories are in one set,
/// so that one change of `CURRENT` moves them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetContents {
    /// Address of the LNS; may be empty.
    pub tc_uri: String,
    /// Credentials for the LNS.
    pub tc: Option<Credential>,
    /// Address of CUPS, if CUPS gave one.
    pub cups_uri: Option<String>,
    /// Credentials for CUPS, if CUPS gave them. Never the device's own identity.
    pub cups: Option<Credential>,
}

impl SetContents {
    /// SHA-256 over a length-prefixed encoding: equal contents have equal digests, and no
    /// two different contents share an encoding.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        update(&mut context, Some(self.tc_uri.as_bytes()));
        update_credential(&mut context, self.tc.as_ref());
        update(&mut context, self.cups_uri.as_deref().map(str::as_bytes));
        update_credential(&mut context, self.cups.as_ref());
        Digest::finish(context)
    }
}

/// A credential set as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its number.
    pub number: SetNumber,
    /// What it holds.
    pub contents: SetContents,
    /// Where it came from.
    pub origin: Origin,
    /// When it was staged, in seconds since 1970 by the clock of that moment.
    pub created_s: u64,
    /// The set that was current when this one was staged.
    pub parent: Option<SetNumber>,
}

fn update(context: &mut Context, part: Option<&[u8]>) {
    let Some(part) = part else {
        context.update(&[0]);
        return;
    };
    context.update(&[1]);
    context.update(&(part.len() as u64).to_le_bytes());
    context.update(part);
}

fn update_credential(context: &mut Context, credential: Option<&Credential>) {
    update(context, credential.map(Credential::octets));
    for length in credential.map(Credential::lengths).unwrap_or_default() {
        context.update(&(length as u64).to_le_bytes());
    }
}
