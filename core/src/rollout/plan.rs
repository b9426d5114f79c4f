//! What a rollout is to do, checked once, so that nothing downstream checks again.

use super::WHOLE;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// More steps than anybody takes; keeps the record of judgments small.
pub const MAX_STEPS: usize = 100;

/// Who decides that a step is good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Judge {
    /// The evidence.
    #[default]
    Auto,
    /// A person.
    Manual,
    /// A person, as long as the evidence does not say fail.
    Both,
}

impl Judge {
    /// The evidence counts.
    pub fn looks(self) -> bool {
        self != Self::Manual
    }
}

/// How the way back begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RollbackOrder {
    /// The canary's share goes to pods of the old version at once.
    #[default]
    Fast,
    /// Main gets all its pods back first.
    Safe,
}

/// What to do when not all proxies ack in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AckPolicy {
    /// Wait on, and say so.
    #[default]
    Hold,
    /// Go on without them.
    Proceed,
    /// Roll back.
    Rollback,
}

/// What to do when a step's time is over and the evidence says neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Inconclusive {
    /// Wait for more, or for a person.
    #[default]
    Hold,
    /// Roll back.
    Rollback,
}

/// One step, but for its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds the step lasts at least, from the ack of its weights.
    pub hold: u64,
    /// Who decides.
    pub judge: Judge,
}

/// A split and the canary's weight in it at each step, in thousandths of a percent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SplitSteps {
    /// `namespace/name`.
    pub split: String,
    /// One per step.
    pub canary: Vec<u32>,
}

/// Times and policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// How the way back begins.
    pub rollback: RollbackOrder,
    /// When a step's time is over without a verdict.
    pub inconclusive: Inconclusive,
    /// When proxies do not ack within `ack_timeout`.
    pub acks: AckPolicy,
    /// Milliseconds.
    pub ack_timeout: u64,
    /// Milliseconds that pods may take to get ready, per step.
    pub deadline: u64,
    /// Milliseconds to look on after promotion; 0: not at all.
    pub watch: u64,
    /// Milliseconds at rest before the autoscaler of main may take pods away again: it goes by what it measured while
    /// main had less traffic.
    pub settle: u64,
    /// Pods of main between rollouts, where main belongs to the rollout; `None`: they are not its business.
    pub owned: Option<u32>,
}

/// A plan that cannot be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan {
    steps: Vec<Step>,
    splits: Vec<SplitSteps>,
    /// Times and policies.
    pub policy: Policy,
}

/// Why a plan would not do. Indices count from 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Nothing to do.
    #[error("there are no steps; write for example steps: [1, 10, 25, 50]")]
    NoSteps,
    /// Too many.
    #[error("there are {0} steps; at most {MAX_STEPS} are accepted")]
    TooManySteps(usize),
    /// Nothing to drive.
    #[error("there are no splits; name at least one TrafficSplit")]
    NoSplits,
    /// Twice the same.
    #[error("split {0} is listed twice")]
    Twice(String),
    /// A list of its own with another number of steps.
    #[error("split {split} lists {has} weights for {wants} steps")]
    Length {
        /// Which.
        split: String,
        /// Weights it lists.
        has: usize,
        /// Steps of the rollout.
        wants: usize,
    },
    /// Not above 0 and at most 50 %.
    #[error(
        "weight {} of step {} must be above 0 and at most 50: the canary never gets more than the baseline beside it",
        percent(*.weight), .step + 1
    )]
    Range {
        /// Which step.
        step: usize,
        /// Thousandths of a percent.
        weight: u32,
    },
    /// Not above the step before.
    #[error("weight {} of step {} is not above {} of the step before; list them in ascending order", percent(*.weight), .step + 1, percent(*.before))]
    NotAscending {
        /// Which step.
        step: usize,
        /// Its weight.
        weight: u32,
        /// That of the step before.
        before: u32,
    },
    /// Does not end at 50 %.
    #[error("the last step is {}, not 50: main has to be free of traffic before it is updated", percent(*.0))]
    Last(u32),
}

/// Thousandths of a percent as people write percents.
pub fn percent(thousandths: u32) -> String {
    let (whole, rest) = (thousandths / 1000, thousandths % 1000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}").trim_end_matches('0').to_owned() }
}

impl Plan {
    /// Checks a plan.
    pub fn new(steps: Vec<Step>, splits: Vec<SplitSteps>, policy: Policy) -> Result<Self, PlanError> {
        match steps.len() {
            0 => return Err(PlanError::NoSteps),
            n if n > MAX_STEPS => return Err(PlanError::TooManySteps(n)),
            _ => {}
        }
        if splits.is_empty() {
            return Err(PlanError::NoSplits);
        }
        for (i, one) in splits.iter().enumerate() {
            if splits.iter().take(i).any(|other| other.split == one.split) {
                return Err(PlanError::Twice(one.split.clone()));
            }
            check(one, steps.len())?;
        }
        Ok(Self { steps, splits, policy })
    }

    /// The splits it drives.
    pub fn splits(&self) -> &[SplitSteps] {
        &self.splits
    }

    /// The steps, at least one.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A step; the last one for an index beyond.
    pub fn step(&self, index: usize) -> Step {
        let last = Step { hold: 0, judge: Judge::Auto };
        self.steps.get(index).or(self.steps.last()).copied().unwrap_or(last)
    }

    /// Index of the last step.
    pub fn last(&self) -> usize {
        self.steps.len().saturating_sub(1)
    }

    /// The highest canary weight of a step over all splits: what canary and baseline must be able to carry.
    pub fn most(&self, index: usize) -> u32 {
        self.splits.iter().filter_map(|s| s.canary.get(index)).copied().max().unwrap_or(0)
    }

    /// The lowest canary weight of a step over all splits: main must be able to carry the rest.
    pub fn least(&self, index: usize) -> u32 {
        self.splits.iter().filter_map(|s| s.canary.get(index)).copied().min().unwrap_or(0)
    }
}

fn check(split: &SplitSteps, steps: usize) -> Result<(), PlanError> {
    if split.canary.len() != steps {
        return Err(PlanError::Length { split: split.split.clone(), has: split.canary.len(), wants: steps });
    }
    let mut before = 0;
    for (step, &weight) in split.canary.iter().enumerate() {
        if weight == 0 || weight > WHOLE / 2 {
            return Err(PlanError::Range { step, weight });
        }
        if weight <= before {
            return Err(PlanError::NotAscending { step, weight, before });
        }
        before = weight;
    }
    if before == WHOLE / 2 { Ok(()) } else { Err(PlanError::Last(before)) }
}
