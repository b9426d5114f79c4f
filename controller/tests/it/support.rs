//! What the tests share.

use sluicegate::{
    api::document::{self, Document, Meaning, Problem},
    clock::Now,
    store::{Change, Complaint, Sink, file::FolderStore},
};
use sluicegate_core::{snapshot::Entry, spec::SplitSpec};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// A moment.
pub(crate) fn at(ms: u64) -> Now {
    let wall = jiff::Timestamp::from_millisecond(1_700_000_000_000 + ms as i64).unwrap();
    Now { at: Duration::from_millis(ms), wall }
}

/// The YAML of a split.
pub(crate) fn yaml(name: &str, weights: &[(&str, u32)], more: &str) -> String {
    let subsets: String = weights.iter().map(|(n, w)| format!("    - {{ name: {n}, weight: {w} }}\n")).collect();
    format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: TrafficSplit\nmetadata:\n  name: {name}\nspec:\n  subsets:\n\
         {subsets}{more}"
    )
}

/// The split a document means.
pub(crate) fn split_of(document: Document) -> Result<SplitSpec, Problem> {
    document.meaning.map(|meaning| match meaning {
        Meaning::Split(split) => split,
        other => panic!("{other:?}"),
    })
}

/// v1 and v2 at these weights.
pub(crate) fn backend(v1: u32, v2: u32) -> String {
    yaml("backend", &[("v1", v1), ("v2", v2)], "")
}

/// Notes what a store tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    changes: Vec<Change>,
    complaints: Vec<Complaint>,
    rival: Option<u64>,
}

impl Recorder {
    /// Changes since this was last asked, as `name@generation: weights`.
    pub(crate) fn take(&self) -> Vec<String> {
        let changes = std::mem::take(&mut self.0.lock().unwrap().changes);
        changes.iter().map(|c| show(&c.name, &c.entry)).collect()
    }

    /// What is wrong now, as text.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.0.lock().unwrap().complaints.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn set_rival(&self, generation: u64) {
        self.0.lock().unwrap().rival = Some(generation);
    }
}

fn show(name: &str, entry: &Entry) -> String {
    match entry {
        Entry::Live(SplitSpec { generation, subsets, .. }) => {
            let weights: Vec<_> = subsets.iter().map(|s| format!("{}={}", s.name, s.weight)).collect();
            format!("{name}@{generation}: {}", weights.join(" "))
        }
        Entry::Gone(generation) => format!("{name}@{generation}: gone"),
    }
}

impl Sink for Recorder {
    fn publish(&self, changes: Vec<Change>) {
        self.0.lock().unwrap().changes.extend(changes);
    }

    fn complain(&self, complaints: Vec<Complaint>) {
        self.0.lock().unwrap().complaints = complaints;
    }

    fn rival(&self, _split: &str) -> Option<u64> {
        self.0.lock().unwrap().rival
    }
}

/// A store on a real folder, looked at by hand.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) told: Recorder,
    store: Option<FolderStore>,
    now: u64,
}

impl Bench {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).unwrap());
        let mut bench = Self { dir, told: Recorder::default(), store: None, now: 0 };
        bench.start();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn start(&mut self) {
        let store = open(self.dir.path(), &self.told, at(self.now)).unwrap();
        self.store = Some(store);
    }

    pub(crate) fn stop(&mut self) {
        self.store = None;
    }

    pub(crate) fn store(&mut self) -> &mut FolderStore {
        self.store.as_mut().unwrap()
    }

    /// Lets time pass and looks at everything.
    pub(crate) fn look_after(&mut self, ms: u64) -> Vec<String> {
        self.now += ms;
        let now = at(self.now);
        self.store().look(&BTreeSet::new(), true, &BTreeSet::new(), now);
        self.told.take()
    }

    pub(crate) fn look(&mut self) -> Vec<String> {
        self.look_after(1)
    }

    pub(crate) fn set(&mut self, split: &str, weights: &[(&str, u32)]) -> Result<u64, String> {
        let weights = weights.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect();
        let now = at(self.now);
        let set = self.store().set_weights(split, &weights, &BTreeSet::new(), now);
        set.map(|set| set.generation).map_err(|why| why.to_string())
    }
}

pub(crate) fn open(dir: &Path, told: &Recorder, now: Now) -> Result<FolderStore, String> {
    FolderStore::open(dir.to_owned(), None, Box::new(told.clone()), now).map_err(|why| why.to_string())
}

/// A split as a store publishes it.
pub(crate) fn split(name: &str, generation: u64, weights: &[(&str, u32)], hosts: &[&str]) -> SplitSpec {
    let text = yaml("x", weights, "");
    let mut split = split_of(document::read(&text).remove(0)).unwrap();
    split.name = name.to_owned();
    split.generation = generation;
    split.hosts = hosts.iter().map(|h| (*h).to_owned()).collect();
    split
}

/// The same as a change.
pub(crate) fn change(split: SplitSpec) -> Change {
    let hosted = !split.hosts.is_empty();
    Change { name: split.name.clone(), entry: Entry::Live(split), hosted, since: at(0).wall }
}

/// A deletion.
pub(crate) fn gone(name: &str, generation: u64, hosted: bool) -> Change {
    Change { name: name.to_owned(), entry: Entry::Gone(generation), hosted, since: at(0).wall }
}
