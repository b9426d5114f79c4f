//! What there should be: pods per group and weights per split; and what is missing from it.

use super::{Observation, Role, WHOLE, Weights, Workload, plan::Plan};
use serde::{Deserialize, Serialize};

/// What a group of pods should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The version it runs.
    pub version: String,
    /// How many pods; 0: the group goes away.
    pub replicas: u32,
}

impl Target {
    /// No pods.
    pub fn none() -> Self {
        Self { version: String::new(), replicas: 0 }
    }

    /// Whether what is seen is that, with every pod ready.
    pub fn is_met(&self, seen: Option<&Workload>) -> bool {
        seen.is_some_and(|w| self.is_told(w) && w.ready >= self.replicas && w.settled)
    }

    /// Whether the group was told to be that. How many there are of what an autoscaler scales is its business alone.
    pub fn is_told(&self, seen: &Workload) -> bool {
        (seen.floor.is_some() || seen.replicas == self.replicas) && (self.replicas == 0 || seen.version == self.version)
    }
}

/// What there should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Desired {
    /// `None`: main is left as it is.
    pub main: Option<Target>,
    /// `None`: left as it is, which is so only when the rollout is gone.
    pub baseline: Option<Target>,
    /// The same.
    pub canary: Option<Target>,
    /// In the order of the plan's splits; empty when the splits are let go.
    pub weights: Vec<Weights>,
    /// Pods of main that its autoscaler, if there is one, is to leave at least; 0: as its owner says. `None`: left alone.
    pub floor: Option<u32>,
}

/// Something to be carried out. Repeating one does no harm.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make a group of pods this.
    Apply {
        /// Which group.
        role: Role,
        /// What it is to be.
        target: Target,
    },
    /// Publish these weights.
    Weigh {
        /// Index into the plan's splits.
        split: usize,
        /// What to publish.
        weights: Weights,
    },
    /// Tell the autoscaler of main to leave so many pods at least; 0: as its owner says.
    Floor {
        /// How many.
        replicas: u32,
    },
}

impl Desired {
    /// What one group should be; `None`: left as it is.
    pub fn target(&self, role: Role) -> Option<&Target> {
        match role {
            Role::Main => self.main.as_ref(),
            Role::Baseline => self.baseline.as_ref(),
            Role::Canary => self.canary.as_ref(),
        }
    }

    /// Of these groups, every pod asked for is there and ready, and no other.
    pub fn pods_met(&self, roles: &[Role], seen: &Observation) -> bool {
        roles.iter().all(|role| self.target(*role).is_none_or(|t| t.is_met(seen.workload(*role))))
    }

    /// Every live proxy acked every weight.
    pub fn weights_met(&self, seen: &Observation) -> bool {
        self.weights.len() == seen.splits.len()
            && self.weights.iter().zip(&seen.splits).all(|(w, s)| s.weights == Some(*w) && s.acked)
    }

    /// The autoscaler of main, if there is one, was told.
    pub fn floor_met(&self, seen: &Observation) -> bool {
        let told = seen.main.as_ref().and_then(|main| main.floor);
        self.floor.zip(told).is_none_or(|(wanted, told)| wanted == told)
    }

    /// What is to be carried out, weights before pods. A group that could not be looked at is told again.
    pub fn effects(&self, seen: &Observation) -> Vec<Effect> {
        let weights = self.weights.iter().zip(&seen.splits).enumerate();
        let weigh = weights.filter(|(_, (wanted, seen))| seen.weights != Some(**wanted));
        let weigh = weigh.map(|(split, (weights, _))| Effect::Weigh { split, weights: *weights });
        let apply = Role::ALL.into_iter().filter_map(|role| {
            let target = self.target(role)?;
            let told = seen.workload(role).is_some_and(|w| target.is_told(w));
            (!told).then(|| Effect::Apply { role, target: target.clone() })
        });
        let floor = self.floor.filter(|_| !self.floor_met(seen)).map(|replicas| Effect::Floor { replicas });
        weigh.chain(floor).chain(apply).collect()
    }
}

/// Pods that carry `weight` of what takes `full` pods in all: ⌊full · weight⌋ + 1, in integers.
pub fn replicas(full: u32, weight: u32) -> u32 {
    let share = u64::from(full) * u64::from(weight) / u64::from(WHOLE);
    u32::try_from(share).unwrap_or(u32::MAX).saturating_add(1)
}

/// Pods of main at a step: what the weights of the step before leave to it. `None` at the first step: untouched.
pub fn main_replicas(plan: &Plan, full: u32, step: usize) -> Option<u32> {
    let before = step.checked_sub(1)?;
    Some(replicas(full, WHOLE.saturating_sub(plan.least(before).saturating_mul(2))))
}

/// Pods of canary and of baseline at a step.
pub fn canary_replicas(plan: &Plan, full: u32, step: usize) -> u32 {
    replicas(full, plan.most(step))
}

/// The weights of a step.
pub fn step_weights(plan: &Plan, step: usize) -> Vec<Weights> {
    let canary = |s: &super::plan::SplitSteps| s.canary.get(step).copied().unwrap_or(0);
    plan.splits().iter().map(|s| Weights::of_step(canary(s))).collect()
}
