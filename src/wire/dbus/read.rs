//! Speaks: octets from a bus to a message.

use super::{Kind, MESSAGE_OCTETS_MAX, Message, NotDbus};

/// Endianness, kind, flags, version, body length, serial, length of the fields.
const START: usize = 16;
const NO_REPLY: u8 = 1;

pub(super) fn message(octets: &[u8]) -> Result<Option<(Message, usize)>, NotDbus> {
    let Some(start) = octets.get(..START) else {
        // Judged as soon as possible: nobody is to wait for the rest of what is not D-Bus.
        return match octets.first() {
            None | Some(b'l' | b'B') => Ok(None),
            Some(_) => Err(NotDbus("its first octet is neither l nor B")),
        };
    };
    let (kind, is_big_endian) = judge(start)?;
    let mut cursor = Cursor {
        octets,
        at: 4,
        is_big_endian,
    };
    let cut = NotDbus("its lengths do not fit");
    let body_length = cursor.length().ok_or(cut)?;
    let serial = cursor.number().ok_or(cut)?;
    let fields_length = cursor.length().ok_or(cut)?;
    let fields_end = START.checked_add(fields_length).ok_or(cut)?;
    let body_start = fields_end.checked_next_multiple_of(8).ok_or(cut)?;
    let end = body_start.checked_add(body_length).ok_or(cut)?;
    if end > MESSAGE_OCTETS_MAX {
        return Err(NotDbus("it is larger than anything said to us"));
    }
    let Some(body) = octets.get(body_start..end) else {
        return Ok(None);
    };
    let mut message = Message {
        is_reply_unwanted: start.get(2).is_some_and(|flags| flags & NO_REPLY != 0),
        serial,
        body: body.to_vec(),
        is_big_endian,
        ..Message::empty(kind)
    };
    cursor.octets = octets.get(..fields_end).unwrap_or_default();
    while cursor.at < fields_end {
        field(&mut cursor, &mut message).ok_or(NotDbus("one of its fields cannot be read"))?;
    }
    Ok(Some((message, end)))
}

/// The texts among the values of a message, up to the first value of another type that is not
/// a number.
#[must_use]
pub fn texts(message: &Message) -> Vec<String> {
    let mut cursor = Cursor {
        octets: &message.body,
        at: 0,
        is_big_endian: message.is_big_endian,
    };
    let mut found = Vec::new();
    for kind in message.signature.bytes() {
        let read = match kind {
            b's' | b'o' => cursor.text().map(|text| found.push(text)),
            b'u' | b'i' | b'b' => cursor.number().map(|_| ()),
            _ => None,
        };
        if read.is_none() {
            break;
        }
    }
    found
}

/// What a variant holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, or the path of an object.
    Text(String),
    /// A number of 32 bits, with a sign or without.
    Number(i64),
}

/// The variant with which the message begins, as the answer about a property does. `None`: there
/// is none, or it holds another type.
#[must_use]
pub fn variant(message: &Message) -> Option<Value> {
    if !message.signature.starts_with('v') {
        return None;
    }
    let mut cursor = Cursor {
        octets: &message.body,
        at: 0,
        is_big_endian: message.is_big_endian,
    };
    match cursor.signature()?.as_str() {
        "s" | "o" => cursor.text().map(Value::Text),
        "u" => cursor.number().map(i64::from).map(Value::Number),
        "i" => {
            let signed = i32::from_ne_bytes(cursor.number()?.to_ne_bytes());
            Some(Value::Number(signed.into()))
        }
        _ => None,
    }
}

fn judge(start: &[u8]) -> Result<(Kind, bool), NotDbus> {
    let is_big_endian = match start.first() {
        Some(b'l') => false,
        Some(b'B') => true,
        _ => return Err(NotDbus("its first octet is neither l nor B")),
    };
    let kind = match start.get(1) {
        Some(1) => Kind::Call,
        Some(2) => Kind::Return,
        Some(3) => Kind::Error,
        Some(4) => Kind::Signal,
        _ => return Err(NotDbus("its kind is unknown")),
    };
    if start.get(3) != Some(&1) {
        return Err(NotDbus("its version is not 1"));
    }
    Ok((kind, is_big_endian))
}

fn field(cursor: &mut Cursor<'_>, message: &mut Message) -> Option<()> {
    cursor.align(8)?;
    let code = cursor.octet()?;
    let signature = cursor.signature()?;
    match (code, signature.as_str()) {
        (1, "o") => message.path = cursor.text()?,
        (2, "s") => message.interface = cursor.text()?,
        (3, "s") => message.member = cursor.text()?,
        (4, "s") => message.error_name = cursor.text()?,
        (5, "u") => message.reply_to = Some(cursor.number()?),
        (6, "s") => message.destination = cursor.text()?,
        (7, "s") => message.sender = cursor.text()?,
        (8, "g") => message.signature = cursor.signature()?,
        // Fields of later versions are passed over.
        (10.., "s" | "o") => drop(cursor.text()?),
        (9.., "u") => drop(cursor.number()?),
        (10.., "g") => drop(cursor.signature()?),
        _ => return None,
    }
    Some(())
}

struct Cursor<'a> {
    octets: &'a [u8],
    at: usize,
    is_big_endian: bool,
}

impl Cursor<'_> {
    fn take(&mut self, amount: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(amount)?;
        let taken = self.octets.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        let at = self.at.checked_next_multiple_of(to)?;
        self.take(at.checked_sub(self.at)?).map(|_| ())
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        let is_big_endian = self.is_big_endian;
        let octets = self.take(4)?.try_into().ok()?;
        Some(if is_big_endian {
            u32::from_be_bytes(octets)
        } else {
            u32::from_le_bytes(octets)
        })
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.octet()?);
        self.ended(length)
    }

    /// A text of that length and the zero after it.
    fn ended(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (self.octet()? == 0).then_some(text)
    }
}
