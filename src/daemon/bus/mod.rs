//! Acts: the system bus, for whoever has to do with it: where it is, and one connection to it.
//!
//! No library: the blocking ones are a C library, or unmaintained (`docs/decisions/0009-dbus.md`).

mod address;
mod link;

pub use self::address::Address;
pub(super) use self::link::Link;
