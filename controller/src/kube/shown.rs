//! What objects of a cluster show, in the shapes of the admin port. Pure.
//!
//! In: an object as it was read. Out: the [`Split`] or [`View`] that its status tells of, without what only a controller
//! knows: proxies and counts.

use super::{
    cluster::{Kind, full_name},
    records,
    report::seen,
    status,
};
use crate::{
    admin::{
        model::{Condition, Problem, Split},
        view,
    },
    rollouts::{record::Record, view::View},
};
use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;
use sluicegate_core::rollout::command::Refused;

/// A field of the status that is text; empty when there is none.
fn text(object: &DynamicObject, field: &str) -> String {
    let value = object.data.get("status").and_then(|status| status.get(field));
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// `3/4`.
fn share(text: &str) -> (usize, usize) {
    let (acked, live) = text.split_once('/').unwrap_or_default();
    (acked.parse().unwrap_or(0), live.parse().unwrap_or(0))
}

fn told(object: &DynamicObject) -> Vec<Condition> {
    let of = |c: k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| Condition {
        kind: c.type_,
        status: c.status,
        reason: c.reason,
        message: c.message,
        last_transition_time: c.last_transition_time.0,
        observed_generation: c.observed_generation.and_then(|generation| u64::try_from(generation).ok()),
    };
    status::conditions(object).into_iter().map(of).collect()
}

/// A TrafficSplit.
pub(crate) fn split(object: &DynamicObject) -> Split {
    let name = full_name(object);
    let known = status::known(object, &name);
    let (acked, live) = share(&text(object, "acked"));
    let mut split = Split { acked, live, conditions: told(object), ..Split::default() };
    if let Some((known, spec)) = known.as_ref().and_then(|known| Some((known, known.split.as_ref()?))) {
        (split.generation, split.since) = (Some(known.generation), Some(known.since));
        view::describe(&mut split, spec);
    }
    let refused = split.conditions.iter().find(|condition| condition.kind == "Accepted" && condition.status == "False");
    split.problems = refused
        .map(|refused| Problem {
            file: Kind::TrafficSplit.title(&name),
            line: None,
            column: None,
            split: Some(name.clone()),
            reason: refused.reason.clone(),
            message: refused.message.clone(),
        })
        .into_iter()
        .collect();
    split.name = name;
    split
}

/// A CanaryDeploy or CanaryTest, `now`.
pub(crate) fn rollout(kind: Kind, object: &DynamicObject, now: Timestamp) -> View {
    let (acked, live) = share(&text(object, "acked"));
    let mut view = View {
        kind: kind.name().to_owned(),
        name: full_name(object),
        file: kind.title(&full_name(object)),
        generation: object.metadata.generation,
        acked,
        live,
        conditions: told(object),
        ..View::default()
    };
    let is = |condition: &&Condition, kind: &str, status: &str| condition.kind == kind && condition.status == status;
    let refused = view.conditions.iter().find(|c| is(c, "Accepted", "False"));
    let stalled = view.conditions.iter().find(|c| is(c, "Stalled", "True") && c.reason == "Trouble");
    view.trouble = refused.or(stalled).map(|condition| condition.message.clone());
    match records::known(object) {
        Ok(Some(record)) => {
            view.splits = record.machine.splits();
            view.tell(&record, &seen(&record.machine, object), None, now);
        }
        // Nothing is remembered before the first rollout.
        Ok(None) => {
            view.phase = text(object, "phase");
            view.waits = text(object, "message").trim_start_matches("waits for ").to_owned();
            if view.phase.is_empty() {
                view.waits = "a controller: none has looked at it yet".to_owned();
            }
        }
        Err(why) => view.trouble = Some(why),
    }
    view
}

/// What an object remembers of its rollout, or why there is nothing to say to it.
pub(crate) fn record(object: &DynamicObject) -> Result<Record, String> {
    let name = full_name(object);
    match records::known(object) {
        Ok(Some(record)) => Ok(record),
        Ok(None) if !text(object, "phase").is_empty() => Err(format!("{name}: {}", Refused::Idle)),
        Ok(None) => Err(format!("{name}: no controller has looked at it yet; is one running in this cluster?")),
        Err(why) => Err(format!("{name}: {why}")),
    }
}
