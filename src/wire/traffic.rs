//! Speaks: the LNS traffic socket of a gateway without a radio.
//!
//! ```json
//! {"msgtype":"version","station":"..","firmware":"..","package":"..","model":"..","protocol":2,"features":""}
//! {"msgtype":"router_config","region":"EU863",...}
//! {"msgtype":"timesync","MuxTime":1700000000.25}
//! {"msgtype":"getxtime","MuxTime":1700000000.25}
//! {"msgtype":"getxtime","MuxTime":..,"ustime":..,"UTCtime":..,"xtimes":[]}
//! ```
//! `timesync` is not answered by a message: its `MuxTime` comes back as `RefTime` of every
//! uplink, and the rest is for a radio. `getxtime` is answered with both clocks and the time of
//! no radio.
//! `reference/cups-lns.md` section 4.2.

use core::fmt;
use core::time::Duration;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};

use super::cups::stack_error::printable;

/// Longest message that is taken from the LNS, in octets.
pub const MESSAGE_OCTETS_MAX: usize = 256 * 1024;

/// Longest text that is kept of a message, in characters.
const TEXT_MAX: usize = 120;

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Name and version of the program.
    pub station: String,
    /// Version of the firmware.
    pub firmware: String,
    /// Version of the image.
    pub package: String,
    /// Kind of device.
    pub model: String,
}

impl About {
    /// The first message on the socket. No features: nothing is run for the LNS.
    #[must_use]
    pub fn version(&self) -> String {
        json!({
            "msgtype": "version",
            "station": self.station,
            "firmware": self.firmware,
            "package": self.package,
            "model": self.model,
            "protocol": 2,
            "features": "",
        })
        .to_string()
    }
}

/// One message of the LNS, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// What it is.
    pub kind: Kind,
    /// The LNS's clock, seconds, in any message that carries it.
    pub mux_time_s: Option<f64>,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The gateway's radio settings: the proof that the LNS takes the gateway.
    RouterConfig {
        /// The region, if it is named.
        region: Option<String>,
        /// Length of the message, octets.
        octets: usize,
    },
    /// Time from the LNS.
    TimeSync,
    /// The LNS asks for our time: `getxtime`.
    GetTime,
    /// Something to send by radio.
    Down,
    /// A program to run or a shell to open: `runcmd` or `rmtsh`.
    Command(&'static str),
    /// An error in the LNS's own words.
    Error(String),
    /// Anything else, or nothing that can be read.
    Other,
}

/// Reads one message. What cannot be read is [`Kind::Other`]: station ignores it, too.
#[must_use]
pub fn parse(text: &str) -> Heard {
    let mut found = Found::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let is_read = text.len() <= MESSAGE_OCTETS_MAX
        && reader.deserialize_map(Members(&mut found)).is_ok()
        && reader.end().is_ok();
    if !is_read {
        return Heard {
            kind: Kind::Other,
            mux_time_s: None,
        };
    }
    let kind = match found.msgtype.as_deref() {
        Some("router_config") => Kind::RouterConfig {
            region: found.region,
            octets: text.len(),
        },
        Some("timesync") => Kind::TimeSync,
        Some("getxtime") => Kind::GetTime,
        Some("dnmsg" | "dnsched" | "dnframe") => Kind::Down,
        Some("runcmd") => Kind::Command("runcmd"),
        Some("rmtsh") => Kind::Command("rmtsh"),
        Some("error") => Kind::Error(found.error.unwrap_or_default()),
        _ => Kind::Other,
    };
    Heard {
        kind,
        mux_time_s: found.mux_time_s,
    }
}

/// The answer to `getxtime`: the LNS's own clock as it said it, ours since boot and ours of
/// the wall, seconds.
#[must_use]
pub fn times(mux_time_s: f64, since_boot: Duration, wall_s: u64) -> String {
    json!({
        "msgtype": "getxtime",
        "MuxTime": mux_time_s,
        "ustime": since_boot.as_secs_f64(),
        "UTCtime": wall_s,
        "xtimes": [],
    })
    .to_string()
}

/// The members that matter; all others are passed over without being kept.
#[derive(Debug, Default)]
struct Found {
    msgtype: Option<String>,
    region: Option<String>,
    error: Option<String>,
    mux_time_s: Option<f64>,
}

struct Members<'a>(&'a mut Found);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "msgtype" => self.0.msgtype = text(&map.next_value()?),
                "region" => self.0.region = text(&map.next_value()?),
                "error" => self.0.error = text(&map.next_value()?),
                "MuxTime" => self.0.mux_time_s = seconds(&map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(|text| printable(text, TEXT_MAX))
}

fn seconds(value: &Value) -> Option<f64> {
    value.as_f64().filter(|seconds| *seconds > 0.0)
}

#[cfg(test)]
mod tests {
    use super::{About, Kind, MESSAGE_OCTETS_MAX, parse};

    #[test]
    fn the_first_message_announces_no_features() {
        let value: serde_json::Value = serde_json::from_str(&About::default().version()).unwrap();
        assert_eq!(value["msgtype"], "version");
        assert_eq!(
            (&value["protocol"], &value["features"]),
            (&2.into(), &"".into())
        );
    }

    #[test]
    fn each_message_is_told_from_the_others() {
        for (text, kind) in [
            (
                r#"{"msgtype":"timesync","xtime":1,"gpstime":2}"#,
                Kind::TimeSync,
            ),
            (r#"{"msgtype":"getxtime"}"#, Kind::GetTime),
            (r#"{"msgtype":"dnmsg","pdu":"00"}"#, Kind::Down),
            (r#"{"schedule":[],"msgtype":"dnsched"}"#, Kind::Down),
            (
                r#"{"msgtype":"runcmd","command":"x"}"#,
                Kind::Command("runcmd"),
            ),
            (r#"{"msgtype":"rmtsh"}"#, Kind::Command("rmtsh")),
            (
                r#"{"msgtype":"error","error":"no\nway"}"#,
                Kind::Error("no way".to_owned()),
            ),
            (r#"{"msgtype":"surprise"}"#, Kind::Other),
            (r#"{"msgtype":["dnmsg"]}"#, Kind::Other),
            (r#"{"msgtype":"dnmsg"} {}"#, Kind::Other),
            (r#"["dnmsg"]"#, Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(parse(text).kind, kind, "{text}");
        }
    }

    #[test]
    fn a_router_config_tells_region_and_size_and_the_servers_time() {
        let text =
            r#"{"msgtype":"router_config","region":"EU863","DRs":[[12,125,0]],"MuxTime":1.5}"#;
        let heard = parse(text);
        let (region, octets) = (Some("EU863".to_owned()), text.len());
        assert_eq!(heard.kind, Kind::RouterConfig { region, octets });
        assert_eq!(heard.mux_time_s, Some(1.5));
    }

    #[test]
    fn a_message_that_is_too_long_or_too_deep_is_nothing() {
        let padding = "x".repeat(MESSAGE_OCTETS_MAX);
        let long = format!(r#"{{"msgtype":"dnmsg","x":"{padding}"}}"#);
        let deep = format!(r#"{{"msgtype":"dnmsg","x":{}"#, "[".repeat(100_000));
        assert_eq!(parse(&long).kind, Kind::Other);
        assert_eq!(parse(&deep).kind, Kind::Other);
    }
}
