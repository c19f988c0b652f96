//! Doubles: a network path between a client and a server, which can fall silent or break.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::server::{Listener, Socket, lock};

/// How long one read waits before the state of the path is looked at again.
const GLANCE: Duration = Duration::from_millis(20);

/// A running path; it breaks when dropped.
#[derive(Debug)]
pub struct Pipe {
    address: SocketAddr,
    upstream: SocketAddr,
    listener: Option<Listener>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_silent: AtomicBool,
    sockets: Mutex<Vec<Socket>>,
}

impl Pipe {
    /// Starts to listen on a port of 127.0.0.1 and to pass everything on to `upstream`.
    ///
    /// # Errors
    /// No port is left.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::start_at(0, upstream)
    }

    /// The same on a port of choice; 0 lets the system choose.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start_at(port: u16, upstream: SocketAddr) -> io::Result<Self> {
        let state = Arc::default();
        let listener = listen(port, upstream, &state)?;
        Ok(Self {
            address: listener.address(),
            upstream,
            listener: Some(listener),
            state,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether nothing is passed on from now on; connections stay open.
    pub fn set_silent(&self, is_silent: bool) {
        self.state.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Ends every connection that is open now.
    pub fn cut(&self) {
        for socket in lock(&self.state.sockets).drain(..) {
            socket.close();
        }
    }

    /// Ends every connection and refuses new ones.
    pub fn close(&mut self) {
        self.listener = None;
        self.cut();
    }

    /// Listens again on the same port after [`Pipe::close`].
    ///
    /// # Errors
    /// Somebody else has taken the port.
    pub fn open(&mut self) -> io::Result<()> {
        if self.listener.is_none() {
            self.listener = Some(listen(self.address.port(), self.upstream, &self.state)?);
        }
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.cut();
    }
}

fn listen(port: u16, upstream: SocketAddr, state: &Arc<State>) -> io::Result<Listener> {
    let state = Arc::clone(state);
    Listener::start(port, move |near| {
        let Ok(far) = TcpStream::connect(upstream).map(Socket::new) else {
            near.close();
            return;
        };
        let _best_effort = far.stream().set_nodelay(true);
        lock(&state.sockets).extend([near.clone(), far.clone()]);
        let (back_from, back_to) = (far.clone(), near.clone());
        let back_state = Arc::clone(&state);
        let back = thread::spawn(move || pass(&back_from, &back_to, &back_state.is_silent));
        pass(&near, &far, &state.is_silent);
        let _ended = back.join();
    })
}

fn pass(from: &Socket, to: &Socket, is_silent: &AtomicBool) {
    let _best_effort = from.stream().set_read_timeout(Some(GLANCE));
    let (mut reader, mut writer) = (from.clone(), to.clone());
    let mut buffer = [0; 16 * 1024];
    // A closed socket is seen when the silence is over, as on a real path.
    let is_over = || {
        while is_silent.load(Ordering::SeqCst) {
            thread::sleep(GLANCE);
            if from.stream().take_error().is_err() {
                return true;
            }
        }
        false
    };
    loop {
        if is_over() {
            break;
        }
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                // What was read while the silence began is held back like the rest.
                if is_over() {
                    break;
                }
                if writer
                    .write_all(buffer.get(..count).unwrap_or_default())
                    .is_err()
                {
                    break;
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(_) => break,
        }
    }
    from.close();
    to.close();
}
