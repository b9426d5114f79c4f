//! The two machines behind one face, with the evidence that one of them goes by. Pure.

use super::{Wanted, readings::Reading, rules};
use crate::{
    api::accept_rollout::{Deploy, Test},
    workloads::Care,
};
use serde::{Deserialize, Serialize};
use sluicegate_core::{
    judge::{Verdict, evidence::Evidence},
    latency::Histogram,
    rollout::{
        Observation, Role, WHOLE,
        command::{Command, Refused},
        deploy::{self, Before, By, Phase, Why},
        desired::{Desired, Target},
        plan::{Plan, PlanError},
        probe::Tries,
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
        /// Since it began; `None`: nothing is judged by counts, or not yet.
        evidence: Option<Evidence>,
        /// What metrics said of the step that holds.
        #[serde(default)]
        reading: Option<Reading>,
        /// Its document keeps it where it is.
        #[serde(default)]
        held: bool,
        /// A person found the last step good, whatever the evidence says if true; webhooks may still have to say yes.
        #[serde(default)]
        go: Option<bool>,
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
                Self::CanaryDeploy {
                    spec: Deploy::clone(spec),
                    state,
                    evidence: None,
                    reading: None,
                    held: false,
                    go: None,
                }
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

    /// On the way back.
    pub fn is_back(&self) -> bool {
        match self {
            Self::CanaryDeploy { state, .. } => state.phase.is_back(),
            Self::CanaryTest { state, .. } => matches!(state.phase, trial::Phase::Drain | trial::Phase::Clear),
        }
    }

    /// The version that is wanted and was not begun yet, while another one is at rest.
    pub fn pending(&self, wanted: Option<&Wanted>) -> Option<String> {
        let (Self::CanaryDeploy { state, .. }, Some(Wanted::Deploy(deploy))) = (self, wanted) else { return None };
        let begun = state.stable == deploy.version || state.rejected.as_ref() == Some(&deploy.version);
        (!self.is_under_way() && !begun).then(|| deploy.version.clone())
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

    /// It waits for acks, so every word of a proxy matters.
    pub fn waits_for_acks(&self) -> bool {
        match self {
            Self::CanaryDeploy { state, .. } => {
                matches!(
                    state.phase,
                    Phase::Probe { .. } | Phase::Weigh { .. } | Phase::Switch | Phase::Shed | Phase::Return
                )
            }
            Self::CanaryTest { state, .. } => {
                matches!(state.phase, trial::Phase::Probe | trial::Phase::Weigh | trial::Phase::Drain)
            }
        }
    }

    /// When the probe under way began, and of whom it is; `None`: there is none.
    pub fn probes(&self) -> Option<(u64, &'static [Role])> {
        match self {
            Self::CanaryDeploy { state, .. } => match state.phase {
                Phase::Probe { before: Before::FirstStep } => Some((state.entered, &[Role::Canary, Role::Baseline])),
                Phase::Probe { before: Before::Switch | Before::Return } => Some((state.entered, &[Role::Main])),
                _ => None,
            },
            Self::CanaryTest { state, .. } => {
                (state.phase == trial::Phase::Probe).then_some((state.entered, &[Role::Canary]))
            }
        }
    }

    /// The same, with the first step's probe behind it.
    pub fn past_probe(&self) -> Self {
        let mut next = self.clone();
        if let Self::CanaryDeploy { state, .. } = &mut next
            && state.phase == (Phase::Probe { before: Before::FirstStep })
        {
            state.phase = Phase::Weigh { step: 0 };
        }
        next
    }

    /// Probes that said "not yet".
    pub fn tries(&self) -> Option<&Tries> {
        match self {
            Self::CanaryDeploy { state, .. } => state.rollout.as_ref().map(|rollout| &rollout.tries),
            Self::CanaryTest { state, .. } => Some(&state.tries),
        }
    }

    /// When its phase began, Unix ms.
    pub fn entered(&self) -> u64 {
        match self {
            Self::CanaryDeploy { state, .. } => state.entered,
            Self::CanaryTest { state, .. } => state.entered,
        }
    }

    /// Canary and baseline have traffic to be compared by.
    pub fn is_compared(&self) -> bool {
        match self {
            Self::CanaryDeploy { state, .. } => match state.phase {
                Phase::Scale { step } => step > 0,
                Phase::Weigh { .. } | Phase::Hold { .. } | Phase::Update => true,
                _ => false,
            },
            Self::CanaryTest { .. } => false,
        }
    }

    /// What the rollout goes by.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::CanaryDeploy { spec, state, .. } if spec.judging.dry_run => match state.phase {
                Phase::Hold { .. } => Verdict::Pass,
                _ => Verdict::Inconclusive,
            },
            _ => self.judge(),
        }
    }

    /// What counts and metrics say of the step as it stands: either can fail it, and it takes both to pass.
    pub fn judge(&self) -> Verdict {
        let Self::CanaryDeploy { spec, state, evidence, reading, .. } = self else { return Verdict::Inconclusive };
        if evidence.as_ref().is_some_and(Evidence::failed) {
            return Verdict::Fail;
        }
        if !matches!(state.phase, Phase::Hold { .. }) {
            return Verdict::Inconclusive;
        }
        let by_counts = spec.judging.errors.is_some() || spec.judging.latency.is_some();
        let counts = by_counts.then(|| evidence.as_ref().map_or(Verdict::Inconclusive, Evidence::verdict));
        let metrics = (!spec.judging.metrics.is_empty())
            .then(|| reading.as_ref().map_or(Verdict::Inconclusive, |reading| reading.judgment.verdict));
        let all = || [counts, metrics].into_iter().flatten();
        match all().find(|verdict| *verdict == Verdict::Fail) {
            Some(fail) => fail,
            None if all().count() > 0 && all().all(|verdict| verdict == Verdict::Pass) => Verdict::Pass,
            None => Verdict::Inconclusive,
        }
    }

    /// The verdict to be shown: of the step as it stands, or the last one that something followed from.
    pub fn told(&self) -> Option<Verdict> {
        let Self::CanaryDeploy { spec, state, evidence, reading, .. } = self else { return None };
        let rollout = state.rollout.as_ref()?;
        if state.phase.step().is_some() || spec.judging.dry_run {
            return (evidence.is_some() || reading.is_some()).then(|| self.judge());
        }
        match &rollout.back {
            Some(back) => (back.why == Why::Verdict).then_some(Verdict::Fail),
            None => rollout.judged.last().filter(|last| last.by == By::Evidence).map(|_| Verdict::Pass),
        }
    }

    /// Takes what metrics said.
    pub fn read(&self, new: Reading) -> Self {
        let mut next = self.clone();
        if let Self::CanaryDeploy { reading, .. } = &mut next {
            *reading = Some(new);
        }
        next
    }

    /// Lets a CanaryTest whose time is over begin again with the same; false: its time is not over.
    pub fn begin_again(&mut self) -> bool {
        match self {
            Self::CanaryTest { state, .. } => state.over.take().is_some(),
            Self::CanaryDeploy { .. } => false,
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
            (Self::CanaryDeploy { spec, state, evidence, reading, held, go }, wanted) => {
                let wanted = match wanted {
                    Some(Wanted::Deploy(deploy)) => Some(deploy),
                    _ => None,
                };
                let resting = matches!(state.phase, Phase::Idle | Phase::Promoted | Phase::RolledBack);
                if let Some(newer) = wanted.filter(|newer| resting && ***newer != *spec) {
                    *spec = Deploy::clone(newer);
                }
                let plan = rules::plan(spec)?;
                let paused = wanted.is_some_and(|deploy| deploy.paused);
                obey_document(paused, held, state, &plan, seen, now);
                let from = state.phase;
                let version = wanted.map(|d| d.version.as_str());
                let same = state.rollout.as_ref().map(|rollout| rollout.version.as_str()) == version;
                let said = go.filter(|_| same).map(|over_fail| Command::Continue { over_fail });
                let went = said.and_then(|command| state.command(&plan, command, None, seen, now).ok());
                if let Some(went) = went {
                    *state = went;
                } else if paused && resting {
                    state.mind_floor(&plan, seen, now);
                } else {
                    *state = deploy::step(&plan, version, state, seen, now);
                }
                if state.phase != from {
                    *go = None;
                    match state.phase {
                        Phase::Scale { step: 0 } => *evidence = None,
                        Phase::Hold { .. } => {
                            evidence.iter_mut().for_each(Evidence::begin_step);
                            *reading = None;
                        }
                        _ => {}
                    }
                }
                // A threshold that is taken from main is there once main has served something.
                if evidence.is_none() && state.phase.step().is_some() {
                    *evidence = rules::rules(&spec.judging, before).map(Evidence::new);
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
            Self::CanaryDeploy { held: true, .. } if command == Command::Resume => Err(Refused::Document),
            Self::CanaryDeploy { spec, state, go, .. } => {
                let plan: Plan = rules::plan(spec).map_err(|_| Refused::Idle)?;
                let said = state.command(&plan, command, about, seen, now)?;
                match (said.phase, command) {
                    // Not past a webhook that is to be asked: the next step of the machine goes there.
                    (Phase::Update, Command::Continue { over_fail } | Command::Promote { over_fail }) => {
                        *go = Some(over_fail);
                    }
                    _ => *state = said,
                }
                Ok(next)
            }
            Self::CanaryTest { .. } => Err(Refused::Test),
        }
    }
}

/// Pauses and resumes as the document says; what a person paused stays so.
fn obey_document(paused: bool, held: &mut bool, state: &mut deploy::State, plan: &Plan, seen: &Observation, now: u64) {
    *held &= state.paused.is_some();
    let command = match (paused, *held) {
        (true, false) => Command::Pause,
        (false, true) => Command::Resume,
        _ => return,
    };
    // Refused when there is nothing to pause, or a person did it already.
    if let Ok(next) = state.command(plan, command, None, seen, now) {
        (*state, *held) = (next, paused);
    }
}
