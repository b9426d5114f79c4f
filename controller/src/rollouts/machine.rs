//! The two machines behind one face, with the evidence that one of them goes by. Pure.

use super::{Wanted, rules};
use crate::{
    api::accept_rollout::{Deploy, Test},
    workloads::Care,
};
use serde::{Deserialize, Serialize};
use sluicegate_core::{
    judge::{Verdict, evidence::Evidence},
    latency::Histogram,
    rollout::{
        Observation, WHOLE,
        command::{Command, Refused},
        deploy::{self, Phase},
        desired::{Desired, Target},
        plan::{Plan, PlanError},
        trial,
    },
};

/// A rollout: what was wanted when it began, and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
#[expect(clippy::large_enum_variant, reason = "there is one for each rollout, and most are the large one")]
pub enum Machine {
    /// `kind: CanaryDeploy`.
    CanaryDeploy {
        /// As it was when the rollout began; a newer one is taken when nothing is under way.
        spec: Deploy,
        /// Where it is.
        state: deploy::State,
        /// Since it began; `None`: nothing is judged by counts.
        evidence: Option<Evidence>,
    },
    /// `kind: CanaryTest`.
    CanaryTest {
        /// As it was last wanted.
        spec: Test,
        /// Where it is.
        state: trial::State,
    },
}

impl Machine {
    /// Of what is wanted for the first time; `running`: the version main runs.
    pub fn new(wanted: &Wanted, running: String, now: u64) -> Self {
        match wanted {
            Wanted::Deploy(spec) => {
                let state = deploy::State::new(running, now);
                Self::CanaryDeploy { spec: Deploy::clone(spec), state, evidence: None }
            }
            Wanted::Test(spec) => Self::CanaryTest { spec: Test::clone(spec), state: trial::State::new(now) },
        }
    }

    /// As in messages.
    pub fn title(&self) -> String {
        match self {
            Self::CanaryDeploy { spec, .. } => format!("CanaryDeploy {}", spec.name),
            Self::CanaryTest { spec, .. } => format!("CanaryTest {}", spec.name),
        }
    }

    /// The splits it drives, `namespace/name`.
    pub fn splits(&self) -> Vec<String> {
        match self {
            Self::CanaryDeploy { spec, .. } => spec.splits.iter().map(|(name, _)| name.clone()).collect(),
            Self::CanaryTest { spec, .. } => spec.splits.clone(),
        }
    }

    /// Who looks after its pods.
    pub fn care(&self) -> Care {
        match self {
            Self::CanaryDeploy { spec, .. } => Care::of_deploy(spec),
            Self::CanaryTest { spec, .. } => Care::of_test(spec),
        }
    }

    /// A version is on its way, or on its way back.
    pub fn is_under_way(&self) -> bool {
        match self {
            Self::CanaryDeploy { state, .. } => {
                !matches!(state.phase, Phase::Idle | Phase::Promoted | Phase::RolledBack | Phase::Gone)
            }
            Self::CanaryTest { state, .. } => !matches!(state.phase, trial::Phase::Off | trial::Phase::Gone),
        }
    }

    /// What there should be.
    pub fn desired(&self) -> Result<Desired, PlanError> {
        Ok(match self {
            Self::CanaryDeploy { spec, state, .. } => state.desired(&rules::plan(spec)?),
            Self::CanaryTest { spec, state } => state.desired(spec.splits.len()),
        })
    }

    /// Nothing of it is left to do, now or later.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::CanaryDeploy { state, .. } => state.phase == Phase::Gone,
            Self::CanaryTest { state, .. } => state.phase == trial::Phase::Gone,
        }
    }

    /// It waits for pods, so they are worth looking at often.
    pub fn waits_for_pods(&self) -> bool {
        match self {
            Self::CanaryDeploy { state, .. } => matches!(
                state.phase,
                Phase::Idle | Phase::Scale { .. } | Phase::Update | Phase::CleanUp | Phase::Restore | Phase::Clear
            ),
            Self::CanaryTest { state, .. } => {
                matches!(state.phase, trial::Phase::Scale | trial::Phase::Trim | trial::Phase::Clear)
            }
        }
    }

    /// Canary and baseline have traffic to be compared by.
    pub fn is_compared(&self) -> bool {
        match self {
            Self::CanaryDeploy { state, .. } => state.phase.step().is_some() || state.phase == Phase::Update,
            Self::CanaryTest { .. } => false,
        }
    }

    /// What the evidence says of the step as it stands.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::CanaryDeploy { evidence: Some(evidence), .. } if evidence.failed() => Verdict::Fail,
            Self::CanaryDeploy { evidence: Some(evidence), state, .. } if matches!(state.phase, Phase::Hold { .. }) => {
                evidence.assess().verdict
            }
            _ => Verdict::Inconclusive,
        }
    }

    /// What main is, for those who only take pods as given.
    pub fn main(&self) -> Target {
        match self {
            Self::CanaryDeploy { state, .. } => {
                let rollout = state.rollout.as_ref();
                let new = rollout.filter(|_| state.phase.is_promoting() || state.phase == Phase::Promoted);
                Target {
                    version: new.map_or_else(|| state.stable.clone(), |r| r.version.clone()),
                    replicas: rollout.map_or(1, |r| r.replicas),
                }
            }
            Self::CanaryTest { .. } => Target { version: String::new(), replicas: 1 },
        }
    }

    /// What follows; `None`: nothing. `before`: main's latencies so far.
    pub fn step(
        &self,
        wanted: Option<&Wanted>,
        seen: &Observation,
        before: &Histogram,
        now: u64,
    ) -> Result<Option<Self>, PlanError> {
        let mut next = self.clone();
        match (&mut next, wanted) {
            (Self::CanaryDeploy { spec, state, evidence }, wanted) => {
                let wanted = match wanted {
                    Some(Wanted::Deploy(deploy)) => Some(deploy),
                    _ => None,
                };
                let resting = matches!(state.phase, Phase::Idle | Phase::Promoted | Phase::RolledBack);
                if let Some(newer) = wanted.filter(|newer| resting && ***newer != *spec) {
                    *spec = Deploy::clone(newer);
                }
                let from = state.phase;
                *state = deploy::step(&rules::plan(spec)?, wanted.map(|d| d.version.as_str()), state, seen, now);
                if state.phase != from {
                    match state.phase {
                        Phase::Scale { step: 0 } => *evidence = rules::rules(&spec.judging, before).map(Evidence::new),
                        Phase::Hold { .. } => evidence.iter_mut().for_each(Evidence::begin_step),
                        _ => {}
                    }
                }
            }
            (Self::CanaryTest { spec, state }, wanted) => {
                let wanted = match wanted {
                    Some(Wanted::Test(test)) => Some(test),
                    _ => None,
                };
                let on = wanted.map(|test| trial::Wanted {
                    version: test.version.clone(),
                    weight: test.weight.min(WHOLE / 2),
                    replicas: test.replicas,
                    duration: test.duration,
                });
                *state = trial::step(on.as_ref(), state, seen, now);
                // Splits it no longer names are let go only when they have no traffic left.
                if let Some(newer) =
                    wanted.filter(|newer| newer.splits == spec.splits || state.phase == trial::Phase::Off)
                {
                    *spec = Test::clone(newer);
                }
            }
        }
        Ok((next != *self).then_some(next))
    }

    /// What a person says.
    pub fn command(
        &self,
        command: Command,
        about: Option<usize>,
        seen: &Observation,
        now: u64,
    ) -> Result<Self, Refused> {
        let mut next = self.clone();
        match &mut next {
            Self::CanaryDeploy { spec, state, .. } => {
                let plan: Plan = rules::plan(spec).map_err(|_| Refused::Idle)?;
                *state = state.command(&plan, command, about, seen, now)?;
                Ok(next)
            }
            Self::CanaryTest { .. } => Err(Refused::Test),
        }
    }
}
