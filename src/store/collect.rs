//! Deletes: sets that nobody will ask for again, in a way that a crash cannot turn into a
//! half-deleted set with a valid name.

use super::disk::Disk;
use super::set::SetNumber;
use super::{Store, durable, generation};
use std::io;

/// Staged sets kept: the one in proof, and one that came in beside it.
const STAGED_KEPT: usize = 2;
/// Former sets kept besides `CURRENT` and `GOOD`.
const OLDER_KEPT: usize = 1;
/// Damaged sets kept for whoever looks into it.
const DAMAGED_KEPT: usize = 2;

impl Store {
    /// Deletes what is not kept. A failure costs space, not a set: it is logged and the next
    /// collection tries again.
    pub(super) fn collect(&mut self) {
        for number in self.surplus() {
            if let Err(error) = self.delete(number) {
                tracing::warn!(%number, %error, "an old credential set could not be deleted");
            }
        }
    }

    /// Deletes a generation: takes its name away durably, then its files.
    pub(super) fn delete(&mut self, number: SetNumber) -> io::Result<()> {
        let name = generation::directory(number);
        let doomed = format!("{name}.del");
        let disk: &dyn Disk = &*self.disk;
        durable::remove_dir(disk, &doomed)?;
        disk.rename(&name, &doomed)?;
        self.sets.remove(&number);
        self.damaged.remove(&number);
        let disk: &dyn Disk = &*self.disk;
        disk.sync_dir("")?;
        durable::remove_dir(disk, &doomed)
    }

    /// Removes a generation that was never acknowledged, as far as the disk lets us; the
    /// rest is swept away or taken for staged at the next start, and either is harmless.
    pub(super) fn abandon(&mut self, number: SetNumber) {
        match self.delete(number) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%number, %error, "a set that was not staged stays for now");
            }
            _ => {}
        }
    }

    fn surplus(&self) -> Vec<SetNumber> {
        let current = self.current().map(|set| set.number);
        let others = || {
            let numbers = self.sets.keys().rev().copied();
            numbers.filter(|&number| Some(number) != current && Some(number) != self.good())
        };
        let staged = others().filter(|&number| Some(number) > current);
        let older = others().filter(|&number| Some(number) < current);
        let damaged = self.damaged.iter().rev().copied();
        staged
            .skip(STAGED_KEPT)
            .chain(older.skip(OLDER_KEPT))
            .chain(damaged.skip(DAMAGED_KEPT))
            .collect()
    }
}
