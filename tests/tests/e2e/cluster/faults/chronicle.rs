//! What controllers wrote, version by version, and whether it makes sense. In: the split and the CanaryDeploy `hello`, as etcd
//! had them. Out: an error that says what should not have been written.

use anyhow::{Result, ensure};
use serde_json::Value;
use sluicegate_tests::kube::witness::Witness;
use sluicegate_tests::kube_lab::KubeLab;
use std::collections::BTreeMap;

/// Sees all that is written.
pub(super) struct Chronicle {
    splits: Witness,
    deploys: Witness,
}

impl Chronicle {
    pub(super) fn start(lab: &KubeLab) -> Result<Self> {
        let of = |plural: &str| lab.cluster.witness(plural, &lab.namespace);
        Ok(Self { splits: of("trafficsplits")?, deploys: of("canarydeploys")? })
    }

    /// The weights that were published, in order of generation; fails when one generation meant two things, or came twice.
    pub(super) fn weights(&self) -> Result<Vec<String>> {
        let mut all: BTreeMap<u64, String> = BTreeMap::new();
        for version in self.splits.versions("hello")? {
            let state = &version["status"]["state"];
            let Some(generation) = state["generation"].as_u64() else { continue };
            let weights = version["status"]["weights"].as_str().unwrap_or_default();
            if let Some((newest, _)) = all.last_key_value() {
                ensure!(generation >= *newest, "generation {generation} was written after {newest}");
            }
            let known = all.entry(generation).or_insert_with(|| weights.to_owned());
            ensure!(known == weights, "generation {generation} was {known}, and then {weights}");
        }
        Ok(all.into_values().collect())
    }

    /// Where the rollout was, in order, of each version that was rolled out: phase and step as one word, such as `hold 0`.
    pub(super) fn phases(&self) -> Result<Vec<(String, Vec<String>)>> {
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        for version in self.deploys.versions("hello")? {
            let state = &version["status"]["state"]["machine"]["state"];
            let Some(image) = state["rollout"]["version"].as_str() else { continue };
            let phase = phase(&state["phase"]);
            if all.last().is_none_or(|(known, _)| known != image) {
                all.push((image.to_owned(), Vec::new()));
            }
            let Some((_, phases)) = all.last_mut() else { continue };
            if phases.last() != Some(&phase) {
                phases.push(phase);
            }
        }
        Ok(all)
    }

    /// Fails unless each step was judged once, in order, in every version of the object.
    pub(super) fn each_step_was_judged_once(&self, steps: u64) -> Result<()> {
        for version in self.deploys.versions("hello")? {
            let state = &version["status"]["state"]["machine"]["state"];
            let judged = state["rollout"]["judged"].as_array().map(Vec::as_slice).unwrap_or_default();
            let in_order = judged.iter().enumerate().all(|(at, one)| one["step"] == at);
            ensure!(in_order && judged.len() as u64 <= steps, "{:?}: {judged:?}", state["phase"]);
            let done = state["phase"] == "promoted" && state["rollout"].is_object();
            ensure!(!done || judged.len() as u64 == steps, "promoted after {judged:?}");
        }
        Ok(())
    }
}

fn phase(value: &Value) -> String {
    match value {
        Value::String(phase) => phase.clone(),
        Value::Object(one) => one
            .iter()
            .map(|(phase, at)| match at["before"].as_str() {
                Some(before) => format!("{phase} {before}"),
                None => format!("{phase} {}", at["step"]),
            })
            .collect(),
        other => other.to_string(),
    }
}

/// What a rollout passes on its way when nothing is wrong with it.
pub(super) fn forward(steps: usize) -> Vec<String> {
    let of_step = |step: usize| ["scale", "weigh", "hold"].map(|phase| format!("{phase} {step}"));
    let last = ["update", "probe switch", "switch", "cleanUp", "watch", "promoted"].map(str::to_owned);
    let mut all: Vec<String> = (0..steps).flat_map(of_step).chain(last).collect();
    all.insert(1, "probe firstStep".to_owned());
    all
}

/// The weights of a rollout that starts at 1 % and ends well: its probe is as small as its first step, and before main gets
/// everything it gets a probe.
pub(super) fn planned(steps: &[u32]) -> Vec<String> {
    let probe = "canary=49500 main=1000 baseline=49500".to_owned();
    steps.iter().map(|step| told(*step)).chain([probe, told(0)]).collect()
}

/// The weights of steps, as a status tells them.
pub(super) fn told(canary: u32) -> String {
    format!("canary={canary} main={} baseline={canary}", 100 - 2 * canary)
}
