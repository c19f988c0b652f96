//! Listens: a loopback listener with one thread a connection, ended when it is dropped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest wait for one read, so that a forgotten client cannot keep a thread for ever.
const READ_LIMIT: Duration = Duration::from_secs(120);

/// One accepted connection. Clones share the socket, so another thread can close it.
#[derive(Debug, Clone)]
pub struct Socket(Arc<TcpStream>);

impl Socket {
    /// Takes an open stream.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    /// Ends both directions; readers in other threads see the end of the stream.
    pub fn close(&self) {
        // A peer that is gone already is what was wanted.
        let _gone_already = self.0.shutdown(Shutdown::Both);
    }

    /// Ends the sending direction, then reads what the peer still sends for at most `limit`.
    ///
    /// Closing with unread octets makes the kernel send a reset, which can destroy an alert that
    /// is on its way.
    pub fn close_gently(&self, limit: Duration) {
        let _gone_already = self.0.shutdown(Shutdown::Write);
        let _no_limit = self.0.set_read_timeout(Some(limit));
        let mut rest = [0_u8; 4096];
        while matches!((&*self.0).read(&mut rest), Ok(1..)) {}
    }

    /// The stream below.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(into)
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        (&*self.0).write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

/// A listener on 127.0.0.1 that hands each connection to a handler on a thread of its own.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    sockets: Arc<Mutex<Vec<Weak<TcpStream>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts to listen; port 0 lets the system choose.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub fn start<H>(port: u16, handler: H) -> io::Result<Self>
    where
        H: Fn(Socket) + Send + Sync + 'static,
    {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), handler)
    }

    /// The same on an address of choice.
    ///
    /// # Errors
    /// The address is taken or not ours, or no thread can be started.
    pub fn start_at<H>(address: SocketAddr, handler: H) -> io::Result<Self>
    where
        H: Fn(Socket) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let sockets = Arc::new(Mutex::new(Vec::new()));
        let (stop_seen, register) = (Arc::clone(&stop), Arc::clone(&sockets));
        let handler = Arc::new(handler);
        let thread = thread::Builder::new()
            .name("lab-accept".to_owned())
            .spawn(move || {
                for stream in listener.incoming() {
                    if stop_seen.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Ok(stream) = stream {
                        accept(stream, &register, &handler);
                    }
                }
            })?;
        Ok(Self {
            address,
            stop,
            sockets,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees the flag.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
        for socket in lock(&self.sockets).iter().filter_map(Weak::upgrade) {
            Socket(socket).close();
        }
    }
}

/// Takes a lock even if another thread panicked while it held it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept<H>(stream: TcpStream, register: &Mutex<Vec<Weak<TcpStream>>>, handler: &Arc<H>)
where
    H: Fn(Socket) + Send + Sync + 'static,
{
    let _best_effort = stream.set_nodelay(true);
    let _best_effort = stream.set_read_timeout(Some(READ_LIMIT));
    let socket = Socket::new(stream);
    {
        let mut sockets = lock(register);
        sockets.retain(|known| known.strong_count() > 0);
        sockets.push(Arc::downgrade(&socket.0));
    }
    let handler = Arc::clone(handler);
    thread::spawn(move || handler(socket));
}
