//! The rest of a rollout's status, for people: where it is, what it waits for, and conditions to wait by.
//!
//! In: the views of the rollouts and the complaints of the store. Out: a status, written only when it says something
//! new, by the one who leads.

use super::{
    cluster::{Cluster, ClusterError, Kind, without_nulls},
    outage::Outage,
    status::{condition, conditions, date},
};
use crate::{
    context::Context,
    rollouts::{
        machine::Machine,
        view::{Pods, View},
    },
    store::Complaint,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::DynamicObject;
use serde_json::{Value, json};
use sluicegate_core::rollout::{Observation, Role, SplitSeen, Weights, Workload};
use std::{collections::HashMap, time::Duration};
use tracing::{info, warn};

/// How often it looks.
const TURN: Duration = Duration::from_millis(500);
/// A status of which only the words changed is written this often.
const WORDS: Duration = Duration::from_secs(15);

/// Reports until the process closes.
pub async fn run(cluster: Cluster, context: Context) {
    let mut closing = context.closing();
    let mut outage = Outage::default();
    let mut written: HashMap<(Kind, String), Duration> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        if cluster.may_write().is_err() {
            continue;
        }
        let now = context.clock.now();
        for kind in Kind::ROLLOUTS {
            for (name, object) in cluster.list(kind) {
                let status = {
                    let inner = context.lock();
                    let view = inner.rollouts.get(&name).filter(|view| view.kind == kind.name());
                    status(kind, &name, &object, view, &inner.complaints, now.wall)
                };
                let before = object.data.get("status");
                if before == Some(&status) {
                    continue;
                }
                let place = (kind, name.clone());
                let recently = written.get(&place).is_some_and(|at| now.at.saturating_sub(*at) < WORDS);
                if recently && before.is_some_and(|before| is_only_words(before, &status)) {
                    continue;
                }
                match cluster.write_status(kind, &object, status).await {
                    Ok(()) => drop(written.insert(place, now.at)),
                    // It is tried again at the next turn, from what it has become.
                    Err(ClusterError::Conflict(_) | ClusterError::Missing(_) | ClusterError::Follower) => {}
                    Err(why) if outage.is_new(&why.reason()) => {
                        warn!(rollout = name, %why, "cannot write the status; trying on");
                    }
                    Err(_) => {}
                }
            }
        }
        if outage.is_over() {
            info!("statuses of rollouts can be written again");
        }
    }
}

/// The whole status: what the controller remembers stays as it is.
fn status(
    kind: Kind,
    name: &str,
    object: &DynamicObject,
    view: Option<&View>,
    complaints: &[Complaint],
    now: Timestamp,
) -> Value {
    let old = object.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let title = kind.title(name);
    let refused = complaints.iter().find(|c| c.refused && c.file == title);
    let mut all = vec![match refused {
        Some(refused) => condition("Accepted", "False", refused.reason, &refused.message),
        None => condition("Accepted", "True", "Accepted", "it makes sense"),
    }];
    // Not the newest one: what is told may still be of the rollout before.
    let generation = view.map_or_else(|| object.metadata.generation, |view| view.generation);
    let generation = generation.or(old.get("observedGeneration").and_then(Value::as_i64));
    let mut status = json!({ "state": old.get("state"), "observedGeneration": generation });
    if let Some(view) = view {
        let of = |role: &str| view.pods.get(role).map(|pods| pods_in_words(pods, view.weights.get(role)));
        for (field, value) in [
            ("phase", json!(Some(if view.paused { "Paused" } else { view.phase.as_str() }).filter(|p| !p.is_empty()))),
            ("step", json!(view.step.map(|step| format!("{step}/{}", view.steps.len())))),
            ("main", json!(of("main"))),
            ("baseline", json!(of("baseline"))),
            ("canary", json!(of("canary"))),
            ("verdict", json!(view.verdict)),
            ("acked", json!(format!("{}/{}", view.acked, view.live))),
            ("message", json!(message(view))),
        ] {
            status[field] = value;
        }
        if kind == Kind::CanaryTest {
            for field in ["step", "baseline"] {
                status[field] = Value::Null;
            }
            status["replicas"] = json!(view.pods.get("canary").map_or(0, |pods| pods.replicas));
        }
        all.extend(of_view(view));
    } else {
        for field in ["phase", "step", "main", "baseline", "canary", "replicas", "verdict", "acked", "message"] {
            status[field] = old.get(field).cloned().unwrap_or_default();
        }
    }
    let before = conditions(object);
    for one in &mut all {
        date(one, &before, generation, now);
    }
    // What nobody can tell now stays as it was told last.
    let told: Vec<String> = all.iter().map(|c| c.type_.clone()).collect();
    all.extend(before.into_iter().filter(|old| !told.contains(&old.type_)));
    status["conditions"] = json!(all);
    without_nulls(status)
}

fn message(view: &View) -> String {
    match (&view.trouble, &view.why) {
        (Some(trouble), _) => trouble.clone(),
        (None, Some(why)) => format!("{why}; waits for {}", view.waits),
        (None, None) if view.waits.is_empty() => String::new(),
        (None, None) => format!("waits for {}", view.waits),
    }
}

/// What a rollout's status says was seen last.
pub fn seen(machine: &Machine, object: &DynamicObject) -> Observation {
    let told = |role: Role| object.data.get("status")?.get(role.name())?.as_str().and_then(pods_of_words);
    let [main, baseline, canary] = Role::ALL.map(told);
    let weight = |told: &Option<(Workload, u32)>| told.as_ref().map_or(0, |(_, weight)| *weight);
    let weights = Weights { canary: weight(&canary), main: weight(&main), baseline: weight(&baseline) };
    let pods = |told: Option<(Workload, u32)>| Some(told.map_or_else(Workload::default, |(pods, _)| pods));
    Observation {
        main: pods(main),
        baseline: pods(baseline),
        canary: pods(canary),
        splits: vec![SplitSeen { weights: Some(weights), acked: false }; machine.splits().len()],
        verdict: machine.verdict(),
        reach: None,
    }
}

/// Back from [`pods_in_words`]: the pods, and their weight in thousandths of a percent.
fn pods_of_words(words: &str) -> Option<(Workload, u32)> {
    let (rest, weight) = match words.rsplit_once(' ') {
        Some((rest, weight)) if weight.ends_with('%') => (rest, weight.trim_end_matches('%').parse::<f64>().ok()?),
        _ => (words, 0.0),
    };
    let (version, share) = rest.rsplit_once(' ')?;
    let (ready, replicas) = share.split_once('/')?;
    let (ready, replicas) = (ready.parse().ok()?, replicas.parse().ok()?);
    let pods = Workload {
        version: version.to_owned(),
        replicas,
        ready,
        settled: ready == replicas,
        trouble: None,
        floor: None,
    };
    Some((pods, (weight * 1000.0).round() as u32))
}

fn pods_in_words(pods: &Pods, weight: Option<&String>) -> String {
    let weight = weight.map_or_else(String::new, |weight| format!(" {weight}%"));
    format!("{} {}/{}{weight}", pods.version, pods.ready, pods.replicas)
}

fn of_view(view: &View) -> Vec<Condition> {
    view.conditions.iter().map(|c| condition(&c.kind, &c.status, &c.reason, &c.message)).collect()
}

/// The two differ in words only.
fn is_only_words(before: &Value, new: &Value) -> bool {
    let plain = |status: &Value| {
        let mut status = status.clone();
        if let Some(fields) = status.as_object_mut() {
            fields.remove("message");
        }
        for one in status["conditions"].as_array_mut().into_iter().flatten() {
            one["message"] = Value::Null;
        }
        status
    };
    plain(before) == plain(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_in_words_are_read_back() {
        let pods = Pods { version: "a=b:1, c=d:2".into(), replicas: 4, ready: 3, trouble: None };
        let (read, weight) = pods_of_words(&pods_in_words(&pods, Some(&"12.5".to_owned()))).unwrap();
        assert_eq!((read.version.as_str(), read.ready, read.replicas, weight), ("a=b:1, c=d:2", 3, 4, 12_500));
        assert_eq!(pods_of_words(&pods_in_words(&pods, None)).unwrap().1, 0);
        assert!(["", "v1", "v1 3", "v1 x/3", "v1 3/x 10%", "v1 3/3 x%"].iter().all(|bad| pods_of_words(bad).is_none()));
    }
}
