//! What is remembered of rollouts: in `status.state` of the object itself, so it lives and dies with it; and judgments,
//! as objects of their own.
//!
//! A finalizer keeps the object until everything is as it was: a rollout that is deleted half way is rolled back first.

use super::cluster::{Cluster, ClusterError, Kind};
use crate::rollouts::{AllWanted, machine::Machine, record::Record};
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keeps the object of a rollout until it has been rolled back.
pub const FINALIZER: &str = "sluicegate.dev/rollout";
/// On judgments that the controller noted: they are no orders.
const NOTED: &str = "sluicegate.dev/noted";
/// The form this program writes.
const FORMAT: u64 = 1;
/// Writes that may or may not have got through are remembered up to so many.
const DOUBTS: usize = 32;
/// How often a write is tried that others get in the way of.
const TRIES: usize = 8;

/// The memory of all rollouts. Clones share it.
#[derive(Debug, Clone)]
pub struct KubeRecords {
    cluster: Cluster,
    last: Arc<Mutex<HashMap<String, Last>>>,
}

/// The state of a rollout as it was last read or written here.
#[derive(Debug, Default)]
struct Last {
    /// What the next one is made from.
    base: Option<Value>,
    /// Written, and not answered. The API server may get to them later, until it has taken another.
    doubts: Vec<Value>,
}

/// Whether the controller wrote this judgment.
pub fn is_ours(kind: Kind, object: &DynamicObject) -> bool {
    kind == Kind::Judgment && object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(NOTED))
}

fn state(object: &DynamicObject) -> Option<&Value> {
    object.data.get("status")?.get("state").filter(|state| state.is_object())
}

/// The same with whole numbers written as such, which is what the API makes of them.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        Value::Array(all) => all.iter().map(plain).collect(),
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 && whole.abs() < 9e15 => json!(whole as i64),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

fn kind(machine: &Machine) -> Kind {
    match machine {
        Machine::CanaryDeploy { .. } => Kind::CanaryDeploy,
        Machine::CanaryTest { .. } => Kind::CanaryTest,
    }
}

/// What the objects say was wanted when a controller last ran.
pub fn remembered(cluster: &Cluster) -> AllWanted {
    let objects = Kind::ROLLOUTS.into_iter().flat_map(|kind| cluster.list(kind));
    let alive = objects.filter(|(_, object)| object.metadata.deletion_timestamp.is_none());
    // What cannot be read is told by its engine.
    alive.filter_map(|(name, object)| Some((name, parse(state(&object)?).ok()?.found()))).collect()
}

/// What an object remembers; `None`: nothing yet.
pub fn known(object: &DynamicObject) -> Result<Option<Record>, String> {
    state(object).map(parse).transpose()
}

fn parse(state: &Value) -> Result<Record, String> {
    match state.get("format").and_then(Value::as_u64) {
        Some(FORMAT) => serde_json::from_value(state.clone()).map_err(|why| format!("its state is damaged ({why})")),
        Some(newer) => Err(format!(
            "its state is of format {newer}, and this program knows up to {FORMAT}: it was written by a newer version; \
             use that one"
        )),
        None => Err("its state is damaged (no format)".to_owned()),
    }
}

impl KubeRecords {
    /// Of this cluster.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, last: Arc::default() }
    }

    fn last(&self) -> MutexGuard<'_, HashMap<String, Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is there is what the next state is made from.
    fn check(&self, kind: Kind, name: &str, there: Option<&Value>) -> Result<(), ClusterError> {
        // A state that was wiped out is no other controller's doing; what is known here is written again.
        let Some(there) = there else { return Ok(()) };
        let last = self.last();
        let known = last.get(name);
        if known.is_some_and(|known| known.base.as_ref() == Some(there)) {
            return Ok(());
        }
        let what = kind.title(name);
        if known.is_some_and(|known| known.doubts.contains(there)) {
            let why = "what was written before has got through after all; going on from there".to_owned();
            return Err(ClusterError::Api { what, why });
        }
        let why = "another controller has written its state; this one stands still until it is restarted".to_owned();
        Err(ClusterError::Refused { what, why })
    }

    /// The names of all that are remembered.
    pub fn names(&self) -> Vec<String> {
        let objects = Kind::ROLLOUTS.into_iter().flat_map(|kind| self.cluster.list(kind));
        objects.filter(|(_, object)| state(object).is_some()).map(|(name, _)| name).collect()
    }

    /// Deleted in the foreground: the garbage collector takes the copies first.
    pub fn is_doomed(&self, name: &str) -> bool {
        let objects = Kind::ROLLOUTS.into_iter().filter_map(|kind| self.cluster.get(kind, name));
        let mut finalizers = objects.flat_map(|object| object.metadata.finalizers.clone().unwrap_or_default());
        finalizers.any(|one| one == "foregroundDeletion")
    }

    /// What is remembered of a rollout, as the API server has it now.
    pub async fn load(&self, name: &str) -> Result<Option<Record>, ClusterError> {
        for kind in Kind::ROLLOUTS {
            let Some(object) = self.cluster.read(kind, name).await? else { continue };
            let Some(state) = state(&object) else { continue };
            self.last().entry(name.to_owned()).or_default().base = Some(plain(state));
            let damaged = |why| ClusterError::Api { what: kind.title(name), why };
            return parse(state).map(Some).map_err(damaged);
        }
        self.last().entry(name.to_owned()).or_default().base = None;
        Ok(None)
    }

    /// Remembers a rollout; when this returns, the API server has it. When there is no answer it may have it all the same:
    /// [`Self::load`] tells.
    pub async fn save(&self, name: &str, record: &Record) -> Result<(), ClusterError> {
        let kind = kind(&record.machine);
        let failed = |why: String| ClusterError::Api { what: kind.title(name), why };
        let mut new = serde_json::to_value(record).map_err(|why| failed(why.to_string()))?;
        new["format"] = json!(FORMAT);
        let new = super::cluster::without_nulls(new);
        for _ in 0..TRIES {
            // What was never sent is no doubt.
            self.cluster.may_write()?;
            let Some(object) = self.cluster.get(kind, name) else {
                // Deleted by force: what is left to do is done from memory.
                return Ok(());
            };
            self.check(kind, name, state(&object).map(plain).as_ref())?;
            let kept = object.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER);
            let written = if kept || object.metadata.deletion_timestamp.is_some() {
                let mut status = object.data.get("status").cloned().unwrap_or_else(|| json!({}));
                status["state"] = new.clone();
                {
                    let mut last = self.last();
                    let doubts = &mut last.entry(name.to_owned()).or_default().doubts;
                    if doubts.last() != Some(&plain(&new)) {
                        doubts.push(plain(&new));
                    }
                    doubts.drain(..doubts.len().saturating_sub(DOUBTS));
                }
                match self.cluster.write_status(kind, &object, status).await {
                    Ok(()) => {
                        let known = Last { base: Some(plain(&new)), doubts: Vec::new() };
                        self.last().insert(name.to_owned(), known);
                        return Ok(());
                    }
                    Err(why) => Err(why),
                }
            } else {
                let others = object.metadata.finalizers.iter().flatten().map(String::as_str);
                let all: Vec<_> = others.chain([FINALIZER]).collect();
                self.cluster.write(kind, &object, json!({ "metadata": { "finalizers": all } })).await
            };
            match written {
                Ok(()) => {}
                Err(ClusterError::Conflict(_) | ClusterError::Missing(_)) => {
                    if self.cluster.read(kind, name).await?.is_none() {
                        return Ok(());
                    }
                }
                Err(why) => return Err(why),
            }
        }
        Err(ClusterError::Conflict(kind.title(name)))
    }

    /// Lets the object of a rollout go that is gone.
    pub async fn remove(&self, name: &str) -> Result<(), ClusterError> {
        for kind in Kind::ROLLOUTS {
            for _ in 0..TRIES {
                let Some(object) = self.cluster.read(kind, name).await? else { break };
                let all = object.metadata.finalizers.clone().unwrap_or_default();
                if object.metadata.deletion_timestamp.is_none() || !all.iter().any(|one| one == FINALIZER) {
                    break;
                }
                let others: Vec<_> = all.into_iter().filter(|one| one != FINALIZER).collect();
                match self.cluster.write(kind, &object, json!({ "metadata": { "finalizers": others } })).await {
                    Err(ClusterError::Conflict(_)) => {}
                    Err(ClusterError::Missing(_)) => break,
                    other => {
                        other?;
                        break;
                    }
                }
            }
        }
        self.last().remove(name);
        Ok(())
    }

    /// Keeps a judgment under a name made of `key`; one that is there already is kept as it is.
    pub async fn judge(&self, key: &str, judgment: &Value) -> Result<(), ClusterError> {
        let text = |field: &str| judgment.get(field).and_then(Value::as_str);
        let rollout = text("rollout").unwrap_or_default();
        let (namespace, short) = rollout.split_once('/').unwrap_or(("default", rollout));
        let decision = text("decision").map(str::to_lowercase).unwrap_or_default();
        let decision = match decision.as_str() {
            back if back.starts_with("rollback") => "rollback",
            on if on.starts_with("continue") => "continue",
            on if on.starts_with("promote") => "promote",
            // To pause and to resume is no judgment on a step.
            _ => return Ok(()),
        };
        let mut spec = Map::from_iter([
            ("rollout".to_owned(), json!(short)),
            ("decision".to_owned(), json!(decision)),
            ("by".to_owned(), json!(text("by").unwrap_or("evidence"))),
        ]);
        for field in ["version", "step", "verdict", "reason", "evidence"] {
            // Evidence goes with a verdict; a person's reason speaks for itself.
            let fits = field != "evidence" || judgment.get("verdict").is_some();
            if let Some(value) = judgment.get(field).filter(|value| !value.is_null() && fits) {
                spec.insert(field.to_owned(), value.clone());
            }
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let name = format!("{namespace}/{}-{:016x}", short.get(..40).unwrap_or(short), hasher.finish());
        let spec = super::cluster::without_nulls(Value::Object(spec));
        let content = json!({ "labels": { NOTED: "true" }, "spec": spec });
        match self.cluster.create(Kind::Judgment, &name, content).await {
            Err(ClusterError::There(_)) => Ok(()),
            other => other,
        }
    }
}
