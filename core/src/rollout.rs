//! Rollouts: what to do next, from the plan, the state as last written, and what is seen. Pure.
//!
//! In the order a rollout meets it:
//!
//! * [`plan`]: steps, splits and policies, checked once.
//! * [`deploy`]: the machine of a CanaryDeploy: its [`deploy::State`], and [`deploy::step`] from one to the next.
//! * [`desired`]: what a state wants the world to be; effects are what the world lacks of that.
//! * [`probe`]: the first requests for pods that had none.
//! * [`floor`]: below what an autoscaler must not take main, and until when.
//! * [`command`]: what a person may say, and when.
//! * [`trial`]: the smaller machine of a CanaryTest.
//!
//! The machine is level-triggered. A state alone says which pods and weights there should be ([`desired::Desired`]),
//! so an effect can be repeated any number of times, a crash between two of them loses nothing, and a state that is
//! written before its effects are carried out is all that a restart needs.

pub mod command;
pub mod deploy;
pub mod desired;
pub mod floor;
pub mod plan;
pub mod probe;
pub mod trial;

use crate::judge::Verdict;
use serde::{Deserialize, Serialize};
use std::fmt;

/// 100 %. Weights of rollouts are in thousandths of a percent and always sum to this.
pub const WHOLE: u32 = 100_000;

/// The weights of one split, in thousandths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Weights {
    /// The new version.
    pub canary: u32,
    /// The version in production.
    pub main: u32,
    /// The version in production, in as many pods as the canary.
    pub baseline: u32,
}

impl Weights {
    /// Everything to main: before and after a rollout.
    pub const MAIN: Self = Self { canary: 0, main: WHOLE, baseline: 0 };

    /// The weight of one group.
    pub fn of(&self, role: Role) -> u32 {
        match role {
            Role::Main => self.main,
            Role::Baseline => self.baseline,
            Role::Canary => self.canary,
        }
    }

    /// Those of a step: as much to the baseline as to the canary. `canary` is at most half of [`WHOLE`].
    pub fn of_step(canary: u32) -> Self {
        Self { canary, main: WHOLE.saturating_sub(canary.saturating_mul(2)), baseline: canary }
    }
}

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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Workload {
    /// The version it was told to run; empty when it does not exist.
    pub version: String,
    /// How many pods it was told to have.
    pub replicas: u32,
    /// How many pods of that version are ready.
    pub ready: u32,
    /// No pod of another version is left, and none more than asked for.
    pub settled: bool,
    /// Why pods do not get ready, when that is known.
    pub trouble: Option<String>,
    /// An autoscaler decides how many there are, and was told to leave so many at least; `None`: there is none.
    pub floor: Option<u32>,
}

/// A split as it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SplitSeen {
    /// What the controller publishes; `None` when the split cannot be driven.
    pub weights: Option<Weights>,
    /// At least one proxy is live, and all live ones acked exactly that.
    pub acked: bool,
}

/// All that a machine may know of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Observation {
    /// `None`: could not be looked at.
    pub main: Option<Workload>,
    /// The same.
    pub baseline: Option<Workload>,
    /// The same.
    pub canary: Option<Workload>,
    /// In the order of the plan's splits.
    pub splits: Vec<SplitSeen>,
    /// Of all evidence since the rollout began, at the step as it stands.
    pub verdict: Verdict,
    /// While something is probed; `None`: no proxy that could tell.
    pub reach: Option<probe::Reach>,
}

impl Observation {
    /// One group of pods; `None`: could not be looked at.
    pub fn workload(&self, role: Role) -> Option<&Workload> {
        match role {
            Role::Main => self.main.as_ref(),
            Role::Baseline => self.baseline.as_ref(),
            Role::Canary => self.canary.as_ref(),
        }
    }
}
