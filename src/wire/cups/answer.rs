//! Speaks: the body of a CUPS answer. All lengths are little endian.
//!
//! ```text
//! 1+n cupsUri | 1+n tcUri | 2+n cups credential | 2+n tc credential
//! 4 sigLen [ 4 key CRC, sigLen-4 DER signature ]   the bracket only if sigLen is not 0
//! 4+n update
//! ```
//! A length of 0 means "no change". The Things Stack writes the key CRC even when sigLen is
//! 0, hence its null answer of 18 octets instead of 14; those four zero octets are the only
//! surplus accepted. `reference/cups-lns.md` sections 2.1 and 2.4.

use core::ops::Range;

use super::super::credential::Credential;
use super::super::error::{Code, DecodeError};
use super::super::uri::{ServerUri, Service};

/// Surplus octets of The Things Stack after an answer without signature.
const SURPLUS: [u8; 4] = [0; 4];

/// Where everything lies in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    cups_uri: Range<usize>,
    tc_uri: Range<usize>,
    cups: Range<usize>,
    tc: Range<usize>,
    signature: Option<(u32, Range<usize>)>,
    /// Where the update data starts: the octets before are the head.
    pub update_start: usize,
    /// Octets of update data.
    pub update_length: usize,
}

/// The signature over the update data: ECDSA P-256 over SHA-512, ASN.1 DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// CRC-32 of the key file that made it. Station ignores it; we require that very key.
    pub key_crc: u32,
    /// The DER signature.
    pub der: Vec<u8>,
}

/// An answer whose every part is well formed. What policy makes of it is decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// A new CUPS address.
    pub cups_uri: Option<ServerUri>,
    /// A new LNS address.
    pub tc_uri: Option<ServerUri>,
    /// New CUPS credentials.
    pub cups: Option<Credential>,
    /// New LNS credentials.
    pub tc: Option<Credential>,
    /// The signature over the update, if there is one.
    pub signature: Option<Signature>,
    /// Octets of update data that follow the head.
    pub update_length: usize,
}

impl Layout {
    /// Finds the segments in the first octets of an answer. `Ok(None)` means that more
    /// octets are needed to see the whole head; at the end of the body that is an error,
    /// which [`truncated`] words.
    pub fn find(octets: &[u8]) -> Result<Option<Self>, DecodeError> {
        match (Cursor { octets, at: 0 }).layout() {
            Ok(layout) => Ok(Some(layout)),
            Err(Stop::Short(_)) => Ok(None),
            Err(Stop::Wrong(error)) => Err(error),
        }
    }

    /// Octets of a body that ends where the update ends.
    #[must_use]
    pub fn body_length(&self) -> usize {
        self.update_start.saturating_add(self.update_length)
    }

    /// Checks the octets that follow the update: none, or The Things Stack's four zeros.
    pub fn check_surplus(&self, surplus: &[u8]) -> Result<(), DecodeError> {
        let is_stack = self.signature.is_none() && self.update_length == 0 && surplus == SURPLUS;
        if surplus.is_empty() || is_stack {
            return Ok(());
        }
        let what = "octets follow a complete answer (only four zero octets may)";
        Err(DecodeError::at(
            Code::TrailingData,
            self.body_length(),
            what,
        ))
    }
}

impl Answer {
    /// Reads a whole body and returns the update data with the answer.
    pub fn parse(body: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let layout = Layout::find(body)?.ok_or_else(|| truncated(body))?;
        let update = body.get(layout.update_start..layout.body_length());
        let update = update.ok_or_else(|| truncated_update(&layout, body.len()))?;
        layout.check_surplus(body.get(layout.body_length()..).unwrap_or_default())?;
        Ok((Self::from_head(body, &layout)?, update))
    }

    /// Reads the parts before the update: addresses first, then credentials.
    pub fn from_head(head: &[u8], layout: &Layout) -> Result<Self, DecodeError> {
        let part = |range: &Range<usize>| head.get(range.clone()).unwrap_or_default();
        let uri = |range: &Range<usize>, service| {
            let octets = part(range);
            if octets.is_empty() {
                return Ok(None);
            }
            uri_text(octets)
                .and_then(|text| ServerUri::parse(text, service))
                .map(Some)
                .map_err(|error| error.shifted(range.start))
        };
        let credential = |range: &Range<usize>| {
            let octets = part(range);
            if octets.is_empty() {
                return Ok(None);
            }
            Credential::parse(octets)
                .map(Some)
                .map_err(|error| error.shifted(range.start))
        };
        Ok(Self {
            cups_uri: uri(&layout.cups_uri, Service::Cups)?,
            tc_uri: uri(&layout.tc_uri, Service::Lns)?,
            cups: credential(&layout.cups)?,
            tc: credential(&layout.tc)?,
            signature: layout.signature.as_ref().map(|(key_crc, range)| Signature {
                key_crc: *key_crc,
                der: part(range).to_vec(),
            }),
            update_length: layout.update_length,
        })
    }

    /// Whether the answer changes nothing at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.cups_uri.is_none()
            && self.tc_uri.is_none()
            && self.cups.is_none()
            && self.tc.is_none()
            && self.update_length == 0
    }
}

/// A file may end in a line end; an address on the wire that does would be written to one.
fn uri_text(octets: &[u8]) -> Result<&str, DecodeError> {
    let is_graphic = |octet: &u8| octet.is_ascii_graphic();
    let offset = octets.iter().position(|octet| !is_graphic(octet));
    core::str::from_utf8(octets)
        .ok()
        .filter(|_| offset.is_none())
        .ok_or_else(|| {
            let what = "uri: a blank, a control character or a non-ASCII octet inside";
            DecodeError::at(Code::UriControl, offset.unwrap_or_default(), what)
        })
}

/// Words the defect of a body that ends inside its head.
#[must_use]
pub fn truncated(body: &[u8]) -> DecodeError {
    match (Cursor {
        octets: body,
        at: 0,
    })
    .layout()
    {
        Err(Stop::Short(error) | Stop::Wrong(error)) => error,
        Ok(layout) => truncated_update(&layout, body.len()),
    }
}

/// Words the defect of a body that ends inside the update data.
#[must_use]
pub fn truncated_update(layout: &Layout, body_length: usize) -> DecodeError {
    let there = body_length.saturating_sub(layout.update_start);
    let what = format!(
        "the answer is cut off in the update data: {} octets announced, {there} there",
        layout.update_length
    );
    DecodeError::at(Code::Truncated, body_length, what)
}

enum Stop {
    Short(DecodeError),
    Wrong(DecodeError),
}

struct Cursor<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn layout(&mut self) -> Result<Layout, Stop> {
        let cups_uri = self.segment(1, "the CUPS address")?;
        let tc_uri = self.segment(1, "the LNS address")?;
        let cups = self.segment(2, "the CUPS credentials")?;
        let tc = self.segment(2, "the LNS credentials")?;
        let signature = self.signature()?;
        let at = self.at;
        let update_length = self.number(4, "the update length")?;
        // Station counts in 31 bits; so does everything that could have made this.
        if update_length > i32::MAX as usize {
            let what = format!("update: {update_length} octets announced, the limit is 2 GiB");
            return Err(Stop::Wrong(DecodeError::at(Code::UpdateTooLarge, at, what)));
        }
        Ok(Layout {
            cups_uri,
            tc_uri,
            cups,
            tc,
            signature,
            update_start: self.at,
            update_length,
        })
    }

    fn signature(&mut self) -> Result<Option<(u32, Range<usize>)>, Stop> {
        let at = self.at;
        let length = self.number(4, "the signature length")?;
        if length == 0 {
            return Ok(None);
        }
        if !(8..=132).contains(&length) {
            let what = format!("signature: {length} octets announced, it must be 8 to 132");
            return Err(Stop::Wrong(DecodeError::at(Code::SigLength, at, what)));
        }
        let all = self.take(length, "the signature")?;
        let der = all.start.saturating_add(4)..all.end;
        let crc = self.octets.get(all.start..der.start).unwrap_or_default();
        let crc = crc
            .iter()
            .rev()
            .fold(0_u32, |sum, &octet| sum << 8 | u32::from(octet));
        Ok(Some((crc, der)))
    }

    fn segment(&mut self, length_octets: usize, what: &'static str) -> Result<Range<usize>, Stop> {
        let length = self.number(length_octets, what)?;
        self.take(length, what)
    }

    fn number(&mut self, octets: usize, what: &'static str) -> Result<usize, Stop> {
        let range = self.take(octets, what)?;
        let digits = self.octets.get(range).unwrap_or_default();
        Ok(digits
            .iter()
            .rev()
            .fold(0, |sum, &digit| sum << 8 | usize::from(digit)))
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<Range<usize>, Stop> {
        let end = self.at.saturating_add(length);
        if end > self.octets.len() {
            let text = format!(
                "the answer is cut off in {what}: {length} octets announced, {} there",
                self.octets.len().saturating_sub(self.at)
            );
            return Err(Stop::Short(DecodeError::at(
                Code::Truncated,
                self.octets.len(),
                text,
            )));
        }
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Code, Layout};

    fn answer_with_uri() -> Vec<u8> {
        let uri = b"wss://lns.example.com:8887";
        let mut body = vec![0, 26];
        body.extend_from_slice(uri);
        body.extend_from_slice(&[0; 12]);
        body
    }

    #[test]
    fn both_null_answers_change_nothing() {
        for length in [14, 18] {
            let body = vec![0; length];
            let (answer, update) = Answer::parse(&body).unwrap();
            assert!(answer.is_null());
            assert!(update.is_empty());
        }
    }

    #[test]
    fn any_other_number_of_zero_octets_is_refused() {
        for length in (0..14).chain(15..18).chain(19..30) {
            let code = Answer::parse(&vec![0; length]).unwrap_err().code;
            assert_eq!(
                code,
                if length < 14 {
                    Code::Truncated
                } else {
                    Code::TrailingData
                }
            );
        }
    }

    #[test]
    fn every_cut_of_a_valid_answer_is_refused() {
        let body = answer_with_uri();
        assert!(Answer::parse(&body).is_ok());
        for end in 0..body.len() {
            let error = Answer::parse(&body[..end]).unwrap_err();
            assert_eq!(error.code, Code::Truncated, "cut at {end}");
        }
    }

    #[test]
    fn an_address_on_the_wire_is_not_trimmed() {
        for ending in [b'\n', b'\r', b' ', b'\t', 0, 0x80] {
            let mut body = answer_with_uri();
            body.insert(28, ending);
            body[1] += 1;
            let error = Answer::parse(&body).unwrap_err();
            assert_eq!(
                (error.code, error.offset),
                (Code::UriControl, Some(28)),
                "{ending}"
            );
        }
    }

    #[test]
    fn a_head_can_be_found_before_the_update_has_arrived() {
        let mut body = vec![0; 10];
        body.extend_from_slice(&1000_u32.to_le_bytes());
        assert_eq!(Layout::find(&body[..13]), Ok(None));
        let layout = Layout::find(&body).unwrap().unwrap();
        assert_eq!((layout.update_start, layout.update_length), (14, 1000));
        assert_eq!(Answer::parse(&body).unwrap_err().code, Code::Truncated);
    }
}
