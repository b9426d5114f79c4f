//! Where a CanaryDeploy is: everything that is remembered, and what it wants the world to be.

use crate::rollout::{
    Role, Weights,
    desired::{Desired, Target, canary_replicas, main_replicas, step_weights},
    floor::Floor,
    plan::{Judge, Plan},
    probe::{self, PROBE, Tries},
};
use serde::{Deserialize, Serialize};

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Nothing was rolled out yet.
    Idle,
    /// Pods for a step get ready, by the weights of the step before.
    Scale {
        /// Index of the step.
        step: usize,
    },
    /// A small weight finds out whether the proxies reach pods that had none.
    Probe {
        /// What the pods are for.
        before: Before,
    },
    /// The weights of a step reach the proxies.
    Weigh {
        /// Index of the step.
        step: usize,
    },
    /// The step is judged.
    Hold {
        /// Index of the step.
        step: usize,
    },
    /// Main, without traffic, gets the new version.
    Update,
    /// All traffic goes to main.
    Switch,
    /// Canary and baseline go.
    CleanUp,
    /// Promoted, and looked at for a while.
    Watch,
    /// Done: main runs the new version.
    Promoted,
    /// The canary's share goes to pods of the old version.
    Shed,
    /// Main gets back all its pods and the old version.
    Restore,
    /// All traffic goes to main.
    Return,
    /// Canary and baseline go.
    Clear,
    /// Done: main runs the old version.
    RolledBack,
    /// Deleted, and everything is as it was.
    Gone,
}

/// What is to follow when the proxies reach the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Before {
    /// Canary and baseline get the weights of the first step.
    FirstStep,
    /// Main, with the new version, gets all traffic.
    Switch,
    /// Main, with the old version again, gets all traffic.
    Return,
}

/// Why a rollout was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// The evidence says fail.
    Verdict,
    /// A step's time was over without a verdict, and the plan says so.
    Inconclusive,
    /// A person.
    Person,
    /// Pods did not get ready in time.
    Deadline,
    /// Proxies did not ack in time.
    Acks,
    /// No pod of this group was ready any more while requests went there.
    Lost(Role),
    /// Proxies did not reach the pods in time.
    Unreached,
    /// Another version is wanted.
    Superseded,
    /// The rollout was deleted.
    Deleted,
}

/// A step that was found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Judged {
    /// Index of the step.
    pub step: usize,
    /// By whom.
    pub by: By,
}

/// Who found a step good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// The evidence.
    Evidence,
    /// A person.
    Person,
}

/// The way back, fixed when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Back {
    /// Why.
    pub why: Why,
    /// The phase it began in.
    pub from: Phase,
    /// Until main is restored.
    pub weights: Vec<Weights>,
    /// Main until it is restored; `None`: as it is.
    pub main: Option<Target>,
    /// Main has to be restored; otherwise it was never touched.
    pub restore: bool,
    /// Pods of the baseline on the way.
    pub baseline: u32,
    /// Pods of the canary on the way.
    pub canary: u32,
}

/// One rollout of one version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rollout {
    /// The version rolled out.
    pub version: String,
    /// Pods that carry everything: what main had at the start.
    pub replicas: u32,
    /// The steps that were found good, in order.
    pub judged: Vec<Judged>,
    /// A person said promote: the steps in between are left out.
    pub hurry: bool,
    /// A person said to go on although the evidence said fail.
    pub overridden: bool,
    /// The way back, once it was taken.
    pub back: Option<Back>,
    /// Probes that said "not yet".
    #[serde(default)]
    pub tries: Tries,
}

/// Everything that has to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Where it is.
    pub phase: Phase,
    /// When it got there, Unix ms.
    pub entered: u64,
    /// Since when a person keeps it from going on, Unix ms.
    pub paused: Option<u64>,
    /// The version main runs outside of rollouts.
    pub stable: String,
    /// The version before the last promotion; `None`: there was none, or it was undone.
    #[serde(default)]
    pub previous: Option<String>,
    /// Rolled back, so it does not start again by itself.
    pub rejected: Option<String>,
    /// The rollout under way, or the last one.
    pub rollout: Option<Rollout>,
    /// What the autoscaler of main is told.
    #[serde(default)]
    pub floor: Floor,
}

impl Phase {
    /// The step it belongs to.
    pub fn step(self) -> Option<usize> {
        match self {
            Self::Scale { step } | Self::Weigh { step } | Self::Hold { step } => Some(step),
            Self::Probe { before: Before::FirstStep } => Some(0),
            _ => None,
        }
    }

    /// On the way to the new version.
    pub fn is_forward(self) -> bool {
        self.step().is_some() || self.is_promoting()
    }

    /// Main has, or gets, the new version.
    pub fn is_promoting(self) -> bool {
        let probe = Self::Probe { before: Before::Switch };
        matches!(self, Self::Update | Self::Switch | Self::CleanUp | Self::Watch) || self == probe
    }

    /// On the way back.
    pub fn is_back(self) -> bool {
        let probe = Self::Probe { before: Before::Return };
        matches!(self, Self::Shed | Self::Restore | Self::Return | Self::Clear) || self == probe
    }
}

impl State {
    /// Nothing rolled out yet; main runs `stable`.
    pub fn new(stable: String, now: u64) -> Self {
        Self {
            phase: Phase::Idle,
            entered: now,
            paused: None,
            stable,
            previous: None,
            rejected: None,
            rollout: None,
            floor: Floor::Free,
        }
    }

    /// What there should be in this state.
    pub fn desired(&self, plan: &Plan) -> Desired {
        Desired { floor: self.floor(), ..self.pods_and_weights(plan) }
    }

    fn pods_and_weights(&self, plan: &Plan) -> Desired {
        let all_main = || vec![Weights::MAIN; plan.splits().len()];
        let resting = |main| Desired {
            main,
            baseline: Some(Target::none()),
            canary: Some(Target::none()),
            weights: all_main(),
            floor: None,
        };
        let old = |replicas| Target { version: self.stable.clone(), replicas };
        let Some(rollout) = &self.rollout else {
            let gone = self.phase == Phase::Gone;
            return if gone { Desired::default() } else { resting(plan.policy.owned.map(old)) };
        };
        let new = |replicas| Target { version: rollout.version.clone(), replicas };
        let at_step = |step: usize, weights| {
            let small = canary_replicas(plan, rollout.replicas, step);
            Desired {
                main: main_replicas(plan, rollout.replicas, step).map(old),
                baseline: Some(old(small)),
                canary: Some(new(small)),
                weights,
                floor: None,
            }
        };
        let returning = |main, weights| {
            let (baseline, canary) = rollout.back.as_ref().map_or((0, 0), |b| (b.baseline, b.canary));
            Desired { main, baseline: Some(old(baseline)), canary: Some(new(canary)), weights, floor: None }
        };
        let back_weights = || rollout.back.as_ref().map_or_else(all_main, |b| b.weights.clone());
        let restored = || rollout.back.as_ref().filter(|b| b.restore).map(|_| old(rollout.replicas));
        match self.phase {
            Phase::Scale { step: 0 } => at_step(0, all_main()),
            Phase::Scale { step } => at_step(step, step_weights(plan, step.saturating_sub(1))),
            Phase::Probe { before: Before::FirstStep } => {
                let probe = |w: Weights| Weights::of_step(w.canary.min(PROBE));
                at_step(0, step_weights(plan, 0).into_iter().map(probe).collect())
            }
            Phase::Weigh { step } | Phase::Hold { step } => at_step(step, step_weights(plan, step)),
            Phase::Update | Phase::Probe { before: Before::Switch } | Phase::Switch => {
                let last = || step_weights(plan, plan.last()).into_iter();
                let weights = match self.phase {
                    Phase::Update => last().collect(),
                    Phase::Switch => all_main(),
                    _ => last().map(probe::lend_to_main).collect(),
                };
                Desired { main: Some(new(rollout.replicas)), ..at_step(plan.last(), weights) }
            }
            Phase::Shed => returning(rollout.back.as_ref().and_then(|b| b.main.clone()), back_weights()),
            Phase::Restore => returning(restored(), back_weights()),
            Phase::Probe { before: Before::Return } => {
                returning(restored(), back_weights().into_iter().map(probe::lend_to_main).collect())
            }
            Phase::Return => returning(restored(), all_main()),
            Phase::Idle | Phase::Promoted | Phase::RolledBack => resting(plan.policy.owned.map(old)),
            Phase::CleanUp | Phase::Watch | Phase::Clear => resting(None),
            Phase::Gone => Desired::default(),
        }
    }

    /// Milliseconds since the phase began, without those of a pause.
    pub fn elapsed(&self, now: u64) -> u64 {
        self.paused.unwrap_or(now).saturating_sub(self.entered)
    }

    /// Who judges where it is now.
    pub fn judge(&self, plan: &Plan) -> Judge {
        match self.phase {
            Phase::Watch => Judge::Auto,
            phase => plan.step(phase.step().unwrap_or(plan.last())).judge,
        }
    }

    pub(in crate::rollout) fn enter(&mut self, phase: Phase, now: u64) {
        (self.phase, self.entered, self.paused) = (phase, now, None);
    }
}
