//! Doubles: a network path between a client and a server, which can fall silent or break.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::server::{Listener, Socket, lock};

/// How long one read waits before the state of the path is looked at again.
const GLANCE: Duration = Duration::from_millis(20);

/// A running path; it breaks when dropped.
#[derive(Debug)]
pub struct Pipe {
    listener: Listener,
    is_silent: Arc<AtomicBool>,
    sockets: Arc<std::sync::Mutex<Vec<Socket>>>,
}

impl Pipe {
    /// Starts to listen on a port of 127.0.0.1 and to pass everything on to `upstream`.
    ///
    /// # Errors
    /// No port is left.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let is_silent = Arc::new(AtomicBool::new(false));
        let sockets = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (silent, register) = (Arc::clone(&is_silent), Arc::clone(&sockets));
        let listener = Listener::start(0, move |near| {
            let Ok(far) = TcpStream::connect(upstream).map(Socket::new) else {
                near.close();
                return;
            };
            lock(&register).extend([near.clone(), far.clone()]);
            let (back_from, back_to) = (far.clone(), near.clone());
            let back_silent = Arc::clone(&silent);
            let back = thread::spawn(move || pass(&back_from, &back_to, &back_silent));
            pass(&near, &far, &silent);
            let _ended = back.join();
        })?;
        Ok(Self {
            listener,
            is_silent,
            sockets,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Whether nothing is passed on from now on; connections stay open.
    pub fn set_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Ends every connection that is open now.
    pub fn cut(&self) {
        for socket in lock(&self.sockets).drain(..) {
            socket.close();
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.cut();
    }
}

fn pass(from: &Socket, to: &Socket, is_silent: &AtomicBool) {
    let _best_effort = from.stream().set_read_timeout(Some(GLANCE));
    let (mut reader, mut writer) = (from.clone(), to.clone());
    let mut buffer = [0; 16 * 1024];
    loop {
        if is_silent.load(Ordering::SeqCst) {
            // A closed socket is seen when the silence is over, as on a real path.
            thread::sleep(GLANCE);
            if from.stream().take_error().is_err() {
                break;
            }
            continue;
        }
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
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
