//! The one table of settings: it parses the file, prints the template and feeds the manual.

use core::fmt::Write as _;

use serde_json::Value;

use super::ConfigError;
use super::settings::SETTINGS;
use crate::wire::eui::Eui64;
use crate::wire::pin::Pin;

/// What a setting may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An EUI in any spelling, or null.
    Eui,
    /// true or false.
    Flag,
    /// A whole number within these bounds, both included.
    Number(u64, u64),
    /// A file or directory.
    Path,
    /// A file or directory, or null.
    PathOrNull,
    /// A list of files.
    Paths,
    /// A list of pins of servers.
    Pins,
    /// A text.
    Text,
    /// A list of texts.
    Texts,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Dotted name: `cups.poll_s`.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// JSON of the default; `None` if it must be given.
    pub default: Option<&'static str>,
    /// JSON of an example, for settings without default.
    pub example: &'static str,
    /// What it does, one or two sentences.
    pub about: &'static str,
}

/// Finds a setting by its dotted name.
#[must_use]
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

impl Setting {
    /// Checks that a value is of the setting's kind.
    pub fn check(&self, value: &Value) -> Result<(), ConfigError> {
        let texts = |value: &Value| {
            value
                .as_array()
                .is_some_and(|list| list.iter().all(|entry| is_text(entry, 1)))
        };
        let is_fine = match self.kind {
            Kind::Choice(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Kind::Eui => {
                value.is_null()
                    || value
                        .as_str()
                        .is_some_and(|text| Eui64::from_any(text).is_ok())
            }
            Kind::Flag => value.is_boolean(),
            Kind::Number(min, max) => value.as_u64().is_some_and(|n| (min..=max).contains(&n)),
            Kind::Path => is_text(value, 1),
            Kind::PathOrNull => value.is_null() || is_text(value, 1),
            Kind::Paths | Kind::Texts => texts(value),
            Kind::Pins => texts(value) && pins(value).is_some(),
            Kind::Text => is_text(value, 0),
        };
        if is_fine {
            return Ok(());
        }
        Err(ConfigError::new(
            self.name,
            format!("must be {}", self.kind_in_words()),
        ))
    }

    /// The kind in words, for messages and the manual.
    #[must_use]
    pub fn kind_in_words(&self) -> String {
        match self.kind {
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Eui => "an EUI (16 hex digits) or null".to_owned(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Number(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Path => "a path".to_owned(),
            Kind::PathOrNull => "a path or null".to_owned(),
            Kind::Paths => "a list of paths".to_owned(),
            Kind::Pins => "a list of pins, each sha256//BASE64 or 64 hex digits".to_owned(),
            Kind::Text => "a text".to_owned(),
            Kind::Texts => "a list of texts".to_owned(),
        }
    }
}

fn is_text(value: &Value, octets_min: usize) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() >= octets_min && !text.contains('\0'))
}

/// The pins in a list of texts; `None` if one is none.
pub(super) fn pins(value: &Value) -> Option<Vec<Pin>> {
    let list = value.as_array()?.iter();
    list.map(|entry| Pin::parse(entry.as_str()?).ok()).collect()
}

/// The known name nearest to an unknown one, if it is near enough to be meant.
#[must_use]
pub(super) fn suggestion(unknown: &str) -> Option<&'static str> {
    let near = SETTINGS
        .iter()
        .map(|setting| (distance(unknown, setting.name), setting.name));
    let (distance, name) = near.min()?;
    (distance <= 3).then_some(name)
}

/// The annotated template: every setting with what it means and its default.
#[must_use]
pub fn template() -> String {
    let mut out = String::from("// Configuration of mtls-agent. Lines after // are comments.\n{\n");
    let mut open = "";
    for (index, setting) in SETTINGS.iter().enumerate() {
        let (group, name) = setting.name.rsplit_once('.').unwrap_or(("", setting.name));
        if group != open {
            if !open.is_empty() {
                out.push_str("  },\n");
            }
            if !group.is_empty() {
                let _ = writeln!(out, "\n  \"{group}\": {{");
            }
            open = group;
        }
        let indent = if group.is_empty() { "  " } else { "    " };
        let need = if setting.default.is_none() {
            " Must be given."
        } else {
            ""
        };
        let _ = writeln!(out, "{indent}// {}{need}", setting.about);
        let next = SETTINGS.get(index.saturating_add(1)).map(|next| next.name);
        let is_last = next.is_none_or(|next| next.rsplit_once('.').map_or("", |(g, _)| g) != group);
        let comma = if is_last && !group.is_empty() {
            ""
        } else {
            ","
        };
        let _ = writeln!(out, "{indent}\"{name}\": {}{comma}", setting.example);
    }
    out.push_str("  }\n}\n");
    out
}

/// Whether settings begin with this name and a dot.
pub(super) fn is_group(name: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .name
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// Levenshtein distance of two short texts, in octets.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (y, &above) in b.bytes().zip(row.iter().skip(1)) {
            let substituted = diagonal.saturating_add(usize::from(x != y));
            left = substituted
                .min(left.saturating_add(1))
                .min(above.saturating_add(1));
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{distance, find, suggestion, template};

    #[test]
    fn a_misspelt_name_gets_the_right_one() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(suggestion("cups.poll"), Some("cups.poll_s"));
        assert_eq!(suggestion("trust_anchor"), Some("trust_anchors"));
        assert_eq!(suggestion("something.else"), None);
    }

    #[test]
    fn the_template_is_a_valid_configuration() {
        let config = crate::config::Config::parse(&template(), std::path::Path::new("/")).unwrap();
        assert_eq!(
            config.cups.uri.to_string(),
            "https://gateway.example.com:8987"
        );
        assert!(find("cups.uri").is_some());
    }
}
