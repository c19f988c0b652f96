//! Acts: the loop, the worker thread, TLS, HTTP, WebSocket, sockets, signals, the only clock.

pub mod accept;
#[cfg(feature = "dbus")]
pub mod bus;
mod changing;
pub mod clock;
pub mod commission;
pub mod compose;
pub mod cups;
pub mod dial;
pub mod discovery;
mod duty;
mod former;
mod gateway;
mod handover;
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
mod reset;
pub mod run;
mod sandbox;
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
mod waits;
pub mod watch;
pub mod worker;
