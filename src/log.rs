//! Prints each tracing event as one line on standard error.
//!
//! To journald with a `<N>` priority in front, to a terminal without. Text from outside is
//! escaped, so that nobody on the network can forge a line.

use core::fmt;
use std::io::IsTerminal;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts logging at a level: error, warn, info or debug. Later calls change nothing.
pub fn start(level: &str) {
    let level = match level {
        "error" => Level::ERROR,
        "warn" => Level::WARN,
        "debug" => Level::DEBUG,
        _ => Level::INFO,
    };
    let line = Line {
        has_priority: !std::io::stderr().is_terminal(),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .event_format(line)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Line {
    has_priority: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        // Libraries below us speak of octets and frames; that is not for the journal.
        if !metadata.target().starts_with("mtls_agent") {
            return Ok(());
        }
        let (priority, word) = match *metadata.level() {
            Level::ERROR => (3, "error: "),
            Level::WARN => (4, "warning: "),
            Level::INFO => (6, ""),
            Level::DEBUG | Level::TRACE => (7, "debug: "),
        };
        if self.has_priority {
            write!(writer, "<{priority}>")?;
        }
        writer.write_str(word)?;
        let mut fields = Fields {
            message: String::new(),
            rest: String::new(),
        };
        event.record(&mut fields);
        writeln!(writer, "{}{}", fields.message, fields.rest)
    }
}

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
            self.rest.push_str(&format!(" [{}={value}]", field.name()));
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
