//! Plays: systemd, for one agent that runs as a service.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::lock;

/// Longer than anything a test waits for, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// For the last lines of an agent that has ended; a program it has left behind may keep its log open.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A running agent; it is killed when dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<(Instant, String)>>>,
    over: Arc<AtomicBool>,
    log: JoinHandle<()>,
    status: PathBuf,
}

impl Service {
    pub(super) fn start(mut command: Command, dir: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let address = dir.join(format!("notify-{number}"));
        let socket = UnixDatagram::bind(&address).expect("the folder can be written");
        let mut child = command
            .env("NOTIFY_SOCKET", &address)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent can be started");
        let log = child.stderr.take().expect("it was asked for");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let told: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (kept, heard, ended) = (lines.clone(), told.clone(), over.clone());
        let log = thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                lock(&kept).push(line);
            }
        });
        thread::spawn(move || listen(&socket, &heard, &ended));
        Self {
            child,
            lines,
            told,
            over,
            log,
            status: dir.join("run").join("status.sock"),
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// How many lines of the log hold this text.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        let lines = lock(&self.lines);
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line of the log with this text, of which there must be no second. What the
    /// status shows may be a moment ahead of the log.
    ///
    /// # Panics
    /// There is none after a minute, or more than one.
    #[track_caller]
    pub fn says_once(&self, text: &str) {
        self.until(text, |service| service.count(text) > 0);
        assert_eq!(self.count(text), 1, "{:#?}", self.lines());
    }

    /// What it told systemd so far, and when.
    #[must_use]
    pub fn told(&self) -> Vec<(Instant, String)> {
        lock(&self.told).clone()
    }

    /// Whether it told systemd this, word for word.
    #[must_use]
    pub fn has_told(&self, text: &str) -> bool {
        lock(&self.told).iter().any(|(_, told)| told == text)
    }

    /// Whether something it told systemd holds this text.
    #[must_use]
    pub fn has_told_of(&self, text: &str) -> bool {
        lock(&self.told).iter().any(|(_, told)| told.contains(text))
    }

    /// The status object; null while it cannot be had.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut text = String::new();
        let read = UnixStream::connect(&self.status)
            .and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(stream)
            })
            .and_then(|mut stream| stream.read_to_string(&mut text));
        read.ok()
            .and_then(|_| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// A member of the status object: `/cycle/next/reason`.
    #[must_use]
    pub fn show(&self, pointer: &str) -> Value {
        self.status().pointer(pointer).cloned().unwrap_or_default()
    }

    /// Sends a signal: `HUP`.
    ///
    /// # Panics
    /// There is no shell.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .expect("there is a shell");
        assert!(sent.success(), "the agent has ended before SIG{name}");
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// It is still not so after a minute.
    pub fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(
                Instant::now() < limit,
                "still not so: {what}; status {}; log:\n{}",
                self.status(),
                self.lines().join("\n")
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end, at most so long, and for the last lines of the log; returns the exit
    /// code, `None` after a signal.
    ///
    /// # Panics
    /// It goes on.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                self.read_to_the_end();
                return status.code();
            }
            assert!(
                Instant::now() < end,
                "still running after {limit:?}:\n{}",
                self.lines().join("\n")
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn read_to_the_end(&self) {
        let end = Instant::now() + LAST_LINES;
        while !self.log.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that `/proc` shows of it to others: command line and environment.
    #[must_use]
    pub fn shown_by_kernel(&self) -> Vec<u8> {
        ["cmdline", "environ"]
            .iter()
            .flat_map(|name| fs::read(format!("/proc/{}/{name}", self.pid())).unwrap_or_default())
            .collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn listen(socket: &UnixDatagram, told: &Mutex<Vec<(Instant, String)>>, over: &AtomicBool) {
    drop(socket.set_read_timeout(Some(Duration::from_millis(200))));
    let mut buffer = [0; 4096];
    while !over.load(Ordering::SeqCst) {
        if let Ok(count) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
            lock(told).push((Instant::now(), text.into_owned()));
        }
    }
}
