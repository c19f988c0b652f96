//! Acts: the loop, the worker thread, TLS, HTTP, WebSocket, sockets, signals, the only clock.

pub mod accept;
pub mod clock;
pub mod commission;
pub mod compose;
pub mod cups;
pub mod dial;
pub mod discovery;
mod duty;
mod gateway;
pub mod holders;
pub mod http;
pub mod jobs;
pub mod keeping;
pub mod linking;
#[cfg(feature = "mender")]
pub mod mender;
pub mod metrics;
mod netlink;
pub mod notify;
pub mod once;
mod overview;
mod people;
pub mod run;
pub mod service;
pub mod session;
pub mod show;
mod signals;
pub mod sockets;
pub mod standing;
mod telling;
mod textfile;
pub mod tls;
pub mod update;
pub mod updating;
pub mod watch;
pub mod worker;
