//! Acts: the Mender service: authentication, inventory, and the device's other Mender programs.

#[cfg(feature = "dbus")]
pub mod bus;
pub mod scripts;
