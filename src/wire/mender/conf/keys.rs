//! Speaks: the keys of `mender.conf`, what each must hold and what becomes of it.

use serde_json::Value;

/// What a key must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whatever it is, it is not looked at.
    Any,
    /// true or false.
    Flag,
    /// An array.
    List,
    /// An object whose members are keys of their own.
    Section,
    /// Text.
    Text,
    /// A whole number.
    Whole,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It decides security: a wrong type ends the reading.
    Deciding,
    /// It is not for us, for this reason.
    Ignored(&'static str),
    /// It is used; a wrong type is noted and ignored, as the official client does.
    Used,
}

/// A key; members of a section are `Section.Member`.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) fate: Fate,
}

const UPDATES: Fate = Fate::Ignored("this agent reports updates and does not install them");
const RETRIES: Fate = Fate::Ignored("this agent never gives up, at ever longer intervals");
const PARTITIONS: Fate = Fate::Ignored("this agent writes no partitions");
const HTTP: Fate = Fate::Ignored("connections are kept or closed as the agent needs them");

/// Every key that is known. Others are passed over, as the official client does.
pub(super) const KEYS: [Key; 37] = [
    key("ServerURL", Kind::Text, Fate::Used),
    key("Servers", Kind::List, Fate::Used),
    key("TenantToken", Kind::Text, Fate::Used),
    key("DeviceTier", Kind::Text, Fate::Used),
    key("HttpsClient", Kind::Section, Fate::Deciding),
    key("HttpsClient.Certificate", Kind::Text, Fate::Deciding),
    key("HttpsClient.Key", Kind::Text, Fate::Deciding),
    key("HttpsClient.SSLEngine", Kind::Text, Fate::Deciding),
    key("Security", Kind::Section, Fate::Deciding),
    key("Security.AuthPrivateKey", Kind::Text, Fate::Deciding),
    key("Security.SSLEngine", Kind::Text, Fate::Deciding),
    key("ServerCertificate", Kind::Text, Fate::Deciding),
    key("SkipVerify", Kind::Flag, Fate::Deciding),
    key("UpdatePollIntervalSeconds", Kind::Whole, Fate::Used),
    key("InventoryPollIntervalSeconds", Kind::Whole, Fate::Used),
    key("RetryPollIntervalSeconds", Kind::Whole, Fate::Used),
    key("RetryPollCount", Kind::Whole, RETRIES),
    key("DaemonLogLevel", Kind::Text, Fate::Used),
    key("DeviceTypeFile", Kind::Text, Fate::Used),
    key("DBus", Kind::Section, Fate::Used),
    key("DBus.Enabled", Kind::Flag, Fate::Used),
    key("RetryDownloadCount", Kind::Whole, UPDATES),
    key("UpdateLogPath", Kind::Any, UPDATES),
    key("ModuleTimeoutSeconds", Kind::Any, UPDATES),
    key("ArtifactVerifyKey", Kind::Any, UPDATES),
    key("ArtifactVerifyKeys", Kind::Any, UPDATES),
    key("StateScriptTimeoutSeconds", Kind::Any, UPDATES),
    key("StateScriptRetryTimeoutSeconds", Kind::Any, UPDATES),
    key("StateScriptRetryIntervalSeconds", Kind::Any, UPDATES),
    key("UpdateControlMapExpirationTimeSeconds", Kind::Any, UPDATES),
    key(
        "UpdateControlMapBootExpirationTimeSeconds",
        Kind::Any,
        UPDATES,
    ),
    key("RootfsPartA", Kind::Any, PARTITIONS),
    key("RootfsPartB", Kind::Any, PARTITIONS),
    key("BootUtilitiesSetActivePart", Kind::Any, PARTITIONS),
    key("BootUtilitiesGetNextActivePart", Kind::Any, PARTITIONS),
    key("Connectivity", Kind::Any, HTTP),
    key(OWN, Kind::Section, Fate::Deciding),
];

/// The section with settings of this agent.
pub(super) const OWN: &str = "MtlsAgent";

/// Finds a key; the case of letters does not count.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name.eq_ignore_ascii_case(name))
}

impl Kind {
    /// Whether a value, which is no object, is of this kind.
    pub(super) fn fits(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Flag => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Section => false,
            Self::Text => value.is_string(),
            Self::Whole => value.is_i64() || value.is_u64(),
        }
    }

    /// What is expected, for a message.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Flag => "true or false",
            Self::List => "an array",
            Self::Section => "an object",
            Self::Text => "text",
            Self::Whole => "a whole number",
        }
    }
}

const fn key(name: &'static str, kind: Kind, fate: Fate) -> Key {
    Key { name, kind, fate }
}
