//! Acts: the status on one screen, for people.

use core::fmt::Write as _;

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
    let mut lines = vec![(
        "service",
        format!(
            "{} at {}; mtls-agent {}, process {}",
            text(status, "service"),
            text(status, "cups_uri"),
            text(status, "version"),
            status["pid"]
        ),
    )];
    lines.extend(identity(&status["identity"]));
    lines.extend(cycle(&status["cycle"]));
    lines.extend(set(status));
    if status["lns"].is_object() {
        lines.extend(link(part(status, "/lns/link")));
        lines.push(("holder", holder(part(status, "/lns/holder"))));
    }
    lines.push(("next", next(status)));
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

fn identity(identity: &Value) -> Lines {
    if !identity.is_object() {
        return vec![("identity", "none that can be used".to_owned())];
    }
    let (eui, key) = (text(identity, "eui"), text(identity, "key"));
    let left = identity["expires_in_s"].as_u64().unwrap_or_default();
    let expiry = match left {
        0 => "expired".to_owned(),
        left => format!("expires in {}", span(left)),
    };
    let mut lines = vec![("identity", format!("{eui} ({key}), {expiry}"))];
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

fn cycle(cycle: &Value) -> Lines {
    let mut line = state(cycle, "phase");
    if let Some(ago) = cycle["last_success_s_ago"].as_u64() {
        let _ = write!(line, ", last good {} ago", span(ago));
    }
    let _ = write!(
        line,
        ", attempts since: {}",
        cycle["attempts_since_success"]
    );
    let mut lines = vec![("cycle", line)];
    let last = &cycle["last"];
    if let Some(ago) = last["s_ago"].as_u64() {
        lines.push((
            "last",
            format!("{}, {} ago", text(last, "result"), span(ago)),
        ));
        lines.extend(why(&last["failure"]));
    }
    lines
}

fn set(status: &Value) -> Lines {
    let (current, cycle) = (&status["current"], &status["cycle"]);
    if !current.is_object() {
        return vec![("set", "none yet".to_owned())];
    }
    let standing = match (&cycle["proven"], cycle["on_trial"] == Value::Bool(true)) {
        (proven, _) if *proven == current["number"] => "proven".to_owned(),
        (Value::Null, _) => "on trial, none is proven".to_owned(),
        (proven, _) => format!("on trial, set {proven} is proven"),
    };
    let (method, uri) = (text(current, "method"), text(current, "lns_uri"));
    let mut lines = vec![(
        "set",
        format!("{} ({method}), {standing}; LNS {uri}", current["number"]),
    )];
    if let Some(why) = status["handed_over"].as_str() {
        lines.push(("", why.to_owned()));
    }
    lines
}

fn link(of: &Value) -> Lines {
    let mut line = state(of, "state");
    if of["set"].is_u64() {
        let _ = write!(line, " with set {}", of["set"]);
    }
    if let Some(ago) = of["last_good_s_ago"].as_u64() {
        let _ = write!(line, ", last good {} ago", span(ago));
    }
    let _ = write!(line, ", attempts since: {}", of["failures"]);
    let mut lines = vec![("link", line)];
    lines.extend(why(&of["why"]));
    if of["next"].is_object() {
        lines.push(("", format!("next: {}", due(&of["next"]))));
    }
    lines
}

/// Its mode, then whatever else this way of holding the link has to say.
fn holder(holder: &Value) -> String {
    let mut line = text(holder, "mode").to_owned();
    for (name, value) in holder.as_object().into_iter().flatten() {
        match value {
            _ if name == "mode" => {}
            Value::Null | Value::Array(_) | Value::Object(_) => {}
            Value::String(value) => {
                let _ = write!(line, ", {name} {value}");
            }
            value => {
                let _ = write!(line, ", {name} {value}");
            }
        }
    }
    line
}

/// The first thing that is due, of the cycle and of the link.
fn next(status: &Value) -> String {
    let both = [
        ("cycle", part(status, "/cycle/next")),
        ("link", part(status, "/lns/link/next")),
    ];
    let due_in = |next: &Value| next["in_s"].as_u64();
    both.into_iter()
        .filter(|(_, next)| next.is_object())
        .min_by_key(|(_, next)| due_in(next))
        .map_or_else(
            || "nothing".to_owned(),
            |(whose, next)| format!("{whose}: {}", due(next)),
        )
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
    use serde_json::json;

    use super::*;

    #[test]
    fn one_screen_says_what_is_and_what_comes_next() {
        let status = json!({
            "service": "cups", "cups_uri": "https://cups:443", "version": "1.2.3", "pid": 17,
            "identity": { "eui": "0123456789ABCDEF", "key": "EC P-256", "expires_in_s": 864_000,
                "clock_sane": false, "warnings": ["a warning"] },
            "current": { "number": 7, "method": "token", "lns_uri": "wss://lns:443" },
            "handed_over": true,
            "lns": {
                "link": { "state": "waiting", "state_s": 70, "set": null, "failures": 2,
                    "last_good_s_ago": 7260, "next": { "reason": "retry", "in_s": 30 },
                    "why": { "class": "network", "message": "lns:443 is gone", "hint": null } },
                "holder": { "mode": "session", "frames": 4 },
            },
            "cycle": { "phase": "waiting", "phase_s": 600, "current": 7, "proven": 6,
                "on_trial": true, "attempts_since_success": 0, "last_success_s_ago": 600,
                "last": { "result": "rotated", "s_ago": 600, "failure": null },
                "next": { "reason": "refresh_by_link", "in_s": 20 } },
        });
        let expected = "\
service    cups at https://cups:443; mtls-agent 1.2.3, process 17
identity   0123456789ABCDEF (EC P-256), expires in 10 days
           the clock is not set
           warning: a warning
cycle      waiting for 10 min, last good 10 min ago, attempts since: 0
last       rotated, 10 min ago
set        7 (token), on trial, set 6 is proven; LNS wss://lns:443
link       waiting for 70 s, last good 2 h 1 min ago, attempts since: 2
           network: lns:443 is gone
           next: retry in 30 s
holder     session, frames 4
next       cycle: refresh by link in 20 s
";
        assert_eq!(screen(&status), expected);
    }

    #[test]
    fn the_longest_texts_still_fit_a_small_terminal() {
        let long = "ein-sehr-langes-Wort/".repeat(20);
        let words = "several words that go on and on ".repeat(20);
        let failure = json!({ "class": "network", "message": words, "hint": words });
        let next = json!({ "reason": "retry", "in_s": 30 });
        let status = json!({
            "service": "cups", "cups_uri": long, "version": "1.2.3", "pid": 17,
            "identity": { "eui": "0123456789ABCDEF", "key": "EC P-256", "expires_in_s": 1,
                "clock_sane": false, "warnings": [words, long, "a\u{1b}[2J", long, long] },
            "current": { "number": 7, "method": "token", "lns_uri": long },
            "handed_over": words,
            "lns": {
                "link": { "state": "waiting", "state_s": 70, "failures": 2,
                    "last_good_s_ago": 7260, "next": next, "why": failure },
                "holder": { "mode": "session", "uri": long, "frames": 4, "pings": 100_000 },
            },
            "cycle": { "phase": "waiting", "phase_s": 600, "current": 7, "proven": 6,
                "on_trial": true, "attempts_since_success": 0, "last_success_s_ago": 600,
                "last": { "result": "refused", "s_ago": 600, "failure": failure },
                "next": next },
        });
        let screen = screen(&status);
        assert!(screen.lines().count() <= LINES, "{screen}");
        for line in screen.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
            assert!(!line.contains('\u{1b}'), "{line}");
        }
        for word in [
            "a?[2J",
            "and 2 warnings more",
            "link ",
            "next       cycle: retry",
        ] {
            assert!(screen.contains(word), "{word}:\n{screen}");
        }
    }

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

    #[test]
    fn a_status_without_anything_is_shown_too() {
        let screen = screen(&json!({}));
        assert!(screen.contains("identity   none that can be used"));
        assert!(screen.contains("set        none yet"));
        assert!(screen.ends_with("next       nothing\n"));
    }
}
