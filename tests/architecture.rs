//! Proves: the sources keep to the rooms drawn in DESIGN and to the rules of the house.
//!
//! ```text
//! wire <- agent     wire, agent::failure <- identity     wire <- store     all <- daemon <- main
//! ```
//! The sources are read as tokens, so that comments and texts do not count and grouped imports,
//! aliases and full paths in expressions do.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that reads the sources, and ends when it cannot"
)]

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;
use source::rules::{PURE, dependencies, impurities};

/// Module names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["core", "utils", "common", "helpers", "types", "manager"];

/// Words that promise work instead of doing it.
const MARKS: [&str; 6] = [
    "TODO",
    "FIXME",
    "XXX",
    "todo!",
    "unimplemented!",
    "placeholder",
];

/// Longest file, in lines.
const LINES: usize = 400;

/// Modules of `wire` without a fuzz target of their own, and why.
const NOT_FUZZED: [(&str, &str); 22] = [
    ("wire", "only lists its modules"),
    ("wire::crc", "adds up octets"),
    ("wire::cups", "only lists its modules"),
    ("wire::cups::request", "writes only"),
    ("wire::dbus::read", "the target dbus goes through it"),
    ("wire::dbus::write", "writes only"),
    (
        "wire::der",
        "reached through every credential and certificate",
    ),
    ("wire::error", "the errors' texts"),
    (
        "wire::json",
        "looks up members of a value that serde_json has read",
    ),
    ("wire::mender", "only lists its modules"),
    ("wire::mender::conf::error", "the errors' texts"),
    ("wire::mender::conf::files", "reached through mender_conf"),
    ("wire::mender::conf::keys", "a table"),
    ("wire::mender::conf::tests", "only tests"),
    (
        "wire::mender::output",
        "reached through mender_id_data and mender_inventory",
    ),
    ("wire::mender::spki", "writes only"),
    ("wire::name", "reached through every certificate"),
    ("wire::pin", "the operator's own text, of fixed length"),
    ("wire::policy", "compares values that are already read"),
    ("wire::secret", "holds octets"),
    ("wire::timestamp", "reached through every certificate"),
    ("wire::token", "reached through every credential"),
];

#[test]
fn each_room_uses_only_what_it_may() {
    assert_none(&faults_of(dependencies));
}

#[test]
fn wire_and_agent_reach_for_no_file_socket_clock_or_chance() {
    assert_none(&faults_of(impurities));
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    assert_none(&faults_of(|source| {
        let begins = source.text.starts_with("//! ");
        if begins {
            Vec::new()
        } else {
            vec!["does not begin with `//! `".to_owned()]
        }
    }));
}

#[test]
fn no_file_is_too_long_to_read() {
    assert_none(&faults_of(|source| {
        let lines = source.text.lines().count();
        if lines <= LINES {
            Vec::new()
        } else {
            vec![format!("{lines} lines, limit {LINES}")]
        }
    }));
}

#[test]
fn every_module_has_a_telling_name() {
    assert_none(&faults_of(|source| {
        let own = source.module.iter().chain(&source.inline_modules);
        let empty = own.filter(|name| EMPTY_NAMES.contains(&name.as_str()));
        empty
            .map(|name| format!("a module called {name}"))
            .collect()
    }));
}

#[test]
fn no_work_is_left_behind_as_a_mark() {
    assert_none(&faults_of(|source| {
        let marked = MARKS.iter().filter(|mark| source.text.contains(**mark));
        marked.map(|mark| format!("contains {mark}")).collect()
    }));
}

#[test]
fn every_decoder_has_a_fuzz_target() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let missing = faults_of(|source| {
        let module = source.module.join("::");
        let target = source
            .module
            .iter()
            .skip(1)
            .cloned()
            .collect::<Vec<_>>()
            .join("_");
        let fuzzed = manifest.contains(&format!("name = \"{target}\"\n"));
        let excused = NOT_FUZZED.iter().any(|(name, _)| *name == module);
        if source.room() != "wire" || fuzzed != excused {
            return Vec::new();
        }
        vec![format!(
            "{module} needs a target {target} in fuzz/Cargo.toml or an excuse, not both"
        )]
    });
    assert_none(&missing);
}

#[test]
fn the_tables_name_only_what_exists() {
    let modules: Vec<String> = sources()
        .iter()
        .map(|source| source.module.join("::"))
        .collect();
    for (excused, _) in NOT_FUZZED {
        assert!(
            modules.iter().any(|module| module == excused),
            "no module {excused}"
        );
    }
    for room in PURE {
        assert!(
            modules.iter().any(|module| module == room),
            "no room {room}"
        );
    }
}

#[test]
fn a_planted_clock_file_or_socket_is_found() {
    let planted = [
        "use std::fs;",
        "use std::{fmt, fs};",
        "use std::{fmt, {io::{self, stdin}}};",
        "use std::time::{Duration, Instant as Now}; fn f() { Now::now(); }",
        "use std::time; fn f() { let _ = time::SystemTime::now(); }",
        "fn f() { let _ = std::time::Instant::now(); }",
        "fn f() { let _ = ::std::fs::read(\"x\"); }",
        "fn f(then: Instant) { then.elapsed(); }",
        "use std as other; fn f() { other::fs::read(\"x\"); }",
        "use std::*;",
        "use std::time::*;",
        "extern crate std as other;",
        "use rustls::ClientConfig;",
        "fn f() { ring::rand::SystemRandom::new(); }",
        "mod inner { use std::net::TcpStream; }",
        "fn f() { println!(\"{}\", std::env::args().count()); }",
        "use std::time::Instant; const F: fn() -> Instant = Instant::now;",
        "fn f() { r#std::fs::read(\"x\"); }",
        "fn f() { <std::time::Instant>::now(); }",
    ];
    for text in planted {
        for room in PURE {
            let source = Source::new(vec![room.to_owned(), "planted".to_owned()], text.to_owned());
            assert!(
                !impurities(&source).is_empty(),
                "not found in {room}: {text}"
            );
        }
    }
}

#[test]
fn what_only_looks_impure_is_left_alone() {
    let harmless = [
        "//! Nothing here uses std::fs or Instant::now().",
        "/* use std::fs; /* nested */ std::net */ fn f() {}",
        "const TEXT: &str = \"std::fs::read \\\" std::net\";",
        "const TEXT: &str = r#\"use std::fs; \"std::env\" \"#;",
        "const QUOTE: char = '\"'; use core::time::Duration; const OTHER: char = '\"';",
        "fn f<'a>(text: &'a str) -> &'a str { text }",
        "use std::io; use core::net::Ipv6Addr; fn f(at: std::time::Instant) {}",
        "use crate::wire::uri; fn f() { uri::fs(); self::env::x(); }",
    ];
    for text in harmless {
        let source = Source::new(vec!["wire".into(), "planted".into()], text.to_owned());
        assert_eq!(impurities(&source), Vec::<String>::new(), "in: {text}");
    }
}

#[test]
fn a_planted_use_of_another_room_is_found() {
    let planted = [
        ("wire", "use crate::agent::failure::Class;"),
        ("wire", "fn f() { crate::store::open(); }"),
        ("wire", "use super::super::daemon;"),
        ("agent", "use crate::{wire::eui, store};"),
        (
            "agent",
            "mod tests { use super::super::super::identity::Source; }",
        ),
        (
            "agent",
            "use crate as house; fn f() { house::daemon::run(); }",
        ),
        ("store", "use crate::agent::failure::Class;"),
        ("identity", "use crate::agent::cycle;"),
        ("identity", "use crate::agent;"),
        ("config", "use crate::daemon;"),
        ("config", "fn f() { super::super::daemon::run(); }"),
        ("limits", "use crate::wire;"),
        ("wire", "use crate::*;"),
    ];
    for (room, text) in planted {
        let source = Source::new(vec![room.to_owned(), "planted".to_owned()], text.to_owned());
        assert!(
            !dependencies(&source).is_empty(),
            "not found in {room}: {text}"
        );
    }
}

#[test]
fn a_use_of_the_own_room_or_of_a_lower_one_is_left_alone() {
    let allowed = [
        (
            "wire",
            "use super::der; use crate::wire::eui; fn f() { self::x::y(); }",
        ),
        (
            "agent",
            "use crate::{limits, wire::{eui, uri}}; mod tests { use super::*; }",
        ),
        ("identity", "use crate::agent::failure::Class;"),
        (
            "daemon",
            "use crate::{agent, config, identity, store, wire};",
        ),
        ("cli", "use crate::daemon;"),
    ];
    for (room, text) in allowed {
        let source = Source::new(vec![room.to_owned(), "planted".to_owned()], text.to_owned());
        assert_eq!(
            dependencies(&source),
            Vec::<String>::new(),
            "in {room}: {text}"
        );
    }
}

fn faults_of(rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let named = |source: &Source| {
        let file = source.module.join("/");
        rule(source)
            .into_iter()
            .map(move |fault| format!("src/{file}: {fault}"))
            .collect::<Vec<_>>()
    };
    sources().iter().flat_map(named).collect()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let mut waiting = vec![folder.clone()];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = source::module_of(path.strip_prefix(&folder).unwrap());
            found.push(Source::new(module, fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.len() > 5, "the sources were not found");
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
