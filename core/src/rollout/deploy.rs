//! The machine of a CanaryDeploy.
//!
//! ```text
//! Idle ─> Scale ─> (Probe) ─> Weigh ─> Hold ─┬─> (next step) Scale …
//!                                            └─> Update ─> Probe ─> Switch ─> CleanUp ─> Watch ─> Promoted
//! any of them but the last ─> (Shed) ─> Restore ─> (Probe) ─> Return ─> Clear ─> RolledBack
//! ```
//!
//! Pods that had no traffic before are probed ([`super::probe`]); what is not reached yet goes back to the phase before.
//! Pods are taken away only in `Scale` of a later step, in `CleanUp` and in `Clear`: each follows the ack of weights
//! that no longer need them.

mod state;

pub use state::{Back, Before, By, Judged, Phase, Rollout, State, Why};

use super::{
    Observation, Role, WHOLE, Weights, Workload,
    desired::Target,
    floor::Floor,
    plan::{AckPolicy, Inconclusive, Judge, Plan, RollbackOrder},
    probe::{self, Finding, PROBE, Tries},
};
use crate::judge::Verdict;

impl State {
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
        rollout.tries.reached();
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
        self.previous = None;
        self.rollout = Some(Rollout {
            version: wanted.to_owned(),
            replicas: main.replicas.max(1),
            judged: Vec::new(),
            hurry: false,
            overridden: false,
            back: None,
            tries: Tries::default(),
        });
        self.floor = self.floor.renewed();
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
        if self.is_weighed(plan, seen, now) {
            self.enter(next, now);
        } else if self.is_too_late_for_acks(plan, now) {
            self.roll_back(plan, Why::Acks, seen, now);
        }
    }

    /// All proxies run the weights, or those that do not are not waited for.
    fn is_weighed(&self, plan: &Plan, seen: &Observation, now: u64) -> bool {
        let desired = self.desired(plan);
        let published = || desired.weights.iter().zip(&seen.splits).all(|(w, s)| s.weights == Some(*w));
        let late = self.elapsed(now) >= plan.policy.ack_timeout;
        desired.weights_met(seen) || (late && plan.policy.acks == AckPolicy::Proceed && published())
    }

    fn is_too_late_for_acks(&self, plan: &Plan, now: u64) -> bool {
        let late = self.elapsed(now) >= plan.policy.ack_timeout;
        late && plan.policy.acks == AckPolicy::Rollback && self.phase.is_forward()
    }

    /// Goes on when the proxies reach the pods, and back a phase when they do not yet.
    fn probed(&mut self, plan: &Plan, before: Before, seen: &Observation, now: u64) {
        let (behind, ahead) = match before {
            Before::FirstStep => (Phase::Scale { step: 0 }, Phase::Weigh { step: 0 }),
            Before::Switch => (Phase::Update, Phase::Switch),
            Before::Return => (Phase::Restore, Phase::Return),
        };
        let finding = probe::find(seen, self.is_weighed(plan, seen, now), self.elapsed(now));
        let (began, late) = (self.entered, self.is_too_late_for_acks(plan, now));
        let forward = self.phase.is_forward();
        let Some(rollout) = &mut self.rollout else { return };
        match finding {
            Finding::Reached => {
                rollout.tries.reached();
                self.enter(ahead, now);
            }
            Finding::NotYet(unreached) => {
                rollout.tries.not_yet(unreached, began);
                let lasted = now.saturating_sub(rollout.tries.since);
                match forward && lasted >= plan.policy.deadline {
                    true => self.roll_back(plan, Why::Unreached, seen, now),
                    false => self.enter(behind, now),
                }
            }
            Finding::Open if late => self.roll_back(plan, Why::Acks, seen, now),
            Finding::Open => {}
        }
    }

    /// Main has, or may have, pods of its own that no proxy has sent anything to.
    fn is_main_to_be_probed(&self) -> bool {
        let back = self.rollout.as_ref().and_then(|rollout| rollout.back.as_ref());
        let anew = |b: &&Back| b.from.is_promoting() || b.why == Why::Lost(Role::Main);
        back.filter(anew).is_some_and(|b| b.weights.iter().any(|w| w.main <= PROBE))
    }

    /// Goes on when the pods of these groups are there; after a probe that failed, when it is over for all proxies and
    /// the pods were left alone for a while.
    fn scaled(&mut self, plan: &Plan, roles: &[Role], next: Phase, seen: &Observation, now: u64) {
        let tries = self.rollout.as_ref().map_or_else(Tries::default, |rollout| rollout.tries.clone());
        let desired = self.desired(plan);
        if desired.pods_met(roles, seen) && desired.floor_met(seen) {
            if tries.failed == 0 || (self.is_weighed(plan, seen, now) && self.elapsed(now) >= tries.wait()) {
                self.enter(next, now);
            } else if self.is_too_late_for_acks(plan, now) {
                self.roll_back(plan, Why::Acks, seen, now);
            }
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
    if next.mind_floor(plan, seen, now) || (state.paused.is_some() && phase.is_forward()) {
        return next;
    }
    match phase {
        Phase::Idle | Phase::Promoted | Phase::RolledBack => match wanted {
            Some(wanted) => next.start(plan, wanted, seen, now),
            // Nobody would be left to tell the autoscaler.
            None if state.floor != Floor::Free => {}
            None => {
                next.rollout = None;
                next.enter(Phase::Gone, now);
            }
        },
        Phase::Scale { step: 0 } => {
            next.scaled(plan, &Role::ALL, Phase::Probe { before: Before::FirstStep }, seen, now)
        }
        Phase::Scale { step } => next.scaled(plan, &Role::ALL, Phase::Weigh { step }, seen, now),
        Phase::Probe { before } => next.probed(plan, before, seen, now),
        Phase::Weigh { step } => next.weighed(plan, Phase::Hold { step }, seen, now),
        Phase::Hold { step } => next.hold(plan, step, seen, now),
        // A canary that falls ill now must not keep main from being updated or restored.
        Phase::Update => next.scaled(plan, &[Role::Main], Phase::Probe { before: Before::Switch }, seen, now),
        Phase::Switch => next.weighed(plan, Phase::CleanUp, seen, now),
        Phase::CleanUp => next.scaled(plan, &Role::ALL, Phase::Watch, seen, now),
        Phase::Watch if state.elapsed(now) >= plan.policy.watch => next.promoted(now),
        Phase::Shed => next.weighed(plan, Phase::Restore, seen, now),
        Phase::Restore if state.is_main_to_be_probed() => {
            next.scaled(plan, &[Role::Main], Phase::Probe { before: Before::Return }, seen, now);
        }
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
            self.previous = Some(std::mem::replace(&mut self.stable, rollout.version.clone()));
        }
        self.enter(Phase::Promoted, now);
    }
}
