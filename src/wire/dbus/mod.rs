//! Speaks: D-Bus messages, as far as a service with two methods and one signal needs them, and one
//! who asks systemd for a unit.
//!
//! ```text
//! 'l'|'B'  kind  flags  1  body length u32  serial u32  array of fields u32 ...  pad to 8  body
//! field:   pad to 8, code u8, variant: signature, value
//! ```
//! Written in little-endian order; read in either. Reading stops at [`MESSAGE_OCTETS_MAX`].
//! D-Bus specification, "Message Protocol"; `reference/mender.md` section 4.1.

mod read;
mod write;

use core::fmt;

pub use read::{Value, texts, variant};
pub use write::Body;

/// Largest message that is read: what is said to us has no arguments worth mentioning.
pub const MESSAGE_OCTETS_MAX: usize = 128 * 1024;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody wants something done.
    Call,
    /// It was done.
    Return,
    /// It was not.
    Error,
    /// Something happened.
    Signal,
}

/// Fields and body of one message. Fields that were not there are empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// Whether the sender wants no answer.
    pub is_reply_unwanted: bool,
    /// Its number on this connection.
    pub serial: u32,
    /// The number of the message that it answers.
    pub reply_to: Option<u32>,
    /// The object.
    pub path: String,
    /// The interface.
    pub interface: String,
    /// The method or the signal.
    pub member: String,
    /// The name of an error.
    pub error_name: String,
    /// Whom it is for.
    pub destination: String,
    /// Who sent it; the bus sees to its truth.
    pub sender: String,
    /// The types of the body's values.
    pub signature: String,
    /// The values.
    pub body: Vec<u8>,
    /// Whether the sender counts from the big end.
    pub is_big_endian: bool,
}

/// What came is not D-Bus, or more than is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotDbus(pub &'static str);

impl fmt::Display for NotDbus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a D-Bus message: {}", self.0)
    }
}

impl core::error::Error for NotDbus {}

impl Message {
    /// Reads the message at the start of `octets` and says how many of them it has. `None`:
    /// it is not all there yet.
    pub fn read(octets: &[u8]) -> Result<Option<(Self, usize)>, NotDbus> {
        read::message(octets)
    }

    /// The message's octets.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        write::message(self)
    }

    /// A call of a method.
    #[must_use]
    pub fn call(serial: u32, destination: &str, path: &str, method: (&str, &str)) -> Self {
        Self {
            serial,
            destination: destination.to_owned(),
            path: path.to_owned(),
            interface: method.0.to_owned(),
            member: method.1.to_owned(),
            ..Self::empty(Kind::Call)
        }
    }

    /// A signal to everybody.
    #[must_use]
    pub fn signal(serial: u32, path: &str, signal: (&str, &str)) -> Self {
        Self {
            serial,
            path: path.to_owned(),
            interface: signal.0.to_owned(),
            member: signal.1.to_owned(),
            ..Self::empty(Kind::Signal)
        }
    }

    /// The answer to this call.
    #[must_use]
    pub fn answer(&self, serial: u32) -> Self {
        Self {
            serial,
            reply_to: Some(self.serial),
            destination: self.sender.clone(),
            ..Self::empty(Kind::Return)
        }
    }

    /// The answer to this call that it cannot be done; `text` is for people.
    #[must_use]
    pub fn refusal(&self, serial: u32, name: &str, text: &str) -> Self {
        Self {
            kind: Kind::Error,
            error_name: name.to_owned(),
            ..self.answer(serial)
        }
        .with(Body::default().text(text))
    }

    /// The same message with these values.
    #[must_use]
    pub fn with(mut self, body: Body) -> Self {
        (self.signature, self.body) = body.into_parts();
        self
    }

    fn empty(kind: Kind) -> Self {
        Self {
            kind,
            is_reply_unwanted: false,
            serial: 0,
            reply_to: None,
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            error_name: String::new(),
            destination: String::new(),
            sender: String::new(),
            signature: String::new(),
            body: Vec::new(),
            is_big_endian: false,
        }
    }
}

/// Without the body: it may hold a token.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("serial", &self.serial)
            .field("path", &self.path)
            .field("interface", &self.interface)
            .field("member", &self.member)
            .field("error_name", &self.error_name)
            .field("sender", &self.sender)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Kind, Message, Value, texts, variant};

    /// `reference/mender.md` section 7: written by a service that real clients accepted.
    const REQUEST_NAME: &str = "6c01000128000000020000008000000001016f00150000002f6f72672f667265656465736b746f702f4442757300000006017300140000006f72672e667265656465736b746f702e444275730000000002017300140000006f72672e667265656465736b746f702e4442757300000000030173000b000000526571756573744e616d65000000000008016700027375001f000000696f2e6d656e6465722e41757468656e7469636174696f6e4d616e616765720000000000";

    fn octets(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        let text = pairs.map(|pair| core::str::from_utf8(pair).unwrap());
        text.map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    fn request_name() -> Message {
        let bus = "org.freedesktop.DBus";
        let body = Body::default()
            .text("io.mender.AuthenticationManager")
            .number(0);
        Message::call(2, bus, "/org/freedesktop/DBus", (bus, "RequestName")).with(body)
    }

    #[test]
    fn a_call_is_written_as_real_clients_have_accepted_it() {
        assert_eq!(request_name().write(), octets(REQUEST_NAME));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let call = request_name();
        let mut wire = call.write();
        let length = wire.len();
        for end in 0..length {
            assert_eq!(Message::read(&wire[..end]), Ok(None), "{end}");
        }
        wire.extend_from_slice(b"next");
        assert_eq!(Message::read(&wire), Ok(Some((call.clone(), length))));
        let answer = call
            .answer(9)
            .with(Body::default().text("a").text("").flag(true));
        let (read, _) = Message::read(&answer.write()).unwrap().unwrap();
        assert_eq!(
            (read.kind, read.reply_to, &*read.signature),
            (Kind::Return, Some(2), "ssb")
        );
        assert_eq!(texts(&read), ["a", ""]);
        let refusal = call.refusal(10, "a.b.C", "no");
        let (read, _) = Message::read(&refusal.write()).unwrap().unwrap();
        assert_eq!(
            (&*read.error_name, texts(&read)),
            ("a.b.C", vec!["no".to_owned()])
        );
    }

    #[test]
    fn a_sender_may_count_from_the_big_end() {
        let start = "4201000100000000000000070000001d";
        let path = "01016f00000000022f61000000000000";
        let member = "030173000000000450696e6700000000";
        let wire = octets(&[start, path, member].concat());
        let (read, length) = Message::read(&wire).unwrap().unwrap();
        assert_eq!((read.serial, &*read.path, &*read.member), (7, "/a", "Ping"));
        assert!(read.is_big_endian && length == wire.len());
    }

    #[test]
    fn a_property_is_read_whatever_its_type() {
        let property = |signature: &str, hex: &str| Message {
            signature: signature.to_owned(),
            body: octets(hex),
            ..Message::empty(Kind::Return)
        };
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        for (hex, value) in [
            ("017300000600000061637469766500", text("active")),
            ("016f0000020000002f6100", text("/a")),
            ("017500002c030000", Some(Value::Number(812))),
            ("01750000ffffffff", Some(Value::Number(0xFFFF_FFFF))),
            ("01690000ffffffff", Some(Value::Number(-1))),
            ("0174000000000000", None),
            ("0173000006000000616374", None),
            ("017500002c", None),
            ("", None),
        ] {
            assert_eq!(variant(&property("v", hex)), value, "{hex}");
        }
        assert_eq!(variant(&property("u", "01750000")), None);
        let mut foreign = property("v", "017500000000032c");
        foreign.is_big_endian = true;
        assert_eq!(variant(&foreign), Some(Value::Number(812)));
    }

    #[test]
    fn nonsense_is_refused_and_never_waited_for() {
        let good = request_name().write();
        for (at, octet) in [(0, b'x'), (1, 0), (3, 2), (7, 0x7F), (15, 0x7F)] {
            let mut bad = good.clone();
            bad[at] = octet;
            assert!(Message::read(&bad).is_err(), "{at}");
        }
        assert!(Message::read(b"HTTP/1.1 400 Bad Request\r\n").is_err());
    }

    #[test]
    fn a_body_is_never_shown() {
        let message = request_name().with(Body::default().text("secret-token"));
        assert!(!format!("{message:?}").contains("secret-token"));
    }
}
