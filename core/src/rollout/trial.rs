//! The machine of a CanaryTest: main and canary, weight and pods by hand, at any time.
//!
//! ```text
//! Off ─> Scale ─> (Probe) ─> Weigh ─> Trim ─> On ─> (changed) Scale …
//! any ─> Drain ─> Clear ─> Off, or Gone when it was deleted
//! ```
//!
//! Main is never touched. The canary's pods are there before its weight, and its weight has gone before its pods.

use super::{
    Observation, Role, Weights,
    desired::{Desired, Target},
    probe::{self, Finding, PROBE, Tries},
};
use serde::{Deserialize, Serialize};

/// What the user wants, checked: the weight is at most half of [`super::WHOLE`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// The version to try.
    pub version: String,
    /// The canary's weight in every split; 0: off.
    pub weight: u32,
    /// The canary's pods.
    pub replicas: u32,
    /// Milliseconds until it ends by itself, from the first time all proxies had the weight; `None`: never.
    pub duration: Option<u64>,
}

/// Where a test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// No canary.
    Off,
    /// Pods get ready.
    Scale,
    /// A small weight finds out whether the proxies reach the pods.
    Probe,
    /// The weight reaches the proxies.
    Weigh,
    /// Pods that are too many go.
    Trim,
    /// As wanted.
    On,
    /// The traffic is taken off.
    Drain,
    /// The canary goes.
    Clear,
    /// Deleted, and everything is as it was.
    Gone,
}

/// Everything that has to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Where it is.
    pub phase: Phase,
    /// When it got there, Unix ms.
    pub entered: u64,
    /// The canary as it is told to be.
    pub canary: Target,
    /// Its weight as it is published.
    pub weight: u32,
    /// When all proxies first had a weight, Unix ms.
    pub since: Option<u64>,
    /// What ended by its duration, so that it does not begin again by itself.
    pub over: Option<Wanted>,
    /// Probes that said "not yet".
    #[serde(default)]
    pub tries: Tries,
}

impl State {
    /// No canary yet.
    pub fn new(now: u64) -> Self {
        let (canary, tries) = (Target::none(), Tries::default());
        Self { phase: Phase::Off, entered: now, canary, weight: 0, since: None, over: None, tries }
    }

    /// What there should be, for so many splits.
    pub fn desired(&self, splits: usize) -> Desired {
        if self.phase == Phase::Gone {
            return Desired::default();
        }
        let weights = Weights { canary: self.weight, main: super::WHOLE.saturating_sub(self.weight), baseline: 0 };
        Desired {
            main: None,
            baseline: None,
            canary: Some(self.canary.clone()),
            weights: vec![weights; splits],
            floor: None,
        }
    }

    fn enter(&mut self, phase: Phase, now: u64) {
        (self.phase, self.entered) = (phase, now);
    }

    fn drain(&mut self, now: u64) {
        self.weight = 0;
        self.tries.reached();
        self.enter(Phase::Drain, now);
    }
}

/// The state that follows: the same one when there is nothing to do. `wanted` is `None` when the test was deleted.
pub fn step(wanted: Option<&Wanted>, state: &State, seen: &Observation, now: u64) -> State {
    let mut next = state.clone();
    let running = !matches!(state.phase, Phase::Off | Phase::Drain | Phase::Clear | Phase::Gone);
    let expired = wanted.is_some_and(|w| {
        let ran = state.since.map_or(0, |since| now.saturating_sub(since));
        w.duration.is_some_and(|duration| state.since.is_some() && ran >= duration)
    });
    let on = wanted.filter(|w| w.weight > 0 && w.replicas > 0 && !expired && state.over.as_ref() != Some(w));
    let Some(on) = on else {
        if running {
            next.over = wanted.filter(|_| expired).cloned();
            next.drain(now);
            return next;
        }
        return ending(wanted, next, seen, now);
    };
    if running && on.version != state.canary.version {
        // Another version is another test: the old one's traffic goes first.
        next.drain(now);
        return next;
    }
    let desired = state.desired(seen.splits.len());
    let changed = on.weight != state.weight || on.replicas != state.canary.replicas;
    match state.phase {
        Phase::Off => {
            next.over = None;
            next.canary = Target { version: on.version.clone(), replicas: on.replicas };
            next.enter(Phase::Scale, now);
        }
        Phase::On if changed => {
            next.canary.replicas = on.replicas.max(state.canary.replicas);
            next.enter(Phase::Scale, now);
        }
        Phase::Scale if on.replicas > state.canary.replicas => next.canary.replicas = on.replicas,
        Phase::Scale if desired.pods_met(&[Role::Canary], seen) => {
            if state.weight > 0 {
                next.weight = on.weight;
                next.enter(Phase::Weigh, now);
            } else if now.saturating_sub(state.entered) >= state.tries.wait() {
                next.weight = on.weight.min(PROBE);
                next.enter(Phase::Probe, now);
            }
        }
        Phase::Probe => {
            let met = !seen.splits.is_empty() && desired.weights_met(seen);
            match probe::find(seen, met, now.saturating_sub(state.entered)) {
                Finding::Open => {}
                Finding::NotYet(unreached) => {
                    next.tries.not_yet(unreached, state.entered);
                    next.weight = 0;
                    next.enter(Phase::Scale, now);
                }
                Finding::Reached => {
                    next.tries.reached();
                    next.weight = on.weight;
                    next.enter(Phase::Weigh, now);
                }
            }
        }
        // More weight than these pods were made for, or more pods: they come first.
        Phase::Weigh if on.replicas > state.canary.replicas => {
            next.canary.replicas = on.replicas;
            next.enter(Phase::Scale, now);
        }
        Phase::Weigh if on.weight != state.weight => next.weight = on.weight,
        Phase::Weigh if !seen.splits.is_empty() && desired.weights_met(seen) => {
            next.since = next.since.or(Some(now));
            next.canary.replicas = on.replicas;
            next.enter(Phase::Trim, now);
        }
        Phase::Trim if changed => {
            next.canary.replicas = on.replicas.max(state.canary.replicas);
            next.enter(Phase::Scale, now);
        }
        Phase::Trim if desired.pods_met(&[Role::Canary], seen) => next.enter(Phase::On, now),
        Phase::Drain | Phase::Clear => return ending(wanted, next, seen, now),
        Phase::Scale | Phase::Weigh | Phase::Trim | Phase::On | Phase::Gone => {}
    }
    next
}

fn ending(wanted: Option<&Wanted>, mut next: State, seen: &Observation, now: u64) -> State {
    let desired = next.desired(seen.splits.len());
    match next.phase {
        Phase::Drain if desired.weights_met(seen) => {
            next.canary = Target::none();
            next.enter(Phase::Clear, now);
        }
        Phase::Clear if desired.pods_met(&[Role::Canary], seen) => {
            next.since = None;
            next.enter(Phase::Off, now);
        }
        Phase::Off if wanted.is_none() => next.enter(Phase::Gone, now),
        _ => {}
    }
    next
}
