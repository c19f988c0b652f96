//! Speaks: the inventory of a device, the attributes a server shows of it.
//!
//! ```text
//! PUT /api/devices/v1/inventory/device/attributes    replaces all; PATCH adds and changes
//! [{"name":"hostname","value":"gw"},{"name":"ipv4_eth0","value":["192.0.2.1/24","..."]}]
//! ```
//! Sorted by name, so that equal inventories are equal octets and need not be sent again.
//! `reference/mender.md` section 3.1.

use core::fmt;

use serde_json::Value;

use super::output::{self, OutputError, Values};

/// The path of the inventory.
pub const INVENTORY_PATH: &str = "/api/devices/v1/inventory/device/attributes";
/// Longest body the server takes, in octets.
pub const BODY_OCTETS_MAX: usize = 1024 * 1024;
/// Longest name of an attribute, in characters.
pub const NAME_CHARACTERS_MAX: usize = 1024;

/// Attributes on their way to the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory(Values);

/// Why attributes cannot be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InventoryError {
    /// A name is empty or longer than [`NAME_CHARACTERS_MAX`].
    Name,
    /// The script's output cannot be used.
    Output(OutputError),
    /// The body would be larger than [`BODY_OCTETS_MAX`].
    TooLarge,
}

impl Inventory {
    /// Adds what an inventory script printed. A name that another script printed too gains
    /// further values. After an error nothing of this script is added.
    pub fn add_script(&mut self, stdout: &[u8]) -> Result<(), InventoryError> {
        let values = output::read(stdout).map_err(InventoryError::Output)?;
        if !values.keys().all(|name| is_name(name)) {
            return Err(InventoryError::Name);
        }
        for (name, more) in values {
            self.0.entry(name).or_default().extend(more);
        }
        Ok(())
    }

    /// Sets an attribute of our own; it replaces what scripts said of it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), InventoryError> {
        if !is_name(name) {
            return Err(InventoryError::Name);
        }
        self.0.insert(name.to_owned(), vec![value.to_owned()]);
        Ok(())
    }

    /// Sets an attribute unless a script has said something of it.
    pub fn set_missing(&mut self, name: &str, value: &str) -> Result<(), InventoryError> {
        if self.0.contains_key(name) {
            return Ok(());
        }
        self.set(name, value)
    }

    /// The first value of an attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    /// How many attributes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body.
    pub fn body(&self) -> Result<String, InventoryError> {
        let mut body = String::from("[");
        for (name, values) in &self.0 {
            if body.len() > 1 {
                body.push(',');
            }
            body.push_str("{\"name\":");
            body.push_str(&Value::from(name.as_str()).to_string());
            body.push_str(",\"value\":");
            body.push_str(&output::json(values).to_string());
            body.push('}');
            if body.len() >= BODY_OCTETS_MAX {
                return Err(InventoryError::TooLarge);
            }
        }
        body.push(']');
        Ok(body)
    }
}

impl fmt::Display for InventoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(
                f,
                "an attribute's name must have 1 to {NAME_CHARACTERS_MAX} characters"
            ),
            Self::Output(error) => error.fmt(f),
            Self::TooLarge => {
                f.write_str("the inventory is larger than 1 MiB, the server takes no more")
            }
        }
    }
}

impl core::error::Error for InventoryError {}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARACTERS_MAX).contains(&name.chars().count())
}

#[cfg(test)]
mod tests {
    use super::{Inventory, InventoryError, OutputError};

    #[test]
    fn scripts_are_merged_and_names_sorted() {
        let mut inventory = Inventory::default();
        inventory.add_script(b"kernel=6\nip=a\n").unwrap();
        inventory.add_script(b"ip=b\nAlpha=\"\n").unwrap();
        inventory.set("kernel", "7").unwrap();
        inventory.set_missing("kernel", "8").unwrap();
        inventory.set_missing("hostname", "gw").unwrap();
        assert_eq!(
            inventory.body().unwrap(),
            r#"[{"name":"Alpha","value":"\""},{"name":"hostname","value":"gw"},{"name":"ip","value":["a","b"]},{"name":"kernel","value":"7"}]"#
        );
        assert_eq!((inventory.len(), inventory.get("ip")), (4, Some("a")));
    }

    #[test]
    fn a_script_that_fails_adds_nothing() {
        let mut inventory = Inventory::default();
        let broken = inventory.add_script(b"a=1\nbroken\n");
        let error = InventoryError::Output(OutputError::NoEquals(2));
        assert_eq!(broken, Err(error));
        let long = format!("a=1\n{}=2\n", "n".repeat(1025));
        let refused = inventory.add_script(long.as_bytes());
        assert_eq!(refused, Err(InventoryError::Name));
        assert_eq!(inventory.set("", "x"), Err(InventoryError::Name));
        assert!(inventory.is_empty());
        assert_eq!(inventory.body().unwrap(), "[]");
    }

    #[test]
    fn more_than_the_server_takes_is_refused() {
        let mut inventory = Inventory::default();
        for number in 0..5 {
            let line = format!("name{number}={}", "v".repeat(250_000));
            inventory.add_script(line.as_bytes()).unwrap();
        }
        assert_eq!(inventory.body(), Err(InventoryError::TooLarge));
    }
}
