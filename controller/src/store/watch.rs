//! Runs a folder store: takes commands and notices one at a time, and looks again now and then in case a notice was
//! lost.

use super::{
    Command,
    file::FolderStore,
    folder::{self, GAP},
};
use crate::clock::Clock;
use jiff::Timestamp;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;
use tracing::warn;

/// Notices that come together are acted on together.
const DEBOUNCE: Duration = Duration::from_millis(25);
/// Everything is read again this often.
const PERIOD: Duration = Duration::from_secs(5);
/// A file that is open for writing is left alone until it is closed, but not for longer than this after its last write.
const UNFINISHED: Duration = Duration::from_secs(1);
/// Notices are small and are taken within milliseconds; when more than this wait, the kernel's queue holds the rest.
pub const QUEUE: usize = 1024;

/// What the operating system tells about the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// Somebody is writing this file.
    Writing(String),
    /// This file is new, or changed, or gone, as a whole.
    Changed(String),
    /// Anything may have changed.
    Anything,
}

/// Watches one folder; dropped, it stops.
struct Watch {
    _watcher: RecommendedWatcher,
    /// Device and inode: a folder that was replaced must be watched anew.
    identity: (u64, u64),
}

impl Watch {
    fn new(dir: &Path, commands: &mpsc::Sender<Command>) -> notify::Result<Self> {
        let metadata = fs::metadata(dir)?;
        let commands = commands.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            for noticed in event.map_or_else(|_| vec![Noticed::Anything], |event| read(&event)) {
                // Fails only when the store is gone.
                let _ = commands.blocking_send(Command::Look(noticed));
            }
        })?;
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
        Ok(Self { _watcher: watcher, identity: (metadata.dev(), metadata.ino()) })
    }
}

/// What an event of the operating system means.
fn read(event: &notify::Event) -> Vec<Noticed> {
    if event.need_rescan() || event.paths.is_empty() {
        return vec![Noticed::Anything];
    }
    let names = event.paths.iter().filter_map(|path| Some((path, path.file_name()?.to_str()?.to_owned())));
    names.filter_map(|(path, name)| notice(event.kind, path, name)).collect()
}

fn notice(kind: EventKind, path: &Path, name: String) -> Option<Noticed> {
    if !folder::counts(&name) {
        // `..data` is what a mounted ConfigMap switches; a plain name may be the folder itself.
        let matters = name.starts_with("..") || matches!(kind, EventKind::Remove(_));
        return matters.then_some(Noticed::Anything);
    }
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Noticed::Changed(name)),
        EventKind::Access(_) => None,
        EventKind::Create(_) if fs::symlink_metadata(path).is_ok_and(|m| m.is_file()) => Some(Noticed::Writing(name)),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Noticed::Writing(name)),
        _ => Some(Noticed::Changed(name)),
    }
}

/// What is known to be going on in the folder.
#[derive(Debug, Default)]
struct Pending {
    touched: BTreeSet<String>,
    /// Until when each is left alone.
    unfinished: BTreeMap<String, Duration>,
    look_at: Option<Duration>,
}

impl Pending {
    fn take(&mut self, noticed: Noticed, now: Duration) {
        match noticed {
            Noticed::Writing(name) => {
                self.unfinished.insert(name, now + UNFINISHED);
                return;
            }
            Noticed::Changed(name) => {
                self.unfinished.remove(&name);
                self.touched.insert(name);
            }
            Noticed::Anything => {}
        }
        self.look_at.get_or_insert(now + DEBOUNCE);
    }

    /// Files that nobody has written to for long enough are trusted although nobody closed them.
    fn expire(&mut self, now: Duration) {
        let over: Vec<_> = self.unfinished.iter().filter(|(_, until)| **until <= now).map(|(n, _)| n.clone()).collect();
        for name in over {
            self.unfinished.remove(&name);
            self.touched.insert(name);
            self.look_at.get_or_insert(now);
        }
    }

    fn unfinished(&self) -> BTreeSet<String> {
        self.unfinished.keys().cloned().collect()
    }
}

/// Runs a store until it is told to stop. Returns it, so that its state stays locked until the very end.
pub async fn run(
    store: FolderStore,
    dir: PathBuf,
    commands: mpsc::Sender<Command>,
    mut queue: mpsc::Receiver<Command>,
    clock: Clock,
) -> Option<FolderStore> {
    let mut held = Some(store);
    let mut pending = Pending::default();
    let mut watch = start(&dir, &commands);
    // At once: something may have changed between the first look and the beginning of the watch.
    let mut next_period = clock.now().at;
    loop {
        let now = clock.now().at;
        let vanished =
            held.as_ref().and_then(|store| store.due(now)).map(|left| now + left.max(Duration::from_millis(1)));
        let unfinished = pending.unfinished.values().min().copied();
        let wake = [Some(next_period), pending.look_at, vanished, unfinished].into_iter().flatten().min();
        let wait = wake.unwrap_or(now + GAP).saturating_sub(now);
        let command = tokio::time::timeout(wait, queue.recv()).await;
        let moment = clock.now();
        let now = moment.at;
        pending.expire(now);
        match command {
            Ok(Some(Command::Look(noticed))) => pending.take(noticed, now),
            Ok(Some(Command::SetWeights { split, weights, reply })) => {
                let unfinished = pending.unfinished();
                let done = with(&mut held, move |store| store.set_weights(&split, &weights, &unfinished, moment)).await;
                // The asker may have gone; what was done stays done.
                let _ = reply.send(done.unwrap_or(Err(super::SetError::Closed)));
            }
            Ok(Some(Command::EditTest { test, edit, reply })) => {
                let unfinished = pending.unfinished();
                let done = with(&mut held, move |store| store.edit_test(&test, &edit, &unfinished, moment)).await;
                let _ = reply.send(done.unwrap_or(Err(super::SetError::Closed)));
            }
            Ok(Some(Command::Drive { split, by, weights, reply })) => {
                let unfinished = pending.unfinished();
                let done = with(&mut held, move |store| store.drive(&split, &by, weights, &unfinished, moment)).await;
                let _ = reply.send(done.unwrap_or(Err(super::SetError::Closed)));
            }
            Ok(Some(Command::Stop) | None) => return held,
            Err(_) => {}
        }
        let thorough = next_period <= now;
        if thorough {
            next_period = now + PERIOD;
            if watch.as_ref().is_none_or(|w| identity(&dir).is_some_and(|id| id != w.identity)) {
                watch = start(&dir, &commands);
            }
        }
        let due = vanished.is_some_and(|at| at <= now) || pending.look_at.is_some_and(|at| at <= now);
        if thorough || due {
            pending.look_at = None;
            let (touched, mut unfinished) = (std::mem::take(&mut pending.touched), pending.unfinished());
            let young: Vec<_> = if thorough { young(&dir, moment.wall) } else { Vec::new() };
            let young: Vec<_> = young.into_iter().filter(|name| !touched.contains(name)).collect();
            if !young.is_empty() {
                next_period = now + UNFINISHED;
            }
            unfinished.extend(young);
            with(&mut held, move |store| store.look(&touched, thorough, &unfinished, moment)).await;
        }
        // Only a panic takes the store away; going on without one would only look alive.
        held.as_ref()?;
    }
}

/// Files written to so lately that a notice of it may still be under way: one of them may be half written.
fn young(dir: &Path, now: Timestamp) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let written = |entry: &fs::DirEntry| Timestamp::try_from(entry.metadata().ok()?.modified().ok()?).ok();
    let lately = |at: Timestamp| now.duration_since(at).unsigned_abs() < UNFINISHED;
    let young = entries.filter(|entry| written(entry).is_some_and(lately));
    young.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|m| (m.dev(), m.ino()))
}

fn start(dir: &Path, commands: &mpsc::Sender<Command>) -> Option<Watch> {
    let watch = Watch::new(dir, commands);
    if let Err(why) = &watch {
        warn!(dir = %dir.display(), %why, "cannot watch the folder; it is read every {} s instead", PERIOD.as_secs());
    }
    watch.ok()
}

/// Runs something on the store where waiting for the disk harms nobody.
async fn with<T: Send + 'static>(
    held: &mut Option<FolderStore>,
    run: impl FnOnce(&mut FolderStore) -> T + Send + 'static,
) -> Option<T> {
    let mut store = held.take()?;
    let (store, done) = tokio::task::spawn_blocking(move || {
        let done = run(&mut store);
        (store, done)
    })
    .await
    .ok()?;
    *held = Some(store);
    Some(done)
}
