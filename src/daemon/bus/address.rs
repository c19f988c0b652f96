//! Acts: where the system bus is.

use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike as _};

const USUAL: &str = "/run/dbus/system_bus_socket";

/// The Unix sockets of a bus, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Vec<Place>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Path(String),
    Abstract(String),
}

impl Address {
    /// Reads an address as `DBUS_SYSTEM_BUS_ADDRESS` has it. Only Unix sockets are taken: a
    /// token does not go over a network in the clear. `None`: no such socket is in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let places: Vec<Place> = text.split(';').filter_map(place).collect();
        (!places.is_empty()).then_some(Self(places))
    }

    /// Where every distribution has it.
    #[must_use]
    pub fn usual() -> Self {
        Self(vec![Place::Path(USUAL.to_owned())])
    }

    /// Reads the environment.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the address of the bus comes through the environment"
    )]
    pub fn from_environment() -> Self {
        let text = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
        Self::parse(&text).unwrap_or_else(Self::usual)
    }

    /// Connects to the first that answers. A bus that has stopped accepting is waited for so
    /// long, each.
    pub(in crate::daemon) fn connect(&self, patience: Duration) -> io::Result<UnixStream> {
        let mut last = io::ErrorKind::NotFound.into();
        for place in &self.0 {
            match place.connect(patience) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Place {
    fn connect(&self, patience: Duration) -> io::Result<UnixStream> {
        let address = match self {
            Self::Path(path) => UnixAddr::new(path.as_str()),
            Self::Abstract(name) => UnixAddr::new_abstract(name.as_bytes()),
        }?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let patience = TimeVal::seconds(patience.as_secs().try_into().unwrap_or(i64::MAX));
        setsockopt(&socket, SendTimeout, &patience)?;
        connect(socket.as_raw_fd(), &address)?;
        Ok(socket.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match place {
                Place::Path(path) => write!(f, "{comma}{path}")?,
                Place::Abstract(name) => write!(f, "{comma}@{name}")?,
            }
        }
        Ok(())
    }
}

fn place(text: &str) -> Option<Place> {
    let values = text.trim().strip_prefix("unix:")?;
    values.split(',').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        match name {
            "path" => unescaped(value).map(Place::Path),
            "abstract" => unescaped(value).map(Place::Abstract),
            _ => None,
        }
    })
}

/// `%2f` and kin; `None` if an escape is cut or the result is not text.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            out.push(octet);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = core::str::from_utf8(&digits).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::{Address, Place};

    #[test]
    fn addresses_of_unix_sockets_are_read_and_others_passed_over() {
        let path = |text: &str| Place::Path(text.to_owned());
        for (text, places) in [
            ("unix:path=/run/bus,guid=ab", vec![path("/run/bus")]),
            (
                "tcp:host=a,port=1;unix:guid=ab,abstract=x%2fy;unix:path=/b",
                vec![Place::Abstract("x/y".to_owned()), path("/b")],
            ),
        ] {
            assert_eq!(Address::parse(text), Some(Address(places)), "{text}");
        }
        for text in ["", "tcp:host=a", "unix:tmpdir=/tmp", "unix:path=%2"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
