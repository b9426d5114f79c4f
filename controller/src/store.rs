//! Where the desired weights come from: the seam between a store and the rest.
//!
//! A store owns the generations. It hands [`Change`]s to a [`Sink`] after they are safe on disk, in order, and takes
//! [`Command`]s one at a time; so nobody else writes, and two writers cannot meet.
//!
//! * [`plan`]: from what the folder says and what is in force to what changes; pure.
//! * [`folder`]: reads the folder; knows which files changed.
//! * [`state`]: generations and last good splits, safe on disk.
//! * [`edit`]: new weights into the user's YAML, nothing else touched.
//! * [`ask`]: what is asked of a store, checked against what is in force; pure.
//! * [`mod@file`]: the folder store: the four together. [`driven`]: weights that a rollout holds in it.
//! * [`rollouts`]: the CanaryDeploys and CanaryTests among the documents; pure.
//! * [`watch`]: the thread that runs it.

pub mod ask;
pub mod driven;
pub mod edit;
pub mod file;
pub mod folder;
pub mod plan;
pub mod rollouts;
pub mod state;
pub mod watch;

use crate::{api::tree::Place, rollouts::AllWanted};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluicegate_core::snapshot::Entry;
use std::{collections::BTreeMap, fmt};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

/// A split that is new, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `namespace/name`.
    pub name: String,
    /// With its generation.
    pub entry: Entry,
    /// Lists hosts, or once did.
    pub hosted: bool,
    /// When this generation began.
    pub since: Timestamp,
}

/// Something in the store that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file, or the folder.
    pub file: String,
    /// Where in the file.
    pub place: Option<Place>,
    /// The split it is about, if that is known.
    pub split: Option<String>,
    /// What the newest document says is not in force.
    pub refused: bool,
    /// One word for machines.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(Place { line, column }) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// What a store tells.
pub trait Sink: Send {
    /// These are in force from now on; they are safe on disk.
    fn publish(&self, changes: Vec<Change>);
    /// All that is wrong now, instead of what was before.
    fn complain(&self, complaints: Vec<Complaint>);
    /// These rollouts are wanted, instead of those before.
    fn rollouts(&self, _wanted: AllWanted) {}
    /// Rollouts that were wanted when the process last ran.
    fn remembered(&self) -> AllWanted {
        AllWanted::new()
    }
    /// The highest generation some proxy runs that did not come from this store, if it is not below the one in force.
    fn rival(&self, split: &str) -> Option<u64>;
}

/// Logs what is newly wrong and passes everything on, when it is not what was known before.
pub fn tell(known: &mut Vec<Complaint>, complaints: Vec<Complaint>, sink: &dyn Sink) {
    if complaints == *known {
        return;
    }
    for complaint in complaints.iter().filter(|c| !known.contains(c)) {
        warn!(split = complaint.split.as_deref().unwrap_or("-"), "{complaint}");
    }
    sink.complain(complaints.clone());
    *known = complaints;
}

/// New weights of a split; subsets that are not named keep theirs.
pub type Weights = BTreeMap<String, u32>;

/// Weights that a rollout holds, whatever the user's file says. The file is not touched, so nobody's Git differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driven {
    /// The rollout, for messages: `CanaryDeploy default/hello-app`.
    pub by: String,
    /// Of every subset that is not at 0.
    pub weights: Weights,
}

/// What became of new weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The generation that is in force now.
    pub generation: u64,
    /// False: the weights were like that before.
    pub changed: bool,
}

/// What of a CanaryTest is to be written into its user's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestEdit {
    /// The canary's weight, in thousandths of a percent; 0 ends it.
    pub weight: u32,
    /// The version to try; `None`: the one that is there.
    pub version: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestSet {
    /// The weight before, in thousandths of a percent.
    pub weight: u32,
    /// The version before.
    pub version: String,
    /// False: the file said so before.
    pub changed: bool,
}

/// Why weights were not set. Nothing has changed then.
#[derive(Debug, Error)]
pub enum SetError {
    /// No such split.
    #[error("there is no split {name:?}{known}")]
    NoSplit {
        /// As asked for.
        name: String,
        /// What there is instead, in words.
        known: String,
    },
    /// No such subset.
    #[error("split {split} has no subset {subset:?}; it has {known}")]
    NoSubset {
        /// The split.
        split: String,
        /// As asked for.
        subset: String,
        /// What there is.
        known: String,
    },
    /// No such rollout.
    #[error("there is no CanaryTest {0}; `sluicegate get rollouts` lists what there is")]
    NoTest(String),
    /// A rollout of the other kind.
    #[error(
        "{0} goes by its steps: say continue, pause, rollback or promote to it; a weight by hand is for a CanaryTest"
    )]
    NotByHand(String),
    /// A CanaryTest of a cluster.
    #[error(
        "{0} is an object of the cluster, to be changed by whom the cluster knows: by `kubectl sluicegate set-weight`, for example"
    )]
    Object(String),
    /// Another version is being tried.
    #[error("CanaryTest {test} tries {version} now: end that first, with weight 0; then start it with {wanted}")]
    Trying {
        /// Which test.
        test: String,
        /// What it tries.
        version: String,
        /// What was asked for.
        wanted: String,
    },
    /// The weights themselves will not do.
    #[error("{of}: {why}")]
    Refused {
        /// Kind and name.
        of: String,
        /// Why.
        why: String,
    },
    /// What is in force is not what the file says.
    #[error("{of}: {complaint}; mend the file first")]
    Broken {
        /// Kind and name.
        of: String,
        /// What is wrong.
        complaint: String,
    },
    /// The weights are not the user's to set now.
    #[error("the weights of split {split} are held by {by}; {}", instead(by))]
    Driven {
        /// The split.
        split: String,
        /// Who holds them.
        by: String,
    },
    /// The file does not let itself be edited by a program.
    #[error("cannot edit {file}: {why}; edit the file by hand")]
    NotEditable {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
    /// A write failed.
    #[error("cannot write {file}: {why}; nothing has changed")]
    Write {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
    /// The store is shutting down.
    #[error("the controller is shutting down; nothing has changed")]
    Closed,
}

/// What to do instead of setting weights that `by` holds.
fn instead(by: &str) -> String {
    match by.strip_prefix("CanaryTest ") {
        Some(test) => format!("`sluicegate set-weight {test} PERCENT` changes them, or delete that first"),
        None => "use continue, pause, rollback or promote, or delete that first".to_owned(),
    }
}

/// What a store is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Write new weights where the user keeps them, and put them in force.
    SetWeights {
        /// `namespace/name`.
        split: String,
        /// New weights.
        weights: Weights,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Set, SetError>>,
    },
    /// Write what a CanaryTest is to be into its user's file.
    EditTest {
        /// `namespace/name`.
        test: String,
        /// What is to change.
        edit: TestEdit,
        /// Where the answer goes, once it is wanted.
        reply: oneshot::Sender<Result<TestSet, SetError>>,
    },
    /// Hold the weights of a split, or let them go.
    Drive {
        /// `namespace/name`.
        split: String,
        /// Who holds them.
        by: String,
        /// Of every subset that is not at 0; `None`: what the user wrote is in force again.
        weights: Option<Weights>,
        /// Where the answer goes: the generation in force.
        reply: oneshot::Sender<Result<u64, SetError>>,
    },
    /// Something changed, perhaps.
    Look(watch::Noticed),
    /// Finish and go.
    Stop,
}

/// Sends commands to a store.
#[derive(Debug, Clone)]
pub struct Handle(pub mpsc::Sender<Command>);

impl Handle {
    /// Sets weights; returns when they are in force.
    pub async fn set_weights(&self, split: String, weights: Weights) -> Result<Set, SetError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Command::SetWeights { split, weights, reply }).await.map_err(|_| SetError::Closed)?;
        answer.await.map_err(|_| SetError::Closed)?
    }

    /// Changes a CanaryTest where its user keeps it; returns when that is wanted.
    pub async fn edit_test(&self, test: String, edit: TestEdit) -> Result<TestSet, SetError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Command::EditTest { test, edit, reply }).await.map_err(|_| SetError::Closed)?;
        answer.await.map_err(|_| SetError::Closed)?
    }

    /// Holds the weights of a split for `by`, or lets go those that it holds; returns the generation in force.
    pub async fn drive(&self, split: String, by: String, weights: Option<Weights>) -> Result<u64, SetError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Command::Drive { split, by, weights, reply }).await.map_err(|_| SetError::Closed)?;
        answer.await.map_err(|_| SetError::Closed)?
    }
}
