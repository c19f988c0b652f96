//! Acts: has TCP notice an LNS whose packets no longer come, and words the loss.
//!
//! Half of the time nothing is asked, because probes cost octets; then TCP asks eight times as
//! often as the whole lasts. What is on its way hides an idle socket's probes, so it has the
//! same limit of its own.

use core::time::Duration;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{KeepAlive, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout};

/// How long an LNS may give no sign of life, and how that is found out.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon::holders) struct Silence {
    /// Seconds.
    limit_s: u32,
}

impl Silence {
    /// So many seconds.
    pub(in crate::daemon::holders) const fn of(limit_s: u32) -> Self {
        Self { limit_s }
    }

    /// The same as a duration.
    pub(super) fn limit(self) -> Duration {
        Duration::from_secs(self.limit_s.into())
    }

    /// Has a socket keep it. It holds for an idle one too: Linux ends the probes by the limit
    /// of what is on its way, not by their number.
    pub(super) fn watch(self, socket: &impl AsFd) -> io::Result<()> {
        setsockopt(socket, KeepAlive, &true)?;
        setsockopt(socket, TcpKeepIdle, &(self.limit_s / 2).max(1))?;
        setsockopt(socket, TcpKeepInterval, &(self.limit_s / 8).max(1))?;
        let limit_ms = self.limit_s.saturating_mul(1000);
        setsockopt(socket, TcpUserTimeout, &limit_ms)?;
        Ok(())
    }

    /// What to tell people of a connection to `peer` that broke.
    pub(super) fn loss(self, peer: &str, kind: ErrorKind) -> String {
        match kind {
            // A router that says why does not make the wait shorter. An LNS that reads nothing
            // ends by the same limit, although it acknowledges that it has no room.
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                format!(
                    "{peer} gave no sign of life, or took nothing, for {} s",
                    self.limit_s
                )
            }
            kind => format!("{peer} broke the connection: {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;

    use nix::sys::socket::getsockopt;
    use nix::sys::socket::sockopt::{KeepAlive, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout};

    use super::Silence;

    #[test]
    fn the_usual_time_is_that_of_station_s_own_probes() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        Silence::of(120).watch(&socket).unwrap();
        assert!(getsockopt(&socket, KeepAlive).unwrap());
        assert_eq!(getsockopt(&socket, TcpKeepIdle).unwrap(), 60);
        assert_eq!(getsockopt(&socket, TcpKeepInterval).unwrap(), 15);
        assert_eq!(getsockopt(&socket, TcpUserTimeout).unwrap(), 120_000);
    }

    #[test]
    fn a_loss_names_the_host_and_why() {
        let silence = Silence::of(8);
        let silent = "lns:443 gave no sign of life, or took nothing, for 8 s";
        assert_eq!(silence.loss("lns:443", ErrorKind::TimedOut), silent);
        assert_eq!(silence.loss("lns:443", ErrorKind::HostUnreachable), silent);
        let reset = silence.loss("lns:443", ErrorKind::ConnectionReset);
        assert_eq!(reset, "lns:443 broke the connection: connection reset");
    }
}
