//! Takes: inventory attributes.

use std::collections::BTreeMap;

use serde_json::Value;

/// The values of a device's attributes by name.
pub type Attributes = BTreeMap<String, Value>;

/// Replaces or amends what is known; nothing changes if a part is wrong.
pub(super) fn take(known: &mut Attributes, body: &[u8], replace: bool) -> Result<(), &'static str> {
    let items: Vec<Value> =
        serde_json::from_slice(body).map_err(|_| "failed to decode request body")?;
    let mut given = Attributes::new();
    for item in &items {
        let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
        if !(1..=1024).contains(&name.chars().count()) {
            return Err("name: the length must be between 1 and 1024.");
        }
        let value = item.get("value").filter(|value| permitted(value));
        let value =
            value.ok_or("value: supported types are string, float64, and arrays thereof.")?;
        given.insert(name.to_owned(), value.clone());
    }
    if replace {
        known.clear();
    }
    known.extend(given);
    Ok(())
}

fn permitted(value: &Value) -> bool {
    match value {
        Value::String(_) | Value::Number(_) => true,
        Value::Array(items) => {
            items.iter().all(Value::is_string) || items.iter().all(Value::is_number)
        }
        _ => false,
    }
}
