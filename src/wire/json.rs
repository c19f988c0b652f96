//! Speaks: JSON with comments, as `station.conf` and our own configuration allow it, and
//! with names counted, because `serde_json` silently lets the last of two equal names win.

use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Replaces `//` and `/* */` comments by blanks, so that places in error messages still fit.
#[must_use]
pub fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut is_string = false;
    while let Some(c) = rest.next() {
        match (is_string, c, rest.peek()) {
            (true, '\\', _) => {
                out.push(c);
                out.extend(rest.next());
            }
            (_, '"', _) => {
                is_string = !is_string;
                out.push(c);
            }
            (false, '/', Some('/')) => {
                out.push(' ');
                while let Some(c) = rest.next_if(|&c| c != '\n') {
                    out.extend(core::iter::repeat_n(' ', c.len_utf8()));
                }
            }
            (false, '/', Some('*')) => {
                // The star of the opening mark must not close it: /*/ is open.
                out.push_str("  ");
                rest.next();
                let mut before = ' ';
                for c in rest.by_ref() {
                    out.push(if c == '\n' { '\n' } else { ' ' });
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
            }
            _ => out.push(c),
        }
    }
    out
}

/// A JSON value whose objects keep every name in order, duplicates included.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// An object.
    Object(Vec<(String, Tree)>),
    /// Anything else; objects inside arrays are plain values.
    Leaf(Value),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Object(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Tree, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element::<Value>()? {
            values.push(value);
        }
        Ok(Tree::Leaf(Value::Array(values)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::from(text)))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::from(flag)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::from(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::from(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::from(number)))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::{Tree, without_comments};
    use serde_json::Value;

    #[test]
    fn comments_go_and_texts_stay() {
        let text =
            "{ \"a\": \"// no /* comment */ \\\" here\", // yes\n /* two\nlines */ \"b\": 1 }";
        let value: Value = serde_json::from_str(&without_comments(text)).unwrap();
        assert_eq!(value["a"], "// no /* comment */ \" here");
        assert_eq!(value["b"], 1);
        assert_eq!(without_comments("/* a */1"), "       1");
        assert_eq!(without_comments("/*/ 1 */2").trim(), "2");
    }

    #[test]
    fn both_of_two_equal_names_are_seen() {
        let tree: Tree = serde_json::from_str(r#"{"a":1,"a":{"b":null}}"#).unwrap();
        let Tree::Object(entries) = tree else {
            panic!("not an object")
        };
        assert_eq!(entries.len(), 2);
    }
}
