//! Recovers: what is on the disk at start, and which set is the current one.
//!
//! `CURRENT` if valid, else `GOOD`, else the highest valid generation, else none. A survey
//! only reads, so that asking twice gives the same answer; [`sweep`] only removes what a
//! crash left half made.

use super::disk::Disk;
use super::durable;
use super::generation::{self, Unusable};
use super::pointer::{self, CURRENT, Found, GOOD, Pointer};
use super::set::{Digest, SetNumber};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// What is remembered of a valid generation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The digest of its manifest.
    pub(super) manifest: Digest,
    /// The digest of its contents.
    pub(super) contents: Digest,
    /// When it was staged, seconds since 1970.
    pub(super) created_s: u64,
}

/// What is on the disk.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Valid generations.
    pub(super) sets: BTreeMap<SetNumber, Known>,
    /// Generations whose octets are not what was written.
    pub(super) damaged: BTreeSet<SetNumber>,
    /// The set in use.
    pub(super) current: Option<SetNumber>,
    /// The last set that finished an authenticated exchange.
    pub(super) good: Option<SetNumber>,
    /// No generation has or had a higher number.
    pub(super) highest: u64,
    /// The file `CURRENT` does not say what `current` says and should.
    pub(super) rewrite_current: bool,
    /// What was found wrong, one log line each.
    pub(super) notes: Vec<String>,
    /// Generations that the disk would not read now.
    unreadable: BTreeSet<SetNumber>,
    /// Files and directories that a crash left half made.
    leftovers: Vec<String>,
}

/// Looks at everything in the store.
pub(super) fn survey(disk: &dyn Disk) -> io::Result<Survey> {
    let mut survey = Survey::default();
    for name in disk.list("")? {
        survey.see(disk, name);
    }
    let good = pointer::read(disk, GOOD);
    survey.good = survey.target(&good);
    if matches!(good, Found::Garbage | Found::Unreadable(_))
        || matches!(good, Found::Line(_)) && survey.good.is_none()
    {
        let note = "GOOD does not name a valid set and is ignored";
        survey.notes.push(note.to_owned());
    }
    survey.choose(&pointer::read(disk, CURRENT));
    Ok(survey)
}

/// Removes what a crash left half made; what cannot be removed becomes a note.
pub(super) fn sweep(disk: &dyn Disk, survey: &mut Survey) {
    for name in core::mem::take(&mut survey.leftovers) {
        let result = match generation::number_of(&name) {
            Some(_) => durable::remove_dir(disk, &name),
            None => durable::remove(disk, &name),
        };
        survey.notes.push(match result {
            Ok(()) => format!("removed {name}, left by an interruption"),
            Err(error) => format!("{name} was left by an interruption and stays: {error}"),
        });
    }
}

impl Survey {
    fn see(&mut self, disk: &dyn Disk, name: String) {
        let Some((number, suffix)) = generation::number_of(&name) else {
            if name.strip_suffix(".tmp").is_some_and(is_ours) {
                self.leftovers.push(name);
            }
            return;
        };
        self.highest = self.highest.max(number.0);
        match suffix {
            "" => self.judge(disk, number),
            ".tmp" | ".del" => self.leftovers.push(name),
            _ => {}
        }
    }

    fn judge(&mut self, disk: &dyn Disk, number: SetNumber) {
        match generation::load(disk, number) {
            Ok(loaded) => {
                let known = Known {
                    manifest: loaded.manifest,
                    contents: loaded.set.contents.digest(),
                    created_s: loaded.set.created_s,
                };
                self.sets.insert(number, known);
            }
            Err(Unusable::Newer(format)) => self.notes.push(format!(
                "set {number} has format {format}, made by a newer version: left alone"
            )),
            Err(Unusable::Unreadable(error)) => {
                self.unreadable.insert(number);
                let note = format!("set {number} cannot be read and is not used: {error}");
                self.notes.push(note);
            }
            Err(Unusable::Absent) => {
                self.damaged.insert(number);
                let note = format!("set {number} has no manifest and is not used");
                self.notes.push(note);
            }
            Err(Unusable::Damaged(why)) => {
                self.damaged.insert(number);
                let note = format!("set {number} is damaged and is not used: {why}");
                self.notes.push(note);
            }
        }
    }

    /// The set a pointer names, if it is valid and the very one that was pointed to.
    fn target(&mut self, found: &Found) -> Option<SetNumber> {
        let Found::Line(pointer) = found else {
            return None;
        };
        self.highest = self.highest.max(pointer.number.0);
        self.sets
            .get(&pointer.number)
            .filter(|known| known.manifest == pointer.manifest)
            .map(|_| pointer.number)
    }

    fn choose(&mut self, found: &Found) {
        self.current = self.target(found);
        if self.current.is_some() {
            return;
        }
        if matches!(found, Found::Line(pointer) if *pointer == Pointer::nowhere()) {
            return;
        }
        let highest = self.sets.last_key_value().map(|(number, _)| *number);
        self.current = self.good.or(highest);
        // What the disk will not read now may be readable tomorrow, and a newer version's
        // line is worth more than one that names nothing.
        self.rewrite_current = match found {
            Found::Unreadable(_) => false,
            Found::Newer => self.current.is_some(),
            Found::Line(pointer) => !self.unreadable.contains(&pointer.number),
            Found::Absent | Found::Garbage => true,
        };
        let what = match found {
            Found::Absent if self.current.is_none() && self.damaged.is_empty() => return,
            Found::Absent => "CURRENT is missing".to_owned(),
            Found::Garbage => "CURRENT is damaged".to_owned(),
            Found::Newer => "CURRENT was written by a newer version".to_owned(),
            Found::Unreadable(error) => format!("CURRENT cannot be read ({error})"),
            Found::Line(pointer) => format!("CURRENT names set {}, not valid", pointer.number),
        };
        self.notes.push(match self.current {
            Some(number) => format!("{what}: fell back to set {number}"),
            None => format!("{what} and there is no valid set"),
        });
    }
}

fn is_ours(name: &str) -> bool {
    [CURRENT, GOOD, super::quarantine::NAME].contains(&name)
}
