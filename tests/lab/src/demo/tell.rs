//! Tells: the acts as a timeline of at most 100 columns, and keeps the score.

use std::time::Instant;

/// Columns of the terminal.
const WIDTH: usize = 100;
/// Columns before the text of a line.
const INDENT: usize = 22;

/// What must hold, and whether it does.
#[derive(Debug, Default)]
pub(super) struct Checks {
    held: Vec<String>,
    failed: Vec<String>,
}

impl Checks {
    /// Notes one fact.
    pub(super) fn that(&mut self, what: &str, holds: bool) {
        if holds {
            self.held.push(what.to_owned());
        } else {
            self.failed.push(format!("expected: {what}"));
        }
    }

    /// Notes several facts as one while all of them hold.
    pub(super) fn together(&mut self, summary: &str, facts: &[(&str, bool)]) {
        let broken: Vec<_> = facts.iter().filter(|(_, holds)| !holds).collect();
        if broken.is_empty() {
            self.held.push(summary.to_owned());
        }
        self.failed.extend(
            broken
                .into_iter()
                .map(|(what, _)| format!("expected: {what}")),
        );
    }

    /// Notes whether a value is the one that was wanted, and names it.
    pub(super) fn is(&mut self, what: &str, wanted: &str, seen: &str) {
        if wanted == seen {
            self.held.push(format!("{what} {wanted}"));
        } else {
            let seen = if seen.is_empty() { "nothing" } else { seen };
            self.failed
                .push(format!("expected: {what} {wanted}; seen: {seen}"));
        }
    }
}

/// One act as it went.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// Its heading.
    pub(super) title: &'static str,
    /// What happens in it, before the agent does anything.
    pub(super) offered: String,
    /// What the agent said.
    pub(super) agent: String,
    /// How things stand afterwards.
    pub(super) now: String,
    /// What must hold.
    pub(super) checks: Checks,
}

/// Prints and counts.
#[derive(Debug)]
pub(super) struct Teller {
    start: Instant,
    labels: [&'static str; 2],
    acts: usize,
    broken: Vec<String>,
}

impl Teller {
    /// Began at `start`; the labels are those of what happens and of how things stand.
    pub(super) fn new(start: Instant, labels: [&'static str; 2]) -> Self {
        Self {
            start,
            labels,
            acts: 0,
            broken: Vec::new(),
        }
    }

    /// Prints one act.
    pub(super) fn act(&mut self, scene: &Scene) {
        self.acts = self.acts.saturating_add(1);
        let seconds = self.start.elapsed().as_secs_f64();
        println!("\n[{seconds:6.2} s]  {}. {}", self.acts, scene.title);
        let [before, after] = self.labels;
        for (label, text) in [
            (before, &scene.offered),
            ("agent", &scene.agent),
            (after, &scene.now),
        ] {
            if !text.is_empty() {
                line(label, text);
            }
        }
        self.score(scene.title, &scene.checks);
    }

    /// Prints the last checks and the result; true if everything held. The moral is told then.
    pub(super) fn finish(&mut self, checks: &Checks, moral: &str) -> bool {
        let seconds = self.start.elapsed().as_secs_f64();
        println!("\n[{seconds:6.2} s]  The end");
        self.score("The end", checks);
        println!();
        let (acts, broken) = (self.acts, self.broken.len());
        if self.broken.is_empty() {
            println!("✓ All {acts} acts went as they must; {moral}");
            return true;
        }
        println!("✗ {broken} checks failed in {acts} acts:");
        for what in &self.broken {
            wrapped("    - ", what, 6);
        }
        false
    }

    fn score(&mut self, title: &str, checks: &Checks) {
        if !checks.held.is_empty() {
            line("✓", &checks.held.join("; "));
        }
        for what in &checks.failed {
            line("✗", what);
            self.broken.push(format!("{title}: {what}"));
        }
    }
}

fn line(label: &str, text: &str) {
    wrapped(&format!("{:12}{label:>8}  ", ""), text, INDENT);
}

/// Prints a text after a lead, and breaks it between words.
fn wrapped(lead: &str, text: &str, indent: usize) {
    let mut current = lead.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        let width = current.chars().count().saturating_add(word.chars().count());
        if !empty && width >= WIDTH {
            println!("{}", current.trim_end());
            current = " ".repeat(indent);
        }
        current.push_str(word);
        current.push(' ');
        empty = false;
    }
    println!("{}", current.trim_end());
}
