//! Doubles: servers that never behave.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{Conn, Framing, RawAnswer};
use crate::server::{Listener, Socket};

/// What a misbehaving server does with every connection.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Accepts and says nothing for so long.
    Hang(Duration),
    /// Resets the connection when the first octets have come.
    Reset,
    /// Ends the connection in good order when the first octets have come.
    End,
    /// Speaks HTTP without TLS: a captive portal with this page.
    PlainHttp(String),
    /// Sends octets that are no TLS.
    Garbage(Vec<u8>),
    /// Finishes the handshake, reads the request and closes without an answer.
    CloseAfterHandshake(Arc<ServerConfig>),
    /// Finishes the handshake, reads the request and says nothing for so long.
    HangAfterHandshake(Arc<ServerConfig>, Duration),
    /// Sends one octet of a header every so often, for ever.
    EndlessHeader(Arc<ServerConfig>, Duration),
}

/// A running misbehaving server; it ends when dropped.
#[derive(Debug)]
pub struct Misbehaving {
    listener: Listener,
}

impl Misbehaving {
    /// Starts to listen on a port of 127.0.0.1 that the system chooses.
    ///
    /// # Errors
    /// No port is left.
    pub fn start(fault: Fault) -> io::Result<Self> {
        let listener = Listener::start(0, move |socket| {
            // Nobody behaves here, so an error is as good as any other end.
            let _any_end = misbehave(&fault, &socket);
        })?;
        Ok(Self { listener })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// `https://localhost:port`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("https://localhost:{}", self.address().port())
    }
}

fn misbehave(fault: &Fault, socket: &Socket) -> io::Result<()> {
    let mut wire = socket.clone();
    match fault {
        Fault::Hang(pause) => thread::sleep(*pause),
        // Closing with unread octets makes the kernel send a reset.
        Fault::Reset => {
            socket.stream().peek(&mut [0; 1])?;
            return Ok(());
        }
        Fault::End => {
            let _first = wire.read(&mut [0; 8192])?;
        }
        Fault::PlainHttp(page) => {
            let _first = wire.read(&mut [0; 8192])?;
            let answer = RawAnswer::typed(200, "text/html", page.clone().into_bytes());
            Conn::new(wire).answer(&answer.framed(Framing::ContentLength), false)?;
        }
        Fault::Garbage(octets) => {
            let _first = wire.read(&mut [0; 8192])?;
            wire.write_all(octets)?;
        }
        Fault::CloseAfterHandshake(config) => {
            let _request = Conn::new(handshake(config, wire)?).request()?;
        }
        Fault::HangAfterHandshake(config, pause) => {
            let _request = Conn::new(handshake(config, wire)?).request()?;
            thread::sleep(*pause);
        }
        Fault::EndlessHeader(config, pause) => {
            let mut conn = Conn::new(handshake(config, wire)?);
            let _request = conn.request()?;
            conn.stream().write_all(b"HTTP/1.1 200 OK\r\nX-Endless: ")?;
            loop {
                conn.stream().write_all(b"a")?;
                conn.stream().flush()?;
                thread::sleep(*pause);
            }
        }
    }
    socket.close_gently(Duration::from_millis(500));
    socket.close();
    Ok(())
}

fn handshake(
    config: &Arc<ServerConfig>,
    wire: Socket,
) -> io::Result<StreamOwned<ServerConnection, Socket>> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, wire);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}
