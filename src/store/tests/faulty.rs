//! A disk that fails or stops at the N-th call.

use crate::store::disk::{Access, Disk, Handle, RealDisk};
use nix::errno::Errno;
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Fault {
    /// The call does nothing (a write does half) and fails once.
    Once,
    /// The call does its work and then says that it failed, once.
    AfterTheFact,
    /// This call and all later ones do nothing: the process is dead.
    Death,
    /// From this call on nothing new can be made or written.
    Full,
}

pub(in crate::store) struct FaultyDisk {
    real: RealDisk,
    fault: Fault,
    left: Rc<Cell<u32>>,
}

impl FaultyDisk {
    /// Fails at call `number`, counted from 1. The cell reaches 0 when the fault happens.
    pub(in crate::store) fn new(dir: &Path, fault: Fault, number: u32) -> (Self, Rc<Cell<u32>>) {
        let left = Rc::new(Cell::new(number));
        let real = RealDisk::open(dir, false).unwrap();
        let disk = Self {
            real,
            fault,
            left: Rc::clone(&left),
        };
        (disk, left)
    }

    fn gate<T>(&self, makes: bool, call: impl FnOnce(bool) -> io::Result<T>) -> io::Result<T> {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        let is_hit = left == 1;
        let is_past = left <= 1;
        match self.fault {
            Fault::Once if is_hit => {
                drop(call(false));
                Err(Errno::EIO.into())
            }
            Fault::AfterTheFact if is_hit => {
                call(true)?;
                Err(Errno::EIO.into())
            }
            Fault::Death if is_past => Err(Errno::ESHUTDOWN.into()),
            Fault::Full if is_past && makes => {
                drop(call(false));
                Err(Errno::ENOSPC.into())
            }
            _ => call(true),
        }
    }
}

fn only<T>(is_done: bool, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if is_done {
        call()
    } else {
        Err(Errno::EIO.into())
    }
}

impl Disk for FaultyDisk {
    fn create_exclusive(&self, name: &str) -> io::Result<Handle> {
        self.gate(true, |done| only(done, || self.real.create_exclusive(name)))
    }

    fn set_access(&self, handle: &Handle, access: Access) -> io::Result<()> {
        self.gate(false, |done| {
            only(done, || self.real.set_access(handle, access))
        })
    }

    fn write_all(&self, handle: &mut Handle, octets: &[u8]) -> io::Result<()> {
        self.gate(true, |done| {
            let end = if done { octets.len() } else { octets.len() / 2 };
            self.real.write_all(handle, &octets[..end])
        })
    }

    fn sync(&self, handle: &Handle) -> io::Result<()> {
        self.gate(true, |done| only(done, || self.real.sync(handle)))
    }

    fn close(&self, handle: Handle) -> io::Result<()> {
        self.gate(false, |done| only(done, || self.real.close(handle)))
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.gate(false, |done| only(done, || self.real.sync_dir(name)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.gate(false, |done| only(done, || self.real.rename(from, to)))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.gate(false, |done| only(done, || self.real.unlink(name)))
    }

    fn mkdir(&self, name: &str) -> io::Result<()> {
        self.gate(true, |done| only(done, || self.real.mkdir(name)))
    }

    fn rmdir(&self, name: &str) -> io::Result<()> {
        self.gate(false, |done| only(done, || self.real.rmdir(name)))
    }

    fn read(&self, name: &str, max_octets: usize) -> io::Result<Vec<u8>> {
        self.gate(false, |done| {
            only(done, || self.real.read(name, max_octets))
        })
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.gate(false, |done| only(done, || self.real.list(name)))
    }
}
