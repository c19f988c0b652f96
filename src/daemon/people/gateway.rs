//! Acts: what people see of a gateway at CUPS.

use core::fmt::Write as _;

use serde_json::Value;

use super::{Lines, due, identity, part, span, state, text, why};

/// In the order of the screen.
pub(super) fn lines(status: &Value) -> Lines {
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
    let who = &status["identity"];
    let who = format!("{} ({})", text(who, "eui"), text(who, "key"));
    lines.extend(identity(&status["identity"], &who));
    lines.extend(cycle(&status["cycle"]));
    lines.extend(set(status));
    if status["lns"].is_object() {
        lines.extend(link(part(status, "/lns/link")));
        lines.push(("holder", holder(part(status, "/lns/holder"))));
        lines.extend(lost(part(status, "/lns/holder/lost")));
    }
    lines.push(("next", next(status)));
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

/// The last connection that the relay has lost.
fn lost(of: &Value) -> Option<(&'static str, String)> {
    let ago = span(of["s_ago"].as_u64()?);
    let line = format!("lost {}, last {ago} ago: {}", of["count"], text(of, "why"));
    Some(("", line))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{COLUMNS, LINES, screen};

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
                "holder": { "mode": "relay", "connections": 4,
                    "lost": { "count": 2, "s_ago": 600, "why": "lns:443 fell silent" } },
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
holder     relay, connections 4
           lost 2, last 10 min ago: lns:443 fell silent
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
                "holder": { "mode": "session", "uri": long, "frames": 4, "pings": 100_000,
                    "lost": { "count": 2, "s_ago": 65, "why": words } },
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
    fn a_status_without_anything_is_shown_too() {
        let screen = screen(&json!({}));
        assert!(screen.contains("identity   none that can be used"));
        assert!(screen.contains("set        none yet"));
        assert!(screen.ends_with("next       nothing\n"));
    }
}
