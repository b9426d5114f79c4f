//! Below what an autoscaler must not take main.
//!
//! Main loses traffic during a rollout, so an autoscaler would take its pods away just before it gets all traffic back. It
//! is told to leave as many as main had at the start, from before the first weight moves until some time after the last:
//! what it measured in between says nothing about main with all its traffic.

use super::{
    Observation,
    deploy::{Phase, State},
    plan::Plan,
};
use serde::{Deserialize, Serialize};

/// What the autoscaler of main is told; written down first, so that what was told is always taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Floor {
    /// Nothing: there is none, or no rollout.
    #[default]
    Free,
    /// To leave the pods of the start.
    Held,
    /// To do as its owner says again.
    Released,
}

impl Floor {
    /// For another rollout, that begins before this was taken back.
    pub(super) fn renewed(self) -> Self {
        if self == Self::Free { Self::Free } else { Self::Held }
    }
}

impl State {
    /// What the autoscaler is told to leave; 0: as its owner says. `None`: nothing.
    pub(super) fn floor(&self) -> Option<u32> {
        match self.floor {
            Floor::Free => None,
            Floor::Held => self.rollout.as_ref().map(|rollout| rollout.replicas),
            Floor::Released => Some(0),
        }
    }

    /// Decides what it is told next; whether that is something else.
    pub fn mind_floor(&mut self, plan: &Plan, seen: &Observation, now: u64) -> bool {
        let Some(main) = &seen.main else { return false };
        let resting = matches!(self.phase, Phase::Idle | Phase::Promoted | Phase::RolledBack | Phase::Gone);
        let next = match self.floor {
            Floor::Free if !resting && main.floor.is_some() => Floor::Held,
            Floor::Held if resting && self.elapsed(now) >= plan.policy.settle => Floor::Released,
            Floor::Released if main.floor.unwrap_or(0) == 0 => Floor::Free,
            same => same,
        };
        std::mem::replace(&mut self.floor, next) != next
    }
}
