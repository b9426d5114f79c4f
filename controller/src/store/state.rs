//! Generations and last good splits, safe on disk before anybody hears of them.
//!
//! One JSON file in a folder that is locked while a controller runs. It is never changed in place: a new one is
//! written, flushed to the disk, renamed over the old one, and the folder flushed too.

use super::Driven;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluicegate_core::{snapshot::Entry, spec::SplitSpec};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The file in the state folder.
pub const FILE: &str = "generations.json";
const LOCK: &str = "lock";
const VERSION: u32 = 1;

/// What is remembered of a split, deleted ones too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Of the content, or of its deletion.
    pub generation: u64,
    /// When the generation began.
    pub since: Timestamp,
    /// The file it came from last.
    pub file: String,
    /// Lists hosts, or once did.
    pub hosted: bool,
    /// What is in force; `None`: deleted.
    pub split: Option<SplitSpec>,
    /// A rollout holds the weights, whatever the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driven: Option<Driven>,
}

impl Known {
    /// Not deleted.
    pub fn is_live(&self) -> bool {
        self.split.is_some()
    }

    /// For the hub.
    pub fn entry(&self) -> Entry {
        match &self.split {
            Some(split) => Entry::Live(SplitSpec { generation: self.generation, ..split.clone() }),
            None => Entry::Gone(self.generation),
        }
    }
}

#[derive(Deserialize)]
struct OnDisk {
    version: u32,
    splits: BTreeMap<String, Known>,
}

#[derive(Serialize)]
struct ToDisk<'a> {
    version: u32,
    splits: &'a BTreeMap<String, Known>,
}

/// Why the state could not be opened.
#[derive(Debug, Error)]
pub enum StateError {
    /// The folder cannot be made or used.
    #[error("cannot use the state folder {path}: {why}; choose another with --state DIR")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// Somebody else has it.
    #[error(
        "the state folder {path} is in use by another controller; stop that one, or give this one a folder of its own \
         with --state DIR"
    )]
    Locked {
        /// Which.
        path: String,
    },
    /// Not what this program wrote.
    #[error(
        "the state file {path} is damaged ({why}); restore it, or delete it to begin at generation 1: proxies then keep \
         what they run until the next change of each split"
    )]
    Damaged {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
}

/// The state folder, locked.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    _lock: File,
}

impl State {
    /// Locks the folder and reads what is remembered.
    pub fn open(folder: &Path) -> Result<(Self, BTreeMap<String, Known>), StateError> {
        let shown = folder.display().to_string();
        let unusable = |why| StateError::Folder { path: shown.clone(), why };
        fs::create_dir_all(folder).map_err(unusable)?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(folder.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Locked { path: shown }),
            Err(TryLockError::Error(why)) => return Err(unusable(why)),
        }
        let path = folder.join(FILE);
        let damaged = |why: String| StateError::Damaged { path: path.display().to_string(), why };
        let splits = match fs::read(&path) {
            Ok(bytes) => {
                let on_disk: OnDisk = serde_json::from_slice(&bytes).map_err(|why| damaged(why.to_string()))?;
                if on_disk.version != VERSION {
                    return Err(damaged(format!("its version is {}, not {VERSION}", on_disk.version)));
                }
                on_disk.splits
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(why) => return Err(unusable(why)),
        };
        Ok((Self { path, _lock: lock }, splits))
    }

    /// Makes this what is remembered. When it returns, a crash cannot undo it.
    pub fn save(&self, splits: &BTreeMap<String, Known>) -> io::Result<()> {
        self.draft(splits)?.commit()?;
        sync_folder(&self.path)
    }

    /// The first half of [`Self::save`]; the rest is to rename it and to flush the folder.
    pub fn draft(&self, splits: &BTreeMap<String, Known>) -> io::Result<Draft> {
        let bytes = serde_json::to_vec(&ToDisk { version: VERSION, splits })?;
        Draft::write(&self.path, &bytes, None)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A new version of a file, complete on disk beside it under a name that nobody reads.
#[derive(Debug)]
pub struct Draft {
    temporary: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Writes and flushes it. Everything that usually goes wrong goes wrong here, when nothing has changed yet.
    pub fn write(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = Self { temporary: path.with_file_name(format!(".{name}.sluicegate-tmp")), path: path.to_owned() };
        let mut file = File::create(&draft.temporary)?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(draft)
    }

    /// Puts it in the place of the file.
    pub fn commit(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)
    }
}

/// Makes the renaming of a file survive a crash of the machine.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a commit there is nothing left to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}
