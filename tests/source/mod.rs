//! Reads: a Rust source as tokens, with the paths it names spelled out in full.

use std::collections::BTreeMap;
use std::path::Path;

pub(crate) mod rules;
mod tokens;

use tokens::{Token, tokens};

/// One file and what it names.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file's module: `["wire", "cups", "answer"]`; `["main"]` and `[]` for the two roots.
    pub(crate) module: Vec<String>,
    /// The file as it is.
    pub(crate) text: String,
    /// Every path of imports and expressions, from `crate` or another crate on, and its line.
    /// A glob ends in `::*`.
    pub(crate) paths: Vec<(String, usize)>,
    /// Every method that is called, and its line.
    pub(crate) methods: Vec<(String, usize)>,
    /// The names of modules written inside the file.
    pub(crate) inline_modules: Vec<String>,
}

/// The module a file below `src` holds.
pub(crate) fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> = file
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        parts.pop();
    }
    parts
}

impl Source {
    /// Reads the text of a module.
    pub(crate) fn new(module: Vec<String>, text: String) -> Self {
        let mut reader = Reader {
            tokens: tokens(&text),
            at: 0,
            here: module.clone(),
            open: Vec::new(),
            names: BTreeMap::new(),
            found: Vec::new(),
            methods: Vec::new(),
            inline_modules: Vec::new(),
        };
        reader.read();
        let Reader {
            names,
            found,
            methods,
            inline_modules,
            ..
        } = reader;
        let paths = found
            .into_iter()
            .map(|(path, line)| (spelled_out(&path, &names), line));
        Self {
            module,
            paths: paths.collect(),
            methods,
            inline_modules,
            text,
        }
    }

    /// The folder or file below `src` that this belongs to; empty for `lib.rs`.
    pub(crate) fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }
}

/// Replaces an imported first name by what it stands for, as often as there is something.
fn spelled_out(path: &[String], names: &BTreeMap<String, Vec<String>>) -> String {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let Some(import) = path.first().and_then(|first| names.get(first)) else {
            break;
        };
        if import.first() == path.first() {
            break;
        }
        path.splice(0..1, import.iter().cloned());
    }
    path.join("::")
}

struct Reader {
    tokens: Vec<(Token, usize)>,
    at: usize,
    /// The module of the place that is read.
    here: Vec<String>,
    /// For each open brace whether it opened a module.
    open: Vec<bool>,
    /// Imported names and what they stand for.
    names: BTreeMap<String, Vec<String>>,
    found: Vec<(Vec<String>, usize)>,
    methods: Vec<(String, usize)>,
    inline_modules: Vec<String>,
}

impl Reader {
    fn read(&mut self) {
        while let Some((token, line)) = self.tokens.get(self.at).cloned() {
            match token {
                Token::Mark('{') => self.enter(false),
                Token::Mark('}') => self.leave(),
                Token::Mark('.') => self.method(),
                Token::Mark(_) => self.at += 1,
                Token::Name(name) => match name.as_str() {
                    "mod" => self.module(),
                    "use" if !self.is_mark(1, '<') => {
                        self.at += 1;
                        self.import(Vec::new(), line);
                    }
                    "extern" if self.name(1) == Some("crate") => self.external_crate(line),
                    _ => self.path(line),
                },
            }
        }
    }

    fn enter(&mut self, module: bool) {
        self.open.push(module);
        self.at += 1;
    }

    fn leave(&mut self) {
        if self.open.pop() == Some(true) {
            self.here.pop();
        }
        self.at += 1;
    }

    /// `mod name {`, or only `mod name`, which is another file.
    fn module(&mut self) {
        let name = self.name(1).map(str::to_owned);
        self.at += 2;
        if let (Some(name), true) = (name, self.is_mark(0, '{')) {
            self.inline_modules.push(name.clone());
            self.here.push(name);
            self.enter(true);
        }
    }

    /// `.name(`; a range and a field are passed over.
    fn method(&mut self) {
        if let (Some(name), true) = (self.name(1), self.is_mark(2, '(')) {
            let line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
            self.methods.push((name.to_owned(), line));
        }
        self.at += if self.name(1).is_some() { 2 } else { 1 };
    }

    /// `extern crate name as other;` counts as an import of the crate's root.
    fn external_crate(&mut self, line: usize) {
        self.at += 2;
        self.import(Vec::new(), line);
    }

    /// A path of an expression, a type or a pattern; single names count too.
    fn path(&mut self, line: usize) {
        let mut path = Vec::new();
        while let Some(name) = self.name(0).map(str::to_owned) {
            path.push(name);
            self.at += 1;
            if !(self.is_separator(0) && self.name(2).is_some()) {
                break;
            }
            self.at += 2;
        }
        // `<std::time::Instant>::now`: the angle bracket does not end the path.
        if self.is_mark(0, '>') && self.is_separator(1) {
            path.extend(self.name(3).map(str::to_owned));
        }
        let path = self.absolute(path);
        self.found.push((path, line));
    }

    /// One branch of an import, up to the `,`, `}` or `;` after it.
    fn import(&mut self, mut path: Vec<String>, line: usize) {
        loop {
            if self.is_mark(0, '{') {
                self.at += 1;
                while self.at < self.tokens.len() && !self.is_mark(0, '}') {
                    self.import(path.clone(), line);
                    self.at += usize::from(self.is_mark(0, ','));
                }
                self.at += 1;
                return;
            }
            if self.is_mark(0, '*') {
                path.push("*".to_owned());
                self.at += 1;
                break;
            }
            if let Some(name) = self.name(0).map(str::to_owned) {
                path.push(name);
                self.at += 1;
            }
            if !self.is_separator(0) {
                break;
            }
            self.at += 2;
        }
        self.imported(path, line);
    }

    fn imported(&mut self, mut path: Vec<String>, line: usize) {
        let mut alias = None;
        if self.name(0) == Some("as") {
            alias = self.name(1).map(str::to_owned);
            self.at += 2;
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        // Whatever is not understood here is passed over, so that reading always ends.
        if path.is_empty() {
            self.at += 1;
            return;
        }
        let path = self.absolute(path);
        if let Some(name) = alias.or_else(|| path.last().cloned()) {
            self.names.insert(name, path.clone());
        }
        self.found.push((path, line));
    }

    /// Turns `self` and `super` into a path from `crate`.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let mut base = self.here.clone();
        let mut rest = path.as_slice();
        let relative = rest
            .first()
            .is_some_and(|name| name == "self" || name == "super");
        if !relative {
            return path;
        }
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            rest = others;
        }
        let mut full = vec!["crate".to_owned()];
        full.extend(base);
        full.extend(rest.iter().cloned());
        full
    }

    fn name(&self, ahead: usize) -> Option<&str> {
        match self.tokens.get(self.at + ahead) {
            Some((Token::Name(name), _)) => Some(name),
            _ => None,
        }
    }

    fn is_mark(&self, ahead: usize, mark: char) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some((Token::Mark(found), _)) if *found == mark)
    }

    fn is_separator(&self, ahead: usize) -> bool {
        self.is_mark(ahead, ':') && self.is_mark(ahead + 1, ':')
    }
}
