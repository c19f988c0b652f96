//! Other Mender programs of the device reach the server through the forwarder, with the device's
//! identity and its current token, and nobody else does.

#![cfg(feature = "mender")]
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that talks to itself over sockets, and ends when its set-up fails"
)]

mod passes_every_answer;
mod reads_strictly;
mod renews_tokens;
mod stand;
mod websockets_last;
