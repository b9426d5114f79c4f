//! What is remembered of rollouts, safe before any effect: a file for each rollout and for each judgment, or the objects
//! of a cluster.

use super::{Found, Wanted, history::History, machine::Machine, teller::Outbox};
use crate::{
    kube::{cluster::ClusterError, records::KubeRecords},
    store::{
        TestEdit,
        state::{Draft, sync_folder},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;

/// The form this program writes.
const FORMAT: u32 = 1;

/// One rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Where it is.
    pub machine: Machine,
    /// The file of the user it comes from.
    pub file: String,
    /// Proxies that subscribed when this was written; after a restart they have to come back first.
    pub proxies: usize,
    /// When the run under way, or the last one, began, Unix ms: tells one from another.
    #[serde(default)]
    pub run: u64,
    /// What happened.
    #[serde(default)]
    pub history: History,
    /// Webhooks that are still to be told.
    #[serde(default)]
    pub outbox: Outbox,
    /// Judgments among the user's documents that are done with, and what became of them.
    #[serde(default)]
    pub judgments: BTreeMap<String, String>,
    /// What a person asked for that is being written into the user's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

/// A weight that a person gives to a CanaryTest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The weight before, in thousandths of a percent.
    pub weight: u32,
    /// The version before.
    pub version: String,
    /// What is to be.
    pub edit: TestEdit,
}

impl Record {
    /// What was wanted when it was written.
    pub fn found(self) -> Found {
        let wanted = match self.machine {
            Machine::CanaryDeploy { spec, .. } => Wanted::Deploy(Arc::new(spec)),
            Machine::CanaryTest { spec, .. } => Wanted::Test(Arc::new(spec)),
        };
        Found { wanted, file: self.file, generation: None, judgments: Vec::new() }
    }

    /// Of a rollout that nobody remembers.
    pub fn new(machine: Machine, file: String) -> Self {
        Self {
            machine,
            file,
            proxies: 0,
            run: 0,
            history: History::default(),
            outbox: Outbox::default(),
            judgments: BTreeMap::new(),
            asked: None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct OnDisk<T> {
    format: u32,
    #[serde(flatten)]
    record: T,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// Why a rollout is not remembered.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The disk.
    #[error("cannot use {path}: {why}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// A later program wrote it.
    #[error(
        "{path} is of format {format}, and this program knows up to {FORMAT}: it was written by a newer version; use that one"
    )]
    Newer {
        /// Which file.
        path: String,
        /// Its format.
        format: u32,
    },
    /// Not what this program wrote.
    #[error("{path} is damaged ({why}); restore it, or delete it: then pods and weights are looked at anew")]
    Damaged {
        /// Which file.
        path: String,
        /// Why.
        why: String,
    },
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl RecordError {
    /// It may have been written all the same.
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Self::Cluster(ClusterError::Api { .. } | ClusterError::Conflict(_)))
    }
}

/// Where rollouts are remembered.
#[derive(Debug, Clone)]
pub enum Records {
    /// In a state folder.
    Files(Files),
    /// In a cluster.
    Cluster(KubeRecords),
}

impl Records {
    /// The names of all that are remembered.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Files(files) => files.names(),
            Self::Cluster(cluster) => cluster.names(),
        }
    }

    /// What belongs to a rollout is deleted before it is.
    pub fn is_doomed(&self, name: &str) -> bool {
        match self {
            Self::Files(_) => false,
            Self::Cluster(cluster) => cluster.is_doomed(name),
        }
    }

    /// What is remembered of a rollout.
    pub async fn load(&self, name: &str) -> Result<Option<Record>, RecordError> {
        match self {
            Self::Files(files) => files.load(name),
            Self::Cluster(cluster) => Ok(cluster.load(name).await?),
        }
    }

    /// Remembers a rollout; when this returns it survives a crash.
    pub async fn save(&self, name: &str, record: &Record) -> Result<(), RecordError> {
        match self {
            Self::Files(files) => files.save(name, record),
            Self::Cluster(cluster) => Ok(cluster.save(name, record).await?),
        }
    }

    /// Forgets a rollout.
    pub async fn remove(&self, name: &str) -> Result<(), RecordError> {
        match self {
            Self::Files(files) => files.remove(name),
            Self::Cluster(cluster) => Ok(cluster.remove(name).await?),
        }
    }

    /// Keeps a judgment under a name of its own.
    pub async fn judge(&self, name: &str, judgment: &Value) -> Result<(), RecordError> {
        match self {
            Self::Files(files) => files.judge(name, judgment),
            Self::Cluster(cluster) => Ok(cluster.judge(name, judgment).await?),
        }
    }
}

/// The files of all rollouts, in the state folder.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

/// A name no file system minds: `_` is in no name of ours.
fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    text.chars().map(plain).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let done = Draft::write(path, bytes, None).and_then(Draft::commit).and_then(|()| sync_folder(path));
    done.map_err(|why| RecordError::Io { path: path.display().to_string(), why })
}

impl Files {
    /// Of this state folder; makes what is missing.
    pub fn open(state: &Path) -> Result<Self, RecordError> {
        for folder in ["rollouts", "judgments"].map(|name| state.join(name)) {
            let made = fs::create_dir_all(&folder);
            made.map_err(|why| RecordError::Io { path: folder.display().to_string(), why })?;
        }
        Ok(Self { folder: state.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("rollouts").join(file_name(name)).with_added_extension("json")
    }

    /// The names of all that are remembered.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("rollouts")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let names = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
        names.filter(|name| !name.starts_with('.')).map(|name| name.replacen('_', "/", 1)).collect()
    }

    /// What is remembered of a rollout.
    pub fn load(&self, name: &str) -> Result<Option<Record>, RecordError> {
        let path = self.path(name);
        let shown = path.display().to_string();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(RecordError::Io { path: shown, why }),
        };
        let damaged = |why: serde_json::Error| RecordError::Damaged { path: shown.clone(), why: why.to_string() };
        let head: Head = serde_json::from_slice(&bytes).map_err(damaged)?;
        if head.format > FORMAT {
            return Err(RecordError::Newer { path: shown, format: head.format });
        }
        let found: OnDisk<Record> = serde_json::from_slice(&bytes).map_err(damaged)?;
        Ok(Some(found.record))
    }

    /// Remembers a rollout; when this returns it survives a crash of the machine.
    pub fn save(&self, name: &str, record: &Record) -> Result<(), RecordError> {
        let path = self.path(name);
        let text = serde_json::to_vec_pretty(&OnDisk { format: FORMAT, record })
            .map_err(|why| RecordError::Damaged { path: path.display().to_string(), why: why.to_string() })?;
        write(&path, &text)
    }

    /// Forgets a rollout.
    pub fn remove(&self, name: &str) -> Result<(), RecordError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::Io { path: path.display().to_string(), why })
            }
            _ => Ok(()),
        }
    }

    /// Keeps a judgment under a name of its own.
    pub fn judge(&self, name: &str, judgment: &impl Serialize) -> Result<(), RecordError> {
        let path = self.folder.join("judgments").join(file_name(name)).with_added_extension("json");
        let text = serde_json::to_vec_pretty(judgment)
            .map_err(|why| RecordError::Damaged { path: path.display().to_string(), why: why.to_string() })?;
        write(&path, &text)
    }
}
