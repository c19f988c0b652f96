//! Stands between proxy and CUPS double: answers the start question, records what it is sent,
//! and passes every other connection on byte for byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The path that is answered here and never reaches the double.
pub(crate) const READY_PATH: &str = "/proxy-ready";
const READY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nready";
/// Longest request head looked at; a forwarded RSA chain needs about 4 KB.
const HEAD_LIMIT: usize = 64 * 1024;

/// The recording relay. It serves until the test program ends.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// Where the proxy connects to.
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Listens on a free loopback port in front of `behind`.
    pub(crate) fn start(behind: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let this = Self {
            address: listener.local_addr()?,
            heads: Arc::default(),
        };
        let heads = Arc::clone(&this.heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heads = Arc::clone(&heads);
                // An end of the proxy's connection is not this relay's failure.
                thread::spawn(move || serve(stream, behind, &heads).unwrap_or_default());
            }
        });
        Ok(this)
    }

    /// The head of the latest request on a fresh connection.
    pub(crate) fn last_head(&self) -> String {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.last().cloned().unwrap_or_default()
    }
}

fn serve(mut from: TcpStream, behind: SocketAddr, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    let begun = read_head(&mut from)?;
    let head = String::from_utf8_lossy(&begun).into_owned();
    let asks_for_start = head.split(' ').nth(1) == Some(READY_PATH);
    heads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(head);
    if asks_for_start {
        return from.write_all(READY);
    }
    let mut to = TcpStream::connect(behind)?;
    to.write_all(&begun)?;
    let (mut back_from, mut back_to) = (to.try_clone()?, from.try_clone()?);
    let back = thread::spawn(move || pass(&mut back_from, &mut back_to));
    pass(&mut from, &mut to);
    back.join().unwrap_or_default();
    Ok(())
}

/// Copies until the sender stops, then tells the receiver so.
fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let _octets = io::copy(from, to);
    let _already_closed = to.shutdown(Shutdown::Write);
}

fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let mut chunk = [0; 4096];
    while !octets.windows(4).any(|window| window == b"\r\n\r\n") && octets.len() < HEAD_LIMIT {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => octets.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
    Ok(octets)
}

/// The leaf certificate as The Things Stack takes it out of a request's head, in base64
/// without line ends. The first header that is present decides, also when it is unusable.
pub(crate) fn forwarded_leaf(head: &str) -> Option<String> {
    if let Some(value) = header(head, "x-forwarded-client-cert") {
        let chain = value
            .split(';')
            .find_map(|part| part.strip_prefix("Chain="))?;
        let pem = percent_decoded(chain.trim_matches('"'))?;
        let body = pem.split("-----").nth(2)?;
        return Some(body.split_whitespace().collect());
    }
    let value = header(head, "x-forwarded-tls-client-cert")?;
    Some(value.split(',').next()?.to_owned())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, value)| found.eq_ignore_ascii_case(name) && !value.trim().is_empty())
        .map(|(_, value)| value.trim())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digits = [rest.next()?, rest.next()?];
            octets.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}
