//! The pods of a rollout: what there is of each role, and making it what it should be.
//!
//! In: a rollout's name and what a role should be. Out: what there is, or why that could not be found out or done.
//!
//! * [`contract`]: the JSON that the user's own command reads and writes. Pure.
//! * [`command`]: [`Workloads`] by that command.
//! * [`given`]: [`Workloads`] for those who move weights only: whatever was asked for is there.
//! * [`process`]: one run of a command, with its time, its output and its children kept within bounds.
//! * [`error`]: why it did not work.

pub mod command;
pub mod contract;
pub mod error;
pub mod given;
pub mod process;

use error::WorkloadsError;
use serde::{Deserialize, Serialize};
use std::{fmt, future::Future, pin::Pin};

/// Which group of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// In production before, and after.
    Main,
    /// Runs the old version for comparison.
    Baseline,
    /// Runs the new version.
    Canary,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Main, Self::Baseline, Self::Canary];

    /// As users write it; also the name of its subset.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Baseline => "baseline",
            Self::Canary => "canary",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A group of pods as it is seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workload {
    /// The version it was told to run; empty when it does not exist.
    pub version: String,
    /// How many pods it was told to have.
    pub replicas: u32,
    /// How many pods of that version are ready.
    pub ready: u32,
    /// No pod of another version is left, and none more than asked for.
    pub settled: bool,
    /// Why pods do not get ready, when that is known; one line.
    pub trouble: Option<String>,
}

/// What there is of each role that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// `None`: was not asked about.
    pub main: Option<Workload>,
    /// The same.
    pub baseline: Option<Workload>,
    /// The same.
    pub canary: Option<Workload>,
}

impl Observed {
    /// One group of pods; `None`: was not asked about.
    pub fn get(&self, role: Role) -> Option<&Workload> {
        match role {
            Role::Main => self.main.as_ref(),
            Role::Baseline => self.baseline.as_ref(),
            Role::Canary => self.canary.as_ref(),
        }
    }

    /// Sets one group of pods.
    pub fn set(&mut self, role: Role, workload: Workload) {
        let place = match role {
            Role::Main => &mut self.main,
            Role::Baseline => &mut self.baseline,
            Role::Canary => &mut self.canary,
        };
        *place = Some(workload);
    }
}

/// What a group of pods should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The version it runs; may be empty when `replicas` is 0.
    pub version: String,
    /// How many pods; 0: the group goes away.
    pub replicas: u32,
}

/// An answer that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, WorkloadsError>> + Send + 'a>>;

/// Knows the pods of rollouts and changes them.
///
/// Everything here may be repeated: whoever asks may have crashed before it heard the answer. Dropping an answer
/// that is under way gives up on it.
pub trait Workloads: fmt::Debug + Send + Sync {
    /// What there is of these roles. `rollout` is `namespace/name`.
    fn observe<'a>(&'a self, rollout: &'a str, roles: &'a [Role]) -> Answer<'a, Observed>;

    /// Tells a role what it should be. Returns when it was told, not when the pods are ready: `observe` says that.
    fn apply<'a>(&'a self, rollout: &'a str, role: Role, target: &'a Target) -> Answer<'a, ()>;
}
