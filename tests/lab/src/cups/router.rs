//! Reads: the forms of a gateway's EUI that The Things Stack accepts, and no others.

use serde_json::Value;

/// The EUI a request names.
///
/// Accepted are ID6 in lower case (with or without `prefix-`), eight pairs joined by `-` or `:` in
/// either case, and a JSON number. Bare hex digits and upper-case ID6 are not.
#[must_use]
pub fn parse(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => pairs(text).or_else(|| id6(text)),
        _ => None,
    }
}

/// 16 upper-case hex digits.
#[must_use]
pub fn eui_text(eui: u64) -> String {
    format!("{eui:016X}")
}

/// The ID6 form of an EUI, compressed as Basic Station does it.
#[must_use]
pub fn id6_text(eui: u64) -> String {
    let [a, b, c, d] = [48, 32, 16, 0].map(|shift| (eui >> shift) & 0xFFFF);
    match (a, b, c, d) {
        (0, 0, 0, _) => format!("::{d:x}"),
        (0, 0, _, _) => format!("::{c:x}:{d:x}"),
        (_, 0, 0, 0) => format!("{a:x}::"),
        (_, _, 0, 0) => format!("{a:x}:{b:x}::"),
        (_, 0, 0, _) => format!("{a:x}::{d:x}"),
        _ => format!("{a:x}:{b:x}:{c:x}:{d:x}"),
    }
}

fn pairs(text: &str) -> Option<u64> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    let all_pairs = parts.iter().all(|part| part.len() == 2);
    if parts.len() != 8 || !all_pairs {
        return None;
    }
    hex(&parts.concat())
}

fn id6(text: &str) -> Option<u64> {
    let text = text.rsplit_once('-').map_or(text, |(_, last)| last);
    let (front, back) = match text.split_once("::") {
        Some((front, back)) => (groups(front)?, groups(back)?),
        None => (groups(text).filter(|all| all.len() == 4)?, Vec::new()),
    };
    let gap = 4_usize.checked_sub(front.len().checked_add(back.len())?)?;
    let zeros = core::iter::repeat_n(0, gap);
    let all = front.into_iter().chain(zeros).chain(back);
    Some(all.fold(0, |eui, group| (eui << 16) | group))
}

fn groups(text: &str) -> Option<Vec<u64>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let group = |part: &str| {
        let lower = !part.bytes().any(|octet| octet.is_ascii_uppercase());
        if (1..=4).contains(&part.len()) && lower {
            hex(part)
        } else {
            None
        }
    };
    text.split(':').map(group).collect()
}

fn hex(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|octet| octet.is_ascii_hexdigit());
    if digits {
        u64::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id6_is_compressed_and_read_back() {
        let known = [
            (0x0123_4567_89AB_CDEF, "123:4567:89ab:cdef"),
            (0x0000_0000_0000_0001, "::1"),
            (0x0000_0000_0001_0000, "::1:0"),
            (0x0001_0000_0000_0000, "1::"),
            (0x0001_0002_0000_0000, "1:2::"),
            (0x0001_0000_0000_0002, "1::2"),
            (0x0001_0000_0002_0003, "1:0:2:3"),
        ];
        for (eui, text) in known {
            assert_eq!(id6_text(eui), text);
            assert_eq!(parse(&Value::from(text)), Some(eui), "{text}");
        }
    }

    #[test]
    fn other_accepted_forms_are_read_and_bare_digits_are_not() {
        let eui = Some(0x0123_4567_89AB_CDEF);
        assert_eq!(parse(&Value::from("01-23-45-67-89-AB-CD-EF")), eui);
        assert_eq!(parse(&Value::from("01:23:45:67:89:ab:cd:ef")), eui);
        assert_eq!(parse(&Value::from("muxs-123:4567:89ab:cdef")), eui);
        assert_eq!(parse(&Value::from(81_985_529_216_486_895_u64)), eui);
        assert_eq!(parse(&Value::from("0123456789ABCDEF")), None);
        assert_eq!(parse(&Value::from("123:4567:89AB:CDEF")), None);
        assert_eq!(parse(&Value::from("01:23:45:67:89:AB")), None);
    }
}
