//! Reads: `--name value` and `--flag`, in any order.

use std::path::PathBuf;

use crate::Failure;

/// The options of one command.
#[derive(Debug, Default)]
pub(crate) struct Args {
    given: Vec<(String, String)>,
}

impl Args {
    /// Takes only the names it is told.
    pub(crate) fn parse(
        words: &[String],
        values: &[&str],
        flags: &[&str],
    ) -> Result<Self, Failure> {
        let mut given = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").unwrap_or_default();
            let value = if flags.contains(&name) {
                String::new()
            } else if values.contains(&name) {
                let missing = || Failure::Usage(format!("--{name} needs a value"));
                words.next().ok_or_else(missing)?.clone()
            } else {
                return Err(Failure::Usage(format!("there is no option {word} here")));
            };
            given.push((name.to_owned(), value));
        }
        Ok(Self { given })
    }

    /// Whether a flag or option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The last value of an option.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let same = |(known, _): &&(String, String)| known == name;
        self.given
            .iter()
            .rev()
            .find(same)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of an option.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = move |(known, _): &&(String, String)| known == name;
        self.given
            .iter()
            .filter(same)
            .map(|(_, value)| value.as_str())
    }

    /// The value of an option that must be there.
    pub(crate) fn need(&self, name: &str) -> Result<&str, Failure> {
        self.get(name)
            .ok_or_else(|| Failure::Usage(format!("--{name} is missing")))
    }

    /// The name of an existing file.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf, Failure> {
        existing(name, self.need(name)?)
    }

    /// The names of existing files.
    pub(crate) fn files(&self, name: &str) -> Result<Vec<PathBuf>, Failure> {
        self.all(name).map(|value| existing(name, value)).collect()
    }

    /// A port; 0 if none was given.
    pub(crate) fn port(&self) -> Result<u16, Failure> {
        let text = self.get("port").unwrap_or("0");
        text.parse()
            .map_err(|_| Failure::Usage(format!("--port {text} is no port")))
    }
}

/// Reads an EUI in 16 hex digits of either case.
pub(crate) fn eui(text: &str) -> Result<String, Failure> {
    let good = text.len() == 16 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    let wrong = || Failure::Usage(format!("--eui {text} is not 16 hex digits"));
    if good {
        Ok(text.to_uppercase())
    } else {
        Err(wrong())
    }
}

fn existing(name: &str, value: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(value);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Failure::Usage(format!(
            "--{name} {value}: there is no such file"
        )))
    }
}
