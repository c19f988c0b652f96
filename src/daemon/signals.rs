//! Acts: the signals that end or reload the service, as sockets that poll can wait for.

use std::io;
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// Readable when a signal has come.
pub(super) struct Signals {
    /// SIGTERM or SIGINT.
    pub(super) stop: UnixStream,
    /// SIGHUP.
    pub(super) hangup: UnixStream,
}

impl Signals {
    /// Takes the signals over.
    pub(super) fn start() -> io::Result<Self> {
        let (stop, stop_end) = UnixStream::pair()?;
        let (hangup, hangup_end) = UnixStream::pair()?;
        hangup.set_nonblocking(true)?;
        pipe::register(SIGTERM, stop_end.try_clone()?)?;
        pipe::register(SIGINT, stop_end)?;
        pipe::register(SIGHUP, hangup_end)?;
        Ok(Self { stop, hangup })
    }

    /// Forgets the hang-ups that have come.
    pub(super) fn drain(&self) {
        super::run::drain(&self.hangup);
    }
}
