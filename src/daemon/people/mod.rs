//! Acts: the status on one screen, for people.

mod gateway;
#[cfg(feature = "mender")]
mod mender;

use serde_json::Value;

type Lines = Vec<(&'static str, String)>;

/// A terminal as small as they come, with one line left for what is typed next.
const COLUMNS: usize = 80;
const LINES: usize = 23;

/// Of the names on the left, and the space after them.
const NAME_COLUMNS: usize = 11;

/// Warnings that are shown; the rest is counted.
const WARNINGS_MAX: usize = 3;

/// The status object on one screen.
pub(super) fn screen(status: &Value) -> String {
    let mut lines = match text(status, "service") {
        #[cfg(feature = "mender")]
        "mender" => mender::lines(status),
        _ => gateway::lines(status),
    };
    if let Some(summary) = status.pointer("/sandbox/summary").and_then(Value::as_str) {
        lines.push(("sandbox", summary.to_owned()));
    }
    fitted(&lines)
}

/// All of it if that fits, otherwise as much of each line as there is room for.
fn fitted(lines: &Lines) -> String {
    let rows = |rows_max: usize| -> Vec<String> {
        let rows = lines.iter().flat_map(|(name, text)| {
            let names = core::iter::once(*name).chain(core::iter::repeat(""));
            names.zip(wrapped(text, rows_max))
        });
        rows.map(|(name, text)| format!("{name:10} {text}\n"))
            .collect()
    };
    let sizes = (1..=LINES).rev().map(rows);
    let fitting = sizes.into_iter().find(|rows| rows.len() <= LINES);
    fitting.unwrap_or_else(|| rows(1)).concat()
}

/// Broken between words into rows; what is left over after the last becomes dots.
fn wrapped(text: &str, rows_max: usize) -> Vec<String> {
    let width = COLUMNS - NAME_COLUMNS;
    let mut rows = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().map(visible).collect();
        while let Some(row) = rows.last_mut() {
            let used = row.chars().count();
            let gap = usize::from(used > 0);
            if used + gap + word.len() <= width {
                row.extend(core::iter::repeat_n(' ', gap).chain(word.drain(..)));
                break;
            }
            if used == 0 {
                row.extend(word.drain(..width));
            }
            rows.push(String::new());
        }
    }
    if rows.len() > rows_max {
        rows.truncate(rows_max);
        if let Some(last) = rows.last_mut() {
            *last = last.chars().take(width - 4).chain(" ...".chars()).collect();
        }
    }
    rows
}

/// Nobody's text may move the cursor.
fn visible(letter: char) -> char {
    if letter.is_control() { '?' } else { letter }
}

/// What both services show of an identity: who, and for how long.
fn identity(identity: &Value, who: &str) -> Lines {
    if !identity.is_object() {
        return vec![("identity", "none that can be used".to_owned())];
    }
    let expiry = match identity["expires_in_s"].as_u64() {
        None => String::new(),
        Some(0) => ", expired".to_owned(),
        Some(left) => format!(", expires in {}", span(left)),
    };
    let mut lines = vec![("identity", format!("{who}{expiry}"))];
    if identity["clock_sane"] == Value::Bool(false) {
        lines.push(("", "the clock is not set".to_owned()));
    }
    let warnings = identity["warnings"].as_array().into_iter().flatten();
    let warnings: Vec<&str> = warnings.filter_map(Value::as_str).collect();
    let shown = warnings.iter().take(WARNINGS_MAX);
    lines.extend(shown.map(|text| ("", format!("warning: {text}"))));
    if warnings.len() > WARNINGS_MAX {
        let more = warnings.len() - WARNINGS_MAX;
        lines.push(("", format!("and {more} warnings more: status --json")));
    }
    lines
}

pub(super) fn due(next: &Value) -> String {
    let seconds = next["in_s"].as_u64().unwrap_or_default();
    let reason = text(next, "reason").replace('_', " ");
    format!("{reason} in {}", span(seconds))
}

fn state(object: &Value, name: &str) -> String {
    let since = object[format!("{name}_s")].as_u64().unwrap_or_default();
    format!("{} for {}", text(object, name), span(since))
}

fn why(failure: &Value) -> Lines {
    let class = text(failure, "class");
    let message = text(failure, "message");
    let mut lines = Vec::new();
    if !message.is_empty() {
        lines.push(("", format!("{class}: {message}")));
    }
    let hint = text(failure, "hint");
    if !hint.is_empty() {
        lines.push(("", hint.to_owned()));
    }
    lines
}

/// The two largest units, for reading.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min"),
        7200..172_800 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} days"),
    }
}

pub(super) fn part<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_one_row_goes_on_in_the_next() {
        let text = format!("{} end", "word ".repeat(20));
        let rows = wrapped(&text, 23);
        assert_eq!(rows.len(), 2);
        assert!(rows[1].ends_with(" end"), "{rows:?}");
        let cut = wrapped(&text, 1);
        assert!(cut[0].ends_with(" ...") && cut.len() == 1, "{cut:?}");
        assert_eq!(wrapped(&"x".repeat(100), 23).len(), 2);
    }
}
