//! Speaks: a message to octets for a bus.

use super::{Kind, Message};

/// The values of a message, one after the other.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body {
    signature: String,
    octets: Vec<u8>,
}

impl Body {
    /// Adds a text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        put_text(&mut self.octets, text);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u32) -> Self {
        self.signature.push('u');
        put_number(&mut self.octets, number);
        self
    }

    /// Adds a truth.
    #[must_use]
    pub fn flag(mut self, flag: bool) -> Self {
        self.signature.push('b');
        put_number(&mut self.octets, u32::from(flag));
        self
    }

    pub(super) fn into_parts(self) -> (String, Vec<u8>) {
        (self.signature, self.octets)
    }
}

pub(super) fn message(message: &Message) -> Vec<u8> {
    let kind = match message.kind {
        Kind::Call => 1,
        Kind::Return => 2,
        Kind::Error => 3,
        Kind::Signal => 4,
    };
    let mut out = vec![b'l', kind, u8::from(message.is_reply_unwanted), 1];
    put_number(&mut out, length(message.body.len()));
    put_number(&mut out, message.serial);
    let fields = fields(message);
    put_number(&mut out, length(fields.len()));
    out.extend_from_slice(&fields);
    align(&mut out, 8);
    out.extend_from_slice(&message.body);
    out
}

/// The array of fields. It begins at a multiple of 8, so its own places can be counted.
fn fields(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    let texts = [
        (1, b'o', &message.path),
        (6, b's', &message.destination),
        (2, b's', &message.interface),
        (3, b's', &message.member),
        (4, b's', &message.error_name),
    ];
    for (code, kind, text) in texts {
        if !text.is_empty() {
            begin(&mut out, code, kind);
            put_text(&mut out, text);
        }
    }
    if let Some(serial) = message.reply_to {
        begin(&mut out, 5, b'u');
        put_number(&mut out, serial);
    }
    if !message.signature.is_empty() {
        begin(&mut out, 8, b'g');
        out.push(u8::try_from(message.signature.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(message.signature.as_bytes());
        out.push(0);
    }
    out
}

fn begin(out: &mut Vec<u8>, code: u8, kind: u8) {
    align(out, 8);
    out.extend_from_slice(&[code, 1, kind, 0]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, length(text.len()));
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn put_number(out: &mut Vec<u8>, number: u32) {
    align(out, 4);
    out.extend_from_slice(&number.to_le_bytes());
}

fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
