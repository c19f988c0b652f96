//! Speaks: the body of `POST /update-info`.
//!
//! ```json
//! {"router":"123:4567:89ab:cdef","cupsUri":"https://...","tcUri":"wss://...",
//!  "cupsCredCrc":1,"tcCredCrc":2,"station":"...","model":"...","package":null,"keys":[]}
//! ```
//! `reference/cups-lns.md` section 1.2.

use serde_json::{Value, json};

use crate::wire::eui::Eui64;

/// Longest value The Things Stack stores in a gateway attribute, in characters. A longer
/// one makes the whole exchange fail although credentials were ready.
pub const ATTRIBUTE_CHARACTERS_MAX: usize = 200;

/// What the gateway says about itself and about what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The gateway's identifier.
    pub router: Eui64,
    /// The CUPS address in force.
    pub cups_uri: String,
    /// The LNS address in force; empty while there is none.
    pub tc_uri: String,
    /// CRC-32 over the CUPS credentials.
    pub cups_crc: u32,
    /// CRC-32 over the LNS credentials.
    pub tc_crc: u32,
    /// Program and version.
    pub station: String,
    /// Kind of device.
    pub model: String,
    /// Version of the installed image, if there is one.
    pub package: Option<String>,
    /// CRC-32 of each installed update key, in order.
    pub key_crcs: Vec<u32>,
}

impl Request {
    /// Renders the body, fields in Basic Station's order, texts cut to what servers store.
    #[must_use]
    pub fn body(&self) -> String {
        let fields: [(&str, Value); 9] = [
            ("router", json!(self.router.id6().to_string())),
            ("cupsUri", json!(self.cups_uri)),
            ("tcUri", json!(self.tc_uri)),
            ("cupsCredCrc", json!(self.cups_crc)),
            ("tcCredCrc", json!(self.tc_crc)),
            ("station", json!(cut(&self.station))),
            ("model", json!(cut(&self.model))),
            ("package", json!(self.package.as_deref().map(cut))),
            ("keys", json!(self.key_crcs)),
        ];
        // serde_json's map would sort the names; station's order is what servers know.
        let rendered: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", rendered.join(","))
    }
}

fn cut(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(ATTRIBUTE_CHARACTERS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::wire::eui::Eui64;

    #[test]
    fn fields_keep_their_order_and_texts_are_cut() {
        let request = Request {
            router: Eui64::new(0x0123_4567_89AB_CDEF),
            cups_uri: "https://c:1".to_owned(),
            tc_uri: String::new(),
            cups_crc: 1,
            tc_crc: 2_077_607_535,
            station: "s".repeat(300),
            model: "a \"board\"\u{0}".to_owned(),
            package: None,
            key_crcs: vec![7, 8],
        };
        let expected = format!(
            "{{\"router\":\"123:4567:89ab:cdef\",\"cupsUri\":\"https://c:1\",\"tcUri\":\"\",\
             \"cupsCredCrc\":1,\"tcCredCrc\":2077607535,\"station\":\"{}\",\
             \"model\":\"a \\\"board\\\"\",\"package\":null,\"keys\":[7,8]}}",
            "s".repeat(200)
        );
        assert_eq!(request.body(), expected);
    }
}
