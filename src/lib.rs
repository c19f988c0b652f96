//! The one small program on a gateway that owns the device's identity.
//!
//! | folder | verb | holds |
//! |---|---|---|
//! | [`wire`] | speaks | bytes to values and back: CUPS, LNS, EUI, X.509 facts |
//! | [`agent`] | decides | `step(event, now) -> actions`, waiting, classes of failure |
//! | `identity` | proves | certificate chain and signer |
//! | `store` | keeps | credential sets that change whole or not at all |
//! | `daemon` | acts | the loop, TLS, HTTP, sockets, signals, the only clock |
//!
//! `wire` and `agent` are pure: no file, socket, clock or randomness. The cargo
//! feature `daemon` (default) adds the rest; `docs/ARCHITECTURE.md` has the picture.

#![forbid(unsafe_code)]

pub mod agent;
pub mod config;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod identity;
#[cfg(feature = "daemon")]
pub mod limits;
#[cfg(feature = "daemon")]
pub mod log;
#[cfg(feature = "daemon")]
pub mod report;
#[cfg(feature = "daemon")]
pub mod store;
pub mod wire;
