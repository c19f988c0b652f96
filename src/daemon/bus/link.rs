//! Acts: one connection to the bus: introduction, calls that are waited for, whole messages both
//! ways.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::unistd::geteuid;
use zeroize::Zeroize as _;

use super::address::Address;
use crate::daemon::clock::Cutoff;
use crate::wire::dbus::{Body, Kind, MESSAGE_OCTETS_MAX, Message, texts};

/// How long all that is waited for on one connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a line of the introduction.
const LINE_OCTETS_MAX: usize = 512;
/// What is unsent when a bus has stopped reading: a token or two.
#[cfg(feature = "mender")]
const UNSENT_OCTETS_MAX: usize = 1024 * 1024;
/// "Do not queue": the name is either ours or another's.
#[cfg(feature = "mender")]
const DO_NOT_QUEUE: u32 = 4;
#[cfg(feature = "mender")]
const PRIMARY_OWNER: u32 = 1;
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// A connection that has been let in.
#[derive(Debug)]
pub(in crate::daemon) struct Link {
    stream: UnixStream,
    serial: u32,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// For the introduction and all calls.
    cutoff: Cutoff,
}

impl Link {
    /// Connects and introduces itself. Calls are waited for, ten seconds for all together.
    pub(in crate::daemon) fn open(address: &Address) -> io::Result<Self> {
        let stream = address.connect(PATIENCE)?;
        let mut link = Self {
            stream,
            serial: 0,
            received: Vec::new(),
            unsent: Vec::new(),
            cutoff: Cutoff::after(PATIENCE),
        };
        link.introduce()?;
        link.ask(BUS, BUS_PATH, (BUS, "Hello"), Body::default())?;
        Ok(link)
    }

    /// The number of the next message.
    pub(in crate::daemon) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.serial
    }

    /// Reads and writes what can be read and written now.
    pub(in crate::daemon) fn exchange(&mut self) -> io::Result<()> {
        self.flush()?;
        let mut buffer = [0; 4096];
        // One piece a round: the rest wakes the thread again.
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(gone()),
            Ok(amount) => {
                let piece = buffer.get(..amount).unwrap_or_default();
                self.received.extend_from_slice(piece);
                Ok(())
            }
            Err(error) if is_later(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next whole message that was received.
    pub(in crate::daemon) fn take(&mut self) -> io::Result<Option<Message>> {
        let read = Message::read(&self.received)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let Some((message, length)) = read else {
            if self.received.len() > MESSAGE_OCTETS_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            return Ok(None);
        };
        self.received.drain(..length);
        Ok(Some(message))
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(gone()),
                Ok(amount) => {
                    if let Some(sent) = self.unsent.get_mut(..amount) {
                        sent.zeroize();
                    }
                    self.unsent.drain(..amount);
                }
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// `AUTH EXTERNAL`: the socket itself tells the bus who we are.
    fn introduce(&mut self) -> io::Result<()> {
        // The decimal digits of the user's number, each as the two hex digits of its octet.
        let digits: String = geteuid()
            .to_string()
            .chars()
            .flat_map(|digit| ['3', digit])
            .collect();
        self.stream
            .write_all(format!("\0AUTH EXTERNAL {digits}\r\n").as_bytes())?;
        let mut line = Vec::new();
        let mut octet = [0];
        while !line.ends_with(b"\r\n") {
            self.hold_to_cutoff()?;
            match self.stream.read(&mut octet) {
                Ok(0) => return Err(gone()),
                Ok(_) if line.len() >= LINE_OCTETS_MAX => return Err(gone()),
                Ok(_) => line.extend_from_slice(&octet),
                Err(error) if is_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(io::Error::other("the bus does not let this user in"));
        }
        self.stream.write_all(b"BEGIN\r\n")
    }

    /// Calls and waits for the answer; signals before it are passed over. `method` is the
    /// interface and its member.
    pub(in crate::daemon) fn ask(
        &mut self,
        whom: &str,
        path: &str,
        method: (&str, &str),
        body: Body,
    ) -> io::Result<Message> {
        let call = Message::call(self.next_serial(), whom, path, method).with(body);
        self.stream.write_all(&call.write())?;
        loop {
            while let Some(message) = self.take()? {
                let is_answer = matches!(message.kind, Kind::Return | Kind::Error);
                if !is_answer || message.reply_to != Some(call.serial) {
                    continue;
                }
                if message.kind == Kind::Error {
                    let words = texts(&message).concat();
                    let what = format!("{} refused: {} {words}", call.member, message.error_name);
                    return Err(io::Error::other(what));
                }
                return Ok(message);
            }
            // A read that has waited in vain is none; neither is one of what nobody asked for.
            self.hold_to_cutoff()?;
            self.exchange()?;
        }
    }

    /// Lets the next read wait for what is left of the patience.
    fn hold_to_cutoff(&self) -> io::Result<()> {
        let left = self.cutoff.left().ok_or_else(silent)?;
        // Zero would mean for ever.
        let left = left.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left))
    }
}

/// What one who serves others needs besides.
#[cfg(feature = "mender")]
impl Link {
    /// Takes a name, and waits for nothing from now on; `false`: it is another's.
    pub(in crate::daemon) fn own(&mut self, name: &str) -> io::Result<bool> {
        let body = Body::default().text(name).number(DO_NOT_QUEUE);
        let answer = self.ask(BUS, BUS_PATH, (BUS, "RequestName"), body)?;
        self.stream.set_nonblocking(true)?;
        Ok(answer.body.get(..4) == Some(&PRIMARY_OWNER.to_le_bytes()))
    }

    /// What is waited for.
    pub(in crate::daemon) fn wants(&self) -> nix::poll::PollFlags {
        use nix::poll::PollFlags;

        if self.unsent.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLIN | PollFlags::POLLOUT
        }
    }

    /// Sends now, or when the bus takes it.
    pub(in crate::daemon) fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut octets = message.write();
        self.unsent.extend_from_slice(&octets);
        // It may hold a token.
        octets.zeroize();
        if self.unsent.len() > UNSENT_OCTETS_MAX {
            return Err(io::Error::other("the bus does not read what it is sent"));
        }
        self.flush()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.unsent.zeroize();
    }
}

fn gone() -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        "the bus has closed the connection",
    )
}

fn silent() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "the bus does not answer")
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
