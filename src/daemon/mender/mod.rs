//! Acts: the Mender service: authentication, inventory, and the device's other Mender programs.

pub mod attempt;
#[cfg(feature = "dbus")]
pub mod bus;
pub mod call;
pub mod facts;
pub mod gathering;
pub mod scripts;
pub mod standing;
