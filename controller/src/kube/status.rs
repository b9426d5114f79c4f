//! What the status of a TrafficSplit says: what is in force, how far it has spread, and for the controller what it has
//! to remember. Pure.
//!
//! The memory of a split is in `status.state`: the generation, what is in force under it, and the weights a rollout
//! holds. It is written before anybody hears of it, and only over the version it was made from; so a generation never
//! means two things.

use super::cluster::without_nulls;
use crate::{
    admin::model::Condition as Told,
    store::{Complaint, state::Known},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use sluicegate_core::split::Split;

/// What the status says is in force; `None`: nothing yet, or it is not what we wrote.
pub fn known(object: &DynamicObject, name: &str) -> Option<Known> {
    let state = object.data.get("status")?.get("state")?;
    let known: Known = serde_json::from_value(state.clone()).ok()?;
    let split = known.split.as_ref()?;
    (split.name == name && Split::try_from(split.clone()).is_ok()).then_some(known)
}

/// How far what is in force has spread.
#[derive(Debug, Clone, Default)]
pub struct Spread {
    /// Live proxies that acked it, and all live ones.
    pub acked: (usize, usize),
    /// In words; `None`: it was not handed out yet.
    pub told: Option<Told>,
}

/// The whole status. `complaints` are those about this split.
pub fn status(
    object: &DynamicObject,
    known: Option<&Known>,
    complaints: &[&Complaint],
    spread: &Spread,
    now: Timestamp,
) -> Value {
    let before = conditions(object);
    let observed = object.metadata.generation;
    let in_force = known.filter(|known| known.split.is_some());
    let mut all = vec![accepted(in_force, complaints)];
    if let Some(known) = in_force {
        all.push(spread.told.as_ref().map_or_else(
            || condition("Propagated", "Unknown", "Publishing", &format!("generation {} is new", known.generation)),
            |told| condition("Propagated", &told.status, &told.reason, &told.message),
        ));
    }
    for one in &mut all {
        date(one, &before, observed, now);
    }
    let mut status = Map::from_iter([("conditions".to_owned(), json!(all))]);
    if let Some((known, split)) = in_force.and_then(|known| Some((known, known.split.as_ref()?))) {
        let weights: Vec<_> = split.subsets.iter().map(|s| format!("{}={}", s.name, s.weight)).collect();
        status.insert("generation".to_owned(), json!(known.generation));
        status.insert("weights".to_owned(), json!(weights.join(" ")));
        status.insert("acked".to_owned(), json!(format!("{}/{}", spread.acked.0, spread.acked.1)));
        status.insert("state".to_owned(), json!(known));
    }
    without_nulls(Value::Object(status))
}

fn accepted(known: Option<&Known>, complaints: &[&Complaint]) -> Condition {
    let generation = known.map(|known| known.generation);
    match (complaints.iter().find(|c| c.refused), known) {
        (Some(refused), _) => {
            let stays = generation.map_or_else(String::new, |g| format!("; generation {g} stays in force"));
            condition("Accepted", "False", refused.reason, &format!("{}{stays}", refused.message))
        }
        (None, Some(Known { driven: Some(driven), .. })) => {
            condition("Accepted", "True", "Driven", &format!("the weights are held by {}", driven.by))
        }
        (None, _) => condition("Accepted", "True", "InForce", "the weights are those of the spec"),
    }
}

/// A condition without its times.
pub fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: None,
    }
}

/// The conditions an object has.
pub fn conditions(object: &DynamicObject) -> Vec<Condition> {
    let written = object.data.get("status").and_then(|status| status.get("conditions"));
    written.and_then(|all| serde_json::from_value(all.clone()).ok()).unwrap_or_default()
}

/// Dates a condition: since before when it says the same as before.
pub fn date(condition: &mut Condition, before: &[Condition], observed: Option<i64>, now: Timestamp) {
    condition.observed_generation = observed;
    let same = before.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
    // The API keeps whole seconds.
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or_default();
    condition.last_transition_time = same.map_or(Time(seconds), |old| old.last_transition_time.clone());
}
