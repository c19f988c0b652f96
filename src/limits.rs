//! Every bound in one place, each with its reason.

use core::time::Duration;

/// Seconds since 1970 before which no clock can be right: the year this version was made in.
/// A build may give a later one in `SOURCE_DATE_EPOCH`.
pub const BUILD_EPOCH_S: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => decimal(text.as_bytes(), 1_767_225_600),
    None => 1_767_225_600,
};

/// Octets of a CUPS answer without its update: two addresses, two credential segments and a
/// signature are 131,726 octets at most.
pub const ANSWER_OCTETS_MAX: usize = 132 * 1024;

/// Octets of an answer that is not 200 which are read for its message.
pub const ERROR_BODY_OCTETS_MAX: usize = 4096;

/// Octets of HTTP headers in an answer: proxies add a dozen lines, never this much.
pub const HEADER_OCTETS_MAX: usize = 16 * 1024;

/// Octets read at a time; also the size of ureq's two buffers.
pub const BUFFER_OCTETS: usize = 8 * 1024;

/// Longest wait a server may ask for; beyond it a gateway would look dead.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Least time left for one address when a host has several, so that a black hole on the
/// first does not use up the whole deadline.
pub const CONNECT_SHARE_MIN: Duration = Duration::from_secs(2);

/// How long the read side is drained for the alert after a write has failed: the alert
/// precedes the reset and is normally there already. `reference/proxies.md` 3.3.
pub const DRAIN_MAX: Duration = Duration::from_millis(1500);

/// Addresses of one host that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// Octets of a configuration file.
pub const CONFIG_OCTETS_MAX: u64 = 64 * 1024;

/// Octets of the status object: what a non-blocking write to a socket takes at once.
pub const STATUS_OCTETS_MAX: usize = 16 * 1024;

/// Octets of a line on the control socket.
pub const CONTROL_OCTETS_MAX: usize = 256;

/// Clients of one socket that are served before the loop goes round: anybody may ask for the
/// status, and nobody may keep the loop from the worker, from SIGTERM and from the watchdog.
pub const CLIENTS_A_ROUND: usize = 4;

/// How long a client of a socket may take.
pub const SOCKET_PATIENCE: Duration = Duration::from_secs(1);

/// Soonest reload after the one before: a storm of SIGHUP or file events is one reload.
pub const RELOAD_PAUSE: Duration = Duration::from_secs(2);

const fn decimal(octets: &[u8], otherwise: u64) -> u64 {
    let mut number: u64 = 0;
    let mut rest = octets;
    while let Some((&octet, tail)) = rest.split_first() {
        if !octet.is_ascii_digit() {
            return otherwise;
        }
        number = number
            .saturating_mul(10)
            .saturating_add((octet - b'0') as u64);
        rest = tail;
    }
    if octets.is_empty() { otherwise } else { number }
}
