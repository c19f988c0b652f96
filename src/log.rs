//! Prints each tracing event as one line on standard error.
//!
//! To journald with a `<N>` priority in front, to a terminal without. Text from outside is
//! escaped, so that nobody on the network can forge a line. There are no spans, and no
//! subscriber from a library: `docs/decisions/0006-size.md`.

use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU32, Ordering};
use std::io::{IsTerminal, Write as _};
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::limits::{LOG_LINE_OCTETS_MAX, LOG_PATIENCE_MS};

/// Starts logging at a level: error, warn, info or debug. Later calls change nothing.
pub fn start(level: &str) {
    let lines = Lines {
        level: match level {
            "error" => Level::ERROR,
            "warn" => Level::WARN,
            "debug" => Level::DEBUG,
            _ => Level::INFO,
        },
        has_priority: !std::io::stderr().is_terminal(),
        print: to_standard_error,
    };
    let _ = tracing::subscriber::set_global_default(lines);
}

/// Turns events into lines.
struct Lines {
    level: Level,
    has_priority: bool,
    print: fn(&str),
}

impl Lines {
    fn line(&self, event: &Event<'_>) -> String {
        let (priority, word) = match *event.metadata().level() {
            Level::ERROR => ("<3>", "error: "),
            Level::WARN => ("<4>", "warning: "),
            Level::INFO => ("<6>", ""),
            Level::DEBUG | Level::TRACE => ("<7>", "debug: "),
        };
        let priority = if self.has_priority { priority } else { "" };
        let mut fields = Fields::default();
        event.record(&mut fields);
        [priority, word, &fields.message, &fields.rest, "\n"].concat()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries below us speak of octets and frames; that is not for the journal.
        *metadata.level() <= self.level && metadata.target().starts_with("mtls_agent")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.level))
    }

    fn event(&self, event: &Event<'_>) {
        (self.print)(&self.line(event));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// In one write, so that lines of several threads or processes do not mix. Nobody is left to
/// be told when it fails; when nobody reads, the agent goes on and counts what is lost.
fn to_standard_error(line: &str) {
    static LOST: AtomicU32 = AtomicU32::new(0);
    let lost = LOST.load(Ordering::Relaxed);
    // Whoever did not read the last line is not waited for again.
    let patience = if lost == 0 { LOG_PATIENCE_MS } else { 0 };
    if !takes_a_line(patience) {
        LOST.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let mut out = std::io::stderr().lock();
    if lost > 0 {
        LOST.fetch_sub(lost, Ordering::Relaxed);
        let _ = writeln!(
            out,
            "<4>warning: {lost} lines of this log were lost, nobody read them"
        );
    }
    let _ = out.write_all(bounded(line).as_bytes());
}

/// Whether a line can be written without waiting for a reader any longer than this.
fn takes_a_line(patience_ms: u16) -> bool {
    let out = std::io::stderr();
    let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    // An error is for the write to meet.
    poll(&mut fds, PollTimeout::from(patience_ms)) != Ok(0)
}

/// What a pipe takes at once, if it takes anything.
fn bounded(line: &str) -> String {
    if line.len() <= LOG_LINE_OCTETS_MAX {
        return line.to_owned();
    }
    let end = LOG_LINE_OCTETS_MAX.saturating_sub(4);
    let end = (0..=end).rev().find(|&at| line.is_char_boundary(at));
    let head = line.get(..end.unwrap_or_default()).unwrap_or_default();
    format!("{head}...\n")
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        let value: String = value
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if field.name() == "message" {
            self.message = value;
        } else if field.name() == "hint" {
            if !value.is_empty() {
                self.rest.push_str("; ");
                self.rest.push_str(&value);
            }
        } else {
            let _ = write!(self.rest, " [{}={value}]", field.name());
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use std::cell::RefCell;
    use tracing::{Level, debug, error, info, warn};

    thread_local! {
        static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn keep(line: &str) {
        PRINTED.with_borrow_mut(|lines| lines.push(line.to_owned()));
    }

    fn printed(level: Level, has_priority: bool, speak: impl FnOnce()) -> Vec<String> {
        let lines = Lines {
            level,
            has_priority,
            print: keep,
        };
        tracing::subscriber::with_default(lines, speak);
        PRINTED.take()
    }

    #[test]
    fn journald_gets_the_priority_of_each_level() {
        let lines = printed(Level::DEBUG, true, || {
            error!("one");
            warn!("two");
            info!("three");
            debug!("four");
        });
        assert_eq!(
            lines,
            [
                "<3>error: one\n",
                "<4>warning: two\n",
                "<6>three\n",
                "<7>debug: four\n"
            ]
        );
    }

    #[test]
    fn a_terminal_gets_no_priority() {
        let lines = printed(Level::INFO, false, || warn!("the store is full"));
        assert_eq!(lines, ["warning: the store is full\n"]);
    }

    #[test]
    fn what_lies_below_the_level_is_not_printed() {
        let lines = printed(Level::WARN, true, || {
            debug!("no");
            info!("no");
            warn!("yes");
        });
        assert_eq!(lines, ["<4>warning: yes\n"]);
    }

    #[test]
    fn fields_follow_the_message_in_brackets() {
        let lines = printed(Level::INFO, true, || {
            info!(
                code = "dns",
                count = 3_u64,
                ok = true,
                odd = ?Some("x"),
                name = %"gw",
                "asked {}",
                1
            );
        });
        assert_eq!(
            lines,
            ["<6>asked 1 [code=dns] [count=3] [ok=true] [odd=Some(\"x\")] [name=gw]\n"]
        );
    }

    #[test]
    fn a_hint_ends_the_sentence_and_an_empty_one_does_not_show() {
        let lines = printed(Level::INFO, true, || {
            info!(hint = "look at the cable", "no link");
            info!(hint = "", "no link");
        });
        assert_eq!(lines, ["<6>no link; look at the cable\n", "<6>no link\n"]);
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        let lines = printed(Level::INFO, true, || {
            let text = "a\r\n<3>error: forged\u{1b}[2J\u{9b}\u{7f}";
            info!(text, debugged = ?"\n", "said {text}");
        });
        assert_eq!(
            lines,
            [
                "<6>said a  <3>error: forged [2J   [text=a  <3>error: forged [2J  ] [debugged=\"\\n\"]\n"
            ]
        );
    }

    #[test]
    fn a_line_too_long_for_a_pipe_is_cut_between_characters() {
        assert_eq!(super::bounded("short\n"), "short\n");
        let cut = super::bounded(&format!("{}\n", "\u{e9}".repeat(5000)));
        assert!(cut.len() <= super::LOG_LINE_OCTETS_MAX, "{}", cut.len());
        assert!(cut.ends_with("\u{e9}...\n"));
    }

    #[test]
    fn libraries_are_not_heard() {
        let lines = printed(Level::DEBUG, true, || {
            error!(target: "tungstenite::protocol", "frame");
            error!(target: "mtls_agent::daemon", "ours");
        });
        assert_eq!(lines, ["<3>error: ours\n"]);
    }
}
