//! Speaks: one `LoRaWAN` frame as the uplink message of a gateway, without a radio behind it.
//!
//! | frame | message |
//! |---|---|
//! | join request | `jreq` with `JoinEui`, `DevEui`, `DevNonce` |
//! | data up, confirmed or not | `updf` with `DevAddr`, `FCtrl`, `FCnt`, `FOpts`, `FPort` |
//! | proprietary, rejoin | `propdf` with the whole frame |
//!
//! `rctx`, `xtime` and `gpstime` are 0: an answer by radio is not possible.

use core::fmt::{self, Write as _};
use core::ops::RangeInclusive;

use serde_json::{Map, Value, json};

/// Longest frame that LoRa can carry, octets.
pub const FRAME_OCTETS_MAX: usize = 255;

/// From below every band to above every band: what is not in here was meant as MHz, or not as a
/// frequency.
const FREQUENCIES_HZ: RangeInclusive<u32> = 100_000_000..=3_000_000_000;

/// The frame type in the first octet.
const TYPE_MASK: u8 = 0xe0;
/// Reserved bits and major version, all of which must be 0.
const VERSION_MASK: u8 = 0x1f;
const JOIN_OCTETS: usize = 23;
const DATA_OCTETS_MIN: usize = 12;

/// How a frame is said to have been received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Air {
    /// Frequency, Hz.
    pub frequency_hz: u32,
    /// Index of the data rate in the region, 0 to 15.
    pub data_rate: u8,
}

impl Default for Air {
    /// A channel that every EU868 gateway has, at SF7.
    fn default() -> Self {
        Self {
            frequency_hz: 868_100_000,
            data_rate: 5,
        }
    }
}

/// A frame that is an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    octets: Vec<u8>,
    air: Air,
}

/// Why something is not an uplink frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    /// Not hex digits in pairs.
    NotHex,
    /// Nothing, or more than LoRa can carry.
    Length,
    /// Reserved bits or another major version.
    Version,
    /// Join accept or data down: only a network server sends these.
    Downlink,
    /// Shorter or longer than its type allows.
    Shape,
    /// Not a frequency in Hz that LoRa uses, or not a data rate from 0 to 15.
    Air,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHex => "the frame must be hex digits in pairs",
            Self::Length => "the frame must have 1 to 255 octets",
            Self::Version => "the frame's first octet is not of LoRaWAN 1",
            Self::Downlink => "the frame is a downlink",
            Self::Shape => "the frame's length does not fit its type",
            Self::Air => {
                "only a frequency in Hz, such as 868100000, and a data rate from 0 to 15 may follow the frame"
            },
        })
    }
}

impl core::error::Error for BadFrame {}

impl Frame {
    /// Takes the octets of a frame.
    pub fn new(octets: Vec<u8>, air: Air) -> Result<Self, BadFrame> {
        if octets.len() > FRAME_OCTETS_MAX {
            return Err(BadFrame::Length);
        }
        let header = octets.first().ok_or(BadFrame::Length)?;
        if header & VERSION_MASK != 0 {
            return Err(BadFrame::Version);
        }
        let frame = Self { octets, air };
        match frame.kind() {
            0x20 | 0x60 | 0xa0 => Err(BadFrame::Downlink),
            0x00 if frame.octets.len() != JOIN_OCTETS => Err(BadFrame::Shape),
            0x40 | 0x80 if frame.port_at() > frame.octets.len().saturating_sub(4) => {
                Err(BadFrame::Shape)
            }
            _ => Ok(frame),
        }
    }

    /// Reads `HEX [FREQUENCY_HZ [DATA_RATE]]`.
    pub fn parse(text: &str) -> Result<Self, BadFrame> {
        let mut words = text.split_ascii_whitespace();
        let octets = octets(words.next().ok_or(BadFrame::Length)?)?;
        let mut air = Air::default();
        if let Some(word) = words.next() {
            let frequency_hz = word.parse().ok();
            air.frequency_hz = frequency_hz
                .filter(|hz| FREQUENCIES_HZ.contains(hz))
                .ok_or(BadFrame::Air)?;
        }
        if let Some(word) = words.next() {
            air.data_rate = word.parse().map_err(|_| BadFrame::Air)?;
        }
        if air.data_rate > 15 || words.next().is_some() {
            return Err(BadFrame::Air);
        }
        Self::new(octets, air)
    }

    /// The words that [`Frame::parse`] reads.
    #[must_use]
    pub fn line(&self) -> String {
        let Air {
            frequency_hz,
            data_rate,
        } = self.air;
        format!("{} {frequency_hz} {data_rate}", hex(&self.octets))
    }

    /// The message to the LNS. `ref_time_s` is the LNS's own clock, `rx_time_s` ours.
    #[must_use]
    pub fn message(&self, ref_time_s: f64, rx_time_s: f64) -> String {
        let mut members = match self.kind() {
            0x00 => self.join(),
            0x40 | 0x80 => self.data(),
            _ => self.proprietary(),
        };
        let rest = [
            ("RefTime", json!(ref_time_s)),
            ("DR", json!(self.air.data_rate)),
            ("Freq", json!(self.air.frequency_hz)),
            (
                "upinfo",
                json!({
                    "rctx": 0, "xtime": 0, "gpstime": 0, "fts": -1,
                    "rssi": -50, "snr": 9.0, "rxtime": rx_time_s,
                }),
            ),
        ];
        members.extend(rest.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(members).to_string()
    }

    fn join(&self) -> Map<String, Value> {
        members([
            ("msgtype", json!("jreq")),
            ("MHdr", json!(self.kind())),
            ("JoinEui", json!(dashed(self.little(1, 8)))),
            ("DevEui", json!(dashed(self.little(9, 8)))),
            ("DevNonce", json!(self.little(17, 2))),
            ("MIC", self.check()),
        ])
    }

    fn data(&self) -> Map<String, Value> {
        let (port_at, end) = (self.port_at(), self.octets.len().saturating_sub(4));
        let port = self.octets.get(port_at..end).unwrap_or_default().first();
        let payload = self.part(port_at.saturating_add(1), end);
        members([
            ("msgtype", json!("updf")),
            ("MHdr", json!(self.kind())),
            ("DevAddr", signed(self.little(1, 4))),
            ("FCtrl", json!(self.little(5, 1))),
            ("FCnt", json!(self.little(6, 2))),
            ("FOpts", json!(hex(self.part(8, port_at)))),
            ("FPort", port.map_or(json!(-1), |port| json!(port))),
            ("FRMPayload", json!(hex(payload))),
            ("MIC", self.check()),
        ])
    }

    fn proprietary(&self) -> Map<String, Value> {
        members([
            ("msgtype", json!("propdf")),
            ("FRMPayload", json!(hex(&self.octets))),
        ])
    }

    fn kind(&self) -> u8 {
        self.octets.first().map_or(0, |header| header & TYPE_MASK)
    }

    /// Where the port of a data frame is, or would be: after the options.
    fn port_at(&self) -> usize {
        let options = self.octets.get(5).map_or(0, |control| control & 0x0f);
        usize::from(options).saturating_add(DATA_OCTETS_MIN - 4)
    }

    fn part(&self, begin: usize, end: usize) -> &[u8] {
        self.octets.get(begin..end).unwrap_or_default()
    }

    /// A number of so many octets, the least significant first.
    fn little(&self, begin: usize, count: usize) -> u64 {
        let octets = self.part(begin, begin.saturating_add(count));
        octets
            .iter()
            .rev()
            .fold(0, |number, &octet| (number << 8) | u64::from(octet))
    }

    fn check(&self) -> Value {
        signed(self.little(self.octets.len().saturating_sub(4), 4))
    }
}

fn members<const COUNT: usize>(list: [(&str, Value); COUNT]) -> Map<String, Value> {
    list.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// 32 bits as the protocol writes them, with a sign.
fn signed(number: u64) -> Value {
    let low = u32::try_from(number).unwrap_or_default();
    json!(i32::from_ne_bytes(low.to_ne_bytes()))
}

fn dashed(number: u64) -> String {
    let parts: Vec<String> = number
        .to_be_bytes()
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    parts.join("-")
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02X}");
        text
    })
}

fn octets(text: &str) -> Result<Vec<u8>, BadFrame> {
    if text.len() % 2 != 0 {
        return Err(BadFrame::NotHex);
    }
    if text.len() > 2 * FRAME_OCTETS_MAX {
        return Err(BadFrame::Length);
    }
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| {
            let [high, low] = pair else { return None };
            u8::try_from((digit(high)? << 4) | digit(low)?).ok()
        })
        .collect::<Option<Vec<u8>>>()
        .ok_or(BadFrame::NotHex)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{BadFrame, Frame};

    fn message(line: &str) -> Value {
        let text = Frame::parse(line).unwrap().message(1.5, 2.5);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_join_request_names_both_ends() {
        let value = message("0008070605040302011817161514131211EFBE01020384");
        assert_eq!(value["msgtype"], "jreq");
        assert_eq!(value["JoinEui"], "01-02-03-04-05-06-07-08");
        assert_eq!(value["DevEui"], "11-12-13-14-15-16-17-18");
        assert_eq!(value["DevNonce"], 0xbeef);
        assert_eq!(value["MIC"], -2_080_177_663_i64);
        assert_eq!(value["upinfo"]["xtime"], 0);
        assert_eq!(
            (&value["DR"], &value["Freq"]),
            (&json!(5), &json!(868_100_000))
        );
    }

    #[test]
    fn a_data_frame_is_taken_apart() {
        let value = message("4004030226820100AABB0AC0FFEE01020304");
        assert_eq!(value["msgtype"], "updf");
        assert_eq!(
            (&value["MHdr"], &value["FCtrl"]),
            (&json!(0x40), &json!(0x82))
        );
        assert_eq!(
            (&value["DevAddr"], &value["FCnt"]),
            (&json!(0x2602_0304), &json!(1))
        );
        assert_eq!(
            (&value["FOpts"], &value["FPort"]),
            (&json!("AABB"), &json!(10))
        );
        assert_eq!(value["FRMPayload"], "C0FFEE");
        assert_eq!(
            (&value["RefTime"], &value["MIC"]),
            (&json!(1.5), &json!(0x0403_0201))
        );
    }

    #[test]
    fn a_data_frame_may_lack_port_and_payload_and_have_a_high_address() {
        let value = message("80FFFFFFFF00070001020304");
        assert_eq!(
            (&value["FPort"], &value["FRMPayload"]),
            (&json!(-1), &json!(""))
        );
        assert_eq!(
            (&value["DevAddr"], &value["MHdr"]),
            (&json!(-1), &json!(0x80))
        );
    }

    #[test]
    fn everything_else_goes_as_it_is() {
        let value = message("E0C0FFEE 867300000 0");
        assert_eq!(value["msgtype"], "propdf");
        assert_eq!(value["FRMPayload"], "E0C0FFEE");
        assert_eq!(
            (&value["DR"], &value["Freq"]),
            (&json!(0), &json!(867_300_000))
        );
    }

    #[test]
    fn what_is_no_uplink_is_named() {
        for (line, why) in [
            ("", BadFrame::Length),
            ("4", BadFrame::NotHex),
            ("4g", BadFrame::NotHex),
            ("é0", BadFrame::NotHex),
            ("41", BadFrame::Version),
            ("4001020304", BadFrame::Shape),
            ("40010203040F010001020304", BadFrame::Shape),
            ("0001", BadFrame::Shape),
            ("2001", BadFrame::Downlink),
            ("60", BadFrame::Downlink),
            ("E0 x", BadFrame::Air),
            ("E0 868", BadFrame::Air),
            ("E0 868.1", BadFrame::Air),
            ("E0 C0 FF EE", BadFrame::Air),
            ("E0 868100000 16", BadFrame::Air),
            ("E0 868100000 1 1", BadFrame::Air),
        ] {
            assert_eq!(Frame::parse(line), Err(why), "{line}");
        }
        assert_eq!(Frame::parse(&"E0".repeat(256)), Err(BadFrame::Length));
    }

    #[test]
    fn the_line_is_read_back() {
        let frame = Frame::parse("e0c0ffee 867300000 3").unwrap();
        assert_eq!(Frame::parse(&frame.line()), Ok(frame));
    }
}
