//! Speaks: the two files of `mender.conf` laid over each other, each key with its file.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::error::{ConfError, ConfFault, Note};
use super::keys::{Fate, Key, Kind, OWN, find};
use crate::wire::json::Tree;
use crate::wire::secret::Secret;

/// What the files say, as far as it is of the right type.
#[derive(Default)]
pub(super) struct Files {
    /// By name as the table writes it: the value and the file it is from.
    values: BTreeMap<&'static str, (Value, String)>,
    /// The section of this agent.
    pub(super) own: Map<String, Value>,
    /// What is to be known.
    pub(super) notes: Vec<Note>,
}

impl Files {
    /// Lays a file over those before it.
    pub(super) fn add(&mut self, path: &str, text: &str) -> Result<(), ConfError> {
        let whole = |fault| ConfError {
            path: path.to_owned(),
            key: None,
            fault,
        };
        let tree: Tree = serde_json::from_str(text)
            .map_err(|error| whole(ConfFault::NotJson(error.line(), error.column())))?;
        let Tree::Object(entries) = tree else {
            return Err(whole(ConfFault::NotAnObject));
        };
        let mut file = File {
            files: self,
            path,
            seen: Vec::new(),
        };
        let is_plain = |name: &str| !name.contains('.');
        entries
            .into_iter()
            .filter(|(name, _)| is_plain(name))
            .try_for_each(|(name, tree)| file.entry(&name, tree))
    }

    /// Text that is not blank. What this returns is gone from here.
    pub(super) fn text(&mut self, name: &str) -> Option<(String, String)> {
        match self.values.remove(name)? {
            (Value::String(text), path) if !text.trim().is_empty() => Some((text, path)),
            _ => None,
        }
    }

    /// The file of a text that is left where it is.
    pub(super) fn place_of_text(&self, name: &str, is: impl Fn(&str) -> bool) -> Option<String> {
        let (value, path) = self.values.get(name)?;
        value.as_str().filter(|text| is(text)).map(|_| path.clone())
    }

    /// Text that is not blank, without the white space around it.
    pub(super) fn secret(&mut self, name: &str) -> Option<Secret> {
        let text = Zeroizing::new(self.text(name)?.0);
        Some(Secret::new(text.trim().as_bytes().to_vec()))
    }

    /// An array that is not empty.
    pub(super) fn list(&mut self, name: &str) -> Option<(Vec<Value>, String)> {
        match self.values.remove(name)? {
            (Value::Array(list), path) if !list.is_empty() => Some((list, path)),
            _ => None,
        }
    }

    /// A whole number; one that does not fit is the largest there is.
    pub(super) fn number(&mut self, name: &str) -> Option<(i64, String)> {
        let (value, path) = self.values.remove(name)?;
        Some((value.as_i64().unwrap_or(i64::MAX), path))
    }

    /// true or false.
    pub(super) fn flag(&mut self, name: &str) -> Option<(bool, String)> {
        let (value, path) = self.values.remove(name)?;
        Some((value.as_bool()?, path))
    }

    /// Tells the operator.
    pub(super) fn note(&mut self, path: &str, key: &str, text: String) {
        self.notes.push(Note {
            path: path.to_owned(),
            key: key.to_owned(),
            text,
        });
    }
}

/// One file while it is laid over the others.
struct File<'a> {
    files: &'a mut Files,
    path: &'a str,
    seen: Vec<&'static str>,
}

impl File<'_> {
    fn entry(&mut self, name: &str, tree: Tree) -> Result<(), ConfError> {
        // A null is a key that is not there.
        let is_nothing = matches!(tree, Tree::Leaf(Value::Null));
        let Some(key) = find(name).filter(|_| !is_nothing) else {
            return Ok(());
        };
        if self.seen.contains(&key.name) {
            return Err(self.fault(key.name, ConfFault::Doubled));
        }
        self.seen.push(key.name);
        match (key.kind, tree) {
            (Kind::Section, Tree::Object(members)) if key.name == OWN => self.own(members),
            (Kind::Section, Tree::Object(members)) => members
                .into_iter()
                .try_for_each(|(member, tree)| self.entry(&format!("{}.{member}", key.name), tree)),
            (Kind::Any, _) => {
                self.keep(key, Value::Null);
                Ok(())
            }
            (kind, Tree::Leaf(value)) if kind.fits(&value) => {
                self.keep(key, value);
                Ok(())
            }
            _ => self.misfit(key),
        }
    }

    fn keep(&mut self, key: &Key, value: Value) {
        if let Fate::Ignored(reason) = key.fate {
            let text = format!("ignored: {reason}");
            self.files.note(self.path, key.name, text);
        }
        let place = (value, self.path.to_owned());
        self.files.values.insert(key.name, place);
    }

    fn misfit(&mut self, key: &Key) -> Result<(), ConfError> {
        let expected = key.kind.name();
        if key.fate == Fate::Deciding {
            return Err(self.fault(key.name, ConfFault::WrongType(expected)));
        }
        let text = format!("ignored: it must be {expected}");
        self.files.note(self.path, key.name, text);
        Ok(())
    }

    fn own(&mut self, members: Vec<(String, Tree)>) -> Result<(), ConfError> {
        let Value::Object(members) = self.plain(OWN, Tree::Object(members))? else {
            return Ok(());
        };
        lay_over(&mut self.files.own, members);
        Ok(())
    }

    /// The same as a plain value; a doubled name is an error, because the last would win.
    fn plain(&self, place: &str, tree: Tree) -> Result<Value, ConfError> {
        let members = match tree {
            Tree::Leaf(value) => return Ok(value),
            Tree::Object(members) => members,
        };
        let mut plain = Map::new();
        for (name, tree) in members {
            let place = format!("{place}.{name}");
            let value = self.plain(&place, tree)?;
            if plain.insert(name, value).is_some() {
                return Err(self.fault(&place, ConfFault::Doubled));
            }
        }
        Ok(Value::Object(plain))
    }

    fn fault(&self, key: &str, fault: ConfFault) -> ConfError {
        ConfError {
            path: self.path.to_owned(),
            key: Some(key.to_owned()),
            fault,
        }
    }
}

/// Setting by setting: `{ "tls": { .. } }` of the second file leaves the other settings of `tls`.
fn lay_over(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match value {
            Value::Object(members) => {
                let place = under.entry(name).or_insert(Value::Null);
                if let Value::Object(below) = place {
                    lay_over(below, members);
                } else {
                    *place = Value::Object(members);
                }
            }
            value => {
                under.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Files;
    use serde_json::json;

    #[test]
    fn a_pin_of_the_fallback_outlasts_another_setting_of_its_group() {
        let mut files = Files::default();
        let fallback = r#"{"MtlsAgent":{"tls":{"server_pin":["a"]},"log":{"level":"info"}}}"#;
        let main = r#"{"MtlsAgent":{"tls":{"version_max":"1.2"},"log":{"level":"warn"}}}"#;
        files.add("fallback", fallback).unwrap();
        files.add("main", main).unwrap();
        let together = json!({
            "log": { "level": "warn" },
            "tls": { "server_pin": ["a"], "version_max": "1.2" },
        });
        assert_eq!(serde_json::Value::Object(files.own), together);
    }
}
