//! What the store promises, one behaviour a test.

#![expect(
    clippy::disallowed_methods,
    reason = "a test damages and looks at files directly"
)]

mod faulty;
mod interruption;
mod power_cut;

pub(super) use faulty::{Fault, FaultyDisk};
pub(super) use power_cut::{Step, crash_everywhere, record};

use super::{Origin, SetContents, SetNumber, Store, StoreError};
use crate::wire::credential::Credential;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, removed on drop.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mtls-agent-store-{}-{number}", std::process::id());
        // In memory where there is such a place: these tests count calls, not seconds.
        let memory = Path::new("/dev/shm");
        let path = if memory.is_dir() {
            memory.join(name)
        } else {
            std::env::temp_dir().join(name)
        };
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn store_file(&self, name: &str) -> PathBuf {
        self.0.join("store").join(name)
    }

    pub(super) fn open(&self) -> Store {
        Store::open(&self.0).unwrap().0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

pub(super) fn contents(number: u32) -> SetContents {
    let token = format!("Authorization: key-{number}\r\n");
    SetContents {
        tc_uri: format!("wss://lns-{number}.example:8887"),
        tc: Some(Credential::from_parts(b"trust", b"", token.as_bytes())),
        cups_uri: (number % 2 == 0).then(|| "https://cups.example:443".to_owned()),
        cups: None,
    }
}

fn commit(store: &mut Store, number: u32) -> SetNumber {
    let set = store
        .stage(&contents(number), Origin::Cups, u64::from(number))
        .unwrap();
    store.commit(set).unwrap();
    set
}

fn confirmed(store: &mut Store, number: u32) -> SetNumber {
    let set = commit(store, number);
    store.confirm(set).unwrap();
    set
}

fn current(store: &Store) -> Option<SetContents> {
    store.current().map(|set| set.contents.clone())
}

/// Every file below a directory with its octets and its time of change.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            files.push((path.clone(), fs::read(&path).unwrap(), changed));
        }
    }
    files.sort();
    files
}

type Damage = fn(&Path);

#[test]
fn a_committed_set_is_there_after_a_restart() {
    let scratch = Scratch::new();
    let number = commit(&mut scratch.open(), 1);
    let (store, recovery) = Store::open(scratch.path()).unwrap();
    assert_eq!(recovery.notes, Vec::<String>::new());
    assert_eq!(recovery.current, Some(number));
    let set = store.current().unwrap();
    assert_eq!((set.contents.clone(), set.created_s), (contents(1), 1));
    assert_eq!(store.newest_created_s(), 1);
}

#[test]
fn a_set_that_was_only_staged_is_not_current_after_a_restart() {
    let scratch = Scratch::new();
    let staged = scratch.open().stage(&contents(1), Origin::Cups, 5).unwrap();
    let mut store = scratch.open();
    assert_eq!((store.current(), store.staged()), (None, Some(staged)));
    assert_eq!(store.stage(&contents(1), Origin::Cups, 9).unwrap(), staged);
}

#[test]
fn contents_that_are_kept_already_are_not_written_again() {
    let scratch = Scratch::new();
    let mut store = scratch.open();
    let first = confirmed(&mut store, 1);
    let second = store.stage(&contents(2), Origin::Cups, 7).unwrap();
    let before = tree(scratch.path());
    assert_eq!(store.stage(&contents(1), Origin::Cups, 8).unwrap(), first);
    assert_eq!(store.stage(&contents(2), Origin::Cups, 8).unwrap(), second);
    store.commit(first).unwrap();
    store.confirm(first).unwrap();
    store.release(&contents(3).digest()).unwrap();
    assert_eq!(store.quarantined_until(&contents(3).digest(), 8), None);
    assert_eq!(tree(scratch.path()), before);
}

#[test]
fn a_confirmed_set_stays_the_one_to_fall_back_to_until_the_next_is_confirmed() {
    let scratch = Scratch::new();
    let mut store = scratch.open();
    let proven = confirmed(&mut store, 1);
    commit(&mut store, 2);
    commit(&mut store, 3);
    assert_eq!(store.good(), Some(proven));
    assert_eq!(store.revert().unwrap(), Some(proven));
    assert_eq!(store.revert().unwrap(), None);
    drop(store);
    assert_eq!(current(&scratch.open()), Some(contents(1)));
}

#[test]
fn without_a_confirmed_set_the_one_before_is_the_one_to_fall_back_to() {
    let scratch = Scratch::new();
    let mut store = scratch.open();
    let first = commit(&mut store, 1);
    assert_eq!(store.good(), None);
    commit(&mut store, 2);
    assert_eq!(store.good(), Some(first));
}

#[test]
fn only_current_good_staged_and_one_older_set_are_kept() {
    let scratch = Scratch::new();
    let mut store = scratch.open();
    let good = confirmed(&mut store, 1);
    let numbers: Vec<SetNumber> = (2..6).map(|number| commit(&mut store, number)).collect();
    assert_eq!(store.sets(), [good, numbers[2], numbers[3]]);
    let staged = store.stage(&contents(9), Origin::Cups, 9).unwrap();
    assert_eq!(store.sets().last(), Some(&staged));
    store.discard(staged).unwrap();
    store.discard(staged).unwrap();
    assert!(matches!(store.discard(good), Err(StoreError::InUse(_))));
    drop(store);
    assert_eq!(scratch.open().sets(), [good, numbers[2], numbers[3]]);
}

#[test]
fn a_number_is_never_used_twice() {
    let scratch = Scratch::new();
    let mut store = scratch.open();
    let first = store.stage(&contents(1), Origin::Cups, 0).unwrap();
    store.discard(first).unwrap();
    let second = store.stage(&contents(1), Origin::Cups, 0).unwrap();
    assert!(second > first);
}

#[test]
fn whatever_is_damaged_the_next_best_set_is_used() {
    let damage: [(&str, Damage); 4] = [
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("empty", |path| fs::write(path, b"").unwrap()),
        ("zeros", |path| fs::write(path, [0; 99]).unwrap()),
        ("cut", |path| {
            let octets = fs::read(path).unwrap();
            fs::write(path, &octets[..octets.len() - 1]).unwrap();
        }),
    ];
    for (what, damage) in damage {
        for (file, expected) in [
            ("CURRENT", 1),
            ("GOOD", 2),
            ("gen-0000000002/MANIFEST", 1),
            ("gen-0000000002/tc.cred", 1),
            ("gen-0000000002/tc.uri", 1),
            ("gen-0000000002/cups.uri", 1),
            ("gen-0000000001/tc.cred", 2),
        ] {
            let scratch = Scratch::new();
            let mut store = scratch.open();
            confirmed(&mut store, 1);
            commit(&mut store, 2);
            drop(store);
            damage(&scratch.store_file(file));
            let (store, recovery) = Store::open(scratch.path()).unwrap();
            assert_eq!(current(&store), Some(contents(expected)), "{what} {file}");
            assert!(!recovery.notes.is_empty() || (what, file) == ("missing", "GOOD"));
            drop(store);
            let (store, _) = Store::open(scratch.path()).unwrap();
            assert_eq!(current(&store), Some(contents(expected)), "{what} {file}");
        }
    }
}

#[test]
fn without_any_pointer_the_highest_valid_set_is_used() {
    let scratch = Scratch::new();
    let mut store = scratch.open();
    confirmed(&mut store, 1);
    commit(&mut store, 2);
    drop(store);
    fs::remove_file(scratch.store_file("CURRENT")).unwrap();
    fs::remove_file(scratch.store_file("GOOD")).unwrap();
    assert_eq!(current(&scratch.open()), Some(contents(2)));
}

#[test]
fn a_set_of_a_newer_version_is_neither_used_nor_deleted() {
    let scratch = Scratch::new();
    commit(&mut scratch.open(), 1);
    let newer = scratch.store_file("gen-0000000050");
    fs::create_dir(&newer).unwrap();
    fs::write(newer.join("MANIFEST"), b"format 2\n").unwrap();
    let mut store = scratch.open();
    assert_eq!(current(&store), Some(contents(1)));
    let next = (2..6).map(|number| commit(&mut store, number)).last();
    assert_eq!(next, Some(SetNumber(54)));
    assert!(newer.join("MANIFEST").exists());
}

#[test]
fn leftovers_of_an_interruption_are_removed() {
    let scratch = Scratch::new();
    commit(&mut scratch.open(), 1);
    for dir in ["gen-0000000002.tmp", "gen-0000000000.del"] {
        fs::create_dir(scratch.store_file(dir)).unwrap();
        fs::write(scratch.store_file(dir).join("tc.cred"), b"half").unwrap();
    }
    fs::write(scratch.store_file("CURRENT.tmp"), b"1 ").unwrap();
    let (_store, recovery) = Store::open(scratch.path()).unwrap();
    assert_eq!(recovery.notes.len(), 3);
    let names: Vec<_> = fs::read_dir(scratch.path().join("store"))
        .unwrap()
        .collect();
    assert_eq!(names.len(), 3, "CURRENT, LOCK and the set");
}

#[test]
fn a_second_agent_is_refused_and_told_who_is_there() {
    let scratch = Scratch::new();
    let store = scratch.open();
    match Store::open(scratch.path()) {
        Err(StoreError::Held { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        _ => panic!("opened twice"),
    }
    drop(store);
    assert!(Store::open(scratch.path()).is_ok());
}

#[test]
fn a_missing_data_directory_is_named() {
    let scratch = Scratch::new();
    let absent = scratch.path().join("absent");
    let error = Store::open(&absent).err().unwrap();
    assert!(error.to_string().contains(absent.to_str().unwrap()));
}

#[test]
fn a_store_opened_to_look_at_shows_everything_and_writes_nothing() {
    let scratch = Scratch::new();
    let mut holder = scratch.open();
    let number = commit(&mut holder, 1);
    fs::write(scratch.store_file("GOOD.tmp"), b"x").unwrap();
    let before = tree(scratch.path());
    let mut store = Store::open_read_only(scratch.path()).unwrap();
    assert_eq!(store.load(number).unwrap().contents, contents(1));
    let refused = store.stage(&contents(2), Origin::Cups, 0);
    assert!(matches!(refused, Err(StoreError::ReadOnly)));
    assert_eq!(tree(scratch.path()), before);
}

#[test]
fn a_hold_survives_a_restart() {
    let scratch = Scratch::new();
    let digest = contents(1).digest();
    assert_eq!(scratch.open().quarantine(&digest, 100).unwrap(), 3600);
    let mut store = scratch.open();
    assert_eq!(store.quarantined_until(&digest, 101), Some(3700));
    store.release(&digest).unwrap();
    drop(store);
    assert_eq!(scratch.open().quarantined_until(&digest, 101), None);
}

#[test]
fn files_and_directories_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    drop(scratch.open());
    let dir = scratch.path().join("store");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let (mut store, recovery) = Store::open(scratch.path()).unwrap();
    assert_eq!(recovery.notes.len(), 1);
    confirmed(&mut store, 2);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&scratch.store_file("gen-0000000001")), 0o700);
    for (path, ..) in tree(scratch.path()) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn different_contents_have_different_digests_and_no_secret_is_shown() {
    let digests: std::collections::BTreeSet<_> =
        (0..9).map(|number| contents(number).digest()).collect();
    assert_eq!(digests.len(), 9);
    let mut moved = contents(1);
    moved.tc = Some(Credential::from_parts(b"trustX", b"", b"Y"));
    let mut other = contents(1);
    other.tc = Some(Credential::from_parts(b"trust", b"", b"XY"));
    assert_ne!(moved.digest(), other.digest());
    assert!(!format!("{:?}", contents(1)).contains("key-1"));
}
