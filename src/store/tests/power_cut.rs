//! The power fails between any two calls, on a file system that promises nothing but fsync:
//! every directory change not synced is lost or kept by itself, every file not synced is
//! empty, torn, zeros or whole.

use super::{Scratch, contents, current};
use crate::store::disk::{Access, Disk, Handle, RealDisk};
use crate::store::{Origin, Store};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;

#[derive(Debug, Clone)]
pub(in crate::store) enum Step {
    Create(String),
    Write(Vec<u8>),
    Sync,
    SyncDir(String),
    Rename(String, String),
    Remove(String),
    MakeDir(String),
    Attempt(u32),
    Acknowledge(u32),
}

/// Does everything for real and writes down what it did.
struct Recorder(RealDisk, Rc<RefCell<Vec<Step>>>);

impl Recorder {
    fn note<T>(&self, step: Step, result: io::Result<T>) -> io::Result<T> {
        if result.is_ok() {
            self.1.borrow_mut().push(step);
        }
        result
    }
}

impl Disk for Recorder {
    fn create_exclusive(&self, name: &str) -> io::Result<Handle> {
        self.note(Step::Create(name.to_owned()), self.0.create_exclusive(name))
    }
    fn set_access(&self, handle: &Handle, access: Access) -> io::Result<()> {
        self.0.set_access(handle, access)
    }
    fn write_all(&self, handle: &mut Handle, octets: &[u8]) -> io::Result<()> {
        self.note(
            Step::Write(octets.to_vec()),
            self.0.write_all(handle, octets),
        )
    }
    fn sync(&self, handle: &Handle) -> io::Result<()> {
        self.note(Step::Sync, self.0.sync(handle))
    }
    fn close(&self, handle: Handle) -> io::Result<()> {
        self.0.close(handle)
    }
    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.note(Step::SyncDir(name.to_owned()), self.0.sync_dir(name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let step = Step::Rename(from.to_owned(), to.to_owned());
        self.note(step, self.0.rename(from, to))
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        self.note(Step::Remove(name.to_owned()), self.0.unlink(name))
    }
    fn mkdir(&self, name: &str) -> io::Result<()> {
        self.note(Step::MakeDir(name.to_owned()), self.0.mkdir(name))
    }
    fn rmdir(&self, name: &str) -> io::Result<()> {
        self.note(Step::Remove(name.to_owned()), self.0.rmdir(name))
    }
    fn read(&self, name: &str, max_octets: usize) -> io::Result<Vec<u8>> {
        self.0.read(name, max_octets)
    }
    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.0.list(name)
    }
}

#[derive(Debug, Clone)]
enum Node {
    File { octets: Vec<u8>, is_synced: bool },
    Dir(Entries),
}

/// A change of one directory: these names go, this one comes.
#[derive(Debug, Clone)]
struct Change {
    gone: Option<String>,
    come: Option<(String, usize)>,
}

#[derive(Debug, Clone, Default)]
struct Entries {
    durable: BTreeMap<String, usize>,
    pending: Vec<Change>,
}

impl Entries {
    /// The entries when `keeps` decides for each pending change whether it got through.
    fn settled(&self, mut keeps: impl FnMut() -> bool) -> BTreeMap<String, usize> {
        let mut entries = self.durable.clone();
        for change in &self.pending {
            if keeps() {
                if let Some(name) = &change.gone {
                    entries.remove(name);
                }
                entries.extend(change.come.clone());
            }
        }
        entries
    }
}

/// The file system as a crash may leave it. Node 0 is the store's directory.
struct Model(Vec<Node>);

impl Model {
    fn entries(&mut self, dir: usize) -> &mut Entries {
        match &mut self.0[dir] {
            Node::Dir(entries) => entries,
            Node::File { .. } => panic!("not a directory"),
        }
    }

    fn find(&mut self, name: &str) -> (usize, String) {
        match name.split_once('/') {
            Some((dir, leaf)) => {
                let root = self.entries(0).settled(|| true);
                (root[dir], leaf.to_owned())
            }
            None => (0, name.to_owned()),
        }
    }

    fn add(&mut self, name: &str, node: Node) {
        let (dir, leaf) = self.find(name);
        self.0.push(node);
        let come = Some((leaf, self.0.len() - 1));
        self.entries(dir).pending.push(Change { gone: None, come });
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Create(name) => self.add(
                name,
                Node::File {
                    octets: Vec::new(),
                    is_synced: false,
                },
            ),
            Step::MakeDir(name) => self.add(name, Node::Dir(Entries::default())),
            Step::Write(more) => {
                if let Some(Node::File { octets, .. }) = self.0.last_mut() {
                    octets.extend(more);
                }
            }
            Step::Sync => {
                if let Some(Node::File { is_synced, .. }) = self.0.last_mut() {
                    *is_synced = true;
                }
            }
            Step::SyncDir(name) => {
                let dir = if name.is_empty() {
                    0
                } else {
                    self.entries(0).settled(|| true)[name]
                };
                let entries = self.entries(dir);
                entries.durable = entries.settled(|| true);
                entries.pending.clear();
            }
            Step::Rename(from, to) => {
                let root = self.entries(0);
                let node = root.settled(|| true)[from];
                let come = Some((to.clone(), node));
                let gone = Some(from.clone());
                root.pending.push(Change { gone, come });
            }
            Step::Remove(name) => {
                let (dir, leaf) = self.find(name);
                let gone = Some(leaf);
                self.entries(dir).pending.push(Change { gone, come: None });
            }
            Step::Attempt(_) | Step::Acknowledge(_) => {}
        }
    }

    fn crash(&self, node: usize, path: &Path, dice: &mut Dice) {
        match &self.0[node] {
            Node::Dir(entries) => {
                fs::create_dir_all(path).unwrap();
                for (name, child) in entries.settled(|| dice.roll(2) == 0) {
                    self.crash(child, &path.join(name), dice);
                }
            }
            Node::File { octets, is_synced } => {
                let found = match if *is_synced { 3 } else { dice.roll(4) } {
                    0 => Vec::new(),
                    1 => octets[..octets.len() / 2].to_vec(),
                    2 => vec![0; octets.len()],
                    _ => octets.clone(),
                };
                fs::write(path, found).unwrap();
            }
        }
    }
}

/// A small generator of even numbers of chance; the seed makes a failure come back.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }
}

/// The steps that `act` takes on a directory, with what it tells the outside.
pub(in crate::store) fn record(
    dir: &Path,
    act: impl FnOnce(Box<dyn Disk>, &dyn Fn(Step)),
) -> Vec<Step> {
    let steps = Rc::new(RefCell::new(Vec::new()));
    let disk = Recorder(RealDisk::open(dir, false).unwrap(), Rc::clone(&steps));
    act(Box::new(disk), &|step| steps.borrow_mut().push(step));
    steps.take()
}

/// Cuts the power several times after every step; `check` gets the directory that is left
/// and the numbers last acknowledged and last attempted.
pub(in crate::store) fn crash_everywhere(steps: &[Step], check: impl Fn(&Path, [u32; 2], &str)) {
    const CRASHES_A_STEP: u64 = 12;
    let mut dice = Dice(0x5EED_0001);
    let mut numbers = [0, 0];
    let mut model = Model(vec![Node::Dir(Entries::default())]);
    for (position, step) in steps.iter().enumerate() {
        model.apply(step);
        match step {
            Step::Attempt(number) => numbers[1] = *number,
            Step::Acknowledge(number) => numbers[0] = *number,
            _ => {}
        }
        for _ in 0..CRASHES_A_STEP {
            let scratch = Scratch::new();
            let what = format!("step {position} {step:?} seed {:#x} {numbers:?}", dice.0);
            let dir = scratch.path().join("store");
            model.crash(0, &dir, &mut dice);
            check(&dir, numbers, &what);
        }
    }
}

#[test]
fn no_crash_state_of_a_weak_file_system_loses_a_set() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("store");
    fs::create_dir(&dir).unwrap();
    let steps = record(&dir, |disk, note| {
        let (mut store, _) = Store::recover(disk, &dir, None).unwrap();
        for number in 1..=4 {
            let set = store.stage(&contents(number), Origin::Cups, 0).unwrap();
            note(Step::Attempt(number));
            store.commit(set).unwrap();
            note(Step::Acknowledge(number));
            if number != 3 {
                store.confirm(set).unwrap();
            }
        }
    });
    crash_everywhere(&steps, |dir, numbers, what| {
        let (store, recovery) = Store::open(dir.parent().unwrap()).unwrap();
        let found = current(&store);
        let is_set = |number: &u32| *number > 0;
        let expected = numbers.map(|number| Some(number).filter(is_set).map(contents));
        assert!(expected.contains(&found), "{what}: {found:?}");
        // Nothing with a generation's name is ever half written or half deleted.
        let notes = recovery.notes.join("; ");
        assert!(!notes.contains("is not used"), "{what}: {notes}");
    });
}
