//! Reads: the connections of a process as the kernel lists them.
//!
//! ```text
//! /proc/PID/fd/7 -> socket:[4711]
//! /proc/PID/net/tcp:  sl local_address rem_address st ... uid timeout inode
//!                      0: 0100007F:A2C4 0100007F:22B7 01 ... 1000 0 4711
//! ```

use std::collections::BTreeSet;
use std::fs::{File, metadata, read_dir, read_link};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::log::Lines;

/// Octets read of any other file.
const SMALL_OCTETS_MAX: u64 = 1024 * 1024;

/// Processes of one station that are looked at: wrapper, master, worker.
const PROCESSES_MAX: usize = 16;

const ESTABLISHED: u8 = 1;
const LISTENING: u8 = 10;

/// One connection in the kernel's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Near port.
    pub(super) local_port: u16,
    /// Far port.
    pub(super) remote_port: u16,
    /// The kernel's number of the state.
    pub(super) state: u8,
    /// The socket's owner.
    pub(super) user: u32,
    /// The socket's number.
    pub(super) inode: u64,
}

/// The rows of `/proc/net/tcp` or `tcp6` that are wanted, never all at once: a busy machine has
/// many thousands. Lines that are not such rows are left out.
pub(super) fn rows(list: &mut dyn Read, is_wanted: &dyn Fn(&Row) -> bool) -> Vec<Row> {
    let (mut lines, mut buffer, mut rows) = (Lines::default(), [0; 4096], Vec::new());
    while let Ok(amount @ 1..) = list.read(&mut buffer) {
        for line in lines.take(buffer.get(..amount).unwrap_or_default()) {
            rows.extend(row(&line).filter(is_wanted));
        }
    }
    rows
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local_port = port(fields.next()?)?;
    let remote_port = port(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let mut fields = fields.skip(3);
    let user = fields.next()?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Row {
        local_port,
        remote_port,
        state,
        user,
        inode,
    })
}

fn port(address: &str) -> Option<u16> {
    let (_, port) = address.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

/// The number of the socket that a link below `/proc/PID/fd` names.
#[must_use]
pub(super) fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The sockets among `own` that are connections to the outside: not those that others opened
/// to a port the process listens on, such as its web page.
#[must_use]
pub(super) fn outgoing(rows: &[Row], own: &BTreeSet<u64>) -> BTreeSet<u64> {
    let listening: Vec<u16> = rows
        .iter()
        .filter(|row| row.state == LISTENING && own.contains(&row.inode))
        .map(|row| row.local_port)
        .collect();
    rows.iter()
        .filter(|row| row.state == ESTABLISHED && own.contains(&row.inode))
        .filter(|row| !listening.contains(&row.local_port))
        .map(|row| row.inode)
        .collect()
}

/// The connections of a user to a port: what is left to see of another user's process.
#[must_use]
pub(super) fn to_port(rows: &[Row], user: u32, port: u16) -> BTreeSet<u64> {
    rows.iter()
        .filter(|row| row.state == ESTABLISHED && row.user == user && row.remote_port == port)
        .map(|row| row.inode)
        .collect()
}

/// The connections of a process and its children; `port` is where the LNS listens, for a
/// process whose files may not be seen. Empty when the process is gone.
#[must_use]
pub(super) fn connections(pid: u32, port: u16) -> BTreeSet<u64> {
    let mut own = BTreeSet::new();
    let is_seen = family(pid)
        .iter()
        .all(|pid| sockets(*pid, &mut own).is_ok());
    let user = metadata(format!("/proc/{pid}")).map_or(u32::MAX, |about| about.uid());
    let is_ours = |row: &Row| {
        if is_seen {
            own.contains(&row.inode)
        } else {
            row.user == user
        }
    };
    let mut found = Vec::new();
    for name in ["tcp", "tcp6"] {
        if let Ok(mut list) = File::open(format!("/proc/{pid}/net/{name}")) {
            found.extend(rows(&mut list, &is_ours));
        }
    }
    if is_seen {
        outgoing(&found, &own)
    } else {
        to_port(&found, user, port)
    }
}

fn sockets(pid: u32, own: &mut BTreeSet<u64>) -> io::Result<()> {
    for entry in read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor may be closed while it is looked at.
        let link = entry.and_then(|entry| read_link(entry.path()));
        own.extend(link.ok().and_then(|link| inode(link.to_str()?)));
    }
    Ok(())
}

/// A process and what it started, as far as its main thread did.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&parent) = all.get(at) {
        at = at.saturating_add(1);
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = read_some(Path::new(&path)).unwrap_or_default();
        all.extend(
            children
                .split_ascii_whitespace()
                .filter_map(|child| child.parse::<u32>().ok()),
        );
        all.truncate(PROCESSES_MAX);
    }
    all
}

/// Reads a file of the kernel, or another small one, up to a bound.
pub(super) fn read_some(path: &Path) -> io::Result<String> {
    let mut octets = Vec::new();
    // What anybody may put into a folder for all may be a pipe, which nobody has opened to write.
    File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?
        .take(SMALL_OCTETS_MAX)
        .read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{connections, inode, outgoing, rows, to_port};
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream};

    const LIST: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0000000000000000 100 0 0 10 0\n\
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0000000000000000 20 4 30 10 -1\n\
   2: 0100007F:A2C4 0100007F:22B7 01 00000000:00000000 02:000A7D8C 00000000  1000        0 13 2 0000000000000000 20 4 30 10 -1\n\
   3: 0100007F:A2C6 0100007F:22B7 06 00000000:00000000 03:000016D2 00000000     0        0 0 3 0000000000000000\n\
   4: 0100007F:A2C8 0100007F:01BB 02 00000000:00000000 01:00000063 00000000  1000        0 14 2 0000000000000000 100 0 0 10 -1\n";

    #[test]
    fn only_established_connections_to_the_outside_count() {
        let rows = rows(&mut LIST.as_bytes(), &|_| true);
        assert_eq!(rows.len(), 5);
        let own = BTreeSet::from([11, 12, 13, 14]);
        assert_eq!(outgoing(&rows, &own), BTreeSet::from([13]));
        assert_eq!(outgoing(&rows, &BTreeSet::from([99])), BTreeSet::new());
        assert_eq!(to_port(&rows, 1000, 0x22B7), BTreeSet::from([13]));
        assert_eq!(to_port(&rows, 0, 0x22B7), BTreeSet::new());
    }

    #[test]
    fn tcp6_rows_are_read_and_nonsense_is_not() {
        let line = "   0: 00000000000000000000000001000000:A2C4 00000000000000000000000001000000:22B7 01 00000000:00000000 00:00000000 00000000     0        0 21 1 0 20 4 30 10 -1\n";
        assert_eq!(
            rows(&mut line.as_bytes(), &|_| true)
                .first()
                .map(|row| (row.remote_port, row.inode)),
            Some((0x22B7, 21))
        );
        for nonsense in ["", "\n", "x\n", "0: a b c\n", "0: 1:1 1:1 ZZ 0 0 0 0 0 0\n"] {
            assert_eq!(rows(&mut nonsense.as_bytes(), &|_| true), [], "{nonsense}");
        }
    }

    #[test]
    fn links_name_sockets() {
        assert_eq!(inode("socket:[4711]"), Some(4711));
        assert_eq!(inode("pipe:[4711]"), None);
        assert_eq!(inode("socket:[]"), None);
    }

    #[test]
    fn a_connection_of_this_process_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pid = std::process::id();
        let before = connections(pid, address.port());
        #[expect(
            clippy::disallowed_methods,
            reason = "a listener of this test, on loopback"
        )]
        let stream = TcpStream::connect(address).unwrap();
        let now = connections(pid, address.port());
        assert!(now.difference(&before).count() > 0);
        drop(stream);
        assert_eq!(connections(u32::MAX, address.port()), BTreeSet::new());
    }
}
