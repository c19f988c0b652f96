//! Reads: Basic Station's log lines, and lets through no more than a journal can bear.
//!
//! ```text
//! 2022-01-17 10:00:00.123 [TCE:INFO] Infos: 123:4567:89ab:cdef muxs-::0 wss://lns:8887/...
//!                          MOD LEVL  text
//! ```

use core::time::Duration;

use crate::agent::refusal::discovery_refused;
use crate::wire::cups::stack_error::printable;

/// Octets of a line that are kept; the rest of it is dropped.
pub(super) const LINE_OCTETS_MAX: usize = 1024;

/// Lines let through at once.
const BURST: u32 = 20;

/// One line more for each of these.
const REFILL: Duration = Duration::from_secs(1);

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// CRIT, ERRO.
    Error,
    /// WARN.
    Warning,
    /// NOTI, INFO, and lines without a level.
    Info,
    /// VERB and below.
    Debug,
}

/// What a line tells about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing of that.
    Nothing,
    /// Discovery was answered: the traffic connection comes next.
    Discovered,
    /// Discovery comes next: a connection is not that of traffic.
    Discovering,
    /// The traffic connection has ended and is opened again: worth a look.
    Reconnecting,
    /// The LNS said no to the credentials.
    Refused,
    /// Station does not trust the LNS's certificate.
    Untrusted,
    /// A connection did not come about for another reason: the LNS is away, or busy.
    Unreachable,
}

/// What there is to know of one line.
#[must_use]
pub(super) fn read(line: &str) -> (Severity, Said) {
    let Some((module, level, text)) = parts(line) else {
        return (Severity::Info, Said::Nothing);
    };
    let severity = match level {
        "CRIT" | "ERRO" => Severity::Error,
        "WARN" => Severity::Warning,
        "NOTI" | "INFO" => Severity::Info,
        _ => Severity::Debug,
    };
    // What station's own CUPS client or its update says is not about the LNS.
    let said = match module {
        "CUP" | "SYN" => Said::Nothing,
        _ => said(text),
    };
    (severity, said)
}

/// Whether a line is one of Basic Station's own at a level that shows discovery's answer.
#[must_use]
pub(super) fn shows_discovery(line: &str) -> bool {
    parts(line).is_some_and(|(_, level, _)| level == "INFO")
}

/// A line without its time, for texts that have one of their own.
#[must_use]
pub(super) fn timeless(line: &str) -> &str {
    line.find('[').map_or(line, |at| line.split_at(at).1)
}

fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = line.split_once('[')?;
    let (mark, text) = rest.split_once(']')?;
    let (module, level) = mark.split_once(':')?;
    let is_mark = mark.len() <= 9 && mark.bytes().all(|c| c.is_ascii_alphanumeric() || c == b':');
    is_mark.then(|| (module, level, text.trim_start()))
}

fn said(text: &str) -> Said {
    if text.starts_with("Infos:") {
        return Said::Discovered;
    }
    if text.starts_with("INFOS reconnect") || text.starts_with("Connecting to INFOS") {
        return Said::Discovering;
    }
    if text.starts_with("MUXS reconnect") {
        return Said::Reconnecting;
    }
    // Said by a station with a CUPS of its own, also where the LNS is only away.
    if text.starts_with("Router rejected or retry limit") {
        return Said::Nothing;
    }
    if let Some(error) = text.strip_prefix("Infos error:") {
        let is_refusal = discovery_refused("", error).class.condemns_credentials();
        return if is_refusal {
            Said::Refused
        } else {
            Said::Unreachable
        };
    }
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let is_http = has(&["http", "status", "response", "upgrade"]);
    let is_status = |is_it: &dyn Fn(&str) -> bool| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        is_http && words.any(|word| word.len() == 3 && is_it(word))
    };
    if has(&["certificate verification failed"]) {
        return Said::Untrusted;
    }
    if has(&["unauthorized", "forbidden", "rejected"])
        || is_status(&|word| word == "401" || word == "403")
    {
        return Said::Refused;
    }
    let is_busy =
        |word: &str| word == "429" || word.starts_with('5') && word.parse::<u16>().is_ok();
    if has(&["connect failed", "failed to connect", "connection refused"]) || is_status(&is_busy) {
        return Said::Unreachable;
    }
    Said::Nothing
}

/// Cuts what a pipe gives into lines of bounded length.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Takes octets in and gives back the lines that are complete, printable, never empty.
    pub(super) fn take(&mut self, octets: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &octet in octets {
            if octet == b'\n' {
                lines.extend(self.finish());
            } else if self.line.len() < LINE_OCTETS_MAX {
                self.line.push(octet);
            }
        }
        lines
    }

    /// What came without an end of line.
    pub(super) fn finish(&mut self) -> Option<String> {
        let line = core::mem::take(&mut self.line);
        let line = printable(&String::from_utf8_lossy(&line), LINE_OCTETS_MAX);
        (!line.is_empty()).then_some(line)
    }
}

/// How many lines may still pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    left: u32,
    since: Duration,
    dropped: u64,
}

impl Allowance {
    /// A full one.
    #[must_use]
    pub(super) const fn new(now: Duration) -> Self {
        Self {
            left: BURST,
            since: now,
            dropped: 0,
        }
    }

    /// Asks for one line. One that may not pass is counted.
    pub(super) fn admit(&mut self, now: Duration) -> bool {
        let refill = now.saturating_sub(self.since).as_secs() / REFILL.as_secs();
        if refill > 0 {
            let refill = u32::try_from(refill).unwrap_or(BURST);
            self.left = self.left.saturating_add(refill).min(BURST);
            self.since = now;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        };
        self.left = left;
        true
    }

    /// The number of lines that were dropped and not told yet. Told by this call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        core::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowance, LINE_OCTETS_MAX, Lines, Said, Severity, read};
    use core::time::Duration;

    #[test]
    fn levels_are_those_of_the_bracket() {
        for (level, expected) in [
            ("CRIT", Severity::Error),
            ("ERRO", Severity::Error),
            ("WARN", Severity::Warning),
            ("NOTI", Severity::Info),
            ("INFO", Severity::Info),
            ("VERB", Severity::Debug),
            ("DEBU", Severity::Debug),
            ("XDEB", Severity::Debug),
        ] {
            let line = format!("2022-01-17 10:00:00.123 [SYS:{level}] text");
            assert_eq!(read(&line), (expected, Said::Nothing), "{level}");
        }
        for line in ["", "no bracket", "[half", "[a long text with : in it] x"] {
            assert_eq!(read(line).0, Severity::Info, "{line}");
        }
    }

    #[test]
    fn discovery_refusals_and_dead_ends_are_understood() {
        for (line, expected) in [
            (
                "[TCE:INFO] Infos: 1:2:3:4 muxs-::0 wss://l:8887/x",
                Said::Discovered,
            ),
            (
                "[AIO:ERRO] [3] WS upgrade failed with HTTP status code: 401",
                Said::Refused,
            ),
            (
                "[AIO:ERRO] [3] Server response: HTTP/1.1 403 Forbidden",
                Said::Refused,
            ),
            (
                "[TCE:ERRO] Router rejected by LNS: Unauthorized",
                Said::Refused,
            ),
            (
                "[TCE:ERRO] Infos error: ::0 Failed to fetch gateway: API key not found",
                Said::Refused,
            ),
            (
                "[TCE:ERRO] Infos error: ::0 Router not provisioned",
                Said::Unreachable,
            ),
            (
                "[AIO:INFO] TLS server certificate verification failed: not correctly signed",
                Said::Untrusted,
            ),
            (
                "[TCE:INFO] Router rejected or retry limit reached. Invoking CUPS.",
                Said::Nothing,
            ),
            (
                "[TCE:ERRO] TC connect failed - URI: ws://l:401",
                Said::Unreachable,
            ),
            (
                "[AIO:ERRO] [4] WS upgrade failed with HTTP status code: 502",
                Said::Unreachable,
            ),
            (
                "[AIO:ERRO] [4] WS upgrade failed with HTTP status code: 429",
                Said::Unreachable,
            ),
            (
                "[TCE:INFO] INFOS reconnect backoff 10s (retry 1)",
                Said::Discovering,
            ),
            (
                "[TCE:INFO] MUXS reconnect backoff 1s (retry 0)",
                Said::Reconnecting,
            ),
            ("[TCE:INFO] sent 401 packets", Said::Nothing),
            ("[CUP:ERRO] CUPS rejected: HTTP 403", Said::Nothing),
        ] {
            assert_eq!(read(line).1, expected, "{line}");
        }
    }

    #[test]
    fn lines_are_cut_and_printable() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\x1b[31m\n\n"), ["two [31m"]);
        let long = vec![b'x'; 5000];
        assert_eq!(lines.take(&long), [""; 0]);
        assert_eq!(lines.take(b"\n"), ["x".repeat(LINE_OCTETS_MAX)]);
        lines.take(b"rest");
        assert_eq!(lines.finish().as_deref(), Some("rest"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_flood_passes_as_twenty_lines_then_one_a_second_with_a_count() {
        let at = Duration::from_millis;
        let mut allowance = Allowance::new(at(0));
        let passed = (0..1000).filter(|_| allowance.admit(at(10)));
        assert_eq!(passed.count(), 20);
        assert!(allowance.admit(at(1010)));
        assert_eq!(allowance.take_dropped(), 980);
        assert!(!allowance.admit(at(1020)));
        assert_eq!(allowance.take_dropped(), 1);
        assert_eq!(allowance.take_dropped(), 0);
    }
}
