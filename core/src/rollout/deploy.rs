//! The machine of a CanaryDeploy.
//!
//! ```text
//! Idle ─> Scale ─> Weigh ─> Hold ─┬─> (next step) Scale …
//!                                 └─> Update ─> Switch ─> CleanUp ─> Watch ─> Promoted
//! any of them but the last ─> (Shed) ─> Restore ─> Return ─> Clear ─> RolledBack
//! ```
//!
//! Pods are taken away only in `Scale` of a later step, in `CleanUp` and in `Clear`: each follows the ack of weights
//! that no longer need them.

use crate::judge::Verdict;

use super::{
    Observation, Role, WHOLE, Weights, Workload,
    desired::{Desired, Target, canary_replicas, main_replicas, step_weights},
    plan::{AckPolicy, Inconclusive, Judge, Plan, RollbackOrder},
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
    /// Rolled back, so it does not start again by itself.
    pub rejected: Option<String>,
    /// The rollout under way, or the last one.
    pub rollout: Option<Rollout>,
}

impl Phase {
    /// The step it belongs to.
    pub fn step(self) -> Option<usize> {
        match self {
            Self::Scale { step } | Self::Weigh { step } | Self::Hold { step } => Some(step),
            _ => None,
        }
    }

    /// On the way to the new version.
    pub fn is_forward(self) -> bool {
        self.step().is_some() || self.is_promoting()
    }

    /// Main has, or gets, the new version.
    pub fn is_promoting(self) -> bool {
        matches!(self, Self::Update | Self::Switch | Self::CleanUp | Self::Watch)
    }

    /// On the way back.
    pub fn is_back(self) -> bool {
        matches!(self, Self::Shed | Self::Restore | Self::Return | Self::Clear)
    }
}

impl State {
    /// Nothing rolled out yet; main runs `stable`.
    pub fn new(stable: String, now: u64) -> Self {
        Self { phase: Phase::Idle, entered: now, paused: None, stable, rejected: None, rollout: None }
    }

    /// What there should be in this state.
    pub fn desired(&self, plan: &Plan) -> Desired {
        let all_main = || vec![Weights::MAIN; plan.splits().len()];
        let resting =
            |main| Desired { main, baseline: Some(Target::none()), canary: Some(Target::none()), weights: all_main() };
        let Some(rollout) = &self.rollout else {
            return if self.phase == Phase::Gone { Desired::default() } else { resting(None) };
        };
        let old = |replicas| Target { version: self.stable.clone(), replicas };
        let new = |replicas| Target { version: rollout.version.clone(), replicas };
        let at_step = |step: usize, weights| {
            let small = canary_replicas(plan, rollout.replicas, step);
            Desired {
                main: main_replicas(plan, rollout.replicas, step).map(old),
                baseline: Some(old(small)),
                canary: Some(new(small)),
                weights,
            }
        };
        let returning = |main, weights| {
            let (baseline, canary) = rollout.back.as_ref().map_or((0, 0), |b| (b.baseline, b.canary));
            Desired { main, baseline: Some(old(baseline)), canary: Some(new(canary)), weights }
        };
        let back_weights = || rollout.back.as_ref().map_or_else(all_main, |b| b.weights.clone());
        let restored = || rollout.back.as_ref().filter(|b| b.restore).map(|_| old(rollout.replicas));
        match self.phase {
            Phase::Scale { step: 0 } => at_step(0, all_main()),
            Phase::Scale { step } => at_step(step, step_weights(plan, step.saturating_sub(1))),
            Phase::Weigh { step } | Phase::Hold { step } => at_step(step, step_weights(plan, step)),
            Phase::Update | Phase::Switch => {
                let weights = if self.phase == Phase::Update { step_weights(plan, plan.last()) } else { all_main() };
                Desired { main: Some(new(rollout.replicas)), ..at_step(plan.last(), weights) }
            }
            Phase::Shed => returning(rollout.back.as_ref().and_then(|b| b.main.clone()), back_weights()),
            Phase::Restore => returning(restored(), back_weights()),
            Phase::Return => returning(restored(), all_main()),
            Phase::Idle | Phase::CleanUp | Phase::Watch | Phase::Promoted | Phase::Clear | Phase::RolledBack => {
                resting(None)
            }
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

    pub(super) fn enter(&mut self, phase: Phase, now: u64) {
        (self.phase, self.entered, self.paused) = (phase, now, None);
    }

    /// The group whose pods are gone while requests go there.
    fn lost(&self, plan: &Plan, seen: &Observation) -> Option<Role> {
        let weights = self.desired(plan).weights;
        let serves = |role| weights.iter().any(|w| w.of(role) > 0);
        let version = |role| match (role, &self.rollout) {
            (Role::Canary, Some(rollout)) => rollout.version.as_str(),
            _ => self.stable.as_str(),
        };
        // Of a group that somebody gives another version and back, no pod of the right one may be ready, and yet it answers.
        let gone = |role| {
            let right = |pods: &&Workload| pods.settled && pods.version == version(role);
            let pods = seen.workload(role).filter(|pods| pods.version.is_empty() || right(pods));
            pods.is_some_and(|pods| pods.ready == 0)
        };
        Role::ALL.into_iter().find(|role| serves(*role) && gone(*role))
    }

    /// Begins the way back.
    pub(super) fn roll_back(&mut self, plan: &Plan, why: Why, seen: &Observation, now: u64) {
        let desired = self.desired(plan);
        let Some(rollout) = &mut self.rollout else { return };
        let updated = self.phase.is_promoting();
        let cleaned = matches!(self.phase, Phase::CleanUp | Phase::Watch);
        let ready = |role, usable: bool| {
            let old = seen.workload(role).filter(|w| usable && w.version == self.stable);
            u64::from(old.map_or(0, |w| w.ready))
        };
        // Pods of a group that is being updated or taken away cannot be counted on.
        let (main, baseline) = (ready(Role::Main, !updated), ready(Role::Baseline, !cleaned));
        let canary_serves = updated || desired.weights.iter().any(|w| w.canary > 0);
        let shed = plan.policy.rollback == RollbackOrder::Fast && canary_serves && main + baseline > 0;
        let weights = match shed {
            true => {
                let main = (u64::from(WHOLE) * main / (main + baseline)) as u32;
                vec![Weights { canary: 0, main, baseline: WHOLE - main }; desired.weights.len()]
            }
            false => desired.weights,
        };
        let replicas = |target: Option<Target>| target.map_or(0, |t| t.replicas);
        let held = replicas(desired.baseline);
        rollout.back = Some(Back {
            why,
            from: self.phase,
            weights,
            restore: updated || desired.main.is_some(),
            main: desired.main,
            // Without main, the baseline is all there is of the old version.
            baseline: if updated && shed { held.max(rollout.replicas) } else { held },
            canary: replicas(desired.canary),
        });
        self.enter(if shed { Phase::Shed } else { Phase::Restore }, now);
    }

    fn start(&mut self, plan: &Plan, wanted: &str, seen: &Observation, now: u64) {
        let Some(main) = seen.main.as_ref().filter(|main| !main.version.is_empty()) else { return };
        if main.version == wanted {
            self.stable = main.version.clone();
            return;
        }
        let drivable = seen.splits.len() == plan.splits().len() && seen.splits.iter().all(|s| s.weights.is_some());
        if self.rejected.as_deref() == Some(wanted) || !drivable {
            return;
        }
        self.stable = main.version.clone();
        self.rejected = None;
        self.rollout = Some(Rollout {
            version: wanted.to_owned(),
            replicas: main.replicas.max(1),
            judged: Vec::new(),
            hurry: false,
            overridden: false,
            back: None,
        });
        self.enter(Phase::Scale { step: 0 }, now);
    }

    pub(super) fn found_good(&mut self, plan: &Plan, step: usize, by: By, now: u64) {
        let Some(rollout) = &mut self.rollout else { return };
        rollout.judged.push(Judged { step, by });
        let next = if rollout.hurry { plan.last() } else { step + 1 };
        self.enter(if step < plan.last() { Phase::Scale { step: next } } else { Phase::Update }, now);
    }

    fn hold(&mut self, plan: &Plan, step: usize, seen: &Observation, now: u64) {
        let policy = plan.step(step);
        if self.rollout.as_ref().is_some_and(|r| r.hurry) {
            self.found_good(plan, step, By::Person, now);
        } else if policy.judge == Judge::Auto && self.elapsed(now) >= policy.hold {
            match seen.verdict {
                Verdict::Pass => self.found_good(plan, step, By::Evidence, now),
                Verdict::Inconclusive if plan.policy.inconclusive == Inconclusive::Rollback => {
                    self.roll_back(plan, Why::Inconclusive, seen, now);
                }
                // A fail gets here only when a person has overridden it, and then it is theirs to go on.
                Verdict::Inconclusive | Verdict::Fail => {}
            }
        }
    }

    fn weighed(&mut self, plan: &Plan, next: Phase, seen: &Observation, now: u64) {
        let late = self.elapsed(now) >= plan.policy.ack_timeout;
        let published = || {
            let wanted = self.desired(plan).weights;
            wanted.iter().zip(&seen.splits).all(|(w, s)| s.weights == Some(*w))
        };
        if self.desired(plan).weights_met(seen) || (late && plan.policy.acks == AckPolicy::Proceed && published()) {
            self.enter(next, now);
        } else if late && plan.policy.acks == AckPolicy::Rollback && self.phase.is_forward() {
            self.roll_back(plan, Why::Acks, seen, now);
        }
    }

    /// Goes on when the pods of these groups are there.
    fn scaled(&mut self, plan: &Plan, roles: &[Role], next: Phase, seen: &Observation, now: u64) {
        if self.desired(plan).pods_met(roles, seen) {
            self.enter(next, now);
        } else if self.elapsed(now) >= plan.policy.deadline && self.phase.is_forward() && self.phase != Phase::CleanUp {
            self.roll_back(plan, Why::Deadline, seen, now);
        }
    }
}

/// The state that follows: the same one when there is nothing to do. At most one phase further, so that each is
/// written before its effects. `wanted` is the version the user wants, `None` when the rollout was deleted.
pub fn step(plan: &Plan, wanted: Option<&str>, state: &State, seen: &Observation, now: u64) -> State {
    let mut next = state.clone();
    let phase = state.phase;
    let rolled_out = state.rollout.as_ref().map(|r| r.version.as_str());
    let overridden = state.rollout.as_ref().is_some_and(|r| r.overridden);
    // Once main has all the traffic, what is left is done in moments: another version waits for it.
    if phase.is_forward() && wanted != rolled_out && phase != Phase::CleanUp {
        if phase == Phase::Watch {
            next.promoted(now);
        } else {
            next.roll_back(plan, if wanted.is_some() { Why::Superseded } else { Why::Deleted }, seen, now);
        }
        return next;
    }
    let looks = phase.is_forward() && phase != Phase::CleanUp && state.judge(plan).looks();
    if looks && seen.verdict == Verdict::Fail && !overridden {
        next.roll_back(plan, Why::Verdict, seen, now);
        return next;
    }
    // Requests would fail, and what is counted meanwhile compares nothing.
    if let Some(role) = state.lost(plan, seen).filter(|_| phase.step().is_some()) {
        next.roll_back(plan, Why::Lost(role), seen, now);
        return next;
    }
    if state.paused.is_some() && phase.is_forward() {
        return next;
    }
    match phase {
        Phase::Idle | Phase::Promoted | Phase::RolledBack => match wanted {
            Some(wanted) => next.start(plan, wanted, seen, now),
            None => {
                next.rollout = None;
                next.enter(Phase::Gone, now);
            }
        },
        Phase::Scale { step } => next.scaled(plan, &Role::ALL, Phase::Weigh { step }, seen, now),
        Phase::Weigh { step } => next.weighed(plan, Phase::Hold { step }, seen, now),
        Phase::Hold { step } => next.hold(plan, step, seen, now),
        // A canary that falls ill now must not keep main from being updated or restored.
        Phase::Update => next.scaled(plan, &[Role::Main], Phase::Switch, seen, now),
        Phase::Switch => next.weighed(plan, Phase::CleanUp, seen, now),
        Phase::CleanUp => next.scaled(plan, &Role::ALL, Phase::Watch, seen, now),
        Phase::Watch if state.elapsed(now) >= plan.policy.watch => next.promoted(now),
        Phase::Shed => next.weighed(plan, Phase::Restore, seen, now),
        Phase::Restore => next.scaled(plan, &[Role::Main], Phase::Return, seen, now),
        Phase::Return => next.weighed(plan, Phase::Clear, seen, now),
        Phase::Clear if next.desired(plan).pods_met(&Role::ALL, seen) => {
            // Lost pods of the old version are no fault of the new one: it begins again.
            let why = state.rollout.as_ref().and_then(|r| r.back.as_ref()).map(|back| back.why);
            let blameless = matches!(why, Some(Why::Lost(Role::Main | Role::Baseline)));
            next.rejected = rolled_out.filter(|_| !blameless).map(str::to_owned);
            next.enter(Phase::RolledBack, now);
        }
        Phase::Watch | Phase::Clear | Phase::Gone => {}
    }
    next
}

impl State {
    pub(super) fn promoted(&mut self, now: u64) {
        if let Some(rollout) = &self.rollout {
            self.stable.clone_from(&rollout.version);
        }
        self.enter(Phase::Promoted, now);
    }
}
