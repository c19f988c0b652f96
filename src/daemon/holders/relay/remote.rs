//! Acts: the LNS's side of a relayed connection, TLS or plain, never blocking.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use rustls::ClientConnection;

use crate::limits::{RELAY_CHUNK_OCTETS, RELAY_CHUNK_OCTETS_MIN, RELAY_HELD_OCTETS};

/// An open connection to the LNS, not blocking.
#[derive(Debug)]
pub(in crate::daemon) struct Remote {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Only without TLS: what the socket did not take.
    waiting: Vec<u8>,
}

/// Room for one chunk each way, used by all connections in turn.
#[derive(Debug)]
pub(in crate::daemon) struct Scratch {
    pub(super) plain: Vec<u8>,
    sealed: Vec<u8>,
}

impl Scratch {
    pub(in crate::daemon) fn new() -> Self {
        Self {
            plain: vec![0; RELAY_CHUNK_OCTETS],
            sealed: vec![0; RELAY_CHUNK_OCTETS],
        }
    }

    /// Shares what may be held among this many connections.
    pub(super) fn fit(&mut self, connections: usize) {
        let ways = connections.saturating_mul(2).max(1);
        let share = (RELAY_HELD_OCTETS / ways).clamp(RELAY_CHUNK_OCTETS_MIN, RELAY_CHUNK_OCTETS);
        self.plain.resize(share, 0);
        self.sealed.resize(share, 0);
    }
}

/// What one reading showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The buffer was filled: there may be more.
    Full,
    /// All that was there.
    All,
    /// The end.
    End,
}

impl Seen {
    pub(super) const fn of(amount: usize, room: usize) -> Self {
        match amount {
            0 => Self::End,
            _ if amount < room => Self::All,
            _ => Self::Full,
        }
    }
}

impl Remote {
    pub(in crate::daemon) fn new(
        socket: TcpStream,
        tls: Option<Box<ClientConnection>>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            tls,
            waiting: Vec::new(),
        })
    }

    pub(super) fn has_waiting(&self) -> bool {
        match &self.tls {
            Some(tls) => tls.wants_write(),
            None => !self.waiting.is_empty(),
        }
    }

    /// Takes all of a chunk; only to be called when nothing waits.
    pub(super) fn push(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(octets),
            None => send_or_keep(&mut self.socket, octets, &mut self.waiting),
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn send(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return flush(&mut self.socket, &mut self.waiting);
        };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once and gives what the LNS said to `sink`. rustls itself would read 4 KiB at a
    /// time, four calls for a record.
    pub(super) fn read(
        &mut self,
        scratch: &mut Scratch,
        mut sink: impl FnMut(&[u8]),
    ) -> io::Result<Seen> {
        let Some(tls) = &mut self.tls else {
            let amount = self.socket.read(&mut scratch.plain)?;
            sink(scratch.plain.get(..amount).unwrap_or_default());
            return Ok(Seen::of(amount, scratch.plain.len()));
        };
        // One call to the other side for all of it, not one a record.
        let mut filled = 0;
        let Scratch { plain, sealed } = scratch;
        let seen = open_records(&mut self.socket, tls, sealed, |tls| {
            drain(tls, plain, &mut filled, &mut sink)
        });
        // What came before a broken record is still good.
        sink(plain.get(..filled).unwrap_or_default());
        seen
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) {
        match &mut self.tls {
            Some(tls) => tls.send_close_notify(),
            None => drop(self.socket.shutdown(Shutdown::Write)),
        }
    }
}

impl AsFd for Remote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads the socket once and has all that it gives decrypted and drained.
fn open_records(
    socket: &mut TcpStream,
    tls: &mut ClientConnection,
    sealed: &mut [u8],
    mut drain: impl FnMut(&mut ClientConnection) -> io::Result<bool>,
) -> io::Result<Seen> {
    // What came with the handshake or the head.
    if drain(tls)? {
        return Ok(Seen::End);
    }
    let amount = socket.read(sealed)?;
    let seen = Seen::of(amount, sealed.len());
    let mut rest = sealed.get(..amount).unwrap_or_default();
    loop {
        // Nothing left to read is how rustls hears of the end.
        tls.read_tls(&mut rest)?;
        let is_sound = tls.process_new_packets().is_ok();
        let has_ended = drain(tls)?;
        if !is_sound {
            return Err(ErrorKind::InvalidData.into());
        }
        if has_ended {
            return Ok(Seen::End);
        }
        if rest.is_empty() {
            return Ok(seen);
        }
    }
}

/// Gathers all that is decrypted in `plain`, and gives it to `sink` when that is full; `true`
/// at the end.
fn drain(
    tls: &mut ClientConnection,
    plain: &mut [u8],
    filled: &mut usize,
    sink: &mut impl FnMut(&[u8]),
) -> io::Result<bool> {
    loop {
        if *filled >= plain.len() {
            sink(plain);
            *filled = 0;
        }
        match tls
            .reader()
            .read(plain.get_mut(*filled..).unwrap_or_default())
        {
            Ok(0) => return Ok(true),
            Ok(amount) => *filled = filled.saturating_add(amount),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Sends a chunk and keeps what was not taken.
pub(super) fn send_or_keep(
    socket: &mut impl Write,
    octets: &[u8],
    waiting: &mut Vec<u8>,
) -> io::Result<()> {
    if !waiting.is_empty() {
        // The order counts: what waits goes first.
        waiting.extend_from_slice(octets);
        return Ok(());
    }
    let mut rest = octets;
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(amount) => rest = rest.get(amount..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                waiting.extend_from_slice(rest);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends what waits, as far as it is taken; an empty buffer is given back.
pub(super) fn flush(socket: &mut impl Write, waiting: &mut Vec<u8>) -> io::Result<()> {
    if !waiting.is_empty() {
        let octets = core::mem::take(waiting);
        send_or_keep(socket, &octets, waiting)?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a socket to ourselves connects at once"
)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::{Remote, Scratch};
    use crate::limits::{RELAY_CHUNK_OCTETS, RELAY_HELD_OCTETS};

    #[test]
    fn the_more_are_connected_the_less_is_read_ahead_for_each() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut lns, _) = listener.accept().unwrap();
        lns.write_all(&vec![7; 3 * RELAY_CHUNK_OCTETS]).unwrap();
        let mut remote = Remote::new(near, None).unwrap();
        let mut scratch = Scratch::new();
        let mut read = |connections: usize| {
            let mut octets = 0;
            scratch.fit(connections);
            remote
                .read(&mut scratch, |piece| octets += piece.len())
                .unwrap();
            octets
        };
        for connections in [500, 1024] {
            let octets = read(connections);
            assert!(octets > 0 && octets * 2 * connections <= RELAY_HELD_OCTETS);
        }
        assert_eq!(read(1), RELAY_CHUNK_OCTETS);
    }
}
