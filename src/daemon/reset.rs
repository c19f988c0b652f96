//! Acts: has a TCP connection end with a reset.

use std::os::fd::AsFd;

use nix::libc::linger;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;

/// Closing `socket` now throws away what is on its way, and tells the far side so if it can be
/// reached at all. An orderly end would go on sending for minutes.
pub(in crate::daemon) fn when_closed(socket: &impl AsFd) {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // Without it the end is an orderly one: later, and no worse for us.
    let _ = setsockopt(socket, Linger, &at_once);
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::when_closed;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a listener on loopback answers at once"
    )]
    fn the_far_side_hears_of_a_reset_and_not_of_an_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        ours.write_all(b"half of a fra").unwrap();
        when_closed(&ours);
        drop(ours);
        let mut heard = Vec::new();
        let end = theirs.read_to_end(&mut heard).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    }
}
