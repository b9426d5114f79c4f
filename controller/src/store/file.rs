//! The folder store: files in, generations on disk, changes out.

use super::{
    Change, Complaint, Set, SetError, Sink, TestEdit, TestSet, Weights, ask, driven,
    edit::{self, EditError},
    folder::Folder,
    plan::{Plan, plan},
    rollouts,
    state::{Draft, Known, State, StateError, sync_folder},
    tell,
};
use crate::{clock::Now, rollouts::AllWanted};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io,
    path::PathBuf,
    thread,
    time::Duration,
};
use thiserror::Error;
use tracing::{info, warn};

/// Why a folder could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder is not there, or may not be listed.
    #[error("cannot read the folder {path}: {why}; make it, or give another with --dir DIR")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A file as it is to be.
struct Rewritten {
    path: PathBuf,
    permissions: Permissions,
    text: String,
}

/// A folder of YAML with its state folder.
pub struct FolderStore {
    folder: Folder,
    state: State,
    known: BTreeMap<String, Known>,
    sink: Box<dyn Sink>,
    complaints: Vec<Complaint>,
    rollouts: AllWanted,
}

impl std::fmt::Debug for FolderStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FolderStore").field("folder", &self.folder.path()).field("known", &self.known).finish()
    }
}

impl FolderStore {
    /// Locks the state, reads the folder for the first time and publishes everything, deleted splits too.
    pub fn open(dir: PathBuf, state: Option<PathBuf>, sink: Box<dyn Sink>, now: Now) -> Result<Self, OpenError> {
        let path = dir.display().to_string();
        fs::read_dir(&dir).map_err(|why| OpenError::Folder { path, why })?;
        let (state, known) = State::open(&state.unwrap_or_else(|| dir.join(".sluicegate")))?;
        let rollouts = sink.remembered();
        let mut store = Self { folder: Folder::new(dir), state, known, sink, complaints: Vec::new(), rollouts };
        let changes = store.known.iter().map(|(name, known)| change(name, known)).collect();
        store.sink.publish(changes);
        store.look_with(&BTreeSet::new(), false, &BTreeSet::new(), now, false);
        Ok(store)
    }

    /// Looks at the folder again; what changed while running is deliberate and goes above whatever proxies run.
    pub fn look(&mut self, touched: &BTreeSet<String>, thorough: bool, unfinished: &BTreeSet<String>, now: Now) {
        self.look_with(touched, thorough, unfinished, now, true);
    }

    /// How long until a vanished file counts as deleted.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        self.folder.due(now)
    }

    fn look_with(
        &mut self,
        touched: &BTreeSet<String>,
        thorough: bool,
        unfinished: &BTreeSet<String>,
        now: Now,
        running: bool,
    ) {
        if let Err(why) = self.folder.look(touched, thorough, unfinished, now.at) {
            let fault = format!("cannot read the folder ({why}); everything stays as it was");
            let complaints = vec![self.whole(self.folder.path().display().to_string(), fault)];
            tell(&mut self.complaints, complaints, self.sink.as_ref());
            return;
        }
        let mut sources = self.folder.sources();
        driven::hold(&self.known, &mut sources);
        let plan = plan(&self.known, &sources);
        let mut complaints = plan.complaints.clone();
        let (rollouts, wrong) = rollouts::wanted(&self.rollouts, &sources);
        complaints.extend(wrong);
        if rollouts != self.rollouts {
            self.sink.rollouts(rollouts.clone());
            self.rollouts = rollouts;
        }
        if let Err(why) = self.carry_out(plan, running, now) {
            let fault = format!("cannot write the state ({why}); changes are not in force until it can be written");
            complaints.push(self.whole(self.state.path().display().to_string(), fault));
        }
        tell(&mut self.complaints, complaints, self.sink.as_ref());
    }

    fn whole(&self, file: String, message: String) -> Complaint {
        Complaint { file, place: None, split: None, refused: true, reason: "Unreadable", message }
    }

    fn next(&self, name: &str, running: bool) -> u64 {
        let own = self.known.get(name).map_or(0, |k| k.generation);
        let rival = if running { self.sink.rival(name).unwrap_or(0) } else { 0 };
        own.max(rival) + 1
    }

    fn carry_out(&mut self, plan: Plan, running: bool, now: Now) -> io::Result<()> {
        if plan.put.is_empty() && plan.delete.is_empty() && plan.moved.is_empty() {
            return Ok(());
        }
        let mut known = self.known.clone();
        let mut changed = Vec::new();
        for (split, file) in plan.put {
            let hosted = !split.hosts.is_empty() || self.known.get(&split.name).is_some_and(|k| k.hosted);
            let name = split.name.clone();
            let generation = self.next(&name, running);
            let driven = self.known.get(&name).and_then(|k| k.driven.clone());
            known.insert(name.clone(), Known { generation, since: now.wall, file, hosted, split: Some(split), driven });
            changed.push(name);
        }
        for name in plan.delete {
            let generation = self.next(&name, running);
            if let Some(gone) = known.get_mut(&name) {
                (gone.generation, gone.since, gone.split) = (generation, now.wall, None);
            }
            changed.push(name);
        }
        for (name, file) in plan.moved {
            if let Some(moved) = known.get_mut(&name) {
                moved.file = file;
            }
        }
        self.state.save(&known)?;
        self.known = known;
        self.publish(&changed);
        Ok(())
    }

    /// Puts what is safe on disk in force.
    fn publish(&self, names: &[String]) {
        let known = names.iter().filter_map(|name| self.known.get(name).map(|k| (name, k)));
        for (split, known) in known.clone() {
            match &known.split {
                Some(_) => info!(split, generation = known.generation, file = known.file, "split in force"),
                None => info!(split, generation = known.generation, "split deleted"),
            }
        }
        self.sink.publish(known.map(|(name, known)| change(name, known)).collect());
    }

    /// Writes new weights into the user's file and puts them in force.
    pub fn set_weights(
        &mut self,
        split: &str,
        weights: &Weights,
        unfinished: &BTreeSet<String>,
        now: Now,
    ) -> Result<Set, SetError> {
        if let Some(known) = self.known.get(split) {
            // What the user wrote a moment ago comes first.
            let touched = BTreeSet::from([known.file.clone()]);
            self.look(&touched, false, unfinished, now);
        }
        let (old, known) = ask::live(&self.known, split)?;
        let new = ask::weigh(split, old, known, &self.complaints, weights)?;
        let changed = new != *old;
        if !changed && self.sink.rival(split).is_none() {
            return Ok(Set { generation: known.generation, changed });
        }
        let file = known.file.clone();
        if unfinished.contains(&file) {
            return Err(SetError::NotEditable { file, why: "somebody is writing it right now".to_owned() });
        }
        let generation = self.next(split, true);
        let mut all = self.known.clone();
        all.insert(split.to_owned(), Known { generation, since: now.wall, split: Some(new), ..known.clone() });
        let written = match changed {
            true => Some(self.write(&file, split, weights, &all)?),
            false => {
                self.state.save(&all).map_err(|why| self.state_failed(&why))?;
                None
            }
        };
        self.known = all;
        self.publish(&[split.to_owned()]);
        if let Some(Err(why)) = written.map(|path| sync_folder(&path)) {
            warn!(split, %why, "the new weights are in force, but a crash of the machine could undo the file");
        }
        Ok(Set { generation, changed })
    }

    /// Holds the weights of a split for `by`, or lets go those that it holds; returns the generation in force.
    pub fn drive(
        &mut self,
        split: &str,
        by: &str,
        weights: Option<Weights>,
        unfinished: &BTreeSet<String>,
        now: Now,
    ) -> Result<u64, SetError> {
        let generation = |known: Option<&Known>| known.map_or(0, |known| known.generation);
        let (old, known) = match (ask::live(&self.known, split), &weights) {
            (Ok(live), _) => live,
            // Deleted meanwhile: there is nothing to let go.
            (Err(_), None) => return Ok(generation(self.known.get(split))),
            (Err(none), Some(_)) => return Err(none),
        };
        let Some((spec, driven)) = ask::drive(split, old, known, by, weights)? else { return Ok(known.generation) };
        if known.driven == driven && spec == *old {
            return Ok(known.generation);
        }
        let mut all = self.known.clone();
        let mut next = Known { split: Some(spec), driven, ..known.clone() };
        let changed = next.split != known.split;
        if changed {
            (next.generation, next.since) = (self.next(split, true), now.wall);
        }
        let held = next.driven.is_some();
        all.insert(split.to_owned(), next);
        self.state.save(&all).map_err(|why| self.state_failed(&why))?;
        self.known = all;
        if changed {
            self.publish(&[split.to_owned()]);
        }
        if !held {
            self.look(&BTreeSet::new(), false, unfinished, now);
        }
        Ok(self.known.get(split).map_or(0, |known| known.generation))
    }

    /// Writes into the user's file what a CanaryTest is to be; when this returns, that is wanted.
    pub fn edit_test(
        &mut self,
        test: &str,
        edit: &TestEdit,
        unfinished: &BTreeSet<String>,
        now: Now,
    ) -> Result<TestSet, SetError> {
        let none = || SetError::NoTest(test.to_owned());
        let file = self.rollouts.get(test).map(|found| found.file.clone()).ok_or_else(none)?;
        // What the user wrote a moment ago comes first.
        self.look(&BTreeSet::from([file.clone()]), false, unfinished, now);
        let old = ask::test(&self.rollouts, &self.folder.sources(), &self.complaints, test)?;
        let (weight, version) = (old.weight, old.version.clone());
        let changed = weight != edit.weight || edit.version.as_ref().is_some_and(|new| *new != version);
        if !changed {
            return Ok(TestSet { weight, version, changed });
        }
        if unfinished.contains(&file) {
            return Err(SetError::NotEditable { file, why: "somebody is writing it right now".to_owned() });
        }
        let new = self.rewritten(&file, &format!("CanaryTest {test}"), |text| edit::edit_test(text, test, edit))?;
        let failed = |why: io::Error| SetError::Write { file: file.clone(), why: why.to_string() };
        let draft = Draft::write(&new.path, new.text.as_bytes(), Some(new.permissions)).map_err(failed)?;
        draft.commit().map_err(failed)?;
        if let Err(why) = sync_folder(&new.path) {
            warn!(test, %why, "the new weight is wanted, but a crash of the machine could undo the file");
        }
        self.folder.wrote(&file, new.text);
        self.look(&BTreeSet::new(), false, unfinished, now);
        Ok(TestSet { weight, version, changed })
    }

    /// What `edit` makes of a file of the user's, not yet written.
    fn rewritten(
        &self,
        file: &str,
        of: &str,
        edit: impl FnOnce(&str) -> Result<String, EditError>,
    ) -> Result<Rewritten, SetError> {
        let not_editable = |why: String| SetError::NotEditable { file: file.to_owned(), why };
        let failed = |why: io::Error| SetError::Write { file: file.to_owned(), why: why.to_string() };
        let text = self.folder.text(file).ok_or_else(|| not_editable("it could not be read".to_owned()))?;
        let text = edit(text).map_err(|why| match why {
            EditError::Refused(why) => SetError::Refused { of: of.to_owned(), why },
            other => not_editable(other.to_string()),
        })?;
        // Through links, so that a link stays one.
        let path = fs::canonicalize(self.folder.path().join(file)).map_err(failed)?;
        let permissions = fs::metadata(&path).map_err(failed)?.permissions();
        if permissions.readonly() {
            return Err(not_editable("it is read-only".to_owned()));
        }
        Ok(Rewritten { path, permissions, text })
    }

    /// The file and the state, both or neither. A crash between the two leaves the old file with a generation that was
    /// never handed out.
    fn write(
        &mut self,
        file: &str,
        split: &str,
        weights: &Weights,
        known: &BTreeMap<String, Known>,
    ) -> Result<PathBuf, SetError> {
        let failed = |why: io::Error| SetError::Write { file: file.to_owned(), why: why.to_string() };
        let new = self.rewritten(file, &format!("split {split}"), |text| edit::edit(text, split, weights))?;
        let Rewritten { path, permissions, text } = new;
        // Two flushes at once take as long as one.
        let (draft, state) = thread::scope(|scope| {
            let state = scope.spawn(|| self.state.draft(known));
            (Draft::write(&path, text.as_bytes(), Some(permissions)), state.join())
        });
        let state = state.unwrap_or_else(|_| Err(io::Error::other("writing it ended in a panic")));
        let (draft, state) = (draft.map_err(failed)?, state.map_err(|why| self.state_failed(&why))?);
        state.commit().and_then(|()| sync_folder(self.state.path())).map_err(|why| self.state_failed(&why))?;
        if let Err(why) = draft.commit() {
            // Best effort: if this fails too, a number is skipped, which harms nobody.
            let _ = self.state.save(&self.known);
            return Err(failed(why));
        }
        self.folder.wrote(file, text);
        Ok(path)
    }

    fn state_failed(&self, why: &io::Error) -> SetError {
        SetError::Write { file: self.state.path().display().to_string(), why: why.to_string() }
    }
}

fn change(name: &str, known: &Known) -> Change {
    Change { name: name.to_owned(), entry: known.entry(), hosted: known.hosted, since: known.since }
}
