//! Speaks: where an HTTP body ends, and its chunks, read strictly and written anew.
//!
//! ```text
//! 5;ignored CRLF hello CRLF 0 CRLF Ignored: too CRLF CRLF
//! ```
//! Chunks are never passed on as they came: two parsers that see their ends at different places
//! are how a second request gets smuggled in.

use core::fmt::Write as _;
use core::ops::Range;

/// Octets of the line before a chunk, and of all lines after the last.
const LINE_OCTETS_MAX: usize = 256;
const TRAILER_OCTETS_MAX: usize = 4096;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, whatever `Content-Length` says: the answer to HEAD, 204, 304.
    Nothing,
    /// After so many octets.
    Length(u64),
    /// With an empty chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// These are no chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes the octets of a body out of its framing.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Plain(u64),
    Open,
    Size(Line),
    Chunk(u64),
    ChunkEnd {
        after_cr: bool,
    },
    Trailer {
        line: usize,
        total: usize,
        after_cr: bool,
    },
    Done,
}

/// The line before a chunk, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Line {
    size: u64,
    digits: usize,
    octets: usize,
    in_extension: bool,
    after_cr: bool,
}

/// What one step took: so many octets, of which these belong to the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) used: usize,
    pub(super) body: Range<usize>,
}

impl Decoder {
    pub(super) const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Nothing | Framing::Length(0) => State::Done,
            Framing::Length(octets) => State::Plain(octets),
            Framing::Chunked => State::Size(Line::new()),
            Framing::UntilClose => State::Open,
        };
        Self { state }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection is the end of the body, and not a cut.
    pub(super) fn may_end(&self) -> bool {
        matches!(self.state, State::Done | State::Open)
    }

    /// Takes what comes next, in steps of at least one octet until it is done.
    pub(super) fn step(&mut self, octets: &[u8]) -> Result<Step, Malformed> {
        let passed = |amount| Step {
            used: amount,
            body: 0..amount,
        };
        match self.state {
            State::Done => Ok(passed(0)),
            State::Open => Ok(passed(octets.len())),
            State::Plain(left) => {
                let (amount, left) = part(octets, left);
                self.state = if left == 0 {
                    State::Done
                } else {
                    State::Plain(left)
                };
                Ok(passed(amount))
            }
            State::Chunk(left) => {
                let (amount, left) = part(octets, left);
                self.state = match left {
                    0 => State::ChunkEnd { after_cr: false },
                    left => State::Chunk(left),
                };
                Ok(passed(amount))
            }
            _ => self.between(octets),
        }
    }

    /// Takes what stands between chunks.
    fn between(&mut self, octets: &[u8]) -> Result<Step, Malformed> {
        let mut used = 0_usize;
        for &octet in octets {
            self.state = match self.state {
                State::Size(line) => line.after(octet)?,
                State::ChunkEnd { after_cr: false } if octet == b'\r' => {
                    State::ChunkEnd { after_cr: true }
                }
                State::ChunkEnd { after_cr: true } if octet == b'\n' => State::Size(Line::new()),
                State::Trailer {
                    line,
                    total,
                    after_cr,
                } => trailer(line, total, after_cr, octet)?,
                State::ChunkEnd { .. } => return Err(Malformed),
                other @ (State::Plain(_) | State::Open | State::Chunk(_) | State::Done) => other,
            };
            used = used.saturating_add(1);
            if matches!(self.state, State::Chunk(_) | State::Done) {
                break;
            }
        }
        Ok(Step { used, body: 0..0 })
    }
}

impl Line {
    const fn new() -> Self {
        Self {
            size: 0,
            digits: 0,
            octets: 0,
            in_extension: false,
            after_cr: false,
        }
    }

    fn after(mut self, octet: u8) -> Result<State, Malformed> {
        self.octets = self.octets.saturating_add(1);
        if self.octets > LINE_OCTETS_MAX {
            return Err(Malformed);
        }
        if self.after_cr {
            return match (octet, self.size) {
                (b'\n', 0) => Ok(State::Trailer {
                    line: 0,
                    total: 0,
                    after_cr: false,
                }),
                (b'\n', size) => Ok(State::Chunk(size)),
                _ => Err(Malformed),
            };
        }
        match octet {
            b'\r' if self.digits > 0 => self.after_cr = true,
            b';' if self.digits > 0 => self.in_extension = true,
            b'\t' | b' '..=b'~' if self.in_extension => {}
            _ if self.in_extension => return Err(Malformed),
            _ => {
                let digit = char::from(octet).to_digit(16).ok_or(Malformed)?;
                let shifted = self.size.checked_mul(16).ok_or(Malformed)?;
                self.size = shifted.checked_add(u64::from(digit)).ok_or(Malformed)?;
                self.digits = self.digits.saturating_add(1);
            }
        }
        Ok(State::Size(self))
    }
}

/// Lines after the last chunk are read over: nobody here knows any that may be passed on.
fn trailer(line: usize, total: usize, after_cr: bool, octet: u8) -> Result<State, Malformed> {
    let total = total.saturating_add(1);
    let next = |line, after_cr| State::Trailer {
        line,
        total,
        after_cr,
    };
    match (after_cr, octet) {
        _ if total > TRAILER_OCTETS_MAX => Err(Malformed),
        (true, b'\n') if line == 0 => Ok(State::Done),
        (true, b'\n') => Ok(next(0, false)),
        (true, _) | (false, b'\n') => Err(Malformed),
        (false, b'\r') => Ok(next(line, true)),
        (false, _) => Ok(next(line.saturating_add(1), false)),
    }
}

fn part(octets: &[u8], left: u64) -> (usize, u64) {
    let amount = usize::try_from(left)
        .unwrap_or(usize::MAX)
        .min(octets.len());
    (amount, left.saturating_sub(amount as u64))
}

/// Puts a piece of a body into its framing.
pub(super) fn write_piece(framing: Framing, piece: &[u8], out: &mut Vec<u8>) {
    if piece.is_empty() {
        return;
    }
    if framing == Framing::Chunked {
        let mut size = String::new();
        // Writing to a text cannot fail.
        let _ = write!(size, "{:x}\r\n", piece.len());
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    } else {
        out.extend_from_slice(piece);
    }
}

/// Writes the end of a body.
pub(super) fn write_end(framing: Framing, out: &mut Vec<u8>) {
    if framing == Framing::Chunked {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Framing, Malformed, write_end, write_piece};

    /// The body, how many octets it took, and whether that was all of it.
    fn decoded(
        framing: Framing,
        octets: &[u8],
        at_a_time: usize,
    ) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let mut decoder = Decoder::new(framing);
        let (mut body, mut at) = (Vec::new(), 0);
        while at < octets.len() && !decoder.is_done() {
            let rest = &octets[at..octets.len().min(at + at_a_time)];
            let step = decoder.step(rest)?;
            assert!(step.used > 0);
            body.extend_from_slice(&rest[step.body]);
            at += step.used;
        }
        Ok((body, at, decoder.is_done()))
    }

    #[test]
    fn chunks_are_read_however_they_come_and_what_follows_is_left() {
        let octets =
            b"5;name=\"x\"\r\nhello\r\n00A\r\n, chunks!!\r\n0\r\nTrailer: x\r\n\r\nGET /smuggled";
        let end = octets.len() - b"GET /smuggled".len();
        for at_a_time in 1..octets.len() {
            let (body, used, done) = decoded(Framing::Chunked, octets, at_a_time).unwrap();
            assert_eq!(body, b"hello, chunks!!", "{at_a_time}");
            assert_eq!((used, done), (end, true), "{at_a_time}");
        }
    }

    #[test]
    fn every_prefix_of_chunks_is_not_the_end() {
        let octets = b"3\r\nabc\r\n0\r\n\r\n";
        for end in 0..octets.len() {
            let (_, _, done) = decoded(Framing::Chunked, &octets[..end], 7).unwrap();
            assert!(!done, "{end}");
        }
    }

    #[test]
    fn chunks_that_two_parsers_could_read_differently_are_refused() {
        for octets in [
            &b"5\nhello\r\n"[..],
            b"\r\n",
            b";x\r\n",
            b"0x5\r\n",
            b"+5\r\n",
            b" 5\r\n",
            b"5 \r\nhello",
            b"5\rhello",
            b"5;a\nb\r\nhello",
            b"5;\0\r\nhello",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n",
            b"0\r\nTrailer: a\n\r\n",
            b"0\r\n\rX",
            b"10000000000000000\r\n",
            b"g\r\n",
        ] {
            assert_eq!(
                decoded(Framing::Chunked, octets, 64),
                Err(Malformed),
                "{octets:?}"
            );
        }
        let long = format!("5;{}\r\nhello", "x".repeat(300));
        assert_eq!(
            decoded(Framing::Chunked, long.as_bytes(), 64),
            Err(Malformed)
        );
        let long = format!("0\r\n{}", "x".repeat(5000));
        assert_eq!(
            decoded(Framing::Chunked, long.as_bytes(), 64),
            Err(Malformed)
        );
    }

    #[test]
    fn a_length_is_kept_and_no_octet_beyond_it_is_taken() {
        let (body, used, done) = decoded(Framing::Length(5), b"hello, more", 3).unwrap();
        assert_eq!((body.as_slice(), used, done), (&b"hello"[..], 5, true));
        assert!(Decoder::new(Framing::Length(0)).is_done());
        assert!(!Decoder::new(Framing::Length(1)).may_end());
        assert!(Decoder::new(Framing::UntilClose).may_end());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Vec::new();
        write_piece(Framing::Chunked, b"hello", &mut out);
        write_piece(Framing::Chunked, b"", &mut out);
        write_end(Framing::Chunked, &mut out);
        assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(
            decoded(Framing::Chunked, &out, 64),
            Ok((b"hello".to_vec(), out.len(), true))
        );
    }
}
