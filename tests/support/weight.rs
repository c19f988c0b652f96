//! Measures: what a running program weighs, and what passes between it and a server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use mtls_lab::server::{Listener, Socket};

/// One process, by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn read(self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0)).unwrap()
    }

    /// A line `NAME:  NUMBER kB` of a file of the process.
    fn line(self, file: &str, name: &str) -> u64 {
        number(&self.read(file), name)
    }

    /// Highest resident memory so far, kB.
    pub(crate) fn peak_kb(self) -> u64 {
        self.line("status", "VmHWM")
    }

    /// Resident memory, kB.
    pub(crate) fn resident_kb(self) -> u64 {
        self.line("status", "VmRSS")
    }

    /// Resident memory, of which what is shared counts in part, kB.
    pub(crate) fn proportional_kb(self) -> u64 {
        self.line("smaps_rollup", "Pss")
    }

    fn threads(self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).unwrap();
        tasks
            .flatten()
            .map(|task| task.file_name().into_string().unwrap())
            .collect()
    }

    pub(crate) fn thread_count(self) -> u64 {
        self.threads().len() as u64
    }

    /// How often its threads went to sleep so far: each ends with a wake-up.
    pub(crate) fn sleeps(self) -> u64 {
        let of = |thread: &String| {
            let status = self.read(&format!("task/{thread}/status"));
            number(&status, "voluntary_ctxt_switches")
        };
        self.threads().iter().map(of).sum()
    }

    /// Time on a processor so far, all threads that still are, without children, microseconds.
    pub(crate) fn cpu_us(self) -> u64 {
        let of = |thread: &String| {
            let text = self.read(&format!("task/{thread}/schedstat"));
            let nanoseconds = text.split_whitespace().next().unwrap();
            nanoseconds.parse::<u64>().unwrap() / 1000
        };
        self.threads().iter().map(of).sum()
    }
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Octets of one connection, TLS included.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Passed {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// A path to a server that counts; it breaks when dropped.
pub(crate) struct Counter {
    listener: Listener,
    passed: Arc<Mutex<Vec<Passed>>>,
}

impl Counter {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let passed: Arc<Mutex<Vec<Passed>>> = Arc::default();
        let counts = Arc::clone(&passed);
        let listener = Listener::start(0, move |near| {
            let far = Socket::new(TcpStream::connect(server).unwrap());
            let number = {
                let mut counts = counts.lock().unwrap();
                counts.push(Passed::default());
                counts.len() - 1
            };
            let (from, to, more) = (far.clone(), near.clone(), Arc::clone(&counts));
            let back = thread::spawn(move || {
                pass(&from, &to, |octets| {
                    more.lock().unwrap()[number].down += octets;
                });
            });
            pass(&near, &far, |octets| {
                counts.lock().unwrap()[number].up += octets;
            });
            let _ended = back.join();
        });
        Self {
            listener: listener.unwrap(),
            passed,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.address().port()
    }

    /// Of this connection, counted from 0.
    pub(crate) fn passed(&self, connection: usize) -> Passed {
        self.passed.lock().unwrap()[connection]
    }
}

fn pass(from: &Socket, to: &Socket, count: impl Fn(u64)) {
    let (mut reader, mut writer) = (from.clone(), to.clone());
    let mut buffer = [0; 16 * 1024];
    while let Ok(octets @ 1..) = reader.read(&mut buffer) {
        count(octets as u64);
        if writer.write_all(&buffer[..octets]).is_err() {
            break;
        }
    }
    from.close();
    to.close();
}
