//! The Mender service of the real binary, before the doubles of an ambassador and of the Mender
//! server behind it: a device is accepted, reports, keeps its token, and says what is wrong.

#![cfg(feature = "mender")]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests that plant and look at files, and end when they cannot"
)]

#[path = "mender/acceptance.rs"]
mod acceptance;
#[path = "mender/conf.rs"]
mod conf;
#[path = "mender/keys.rs"]
mod keys;
#[path = "mender/neighbours.rs"]
mod neighbours;
#[path = "mender/scene.rs"]
mod scene;
#[path = "mender/servers.rs"]
mod servers;
