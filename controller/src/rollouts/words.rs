//! Rollouts in words, for people and logs. Pure.

use super::{machine::Machine, record::Asked, view::View};
use crate::api::accept_rollout::Deploy;
use sluicegate_core::{
    judge::Verdict,
    rollout::{
        Role, Weights,
        deploy::{Before, Phase, State, Why},
        plan::{Judge, percent},
        probe::Tries,
        trial,
    },
};
use std::collections::BTreeMap;

pub(super) fn waits(view: &View, state: &State, judge: Judge, hold: u64, reasons: &str, now: u64) -> String {
    let name = view.name.strip_prefix("default/").unwrap_or(&view.name);
    if view.paused {
        return format!("a person: paused; `sluicegate resume {name}`");
    }
    match state.phase {
        Phase::Idle => format!("another version than {}", state.stable),
        Phase::Scale { .. } | Phase::Update | Phase::Restore => match (&state.rollout, &view.not_yet) {
            (Some(rollout), Some(not_yet)) if rollout.tries.failed > 0 => {
                format!("the proxies to reach the pods: {not_yet}")
            }
            _ => format!("pods: {}", view.pods_in_words()),
        },
        Phase::Probe { .. } => format!("the first answers of these pods at every proxy; {}", view.acks_in_words()),
        Phase::Weigh { .. } | Phase::Switch | Phase::Shed | Phase::Return => view.acks_in_words(),
        Phase::CleanUp | Phase::Clear => "canary and baseline to go".to_owned(),
        Phase::Watch => format!("the watch to end, or a person: `sluicegate rollback {name}`"),
        Phase::Promoted => format!("another version than {}", state.stable),
        Phase::RolledBack => "another version: this one was rolled back".to_owned(),
        Phase::Gone => String::new(),
        Phase::Hold { .. } => {
            let left = hold.saturating_sub(state.elapsed(now));
            let person = format!("`sluicegate continue {name}` or `sluicegate rollback {name}`");
            match judge {
                Judge::Manual | Judge::Both => format!("a person: {person}"),
                Judge::Auto if left > 0 => format!("{:.1} s more; {reasons}", left as f64 / 1e3),
                Judge::Auto => format!("evidence: {reasons}; or a person: {person}"),
            }
        }
    }
}

/// What takes longer than the plan has it.
pub(super) fn overdue(spec: &Deploy, state: &State, judge: Judge, hold: u64, now: u64) -> Option<&'static str> {
    let elapsed = state.elapsed(now);
    let (word, limit) = match state.phase {
        _ if state.paused.is_some() => return None,
        Phase::Scale { .. } | Phase::Update | Phase::CleanUp | Phase::Restore | Phase::Clear => {
            ("PodsNotReady", spec.deadline)
        }
        Phase::Probe { .. } | Phase::Weigh { .. } | Phase::Switch | Phase::Shed | Phase::Return => {
            ("NotAcked", spec.ack_timeout)
        }
        Phase::Hold { .. } if judge == Judge::Auto => ("Inconclusive", hold),
        _ => return None,
    };
    (elapsed > limit).then_some(word)
}

/// A verdict as people read it.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// Phase and step: what a move is between.
pub fn place(machine: &Machine) -> (&'static str, Option<usize>) {
    match machine {
        Machine::CanaryDeploy { state, .. } => (phase(machine), state.phase.step()),
        Machine::CanaryTest { .. } => (phase(machine), None),
    }
}

/// Where a machine has got to, in a sentence.
pub fn moved(machine: &Machine) -> String {
    let (spec, state) = match machine {
        Machine::CanaryDeploy { spec, state, .. } => (spec, state),
        Machine::CanaryTest { state, .. } => return tried(state),
    };
    let version = state.rollout.as_ref().map_or("", |rollout| rollout.version.as_str());
    let step = |step: usize| {
        let weight = spec.steps.get(step).map_or_else(String::new, |step| percent(step.weight));
        format!("step {} of {} ({weight} %)", step + 1, spec.steps.len())
    };
    match state.phase {
        Phase::Idle => format!("nothing to do: main runs {}", state.stable),
        Phase::Scale { step: at } => format!("{}: pods of {version} get ready", step(at)),
        Phase::Probe { before } => {
            let whose = if before == Before::FirstStep { "canary and baseline" } else { "main" };
            format!("a small weight finds out whether the proxies reach {whose}")
        }
        Phase::Weigh { step: at } => format!("{}: its weights go to the proxies", step(at)),
        Phase::Hold { step: at } => format!("{}: all proxies run its weights; it is judged", step(at)),
        Phase::Update => format!("every step was good: main gets {version}"),
        Phase::Switch => format!("main runs {version}: all traffic goes there"),
        Phase::CleanUp => "main has all the traffic: canary and baseline go".to_owned(),
        Phase::Watch => format!("{version} is promoted, and looked at for a while"),
        Phase::Promoted => format!("{version} is promoted"),
        Phase::Shed | Phase::Restore | Phase::Return | Phase::Clear => {
            let why = state.rollout.as_ref().and_then(|r| r.back.as_ref()).map_or("", |back| reason(back.why));
            let doing = match state.phase {
                Phase::Shed => "the canary's traffic goes to pods of the old version",
                Phase::Restore => "main gets its pods back",
                Phase::Return => "all traffic goes to main",
                _ => "canary and baseline go",
            };
            format!("rolling back, {why}: {doing}")
        }
        Phase::RolledBack => format!("{version} was rolled back: main runs {}", state.stable),
        Phase::Gone => "gone".to_owned(),
    }
}

/// Where a CanaryTest has got to.
fn tried(state: &trial::State) -> String {
    let (version, weight) = (&state.canary.version, percent(state.weight));
    match state.phase {
        trial::Phase::Off => "no canary: main has all the traffic".to_owned(),
        trial::Phase::Scale => format!("pods of {version} get ready"),
        trial::Phase::Probe => "a small weight finds out whether the proxies reach the canary".to_owned(),
        trial::Phase::Weigh => format!("{weight} % for {version} goes to the proxies"),
        trial::Phase::Trim => format!("all proxies run {weight} % for {version}: pods that are too many go"),
        trial::Phase::On => format!("{version} is tried with {weight} %"),
        trial::Phase::Drain => "the canary's traffic goes to main".to_owned(),
        trial::Phase::Clear => "main has all the traffic: the canary goes".to_owned(),
        trial::Phase::Gone => "gone".to_owned(),
    }
}

/// Where a rollout is, in a word.
pub fn phase(machine: &Machine) -> &'static str {
    match machine {
        Machine::CanaryDeploy { state, .. } => match state.phase {
            Phase::Idle => "Idle",
            Phase::Scale { .. } => "Scale",
            Phase::Probe { .. } => "Probe",
            Phase::Weigh { .. } => "Weigh",
            Phase::Hold { .. } => "Hold",
            Phase::Update => "Update",
            Phase::Switch => "Switch",
            Phase::CleanUp => "CleanUp",
            Phase::Watch => "Watch",
            Phase::Promoted => "Promoted",
            Phase::Shed => "Shed",
            Phase::Restore => "Restore",
            Phase::Return => "Return",
            Phase::Clear => "Clear",
            Phase::RolledBack => "RolledBack",
            Phase::Gone => "Gone",
        },
        Machine::CanaryTest { state, .. } => match state.phase {
            trial::Phase::Off => "Off",
            trial::Phase::Scale => "Scale",
            trial::Phase::Probe => "Probe",
            trial::Phase::Weigh => "Weigh",
            trial::Phase::Trim => "Trim",
            trial::Phase::On => "On",
            trial::Phase::Drain => "Drain",
            trial::Phase::Clear => "Clear",
            trial::Phase::Gone => "Gone",
        },
    }
}

pub(super) fn reason(why: Why) -> &'static str {
    match why {
        Why::Verdict => "the evidence says fail",
        Why::Inconclusive => "a step's time was over without a verdict",
        Why::Person => "a person said so",
        Why::Deadline => "pods did not get ready in time",
        Why::Acks => "proxies did not ack in time",
        Why::Unreached => "proxies did not reach the pods in time",
        Why::Lost(Role::Main) => "no pod of main was ready while it had traffic",
        Why::Lost(Role::Baseline) => "no pod of the baseline was ready while it had traffic",
        Why::Lost(Role::Canary) => "no pod of the canary was ready while it had traffic",
        Why::Superseded => "another version is wanted",
        Why::Deleted => "it was deleted",
    }
}

/// What became of probes so far; `None`: all went well.
pub fn not_yet(tries: &Tries) -> Option<String> {
    let requests = |n| if n == 1 { "1 request".to_owned() } else { format!("{n} requests") };
    match (tries.failed, tries.unreached) {
        (0, 0) => None,
        (0, n) => Some(format!("{} found no pod while it was probed", requests(n))),
        (1, n) => Some(format!("{} found none, so it is tried again", requests(n))),
        (failed, n) => Some(format!("{} found none in {failed} tries, so it is tried again", requests(n))),
    }
}

/// What a person asked of a CanaryTest; `None`: it was so already. `again`: its time was over, and begins anew.
pub(super) fn asked(asked: &Asked, again: bool) -> Option<String> {
    let Asked { by, reason, weight, version, edit, .. } = asked;
    let mut all = Vec::new();
    if let Some(new) = edit.version.as_ref().filter(|new| *new != version) {
        all.push(format!("version {version} → {new}"));
    }
    match edit.weight {
        0 if *weight > 0 => all.push(format!("weight {} → 0 %, which ends it", percent(*weight))),
        new if new != *weight => all.push(format!("weight {} → {} %", percent(*weight), percent(new))),
        _ => {}
    }
    if again {
        all.push(format!("begins again, at {} %", percent(edit.weight)));
    }
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    (!all.is_empty()).then(|| format!("{by} said {}{why}", all.join(", ")))
}

/// The weights that a machine wants of the first split, by role, in percent; `None`: it wants none.
pub fn weights_by_role(machine: &Machine) -> Option<BTreeMap<String, String>> {
    machine.desired().ok()?.weights.first().map(by_role)
}

/// Weights by role, in percent.
pub fn by_role(weights: &Weights) -> BTreeMap<String, String> {
    Role::ALL.map(|role| (role.name().to_owned(), percent(weights.of(role)))).into()
}

/// Weights, for the log.
pub fn weights(Weights { canary, main, baseline }: Weights) -> String {
    format!("weights: canary {} main {} baseline {}", percent(canary), percent(main), percent(baseline))
}
