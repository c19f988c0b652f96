//! Acts: the Mender service: authentication, inventory, and the device's other Mender programs.

pub mod scripts;
