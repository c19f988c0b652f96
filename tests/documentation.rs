//! Proves: the documents say what the code does: settings, codes, versions, commands, links.
//!
//! Names are taken from the tables of the crate where there is one, otherwise from its sources.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that reads the documents, and ends when it cannot"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mtls_agent::agent::failure::Class;
use mtls_agent::config::{SETTINGS, template};

/// The commands a newcomer needs, and no more.
const COMMANDS: [&str; 2] = ["cargo run -p mtls-lab -- demo", "tests/run"];

#[test]
fn the_readme_has_the_table_of_all_settings() {
    let expected = settings_table();
    let found = block("README.md", "settings");
    assert!(
        found == expected,
        "README.md, between the settings markers, must read:\n\n{expected}\n"
    );
}

#[test]
fn the_readme_names_exactly_the_two_commands() {
    let found = block("README.md", "commands");
    let lines: Vec<&str> = found
        .lines()
        .filter(|line| !line.starts_with("```"))
        .collect();
    assert_eq!(lines, COMMANDS);
    assert!(root().join("tests/run").is_file());
}

#[test]
fn the_field_guide_names_every_setting() {
    missing_in_guide(SETTINGS.iter().map(|setting| setting.name.to_owned()));
}

#[test]
fn the_field_guide_names_every_class() {
    let guide = source("docs/field-guide.md");
    for class in Class::ALL {
        let row = format!("\n| `{}` | ", class.name());
        let classes = between(&guide, "## Classes", "## The network");
        assert!(classes.contains(&row), "no row for {}", class.name());
    }
}

#[test]
fn the_field_guide_names_every_code_of_a_servers_answer() {
    let codes = after_arrows(&source("src/wire/error.rs"));
    assert!(codes.len() >= 35, "{codes:?}");
    missing_in_guide(codes);
}

#[test]
fn the_field_guide_names_every_code_of_the_identity() {
    let text = source("src/identity/error.rs");
    let codes = after_arrows(between(&text, "fn code(", "fn hint("));
    assert!(codes.len() >= 15, "{codes:?}");
    missing_in_guide(codes);
}

#[test]
fn the_field_guide_names_every_alert() {
    let text = source("src/agent/evidence.rs");
    let codes = after_arrows(between(&text, "fn alert_name(", "fn first_of("));
    assert!(codes.len() >= 20, "{codes:?}");
    missing_in_guide(codes);
}

#[test]
fn the_field_guide_names_every_code_of_a_failure_or_warning() {
    let mut codes = BTreeSet::new();
    let sources = root().join("src");
    let of_tests = |file: &Path| {
        file.strip_prefix(&sources)
            .is_ok_and(|path| path.iter().any(|part| part == "tests"))
    };
    for file in files(&sources, "rs") {
        if of_tests(&file) {
            continue;
        }
        let text = without_tests(&fs::read_to_string(file).unwrap());
        codes.extend(literals_after(&text, "Class::", true));
        for lead in ["=> (", "code: ", "warn("] {
            codes.extend(literals_after(&text, lead, false));
        }
    }
    assert!(
        [
            "silent_close",
            "dns",
            "quarantined",
            "chain_order",
            "worker"
        ]
        .iter()
        .all(|code| codes.contains(*code)),
        "{codes:?}"
    );
    missing_in_guide(codes);
}

#[test]
fn the_field_guide_names_nothing_that_is_no_more() {
    let mut code = String::new();
    for file in files(&root().join("src"), "rs") {
        code.push_str(&fs::read_to_string(file).unwrap());
    }
    let guide = source("docs/field-guide.md");
    let stale: Vec<&str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|cell| cell.split('`'))
        .filter(|name| is_name(name) && !code.contains(&format!("\"{name}\"")))
        .collect();
    assert!(stale.is_empty(), "no more in src: {stale:?}");
}

#[test]
fn the_changelog_is_of_this_version() {
    let text = source("CHANGELOG.md");
    let top = text
        .lines()
        .filter_map(|line| line.strip_prefix("## [")?.split(']').next())
        .find(|version| *version != "Unreleased");
    assert_eq!(top, Some(env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for file in documents() {
        let text = fs::read_to_string(&file).unwrap();
        for target in links(&without_code(&text)) {
            if !leads_somewhere(&file, &text, &target) {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    let readme = root().join("README.md");
    let text = "# A title\n[a](nowhere.md) [b](LICENSE-MIT) [c](#a-title) [d](#b)";
    let broken: Vec<String> = links(text)
        .into_iter()
        .filter(|target| !leads_somewhere(&readme, text, target))
        .collect();
    assert_eq!(broken, ["nowhere.md", "#b"]);
}

#[test]
fn every_test_that_a_document_names_exists() {
    let mut code = String::new();
    for folder in ["src", "tests"] {
        for file in files(&root().join(folder), "rs") {
            code.push_str(&fs::read_to_string(file).unwrap());
        }
    }
    // A test's name is a sentence: more underscores than any other name has.
    let text = source("docs/THREATS.md");
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.matches('_').count() >= 4 && is_name(name))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let absent: Vec<&&str> = named
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .collect();
    assert!(absent.is_empty(), "no such test: {absent:?}");
}

#[test]
fn every_setting_is_in_the_template() {
    let text = template();
    for setting in SETTINGS {
        let name = setting.name.rsplit('.').next().unwrap_or_default();
        assert!(text.contains(&format!("\"{name}\": ")), "{}", setting.name);
    }
}

fn settings_table() -> String {
    let mut out = String::from("| setting | value | default | meaning |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let default = setting
            .default
            .map_or_else(|| "must be given".to_owned(), |json| format!("`{json}`"));
        let _ = writeln!(
            out,
            "| `{}` | {} | {default} | {} |",
            setting.name,
            setting.kind_in_words(),
            setting.about
        );
    }
    out.trim_end().to_owned()
}

/// The lines between `<!-- NAME -->` and `<!-- end of NAME -->`.
fn block(file: &str, name: &str) -> String {
    let text = source(file);
    let (begin, end) = (
        format!("<!-- {name} -->"),
        format!("<!-- end of {name} -->"),
    );
    between(&text, &begin, &end).trim().to_owned()
}

fn missing_in_guide(names: impl IntoIterator<Item = String>) {
    let guide = source("docs/field-guide.md");
    let absent: Vec<String> = names
        .into_iter()
        .filter(|name| !guide.contains(&format!("`{name}`")))
        .collect();
    assert!(absent.is_empty(), "not in docs/field-guide.md: {absent:?}");
}

/// Every `=> "name"`.
fn after_arrows(text: &str) -> Vec<String> {
    text.split("=> \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .collect()
}

/// Every name in quotes that follows `lead`; with `skips_word` after one more word and a comma.
fn literals_after(text: &str, lead: &str, skips_word: bool) -> Vec<String> {
    text.split(lead)
        .skip(1)
        .filter_map(|rest| {
            let rest = if skips_word {
                rest.trim_start_matches(char::is_alphanumeric)
                    .strip_prefix(',')?
            } else {
                rest
            };
            rest.trim_start().strip_prefix('"')?.split('"').next()
        })
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_')
}

fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text
        .split_once(begin)
        .unwrap_or_else(|| panic!("{begin} is missing"));
    rest.split_once(end)
        .unwrap_or_else(|| panic!("{end} is missing"))
        .0
}

/// The text without fenced blocks and code spans, in which brackets mean nothing.
fn without_code(text: &str) -> String {
    let fenced = text.split("```").step_by(2).collect::<String>();
    fenced.split('`').step_by(2).collect()
}

/// The targets of `[text](target)`, without those that lead out of the repository.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(str::to_owned)
        .collect()
}

fn leads_somewhere(file: &Path, text: &str, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let there = file.parent().unwrap().join(path);
    if !path.is_empty() && !there.exists() {
        return false;
    }
    if anchor.is_empty() {
        return true;
    }
    let text = if path.is_empty() {
        text.to_owned()
    } else {
        fs::read_to_string(there).unwrap_or_default()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor_of(line) == anchor)
}

/// The anchor that a forge gives to a heading.
fn anchor_of(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || "-_ ".contains(*letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    found.extend(files(&root().join("docs"), "md"));
    assert!(found.len() > 10, "{found:?}");
    found
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
    found
}

fn source(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
