//! Speaks: what of a well-formed answer may be used, by the operator's policy.
//!
//! | what the server asks | default | with |
//! |---|---|---|
//! | from TLS to plain | the answer is refused | - |
//! | a first plain address | the answer is refused | `cups.allow_plain` |
//! | another CUPS address or CUPS credentials | reported and ignored | `cups.allow_cups_changes` |
//! | a host outside `cups.allowed_hosts` | the answer is refused | an entry there |
//!
//! `reference/cups-lns.md` sections 2.5 and 7, `reference/reliability.md` P4 and P5.

use std::borrow::Cow;

use super::credential::Credential;
use super::cups::answer::Answer;
use super::error::{Code, DecodeError};
use super::uri::ServerUri;

/// What the operator allows a CUPS server to change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whether CUPS may move the gateway to another CUPS server or give it CUPS credentials.
    pub allow_cups_changes: bool,
    /// Whether `ws://` and `http://` may be used where TLS was not used before.
    pub allow_plain: bool,
    /// Hosts that may be named; `.example.com` allows every host below. Empty: any host.
    pub allowed_hosts: Vec<String>,
}

/// The addresses in force, against which a downgrade is recognised.
#[derive(Debug, Clone, Copy)]
pub struct InForce<'a> {
    /// The CUPS server that was asked.
    pub cups_uri: &'a ServerUri,
    /// The LNS, if one is known.
    pub tc_uri: Option<&'a ServerUri>,
}

/// Something that was in the answer and was not used; worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The stable name.
    pub code: Code,
    /// What was ignored, and the setting that decides it.
    pub text: Cow<'static, str>,
}

/// The changes that are left to be made, possibly none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// A new CUPS address.
    pub cups_uri: Option<ServerUri>,
    /// New CUPS credentials.
    pub cups: Option<Credential>,
    /// A new LNS address.
    pub tc_uri: Option<ServerUri>,
    /// New LNS credentials.
    pub tc: Option<Credential>,
    /// What was ignored.
    pub notes: Vec<Note>,
}

impl Offer {
    /// Whether nothing is left to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cups_uri.is_none() && self.cups.is_none() && self.tc_uri.is_none() && self.tc.is_none()
    }
}

impl Policy {
    /// Applies the policy to the addresses and credentials of an answer.
    pub fn apply(&self, answer: Answer, in_force: InForce<'_>) -> Result<Offer, DecodeError> {
        if let Some(uri) = &answer.cups_uri {
            self.check_uri(uri, Some(in_force.cups_uri))?;
        }
        if let Some(uri) = &answer.tc_uri {
            self.check_uri(uri, in_force.tc_uri)?;
        }
        let mut offer = Offer {
            tc_uri: answer.tc_uri,
            tc: answer.tc,
            ..Offer::default()
        };
        if self.allow_cups_changes {
            offer.cups_uri = answer.cups_uri;
            offer.cups = answer.cups;
        } else {
            offer.notes = ignored_cups_changes(answer.cups_uri.as_ref(), answer.cups.is_some());
        }
        Ok(offer)
    }

    fn check_uri(&self, uri: &ServerUri, before: Option<&ServerUri>) -> Result<(), DecodeError> {
        if !uri.is_secure() {
            if before.is_some_and(ServerUri::is_secure) {
                let what = format!("policy: the server asks to go from TLS to plain {uri}");
                return Err(DecodeError::of(Code::PolicyDowngrade, what));
            }
            if !self.allow_plain {
                let what =
                    format!("policy: {uri} is not encrypted and cups.allow_plain is not set");
                return Err(DecodeError::of(Code::PolicyPlain, what));
            }
        }
        if !self.is_host_allowed(uri.host()) {
            let what = format!("policy: {} is not in cups.allowed_hosts", uri.host());
            return Err(DecodeError::of(Code::PolicyHost, what));
        }
        Ok(())
    }

    fn is_host_allowed(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let allows = |entry: &String| {
            let entry = entry.to_ascii_lowercase();
            host == entry || (entry.starts_with('.') && host.ends_with(&entry))
        };
        self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(allows)
    }
}

fn ignored_cups_changes(uri: Option<&ServerUri>, has_credentials: bool) -> Vec<Note> {
    let note = |text: Cow<'static, str>| Note {
        code: Code::PolicyCupsChange,
        text,
    };
    let address = uri.map(|uri| {
        note(
            format!("CUPS asks to move to {uri}; ignored, cups.allow_cups_changes is false").into(),
        )
    });
    // A token from a target CUPS key would take the place of the certificate.
    let credentials = has_credentials.then(|| {
        note("CUPS sent new CUPS credentials; ignored, cups.allow_cups_changes is false".into())
    });
    address.into_iter().chain(credentials).collect()
}

#[cfg(test)]
mod tests {
    use super::{Answer, Code, InForce, Policy};
    use crate::wire::uri::{ServerUri, Service};

    fn cups(text: &str) -> ServerUri {
        ServerUri::parse(text, Service::Cups).unwrap()
    }

    fn lns(text: &str) -> ServerUri {
        ServerUri::parse(text, Service::Lns).unwrap()
    }

    fn answer() -> Answer {
        Answer::parse(&[0; 14]).unwrap().0
    }

    #[test]
    fn a_downgrade_is_refused_whatever_is_allowed() {
        let policy = Policy {
            allow_plain: true,
            allow_cups_changes: true,
            ..Policy::default()
        };
        let (cups_uri, tc_uri) = (cups("https://c:1"), lns("wss://l:1"));
        let in_force = InForce {
            cups_uri: &cups_uri,
            tc_uri: Some(&tc_uri),
        };
        let to_ws = Answer {
            tc_uri: Some(lns("ws://l:1")),
            ..answer()
        };
        let to_http = Answer {
            cups_uri: Some(cups("http://c:1")),
            ..answer()
        };
        assert_eq!(
            policy.apply(to_ws, in_force).unwrap_err().code,
            Code::PolicyDowngrade
        );
        assert_eq!(
            policy.apply(to_http, in_force).unwrap_err().code,
            Code::PolicyDowngrade
        );
    }

    #[test]
    fn a_first_plain_address_needs_the_setting() {
        let cups_uri = cups("https://c:1");
        let in_force = InForce {
            cups_uri: &cups_uri,
            tc_uri: None,
        };
        let plain = || Answer {
            tc_uri: Some(lns("ws://l:1")),
            ..answer()
        };
        let refused = Policy::default().apply(plain(), in_force).unwrap_err();
        assert_eq!(refused.code, Code::PolicyPlain);
        let policy = Policy {
            allow_plain: true,
            ..Policy::default()
        };
        assert!(policy.apply(plain(), in_force).unwrap().tc_uri.is_some());
    }

    #[test]
    fn cups_changes_are_ignored_with_a_note_and_the_rest_counts() {
        let cups_uri = cups("https://c:1");
        let in_force = InForce {
            cups_uri: &cups_uri,
            tc_uri: None,
        };
        let both = Answer {
            cups_uri: Some(cups("https://other:1")),
            tc_uri: Some(lns("wss://l:1")),
            ..answer()
        };
        let offer = Policy::default().apply(both, in_force).unwrap();
        assert_eq!(offer.cups_uri, None);
        assert!(offer.tc_uri.is_some());
        assert_eq!(offer.notes[0].code, Code::PolicyCupsChange);
    }

    #[test]
    fn hosts_are_matched_whole_or_below_a_dot() {
        let policy = Policy {
            allowed_hosts: vec!["lns.example.com".to_owned(), ".Example.org".to_owned()],
            ..Policy::default()
        };
        for (host, is_allowed) in [
            ("lns.example.com", true),
            ("LNS.example.com", true),
            ("a.example.org", true),
            ("example.org", false),
            ("evilexample.org", false),
            ("x.lns.example.com", false),
        ] {
            assert_eq!(policy.is_host_allowed(host), is_allowed, "{host}");
        }
    }
}
