//! What a person may say to a rollout, and when.

use crate::judge::Verdict;

use super::{
    Observation,
    deploy::{By, Phase, State, Why},
    plan::Plan,
};
use thiserror::Error;

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Stay where it is; a bad verdict still rolls back.
    Pause,
    /// Go on after a pause.
    Resume,
    /// The step is good.
    Continue {
        /// Even though the evidence says fail; from then on it is not listened to.
        over_fail: bool,
    },
    /// Go to the last step, then promote, without judging the steps in between.
    Promote {
        /// As for `Continue`.
        over_fail: bool,
    },
    /// Take the canary off.
    Rollback,
    /// After promotion: give main the version before.
    Undo,
}

/// Why it is not possible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// No rollout.
    #[error("no rollout is under way")]
    Idle,
    /// Nothing was promoted that could be undone.
    #[error("there is no version before this one: nothing was promoted since it was begun, or that was undone already")]
    NoPrevious,
    /// Under way.
    #[error("a rollout is under way: roll that back instead")]
    UnderWay,
    /// Main is not seen.
    #[error("main cannot be looked at now, so nobody knows how many pods it is to have; try again")]
    NoMain,
    /// On the way back.
    #[error("it is being rolled back")]
    Back,
    /// Main has all the traffic.
    #[error("it is promoted already")]
    Promoting,
    /// Twice.
    #[error("it is paused already")]
    Paused,
    /// Not paused.
    #[error("it is not paused")]
    NotPaused,
    /// What the user wants keeps it.
    #[error("its document says `paused: true`; take that out of it")]
    Document,
    /// Nothing to be judged.
    #[error("it does not wait for a judgment now: pods or proxies are still on their way; wait until the step holds")]
    NotWaiting,
    /// The judgment is about another step.
    #[error("that is about step {about}, but it is at step {now} (counting from 1)")]
    OtherStep {
        /// The step meant, from 1.
        about: usize,
        /// The step it is at, from 1.
        now: usize,
    },
    /// A CanaryTest.
    #[error("a CanaryTest is led by its weight: change that, set it to 0, or delete it")]
    Test,
    /// Against the evidence.
    #[error("the evidence says fail; roll back, or say --override to go on all the same")]
    Failed,
}

impl State {
    /// Carries out what a person says; on refusal nothing changes. `about`: the step the person looked at, counting
    /// from 0, when they said so.
    pub fn command(
        &self,
        plan: &Plan,
        command: Command,
        about: Option<usize>,
        seen: &Observation,
        now: u64,
    ) -> Result<Self, Refused> {
        let phase = self.phase;
        if phase.is_back() {
            return Err(Refused::Back);
        }
        if command == Command::Undo {
            return self.undo(plan, seen, now);
        }
        if !phase.is_forward() {
            return Err(Refused::Idle);
        }
        if let (Some(about), Some(now)) = (about, phase.step())
            && about != now
        {
            return Err(Refused::OtherStep { about: about + 1, now: now + 1 });
        }
        let mut next = self.clone();
        match command {
            Command::Pause if self.paused.is_some() => return Err(Refused::Paused),
            Command::Pause if phase == Phase::CleanUp => return Err(Refused::Promoting),
            Command::Pause => next.paused = Some(now),
            Command::Resume => {
                self.paused.ok_or(Refused::NotPaused)?;
                next.resume(now);
            }
            Command::Rollback if phase == Phase::CleanUp => return Err(Refused::Promoting),
            Command::Rollback => next.roll_back(plan, Why::Person, seen, now),
            Command::Undo => return Err(Refused::UnderWay),
            Command::Continue { over_fail } => {
                next.take_responsibility(seen, over_fail)?;
                match phase {
                    Phase::Hold { step } => next.found_good(plan, step, By::Person, now),
                    Phase::Watch => next.promoted(now),
                    _ => return Err(Refused::NotWaiting),
                }
            }
            Command::Promote { over_fail } => {
                let Some(step) = phase.step() else { return Err(Refused::Promoting) };
                next.take_responsibility(seen, over_fail)?;
                if let Some(rollout) = &mut next.rollout {
                    rollout.hurry = true;
                }
                match phase {
                    Phase::Hold { .. } => next.found_good(plan, step, By::Person, now),
                    _ => next.resume(now),
                }
            }
        }
        Ok(next)
    }

    /// As a rollback in the watch after promotion, at any time later.
    fn undo(&self, plan: &Plan, seen: &Observation, now: u64) -> Result<Self, Refused> {
        if self.phase.is_forward() {
            return Err(Refused::UnderWay);
        }
        let mut next = self.clone();
        let previous = next.previous.take().filter(|_| self.phase == Phase::Promoted).ok_or(Refused::NoPrevious)?;
        let Some(rollout) = &mut next.rollout else { return Err(Refused::NoPrevious) };
        // What main has now, not what it had then.
        rollout.replicas = seen.main.as_ref().ok_or(Refused::NoMain)?.replicas.max(1);
        next.stable = previous;
        next.enter(Phase::Watch, now);
        next.roll_back(plan, Why::Person, seen, now);
        Ok(next)
    }

    fn take_responsibility(&mut self, seen: &Observation, over_fail: bool) -> Result<(), Refused> {
        let Some(rollout) = &mut self.rollout else { return Err(Refused::Idle) };
        match seen.verdict {
            Verdict::Fail if rollout.overridden => Ok(()),
            Verdict::Fail if over_fail => {
                rollout.overridden = true;
                Ok(())
            }
            Verdict::Fail => Err(Refused::Failed),
            Verdict::Pass | Verdict::Inconclusive => Ok(()),
        }
    }

    fn resume(&mut self, now: u64) {
        if let Some(since) = self.paused.take() {
            self.entered = self.entered.saturating_add(now.saturating_sub(since));
        }
    }
}
