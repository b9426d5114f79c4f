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
use std::{fmt, future::Future, pin::Pin};

pub use sluicegate_core::rollout::{Role, Workload, desired::Target};

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
