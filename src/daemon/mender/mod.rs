//! Acts: the Mender service: authentication, inventory, and the device's other Mender programs.

pub mod attempt;
#[cfg(feature = "dbus")]
pub mod bus;
pub mod call;
mod changing;
mod consumers;
pub(super) mod duty;
pub mod facts;
pub mod forwarder;
pub mod gathering;
mod jobs;
mod lock;
pub(super) mod once;
mod orders;
mod overview;
pub mod scripts;
mod service;
pub mod standing;
mod token_file;
