//! Speaks: the token a Mender server answers with, a JWT that is opaque to the device.
//!
//! ```text
//! base64url(header) . base64url(claims) . base64url(signature)
//! {"jti":"auth set","sub":"device","iat":1795319875,"exp":1795924675,"mender.tenant":".."}
//! ```
//! It is signed by a key the device does not know, so the claims serve for the schedule and for
//! messages and for nothing else. `reference/mender.md` section 2.4.

use core::fmt;
use core::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::wire::cups::stack_error::printable;
use crate::wire::secret::Secret;
use crate::wire::token as credential;

/// Longest token, in octets.
pub const TOKEN_OCTETS_MAX: usize = 64 * 1024;

/// A token: wiped on drop, redacted in `Debug`, compared in constant time.
#[derive(Clone)]
pub struct Token(Secret);

/// What the token says of itself, unverified. Texts are printable and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// When it was issued, seconds since 1970 by the server's clock.
    pub issued_s: Option<u64>,
    /// When it ends, seconds since 1970 by the server's clock.
    pub expires_s: Option<u64>,
    /// The device's id at the server.
    pub subject: Option<String>,
    /// The id of the auth set.
    pub token_id: Option<String>,
    /// The tenant, where the server has several.
    pub tenant: Option<String>,
}

/// Why a server's answer is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Nothing but white space.
    Empty,
    /// Not three parts of base64url: a proxy's page, most often.
    NotAToken,
    /// More than [`TOKEN_OCTETS_MAX`].
    TooLarge,
}

impl Token {
    /// Takes the body of an answer; white space around the token is left out.
    pub fn parse(body: &[u8]) -> Result<Self, TokenError> {
        let token = body.trim_ascii();
        if token.is_empty() {
            return Err(TokenError::Empty);
        }
        if token.len() > TOKEN_OCTETS_MAX {
            return Err(TokenError::TooLarge);
        }
        let is_part = |part: &[u8]| {
            let is_letter = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_".contains(octet);
            !part.is_empty() && part.iter().all(is_letter)
        };
        let mut parts = 0_usize;
        for part in token.split(|&octet| octet == b'.') {
            parts = parts.saturating_add(1);
            if parts > 3 || !is_part(part) {
                return Err(TokenError::NotAToken);
            }
        }
        if parts != 3 {
            return Err(TokenError::NotAToken);
        }
        Ok(Self(Secret::new(token.to_vec())))
    }

    /// Shows the token to code that sends it. Never print what this returns.
    #[must_use]
    pub fn expose(&self) -> &str {
        core::str::from_utf8(self.0.expose()).unwrap_or_default()
    }

    /// Whether these octets are this token. The time taken depends on the lengths alone.
    #[must_use]
    pub fn is(&self, octets: &[u8]) -> bool {
        let own = self.0.expose();
        let pairs = own.iter().zip(octets);
        let differing = pairs.fold(0_u8, |sum, (one, other)| black_box(sum | (one ^ other)));
        own.len() == octets.len() && differing == 0
    }

    /// The claims; `None` if they cannot be read, which is no error.
    #[must_use]
    pub fn claims(&self) -> Option<Claims> {
        let part = self.expose().split('.').nth(1)?;
        let octets = URL_SAFE_NO_PAD.decode(part).ok()?;
        let value: Value = serde_json::from_slice(&octets).ok()?;
        let members = value.as_object()?;
        let seconds = |name: &str| members.get(name).and_then(seconds);
        let text = |name: &str| {
            let text = members.get(name)?.as_str()?;
            Some(printable(text, 64)).filter(|text| !text.is_empty())
        };
        Some(Claims {
            issued_s: seconds("iat"),
            expires_s: seconds("exp"),
            subject: text("sub"),
            token_id: text("jti"),
            tenant: text("mender.tenant"),
        })
    }

    /// A server's words without this token, should it repeat it.
    #[must_use]
    pub fn withheld(&self, text: &str) -> String {
        let header = Secret::new(format!("Authorization: {}", self.expose()).into_bytes());
        credential::withheld(text, header.expose())
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0.expose())
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} octets)", self.0.expose().len())
    }
}

impl Claims {
    /// How long the token lasts, seconds; `None` if it does not say or ends before it begins.
    /// To be counted from receipt: the server's clock is not the device's.
    #[must_use]
    pub fn lifetime_s(&self) -> Option<u64> {
        let lifetime_s = self.expires_s?.checked_sub(self.issued_s?)?;
        (lifetime_s > 0).then_some(lifetime_s)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the server accepted the device and sent no token",
            Self::NotAToken => {
                "the server's answer is not a token; something between may have answered instead"
            }
            Self::TooLarge => "the server's token is longer than 64 KiB",
        })
    }
}

impl core::error::Error for TokenError {}

/// A moment: whole seconds, or with a fraction, which is cut off.
fn seconds(value: &Value) -> Option<u64> {
    if let Some(whole) = value.as_u64() {
        return Some(whole);
    }
    let seconds = value.as_f64()?;
    if !(0.0..=1e15).contains(&seconds) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked above, and the fraction is to be cut off"
    )]
    Some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::{Claims, TOKEN_OCTETS_MAX, Token, TokenError};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn token(claims: &str) -> Token {
        let claims = URL_SAFE_NO_PAD.encode(claims);
        Token::parse(format!("eyJhbGciOiJFZERTQSJ9.{claims}.c2ln").as_bytes()).unwrap()
    }

    #[test]
    fn white_space_around_it_is_left_out() {
        assert_eq!(
            Token::parse(b" \r\na.b-_.C1\n").unwrap().expose(),
            "a.b-_.C1"
        );
    }

    #[test]
    fn anything_but_three_parts_of_base64url_is_refused() {
        for body in [
            "a",
            "a.b",
            "a.b.c.d",
            "..",
            "a..c",
            "a.b.",
            "a.b c.d",
            "a.b=.c",
            "a.b+.c",
            "<p>.b.c",
            "a.b.\u{e9}",
            "a.\0.c",
        ] {
            let error = Token::parse(body.as_bytes()).unwrap_err();
            assert_eq!(error, TokenError::NotAToken, "{body}");
        }
        assert_eq!(Token::parse(b" \n").unwrap_err(), TokenError::Empty);
        let long = format!("a.b.{}", "c".repeat(TOKEN_OCTETS_MAX));
        let error = Token::parse(long.as_bytes()).unwrap_err();
        assert_eq!(error, TokenError::TooLarge);
    }

    #[test]
    fn claims_tell_schedule_and_names() {
        let token = token(
            r#"{"jti":"set","sub":"dev\nice","iat":100,"exp":700.9,"mender.tenant":"t","x":[]}"#,
        );
        let claims = token.claims().unwrap();
        assert_eq!(claims.lifetime_s(), Some(600));
        assert_eq!(claims.subject.as_deref(), Some("dev ice"));
        assert_eq!(claims.token_id.as_deref(), Some("set"));
        assert_eq!(claims.tenant.as_deref(), Some("t"));
    }

    #[test]
    fn claims_that_cannot_be_used_are_missing_and_no_error() {
        let nothing = Claims {
            issued_s: None,
            expires_s: None,
            subject: None,
            token_id: None,
            tenant: None,
        };
        let odd = token(r#"{"iat":"1","exp":-5,"sub":7,"jti":"","mender.tenant":null}"#);
        assert_eq!(odd.claims(), Some(nothing));
        assert_eq!(token("{").claims(), None);
        assert_eq!(token("[]").claims(), None);
        assert_eq!(Token::parse(b"a.b.c").unwrap().claims(), None);
        let backwards = token(r#"{"iat":700,"exp":100}"#).claims().unwrap();
        assert_eq!(backwards.lifetime_s(), None);
    }

    #[test]
    fn only_the_very_token_is_equal() {
        let token = Token::parse(b"aa.bb.cc").unwrap();
        assert!(token.is(b"aa.bb.cc"));
        for other in [&b""[..], b"aa.bb.c", b"aa.bb.ccc", b"Aa.bb.cc", b"aa.bb.cd"] {
            assert!(!token.is(other));
        }
        assert_ne!(token, Token::parse(b"aa.bb.cd").unwrap());
    }

    #[test]
    fn it_is_never_shown() {
        let token = token(r#"{"sub":"x"}"#);
        let shown = format!(
            "{token:?} {}",
            token.withheld(&format!("bad: {}", token.expose()))
        );
        assert!(!shown.contains("eyJ"), "{shown}");
    }
}
