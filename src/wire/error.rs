//! What is wrong with octets from a server: one code, where it was, and a sentence.

use core::fmt;
use std::borrow::Cow;

/// The stable name of a defect, as in `reference/cups-lns.md` section 7. Scripts match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is its own name in text, listed in docs/field-guide.md"
)]
pub enum Code {
    CredCertDerOverrun,
    CredCertTag,
    CredCertificate,
    CredKeyDerOverrun,
    CredKeyMismatch,
    CredKeyMissing,
    CredKeyTag,
    CredToken,
    CredTrustDerOverrun,
    CredTrustNotCa,
    CredTrustTag,
    CredTrustValidity,
    HttpBody,
    HttpContentType,
    HttpStatus,
    LnsAnswer,
    LnsError,
    PolicyCupsChange,
    PolicyDowngrade,
    PolicyHost,
    PolicyPlain,
    SigLength,
    TooLarge,
    TrailingData,
    Truncated,
    UpdateIgnored,
    UpdateSignature,
    UpdateTooLarge,
    UpdateUnsigned,
    UriControl,
    UriHost,
    UriPath,
    UriPort,
    UriScheme,
    UriTooLong,
}

impl Code {
    /// The name in JSON, logs and the field guide.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CredCertDerOverrun => "cred_cert_der_overrun",
            Self::CredCertTag => "cred_cert_tag",
            Self::CredCertificate => "cred_certificate",
            Self::CredKeyDerOverrun => "cred_key_der_overrun",
            Self::CredKeyMismatch => "cred_key_mismatch",
            Self::CredKeyMissing => "cred_key_missing",
            Self::CredKeyTag => "cred_key_tag",
            Self::CredToken => "cred_token",
            Self::CredTrustDerOverrun => "cred_trust_der_overrun",
            Self::CredTrustNotCa => "cred_trust_not_ca",
            Self::CredTrustTag => "cred_trust_tag",
            Self::CredTrustValidity => "cred_trust_validity",
            Self::HttpBody => "http_body",
            Self::HttpContentType => "http_content_type",
            Self::HttpStatus => "http_status",
            Self::LnsAnswer => "lns_answer",
            Self::LnsError => "lns_error",
            Self::PolicyCupsChange => "policy_cups_change",
            Self::PolicyDowngrade => "policy_downgrade",
            Self::PolicyHost => "policy_host",
            Self::PolicyPlain => "policy_plain",
            Self::SigLength => "sig_length",
            Self::TooLarge => "too_large",
            Self::TrailingData => "trailing_data",
            Self::Truncated => "truncated",
            Self::UpdateIgnored => "update_ignored",
            Self::UpdateSignature => "update_signature",
            Self::UpdateTooLarge => "update_too_large",
            Self::UpdateUnsigned => "update_unsigned",
            Self::UriControl => "uri_control",
            Self::UriHost => "uri_host",
            Self::UriPath => "uri_path",
            Self::UriPort => "uri_port",
            Self::UriScheme => "uri_scheme",
            Self::UriTooLong => "uri_too_long",
        }
    }
}

/// A defect in a server's answer: nothing of the answer is used.
///
/// `Display` gives the sentence and, where it helps, the offset in the answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The stable name of the defect.
    pub code: Code,
    /// Offset in octets from the start of the body, where one can be named.
    pub offset: Option<usize>,
    /// What is wrong, without any secret.
    pub what: Cow<'static, str>,
}

impl DecodeError {
    /// A defect at an offset.
    #[must_use]
    pub fn at(code: Code, offset: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            offset: Some(offset),
            what: what.into(),
        }
    }

    /// A defect without a place.
    #[must_use]
    pub fn of(code: Code, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            offset: None,
            what: what.into(),
        }
    }

    /// The same defect counted from an outer start: `base` octets further.
    #[must_use]
    pub fn shifted(mut self, base: usize) -> Self {
        self.offset = self.offset.map(|offset| offset.saturating_add(base));
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{} (offset {offset})", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl core::error::Error for DecodeError {}
