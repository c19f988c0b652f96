//! Speaks: bytes to values and back, for every protocol the agent takes part in.
//!
//! Nothing here opens a file or a socket, reads a clock or draws a random number.

pub mod crc;
pub mod credential;
pub mod cups;
pub mod dbus;
pub mod der;
pub mod error;
pub mod eui;
pub mod json;
pub mod lns;
pub mod mender;
pub mod name;
pub mod netlink;
pub mod pin;
pub mod policy;
pub mod secret;
pub mod timestamp;
pub mod token;
pub mod traffic;
pub mod uplink;
pub mod uri;
pub mod x509;
