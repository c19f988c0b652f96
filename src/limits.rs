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

/// Farthest that a remembered time may lie ahead of a clock that is set, seconds: a device may
/// have been in store for years with the clock of its build, but not beyond them.
pub const REMEMBERED_AHEAD_S_MAX: u64 = 5 * 365 * 86_400;

/// Octets of an answer that is not 200 which are read for its message.
pub const ERROR_BODY_OCTETS_MAX: usize = 4096;

/// Octets of HTTP headers in an answer: proxies add a dozen lines, never this much.
pub const HEADER_OCTETS_MAX: usize = 16 * 1024;

/// Octets read at a time; also the size of ureq's two buffers.
pub const BUFFER_OCTETS: usize = 8 * 1024;

/// Octets that may wait for a WebSocket server that does not read: it could have a pong made for
/// each of its pings, for ever. Our own longest message is a quarter of this.
pub const WRITE_OCTETS_MAX: usize = 256 * 1024;

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

/// Octets of a line on the control socket: the longest frame in hex digits is 510.
pub const CONTROL_OCTETS_MAX: usize = 1024;

/// Clients of one socket that are served before the loop goes round: anybody may ask for the
/// status, and nobody may keep the loop from the worker, from SIGTERM and from the watchdog.
pub const CLIENTS_A_ROUND: usize = 4;

/// How long a client of a socket may take.
pub const SOCKET_PATIENCE: Duration = Duration::from_secs(1);

/// Soonest reload after the one before: a storm of SIGHUP or file events is one reload.
pub const RELOAD_PAUSE: Duration = Duration::from_secs(2);

/// Octets of an HTTP head that a local client of the relay may send.
pub const RELAY_HEAD_OCTETS_MAX: usize = 8 * 1024;

/// Octets that the relay passes at a time: two TLS records; rustls takes 64 KiB at most.
pub const RELAY_CHUNK_OCTETS: usize = 32 * 1024;

/// Octets that the relay passes at a time when very many are connected.
pub const RELAY_CHUNK_OCTETS_MIN: usize = 4 * 1024;

/// What all clients of the relay and their LNS together may leave lying in it, a chunk each way:
/// the unit's `MemoryMax=` has to hold hundreds that do not read.
pub const RELAY_HELD_OCTETS: usize = 8 * 1024 * 1024;

/// Local clients served at a time; each needs two descriptors.
pub const RELAY_CLIENTS_MAX: usize = 1024;

/// Connections with replaced credentials that live on beside the new ones.
pub const RELAY_OLD_CLIENTS_MAX: usize = 512;

/// Descriptors the process may have while it relays.
pub const RELAY_FILES_MAX: u32 = 4096;

/// Threads that open connections to the LNS for the relay.
pub const RELAY_DIALERS_MAX: usize = 4;

/// How long a dialer without work is kept.
pub const RELAY_DIALER_IDLE: Duration = Duration::from_secs(10);

/// How long a local client may take for its HTTP head and its discovery question.
pub const RELAY_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take to hear the last of a connection that is over.
pub const RELAY_GOODBYE: Duration = Duration::from_secs(5);

/// How long one direction may stay silent when the other has ended.
pub const RELAY_HALF_OPEN: Duration = Duration::from_secs(60);

/// Clients let in, or sent away, before the others get their turn.
pub const RELAY_ACCEPTS_A_ROUND: usize = 64;

/// Descriptors that clients of the relay leave to the agent itself: it has to reach CUPS and
/// the LNS whatever they do.
pub const RELAY_FILES_KEPT: u32 = 64;

/// Clients served at a time however few descriptors there are.
pub const RELAY_CLIENTS_MIN: usize = 4;

/// Times a client is listened to before others get their turn.
pub const RELAY_READS_A_TURN: usize = 16;

/// Messages other than the question that a client of discovery may send.
pub const RELAY_CHATTER_MAX: usize = 16;

/// Octets of one `Sec-WebSocket-*` line that is passed on to the LNS.
pub const RELAY_LINE_OCTETS_MAX: usize = 256;

/// How long no client is taken when descriptors have run out.
pub const RELAY_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// When a client that was turned away may come back, seconds: as often as station does.
pub const RELAY_RETRY_S: u32 = 10;

/// Soonest rewrite of the file of metrics: as often as a scraper looks.
pub const TEXTFILE_PAUSE: Duration = Duration::from_secs(15);

/// A set that could not be handed over to station is tried again after this, ...
pub const HANDOVER_RETRY_FIRST: Duration = Duration::from_secs(60);

/// ... doubling up to this: nothing tells us when somebody has mended the folder.
pub const HANDOVER_RETRY_LONGEST: Duration = Duration::from_secs(15 * 60);

/// How long a log line waits for a reader before it is lost, milliseconds.
pub const LOG_PATIENCE_MS: u16 = 100;

/// Octets of a log line: what a pipe that takes anything takes whole (`PIPE_BUF`).
pub const LOG_LINE_OCTETS_MAX: usize = 4096;

/// How long the sockets are left alone when the system has no descriptor for a client.
pub const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Octets of one datagram of the kernel's news: what it puts into one at most.
pub const NETLINK_OCTETS_MAX: usize = 8 * 1024;

/// Datagrams of such news read at a time: a flood must not keep the loop from its work.
pub const NETLINK_DATAGRAMS_MAX: usize = 64;

/// Interfaces whose state is remembered.
pub const NETLINK_INTERFACES_MAX: usize = 256;

/// News of the network are gathered for so long: link, address and route come together.
pub const NETWORK_SETTLE: Duration = Duration::from_secs(1);

/// Soonest telling after the one before: a loose plug must not become a storm of tries.
pub const NETWORK_PAUSE: Duration = Duration::from_secs(10);

/// Longest wait a Mender server may ask for.
pub const MENDER_RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an identity or inventory script may take: as long as the official client waits.
pub const SCRIPT_PATIENCE: Duration = Duration::from_secs(10);

/// Octets that a script may write: far more than a hundred attributes need.
pub const SCRIPT_OCTETS_MAX: usize = 64 * 1024;

/// Inventory scripts that are run.
pub const SCRIPTS_MAX: usize = 64;

/// Octets of an HTTP head that the forwarder takes from either side.
pub const FORWARDER_HEAD_OCTETS_MAX: usize = 16 * 1024;

/// Programs of this device that the forwarder serves at a time; each has a thread.
pub const FORWARDER_CONNECTIONS_MAX: usize = 32;

/// Upgraded connections among them.
pub const FORWARDER_UPGRADES_MAX: usize = 8;

/// Octets of a request's body that are kept, so that it can be sent again with another token:
/// what the server takes at most.
pub const FORWARDER_KEPT_OCTETS_MAX: usize = 1024 * 1024;

/// Octets that the forwarder passes at a time.
pub const FORWARDER_CHUNK_OCTETS: usize = 8 * 1024;

/// How long a program may take for its HTTP head.
pub const FORWARDER_HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a program may take to hear the last of an answer.
pub const FORWARDER_GOODBYE: Duration = Duration::from_secs(2);

/// How long a WebSocket may be silent: mender-connect pings every 54 s.
pub const FORWARDER_IDLE: Duration = Duration::from_secs(300);

/// How long a request waits for a token in place of one that was refused.
pub const FORWARDER_TOKEN_PATIENCE: Duration = Duration::from_secs(60);

/// How long the token before the current one is taken from programs that have not heard yet.
pub const FORWARDER_GRACE: Duration = Duration::from_secs(600);

/// When a program that was turned away may come back, seconds.
pub const FORWARDER_RETRY_S: u32 = 10;

/// Paths that are known to be forbidden whatever the token.
pub const FORWARDER_FORBIDDEN_MAX: usize = 16;

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
