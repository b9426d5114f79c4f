//! A rollout as the admin port shows it, and as the command line reads it.

use super::machine::Machine;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluicegate_core::rollout::{
    Observation, Role, Weights,
    deploy::{Phase, State, Why},
    desired::Effect,
    plan::{Judge, percent},
    trial,
};
use std::collections::BTreeMap;

/// `GET /v1/rollouts`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Views {
    /// In order of name.
    pub rollouts: Vec<View>,
}

/// `GET /v1/rollouts/{namespace}/{name}`, and one of [`Views`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// CanaryDeploy or CanaryTest; empty while nothing could be begun.
    pub kind: String,
    /// `namespace/name`.
    pub name: String,
    /// The file it comes from.
    pub file: String,
    /// Where it is, one word.
    pub phase: String,
    /// The step it is at, from 1.
    pub step: Option<usize>,
    /// The canary's weight at each step, in percent.
    pub steps: Vec<String>,
    /// The version main runs outside of a rollout.
    pub stable: String,
    /// The version rolled out, or tried.
    pub version: Option<String>,
    /// By role, in percent, of the first split.
    pub weights: BTreeMap<String, String>,
    /// By role.
    pub pods: BTreeMap<String, Pods>,
    /// pass, fail or inconclusive.
    pub verdict: Option<String>,
    /// Everything behind the verdict.
    pub evidence: Option<Value>,
    /// Live proxies that run the weights in force, over all splits.
    pub acked: usize,
    /// Live proxies, over all splits.
    pub live: usize,
    /// When the phase began.
    pub since: Option<Timestamp>,
    /// A person keeps it where it is.
    pub paused: bool,
    /// What it waits for, and what to type.
    pub waits: String,
    /// Why it was rolled back.
    pub why: Option<String>,
    /// What keeps it from going on.
    pub trouble: Option<String>,
}

/// A group of pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// What it runs.
    pub version: String,
    /// Asked for.
    pub replicas: u32,
    /// Ready.
    pub ready: u32,
    /// Why not more are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl View {
    /// Fills in what a machine and what was seen say.
    pub fn tell(&mut self, machine: &Machine, seen: &Observation, now: u64) {
        self.phase = phase(machine).to_owned();
        for role in Role::ALL {
            let Some(w) = seen.workload(role).filter(|w| w.replicas > 0 || w.ready > 0) else { continue };
            let pods =
                Pods { version: w.version.clone(), replicas: w.replicas, ready: w.ready, trouble: w.trouble.clone() };
            self.pods.insert(role.name().to_owned(), pods);
        }
        if let Some(Weights { canary, main, baseline }) = seen.splits.first().and_then(|s| s.weights) {
            let all = [(Role::Canary, canary), (Role::Main, main), (Role::Baseline, baseline)];
            self.weights = all.map(|(role, w)| (role.name().to_owned(), percent(w))).into();
        }
        let entered = match machine {
            Machine::CanaryDeploy { spec, state, evidence } => {
                self.kind = "CanaryDeploy".to_owned();
                self.step = state.phase.step().map(|step| step + 1);
                self.steps = spec.steps.iter().map(|step| percent(step.weight)).collect();
                self.stable.clone_from(&state.stable);
                self.version = state.rollout.as_ref().map(|r| r.version.clone());
                self.paused = state.paused.is_some();
                let assessment = evidence.as_ref().map(|e| e.assess());
                self.verdict = assessment.as_ref().map(|_| format!("{:?}", machine.verdict()).to_lowercase());
                self.evidence = assessment.as_ref().and_then(|a| serde_json::to_value(a).ok());
                let back = state.rollout.as_ref().and_then(|r| r.back.as_ref());
                self.why = back.map(|back| reason(back.why).to_owned());
                let reasons = assessment.map(|a| a.reasons.join("; ")).unwrap_or_default();
                let hold = state.phase.step().and_then(|s| spec.steps.get(s)).map_or(0, |s| s.hold);
                let judge = super::rules::plan(spec).map_or(Judge::Auto, |plan| state.judge(&plan));
                self.waits = waits(self, state, judge, hold, &reasons, now);
                state.entered
            }
            Machine::CanaryTest { spec, state } => {
                self.kind = "CanaryTest".to_owned();
                self.version = Some(spec.version.clone());
                self.waits = match state.phase {
                    trial::Phase::Off => "no canary: its weight is 0, or its time is over".to_owned(),
                    trial::Phase::Scale | trial::Phase::Trim => format!("pods: {}", self.pods_in_words()),
                    trial::Phase::Weigh | trial::Phase::Drain => self.acks_in_words(),
                    trial::Phase::On => "nothing: change its weight, or delete it".to_owned(),
                    trial::Phase::Clear => "the canary's pods to go".to_owned(),
                    trial::Phase::Gone => String::new(),
                };
                state.entered
            }
        };
        self.since = i64::try_from(entered).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    }

    fn pods_in_words(&self) -> String {
        let one = |(role, pods): (&String, &Pods)| {
            let trouble = pods.trouble.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            format!("{role} {}/{} ready{trouble}", pods.ready, pods.replicas)
        };
        self.pods.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn acks_in_words(&self) -> String {
        match self.live {
            0 => "a proxy: none that serves its splits is connected".to_owned(),
            live => format!("acks: {} of {live} proxies", self.acked),
        }
    }
}

fn waits(view: &View, state: &State, judge: Judge, hold: u64, reasons: &str, now: u64) -> String {
    let name = view.name.strip_prefix("default/").unwrap_or(&view.name);
    if view.paused {
        return format!("a person: paused; `sluicegate resume {name}`");
    }
    match state.phase {
        Phase::Idle => format!("another version than {}", state.stable),
        Phase::Scale { .. } | Phase::Update | Phase::Restore => format!("pods: {}", view.pods_in_words()),
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

/// Where a rollout is, in a word.
pub fn phase(machine: &Machine) -> &'static str {
    match machine {
        Machine::CanaryDeploy { state, .. } => match state.phase {
            Phase::Idle => "Idle",
            Phase::Scale { .. } => "Scale",
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
            trial::Phase::Weigh => "Weigh",
            trial::Phase::Trim => "Trim",
            trial::Phase::On => "On",
            trial::Phase::Drain => "Drain",
            trial::Phase::Clear => "Clear",
            trial::Phase::Gone => "Gone",
        },
    }
}

fn reason(why: Why) -> &'static str {
    match why {
        Why::Verdict => "the evidence says fail",
        Why::Inconclusive => "a step's time was over without a verdict",
        Why::Person => "a person said so",
        Why::Deadline => "pods did not get ready in time",
        Why::Acks => "proxies did not ack in time",
        Why::Superseded => "another version is wanted",
        Why::Deleted => "it was deleted",
    }
}

/// An effect, for the log.
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Apply { role, target } => format!("{}: {} × {}", role.name(), target.replicas, target.version),
        Effect::Weigh { weights: Weights { canary, main, baseline }, .. } => {
            format!("weights: canary {} main {} baseline {}", percent(*canary), percent(*main), percent(*baseline))
        }
    }
}
