//! Opens: takes the store into possession, or looks at it beside a running agent.

use super::Store;
use super::disk::{Disk, RealDisk};
use super::error::StoreError;
use super::lock::{self, Lock};
use super::quarantine::Quarantine;
use super::recover::{self, Survey};
use super::set::SetNumber;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What opening the store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The set in use.
    pub current: Option<SetNumber>,
    /// What was repaired or could not be, for one log line each.
    pub notes: Vec<String>,
}

impl Store {
    /// Opens the store in `data_dir/store`, makes it if there is none, repairs what an
    /// interruption left, and holds it until dropped.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if `data_dir` is not there, [`StoreError::Held`] if another
    /// agent runs, otherwise the operating system's. A disk that only refuses to be written
    /// is no error: the notes say so.
    pub fn open(data_dir: &Path) -> Result<(Self, Recovery), StoreError> {
        let dir = data_dir.join("store");
        let mut notes = Vec::new();
        make_directory(data_dir, &dir)?;
        let disk = open_directory(&dir)?;
        match disk.make_private() {
            Ok(false) => {}
            Ok(true) => notes.push(format!(
                "others had access to {}: set to 0700",
                dir.display()
            )),
            Err(error) => notes.push(format!("others have access to {}: {error}", dir.display())),
        }
        let lock = lock::take(&dir)?;
        let (store, mut recovery) = Self::recover(Box::new(disk), &dir, Some(lock))?;
        notes.append(&mut recovery.notes);
        recovery.notes = notes;
        Ok((store, recovery))
    }

    /// Opens the store to look at it, beside a running agent. Repairs nothing; every method
    /// that would write answers [`StoreError::ReadOnly`].
    pub fn open_read_only(data_dir: &Path) -> Result<Self, StoreError> {
        let dir = data_dir.join("store");
        let disk = open_directory(&dir)?;
        let survey = survey(&disk, &dir)?;
        Self::surveyed(Box::new(disk), &dir, survey, None)
    }

    /// Surveys and repairs.
    pub(super) fn recover(
        disk: Box<dyn Disk>,
        dir: &Path,
        lock: Option<Lock>,
    ) -> Result<(Self, Recovery), StoreError> {
        let mut survey = survey(&*disk, dir)?;
        recover::sweep(&*disk, &mut survey);
        let mut notes = core::mem::take(&mut survey.notes);
        let mut store = Self::surveyed(disk, dir, survey, lock)?;
        store.is_read_only = false;
        let (quarantine, is_damaged) = Quarantine::read(&*store.disk);
        store.quarantine = quarantine;
        if is_damaged {
            notes.push("QUARANTINE cannot be read and counts as empty".to_owned());
        }
        if let Err(error) = store.settle() {
            notes.push(format!("{error}: running without writing"));
        }
        let current = store.current_number();
        Ok((store, Recovery { current, notes }))
    }

    fn surveyed(
        disk: Box<dyn Disk>,
        dir: &Path,
        survey: Survey,
        lock: Option<Lock>,
    ) -> Result<Self, StoreError> {
        let mut store = Self {
            dir: dir.to_owned(),
            disk,
            _lock: lock,
            is_read_only: true,
            sets: survey.sets,
            damaged: survey.damaged,
            current: None,
            good: survey.good,
            highest: survey.highest,
            quarantine: Quarantine::default(),
            is_unsettled: survey.rewrite_current,
        };
        store.current = survey
            .current
            .map(|number| store.load(number))
            .transpose()?;
        Ok(store)
    }
}

fn survey(disk: &dyn Disk, dir: &Path) -> Result<Survey, StoreError> {
    recover::survey(disk).map_err(|error| StoreError::io("list", dir, error))
}

fn make_directory(data_dir: &Path, dir: &Path) -> Result<(), StoreError> {
    if !data_dir.is_dir() {
        return Err(StoreError::Missing(data_dir.to_owned()));
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        result => result.map_err(|error| StoreError::io("make", dir, error))?,
    }
    RealDisk::open(data_dir, true)
        .and_then(|disk| disk.sync_dir(""))
        .map_err(|error| StoreError::io("sync", data_dir, error))
}

fn open_directory(dir: &Path) -> Result<RealDisk, StoreError> {
    RealDisk::open(dir, false).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::Missing(dir.to_owned()),
        _ => StoreError::io("open", dir, error),
    })
}
