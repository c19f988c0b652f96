//! Keeps: credential sets that change whole or not at all.
//!
//! ```text
//! DATA/store/            0700
//!   LOCK                 flock, held for life
//!   CURRENT  GOOD        one line each: which generation, and its manifest's digest
//!   QUARANTINE           digests of refused sets
//!   gen-0000000042/      immutable; tc.uri tc.cred cups.uri cups.cred MANIFEST
//!
//!            stage              commit              confirm
//!   octets ---------> staged ---------> CURRENT ---------> CURRENT and GOOD
//!                        | discard          | revert
//!                        v                  v
//!                      gone            CURRENT := GOOD
//! ```
//! A generation is a full snapshot, so that one rename moves everything. Nothing is
//! acknowledged before it is durable, and no failure leaves the device without a set it had:
//! `reference/reliability.md` section 3. The device's own identity is not in here.

mod collect;
mod disk;
pub mod durable;
mod error;
mod generation;
mod lock;
mod manifest;
mod open;
mod pointer;
mod quarantine;
mod recover;
mod set;
pub mod station;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use open::Recovery;
pub use set::{Digest, Origin, Set, SetContents, SetNumber};

use disk::Disk;
use generation::{Loaded, Unusable};
use lock::Lock;
use pointer::{CURRENT, GOOD, Pointer};
use quarantine::Quarantine;
use recover::Known;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

/// The credential sets of one gateway.
pub struct Store {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    /// Held for as long as the store lives.
    _lock: Option<Lock>,
    is_read_only: bool,
    sets: BTreeMap<SetNumber, Known>,
    damaged: BTreeSet<SetNumber>,
    current: Option<Set>,
    good: Option<SetNumber>,
    highest: u64,
    quarantine: Quarantine,
    /// The last write of a pointer failed, so it is not known what the disk says.
    is_unsettled: bool,
}

impl Store {
    /// The set in use.
    #[must_use]
    pub fn current(&self) -> Option<&Set> {
        self.current.as_ref()
    }

    /// The last set that was confirmed, if it is still valid.
    #[must_use]
    pub fn good(&self) -> Option<SetNumber> {
        self.good
    }

    /// The newest set that waits for its proof: staged after the current one.
    #[must_use]
    pub fn staged(&self) -> Option<SetNumber> {
        let current = self.current_number();
        let newest = self.sets.last_key_value().map(|(number, _)| *number);
        newest.filter(|&number| Some(number) > current && Some(number) != self.good)
    }

    /// Every valid set, oldest first.
    #[must_use]
    pub fn sets(&self) -> Vec<SetNumber> {
        self.sets.keys().copied().collect()
    }

    /// Reads a set from the disk and checks every octet of it.
    pub fn load(&self, number: SetNumber) -> Result<Set, StoreError> {
        self.loaded(number).map(|loaded| loaded.set)
    }

    /// The newest time at which a valid set was staged, in seconds since 1970; 0 without one.
    /// A lower bound for the clock.
    #[must_use]
    pub fn newest_created_s(&self) -> u64 {
        let times = self.sets.values().map(|known| known.created_s);
        times.max().unwrap_or_default()
    }

    /// Writes a set durably beside the current one and reads it back. Contents that are
    /// staged already, or current, are not written again: their number is returned.
    pub fn stage(
        &mut self,
        contents: &SetContents,
        origin: Origin,
        now_s: u64,
    ) -> Result<SetNumber, StoreError> {
        self.check_writable()?;
        generation::check_size(contents)?;
        let digest = contents.digest();
        if let Some(number) = self.already_kept(contents, digest) {
            return Ok(number);
        }
        self.settle()?;
        // The number is spent even if writing fails: it must never name two sets.
        self.highest = self.highest.saturating_add(1);
        let number = SetNumber(self.highest);
        let set = Set {
            number,
            contents: contents.clone(),
            origin,
            created_s: now_s,
            parent: self.current_number(),
        };
        let written = generation::write(&*self.disk, &set)
            .map_err(|error| self.io("write", &generation::directory(number), error))
            .and_then(|()| self.verified(&set));
        let manifest = written.inspect_err(|_| self.abandon(number))?;
        let known = Known {
            manifest,
            contents: digest,
            created_s: now_s,
        };
        self.sets.insert(number, known);
        self.collect();
        Ok(number)
    }

    /// Makes a staged set the current one, durable on return. The set before becomes the
    /// one to fall back to only if there is no other: a confirmed one is worth more.
    pub fn commit(&mut self, number: SetNumber) -> Result<(), StoreError> {
        self.check_writable()?;
        if self.current_number() == Some(number) && !self.is_unsettled {
            return Ok(());
        }
        let loaded = self.loaded(number)?;
        self.settle()?;
        if let (None, Some(old)) = (self.good, self.current_number()) {
            self.point(GOOD, old)?;
            self.good = Some(old);
        }
        self.point(CURRENT, number)?;
        self.current = Some(loaded.set);
        self.collect();
        Ok(())
    }

    /// Notes that the current set proved itself; it is the one to fall back to from now on.
    /// Writes nothing if it is so already.
    pub fn confirm(&mut self, number: SetNumber) -> Result<(), StoreError> {
        self.check_writable()?;
        if self.current_number() != Some(number) {
            return Err(StoreError::NotCurrent(number));
        }
        if self.good == Some(number) && !self.is_unsettled {
            return Ok(());
        }
        self.settle()?;
        self.point(GOOD, number)?;
        self.good = Some(number);
        Ok(())
    }

    /// Goes back to the confirmed set, durable on return. `None`: there is no other. The set
    /// that was current stays on the disk; discard it once its digest is in quarantine.
    pub fn revert(&mut self) -> Result<Option<SetNumber>, StoreError> {
        self.check_writable()?;
        let Some(good) = self
            .good
            .filter(|&good| self.current_number() != Some(good))
        else {
            return Ok(None);
        };
        let loaded = match self.loaded(good) {
            Err(StoreError::NoSuchSet(_) | StoreError::Damaged { .. }) => {
                self.good = None;
                return Ok(None);
            }
            loaded => loaded?,
        };
        self.settle()?;
        self.point(CURRENT, good)?;
        self.current = Some(loaded.set);
        Ok(Some(good))
    }

    /// Deletes a set. One that is not there is no error; `CURRENT` and `GOOD` are refused.
    pub fn discard(&mut self, number: SetNumber) -> Result<(), StoreError> {
        self.check_writable()?;
        if self.current_number() == Some(number) || self.good == Some(number) {
            return Err(StoreError::InUse(number));
        }
        if !self.sets.contains_key(&number) {
            return Ok(());
        }
        self.settle()?;
        self.delete(number)
            .map_err(|error| self.io("delete", &generation::directory(number), error))
    }

    /// Holds back contents that a server refused; returns for how many seconds: 1 h, doubled
    /// with each refusal, at most 7 d. At most 8 are remembered. The hold counts for this
    /// process even if writing it down fails.
    pub fn quarantine(&mut self, digest: &Digest, now_s: u64) -> Result<u64, StoreError> {
        self.check_writable()?;
        let hold_s = self.quarantine.hold(digest, now_s);
        self.write_quarantine().map(|()| hold_s)
    }

    /// When the hold of some contents ends, in seconds since 1970; `None` if not held. A
    /// clock that went back to before the refusal ends the hold.
    #[must_use]
    pub fn quarantined_until(&self, digest: &Digest, now_s: u64) -> Option<u64> {
        self.quarantine.until(digest, now_s)
    }

    /// Forgets a hold and its doublings, after a success. Writes nothing if there was none.
    pub fn release(&mut self, digest: &Digest) -> Result<(), StoreError> {
        self.check_writable()?;
        if self.quarantine.release(digest) {
            self.write_quarantine()?;
        }
        Ok(())
    }
}

impl Store {
    fn current_number(&self) -> Option<SetNumber> {
        self.current.as_ref().map(|set| set.number)
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        if self.is_read_only {
            return Err(StoreError::ReadOnly);
        }
        Ok(())
    }

    fn loaded(&self, number: SetNumber) -> Result<Loaded, StoreError> {
        generation::load(&*self.disk, number).map_err(|unusable| match unusable {
            Unusable::Absent | Unusable::Newer(_) => StoreError::NoSuchSet(number),
            Unusable::Damaged(why) => StoreError::Damaged { number, why },
            Unusable::Unreadable(error) => self.io("read", &generation::directory(number), error),
        })
    }

    /// The number under which these contents are kept already, staged or current.
    fn already_kept(&self, contents: &SetContents, digest: Digest) -> Option<SetNumber> {
        let current = self.current.as_ref();
        if let Some(current) = current.filter(|current| current.contents == *contents) {
            return Some(current.number);
        }
        let staged = self.sets.iter().rev();
        staged
            .take_while(|(number, _)| Some(**number) > self.current_number())
            .find(|(_, known)| known.contents == digest)
            .map(|(number, _)| *number)
            .filter(|&number| self.load(number).is_ok())
    }

    /// Reads back what was written: a disk that lies is found out before a proof.
    fn verified(&self, set: &Set) -> Result<Digest, StoreError> {
        let loaded = self.loaded(set.number)?;
        if loaded.set != *set {
            return Err(StoreError::Damaged {
                number: set.number,
                why: "the disk gave back other octets than were written".to_owned(),
            });
        }
        Ok(loaded.manifest)
    }

    fn point(&mut self, name: &str, number: SetNumber) -> Result<(), StoreError> {
        let known = self.sets.get(&number);
        let manifest = known.ok_or(StoreError::NoSuchSet(number))?.manifest;
        self.write_pointer(name, Pointer { number, manifest })
    }

    fn write_pointer(&mut self, name: &str, pointer: Pointer) -> Result<(), StoreError> {
        pointer::write(&*self.disk, name, pointer).map_err(|error| {
            self.is_unsettled = true;
            self.io("write", name, error)
        })
    }

    /// Makes the disk's pointers say what memory says, after a write of one failed. Before
    /// that nothing may be deleted: the disk may point at it.
    fn settle(&mut self) -> Result<(), StoreError> {
        if !self.is_unsettled {
            return Ok(());
        }
        match self.current_number() {
            Some(number) => self.point(CURRENT, number)?,
            None => self.write_pointer(CURRENT, Pointer::nowhere())?,
        }
        if let Some(good) = self.good {
            self.point(GOOD, good)?;
        }
        self.is_unsettled = false;
        Ok(())
    }

    fn write_quarantine(&self) -> Result<(), StoreError> {
        self.quarantine
            .write(&*self.disk)
            .map_err(|error| self.io("write", quarantine::NAME, error))
    }

    fn io(&self, act: &'static str, name: &str, error: io::Error) -> StoreError {
        StoreError::io(act, &self.dir.join(name), error)
    }
}
