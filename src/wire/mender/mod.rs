//! Speaks: Mender's device side: its configuration file, authentication, inventory, updates.
//!
//! ```text
//! mender.conf -> conf         identity script -> id_data      inventory scripts -> inventory
//! id_data + spki -> auth (the signed body)                    answer -> token | auth::ServerError
//! ```
//! Nothing is signed here: `identity::signing` does that, over the very octets of the body.

pub mod auth;
pub mod conf;
pub mod deployments;
pub mod id_data;
pub mod inventory;
pub mod output;
pub mod server;
pub mod spki;
pub mod token;
