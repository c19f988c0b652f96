//! Acts: name lookup and TCP connection, both within a deadline.
//!
//! `getaddrinfo` cannot be cancelled, so it runs in a thread that is left behind when it
//! takes too long. All addresses are tried, because a broken IPv6 is common in the field.

use core::time::Duration;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use crate::agent::evidence::{SocketFault, Stage};
use crate::daemon::clock::Cutoff;
use crate::limits::{ADDRESSES_MAX, CONNECT_SHARE_MIN};

/// Why no connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialError {
    /// Looking up or connecting.
    pub stage: Stage,
    /// What happened.
    pub fault: SocketFault,
}

/// Connects to a host by name or address.
pub fn dial(host: &str, port: u16, cutoff: Cutoff) -> Result<TcpStream, DialError> {
    let addresses = resolve(host, port, cutoff)?;
    let mut last = DialError {
        stage: Stage::Resolve,
        fault: SocketFault::NoSuchName,
    };
    for (index, address) in addresses.iter().enumerate() {
        let fail = |fault| DialError {
            stage: Stage::Connect,
            fault,
        };
        let Some(left) = cutoff.left() else {
            return Err(fail(SocketFault::TimedOut));
        };
        let others = u32::try_from(addresses.len().saturating_sub(index))
            .unwrap_or(1)
            .max(1);
        let share = left
            .checked_div(others)
            .unwrap_or(left)
            .max(CONNECT_SHARE_MIN)
            .min(left);
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => {
                // Without it the second small record would wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = fail(fault_of(&error)),
        }
    }
    Err(last)
}

/// Puts an I/O error into our words.
#[must_use]
pub fn fault_of(error: &Error) -> SocketFault {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => SocketFault::TimedOut,
        ErrorKind::ConnectionRefused => SocketFault::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            SocketFault::Reset
        }
        ErrorKind::UnexpectedEof => SocketFault::Closed,
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => SocketFault::Unreachable,
        _ => SocketFault::Other,
    }
}

fn resolve(host: &str, port: u16, cutoff: Cutoff) -> Result<Vec<SocketAddr>, DialError> {
    let fail = |fault| DialError {
        stage: Stage::Resolve,
        fault,
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = host.to_owned();
    let lookup = move || {
        let found = (name.as_str(), port).to_socket_addrs();
        // The receiver is gone when the deadline has passed.
        let _ = sender.send(found.map(|list| list.take(ADDRESSES_MAX).collect::<Vec<_>>()));
    };
    thread::Builder::new()
        .name("lookup".to_owned())
        .stack_size(128 * 1024)
        .spawn(lookup)
        .map_err(|_| fail(SocketFault::Other))?;
    match receiver.recv_timeout(cutoff.left().unwrap_or(Duration::ZERO)) {
        Ok(Ok(list)) if !list.is_empty() => Ok(interleaved(&list)),
        Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(fail(SocketFault::NoSuchName)),
        Err(RecvTimeoutError::Timeout) => Err(fail(SocketFault::TimedOut)),
    }
}

/// Alternates between address families, in the resolver's order within each.
fn interleaved(list: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first_v6 = list.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) = list
        .iter()
        .copied()
        .partition(|address| address.is_ipv6() == is_first_v6);
    first.reverse();
    second.reverse();
    let mut ordered = Vec::with_capacity(list.len());
    while !first.is_empty() || !second.is_empty() {
        ordered.extend(first.pop());
        ordered.extend(second.pop());
    }
    ordered
}
