//! Proves: man pages, completion and example configurations agree with the tables of commands and
//! settings.
//!
//! `MTLS_WRITE_MANUAL=1 cargo test --test the_manual_says_what_the_tables_say` writes the blocks.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that reads and writes the documents, and ends when it cannot"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mtls_agent::cli::ROWS;
use mtls_agent::config::{SETTINGS, Setup};

#[test]
fn the_manual_page_names_every_command() {
    let mut expected = String::new();
    for row in ROWS {
        let _ = write!(expected, ".TP\n.B {}", roff(row.name));
        for option in row.options {
            let value = if *option == "--config" { " FILE" } else { "" };
            let _ = write!(expected, " [{}{value}]", roff(option));
        }
        if !row.operands.is_empty() {
            let _ = write!(expected, " {}", roff(row.operands));
        }
        let _ = writeln!(expected, "\n{}.", roff(&sentence(row.about)));
    }
    agrees("docs/man/mtls-agent.8", r#".\" "#, "commands", &expected);
}

#[test]
fn the_manual_page_explains_every_option() {
    let page = source("docs/man/mtls-agent.8");
    let (_, options) = page.split_once(".SH OPTIONS\n").unwrap();
    let (options, _) = options.split_once(".SH ").unwrap();
    for option in ROWS.iter().flat_map(|row| row.options) {
        assert!(options.contains(&roff(option)), "{option}");
    }
}

#[test]
fn the_manual_page_names_every_setting() {
    let mut expected = String::new();
    for setting in SETTINGS {
        let default = setting.default.map_or_else(
            || "Must be given.".to_owned(),
            |json| format!("Default: {}.", roff(json)),
        );
        let _ = writeln!(
            expected,
            ".TP\n.B {}\n{}\nValue: {}. {default}",
            roff(setting.name),
            roff(setting.about),
            roff(&setting.kind_in_words())
        );
    }
    agrees("docs/man/agent.json.5", r#".\" "#, "settings", &expected);
}

#[test]
fn the_completion_knows_every_command_and_option() {
    let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    let mut expected = format!("        '') words=\"{}\" ;;\n", names.join(" "));
    for row in ROWS.iter().filter(|row| !row.options.is_empty()) {
        let options = row.options.join(" ");
        let _ = writeln!(expected, "        {}) words=\"{options}\" ;;", row.name);
    }
    agrees(
        "debian/mtls-agent.completion.bash",
        "        # ",
        "commands",
        &expected,
    );
}

#[test]
fn bash_completes_a_command_and_its_options() {
    for (line, answer) in [("cre", "credentials"), ("status --m", "--metrics")] {
        let script = format!(
            ". debian/mtls-agent.completion.bash; COMP_WORDS=(mtls-agent {line}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _mtls_agent; echo \"${{COMPREPLY[*]}}\""
        );
        let output = Command::new("bash")
            .args(["-euc", &script])
            .current_dir(root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.trim(), answer, "{complaint}");
    }
}

#[test]
fn every_example_is_a_configuration() {
    let mut files = vec![root().join("debian/agent.json")];
    for entry in fs::read_dir(root().join("docs/examples")).unwrap() {
        files.push(entry.unwrap().path());
    }
    assert!(files.len() > 4, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let read = |path: &Path| Ok((path == file).then(|| text.clone()));
        if let Err(error) = Setup::read(&file, &read) {
            panic!("{}: {error}", file.display());
        }
    }
}

#[test]
fn the_package_has_the_version_of_the_program() {
    let log = source("debian/changelog");
    let version = log.split(['(', ')']).nth(1);
    assert_eq!(version, Some(env!("CARGO_PKG_VERSION")));
}

/// Compares the block of a file with what it must be, or writes it where that is wished.
fn agrees(file: &str, lead: &str, name: &str, expected: &str) {
    let text = source(file);
    let (begin, end) = (format!("{lead}{name}\n"), format!("{lead}end of {name}\n"));
    let (head, rest) = text.split_once(&begin).unwrap();
    let (found, tail) = rest.split_once(&end).unwrap();
    if std::env::var_os("MTLS_WRITE_MANUAL").is_some() {
        fs::write(
            root().join(file),
            [head, &begin, expected, &end, tail].concat(),
        )
        .unwrap();
        return;
    }
    assert!(
        found == expected,
        "{file}, between its {name} markers, must read:\n\n{expected}"
    );
}

/// Text as troff takes it: hyphens that can be copied, no line that is a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        return format!("\\&{text}");
    }
    text
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn source(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
