//! A rollout as the admin port shows it, and as the command line reads it.

use super::{
    history::Entry,
    machine::Machine,
    readings::Reading,
    record::Record,
    words::{by_role, not_yet, overdue, phase, reason, verdict, waits},
};
use crate::{admin::model::Condition, api::accept_rollout::Test};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluicegate_core::rollout::{
    Observation, Role,
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
    /// CanaryDeploy or CanaryTest; empty while nothing is known of one.
    pub kind: String,
    /// `namespace/name`.
    pub name: String,
    /// The file it comes from.
    pub file: String,
    /// The splits it moves.
    #[serde(default)]
    pub splits: Vec<String>,
    /// `metadata.generation` of the object that this is about, in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
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
    /// The version that is wanted and was not begun yet: it is paused, or a webhook is still to say yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
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
    /// What a CanaryTest is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Tested>,
    /// Why it was rolled back.
    pub why: Option<String>,
    /// Probes that found pods the proxies do not reach yet, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_yet: Option<String>,
    /// What keeps it from going on.
    pub trouble: Option<String>,
    /// It is later than the plan has it, in one word for machines.
    pub overdue: Option<String>,
    /// What metrics said of the step that holds.
    #[serde(default)]
    pub metrics: Option<Reading>,
    /// Progressing, Judged, Promoted, RolledBack and Stalled.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// What happened, in order of time.
    #[serde(default)]
    pub history: Vec<Entry>,
    /// Judgments among the documents that are done with, and what became of them.
    #[serde(default)]
    pub judgments: BTreeMap<String, String>,
}

/// What a CanaryTest is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// The canary's weight as its document has it, in percent.
    pub weight: String,
    /// The canary's pods.
    pub replicas: u32,
    /// Its document names the version to try; otherwise that is images, or a patch.
    pub named: bool,
    /// Milliseconds until it ends by itself; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// When it ends by itself, once all proxies have had a weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    /// Its time is over.
    pub over: bool,
}

impl Tested {
    fn of(spec: &Test, state: &trial::State) -> Self {
        let ends = spec.duration.zip(state.since).map(|(duration, since)| since.saturating_add(duration));
        let over = state.over.is_some();
        Self {
            weight: percent(spec.weight),
            replicas: spec.replicas,
            named: spec.images.is_empty() && spec.content.is_none(),
            duration_ms: spec.duration,
            ends: ends.filter(|_| !over && spec.weight > 0).and_then(moment),
            over,
        }
    }
}

/// Of Unix ms.
fn moment(ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
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
    /// Fills in what is remembered and what was seen. `asked`: the webhook whose yes it waits for.
    pub fn tell(&mut self, record: &Record, seen: &Observation, asked: Option<String>, now: Timestamp) {
        let (machine, now) = (&record.machine, now.as_millisecond().max(0) as u64);
        self.phase = phase(machine).to_owned();
        self.history = record.history.entries().cloned().collect();
        self.judgments.clone_from(&record.judgments);
        self.not_yet = machine.tries().and_then(not_yet);
        for role in Role::ALL {
            let Some(w) = seen.workload(role).filter(|w| w.replicas > 0 || w.ready > 0) else { continue };
            let pods =
                Pods { version: w.version.clone(), replicas: w.replicas, ready: w.ready, trouble: w.trouble.clone() };
            self.pods.insert(role.name().to_owned(), pods);
        }
        if let Some(weights) = seen.splits.first().and_then(|s| s.weights) {
            self.weights = by_role(&weights);
        }
        let entered = match machine {
            Machine::CanaryDeploy { spec, state, evidence, reading, .. } => {
                self.kind = "CanaryDeploy".to_owned();
                self.step = state.phase.step().map(|step| step + 1);
                self.steps = spec.steps.iter().map(|step| percent(step.weight)).collect();
                self.stable.clone_from(&state.stable);
                self.version = state.rollout.as_ref().map(|r| r.version.clone());
                self.paused = state.paused.is_some();
                let assessment = evidence.as_ref().map(|e| e.assess());
                self.metrics.clone_from(reading);
                self.verdict = machine.told().map(|told| verdict(told).to_owned());
                self.evidence = assessment.as_ref().and_then(|a| serde_json::to_value(a).ok());
                let back = state.rollout.as_ref().and_then(|r| r.back.as_ref());
                self.why = back.map(|back| reason(back.why).to_owned());
                let counted = assessment.into_iter().flat_map(|a| a.reasons);
                let measured = reading.iter().flat_map(|r| r.judgment.reasons.iter().cloned());
                let reasons = counted.chain(measured).collect::<Vec<_>>().join("; ");
                let hold = state.phase.step().and_then(|s| spec.steps.get(s)).map_or(0, |s| s.hold);
                let judge = super::rules::plan(spec).map_or(Judge::Auto, |plan| state.judge(&plan));
                self.waits = asked.unwrap_or_else(|| waits(self, state, judge, hold, &reasons, now));
                self.overdue = overdue(spec, state, judge, hold, now).map(str::to_owned);
                state.entered
            }
            Machine::CanaryTest { spec, state } => {
                self.kind = "CanaryTest".to_owned();
                self.version = Some(spec.version.clone());
                let test = Tested::of(spec, state);
                self.waits = match state.phase {
                    trial::Phase::Off if test.over => "a start: its time is over, and there is no canary".to_owned(),
                    trial::Phase::Off => "a start: its weight is 0, and there is no canary".to_owned(),
                    trial::Phase::Scale if state.tries.failed > 0 => {
                        format!("the proxies to reach the canary: {}", self.not_yet.as_deref().unwrap_or_default())
                    }
                    trial::Phase::Scale | trial::Phase::Trim => format!("pods: {}", self.pods_in_words()),
                    trial::Phase::Probe => {
                        format!("the canary's first answers at every proxy; {}", self.acks_in_words())
                    }
                    trial::Phase::Weigh | trial::Phase::Drain => self.acks_in_words(),
                    trial::Phase::On if test.ends.is_some() => "the end of its time, or another weight".to_owned(),
                    trial::Phase::On => "another weight; 0 ends it".to_owned(),
                    trial::Phase::Clear => "the canary's pods to go".to_owned(),
                    trial::Phase::Gone => String::new(),
                };
                self.test = Some(test);
                state.entered
            }
        };
        self.since = moment(entered);
    }

    pub(super) fn pods_in_words(&self) -> String {
        let one = |(role, pods): (&String, &Pods)| {
            let trouble = pods.trouble.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            format!("{role} {}/{} ready{trouble}", pods.ready, pods.replicas)
        };
        self.pods.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn acks_in_words(&self) -> String {
        match self.live {
            0 => "a proxy: none that serves its splits is connected".to_owned(),
            live => format!("acks: {} of {live} proxies", self.acked),
        }
    }
}
