//! What happened to rollouts, as Events, and what became of Judgments, in their status: for people with `kubectl`.
//!
//! In: the views of the rollouts. Out: an Event for each entry of a history, named by what it says, so that it is there
//! once however often it is told, and by whichever replica.

use super::{
    cluster::{Cluster, ClusterError, Kind, ask},
    outage::Outage,
    records::is_ours,
    status::{condition, conditions, date},
};
use crate::{context::Context, rollouts::history::Entry, store::Complaint};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};
use tracing::{info, warn};

/// How often it looks.
const TURN: Duration = Duration::from_secs(1);
/// What is older than this when it is first seen was told by an earlier leader, or is no news any more.
const NEWS: SignedDuration = SignedDuration::from_mins(5);
/// Bytes of a note, by the API.
const NOTE: usize = 1024;

/// Tells until the process closes.
pub async fn run(cluster: Cluster, context: Context, instance: String) {
    let mut closing = context.closing();
    let mut teller = Teller { cluster, context, instance, told: HashMap::new(), outage: Outage::default() };
    loop {
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        if teller.cluster.may_write().is_err() {
            // Another one tells meanwhile; what it told is there already, and refused by its name.
            teller.told.clear();
            continue;
        }
        match teller.turn().await {
            Ok(()) | Err(ClusterError::Conflict(_) | ClusterError::Missing(_) | ClusterError::Follower) => {}
            Err(why) if teller.outage.is_new(&why.reason()) => {
                warn!(%why, "cannot tell what happened; trying on");
            }
            Err(_) => {}
        }
        if teller.outage.is_over() {
            info!("what happened can be told again");
        }
    }
}

struct Teller {
    cluster: Cluster,
    context: Context,
    instance: String,
    /// Up to when the history of a rollout was told.
    told: HashMap<String, Timestamp>,
    outage: Outage,
}

impl Teller {
    async fn turn(&mut self) -> Result<(), ClusterError> {
        let now = self.context.clock.now().wall;
        let (news, outcomes, complaints) = {
            let inner = self.context.lock();
            let news: Vec<(String, Entry)> = inner
                .rollouts
                .values()
                .flat_map(|view| {
                    let since = self.told.get(&view.name).copied().unwrap_or(now - NEWS);
                    let new = view.history.iter().filter(move |entry| entry.at > since);
                    new.map(|entry| (view.name.clone(), entry.clone()))
                })
                .collect();
            let outcomes: BTreeMap<String, String> =
                inner.rollouts.values().flat_map(|view| view.judgments.clone()).collect();
            (news, outcomes, inner.complaints.clone())
        };
        for (rollout, entry) in news {
            self.tell(&rollout, &entry).await?;
            self.told.insert(rollout, entry.at);
        }
        self.told.retain(|name, _| Kind::ROLLOUTS.iter().any(|kind| self.cluster.get(*kind, name).is_some()));
        for (name, object) in self.cluster.list(Kind::Judgment) {
            let Some(status) = judgment_status(&name, &object, outcomes.get(&name), &complaints, now) else { continue };
            self.cluster.write_status(Kind::Judgment, &object, status).await?;
        }
        Ok(())
    }

    async fn tell(&self, rollout: &str, entry: &Entry) -> Result<(), ClusterError> {
        let found = Kind::ROLLOUTS.into_iter().find_map(|kind| Some((kind, self.cluster.get(kind, rollout)?)));
        let Some((kind, object)) = found else { return Ok(()) };
        let namespace = rollout.split('/').next().unwrap_or("default");
        self.cluster.may_write()?;
        let api = Api::<Event>::namespaced(self.cluster.client(), namespace);
        let event = event(kind, &object, entry, &self.instance);
        match ask("an Event", api.create(&PostParams::default(), &event)).await {
            // Told before, or the namespace is on its way out.
            Err(ClusterError::There(_) | ClusterError::Conflict(_) | ClusterError::Missing(_)) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn event(kind: Kind, object: &DynamicObject, entry: &Entry, instance: &str) -> Event {
    let resource = kind.resource();
    let meta = &object.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, entry.at, &entry.message).hash(&mut hasher);
    let bad = matches!(entry.phase.as_str(), "Shed" | "Restore" | "Return" | "Clear" | "RolledBack");
    let bad = bad || entry.message.contains("is refused");
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:016x}", hasher.finish())),
            namespace: meta.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(entry.at)),
        action: Some("Rollout".to_owned()),
        reason: Some(entry.phase.clone()),
        note: Some(cut(&entry.message, NOTE).to_owned()),
        type_: Some(if bad { "Warning" } else { "Normal" }.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            name: Some(name),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("sluicegate.dev/controller".to_owned()),
        reporting_instance: Some(cut(instance, 128).to_owned()),
        ..Event::default()
    }
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or(text)
}

/// What a Judgment's status should be; `None`: it says so, or it is the controller's own record.
fn judgment_status(
    name: &str,
    object: &DynamicObject,
    outcome: Option<&String>,
    complaints: &[Complaint],
    now: Timestamp,
) -> Option<Value> {
    if is_ours(Kind::Judgment, object) {
        return None;
    }
    let before = conditions(object);
    let done = before.iter().any(|c| c.type_ == "Applied" && c.status != "Unknown");
    let title = Kind::Judgment.title(name);
    let wrong = complaints.iter().find(|complaint| complaint.refused && complaint.file == title);
    let applied = match (outcome.map(String::as_str), wrong) {
        (Some(refused), _) if refused.starts_with("refused") => condition("Applied", "False", "Refused", refused),
        (Some(said), _) => condition("Applied", "True", "CarriedOut", said),
        (None, Some(wrong)) => condition("Applied", "False", wrong.reason, &wrong.message),
        // Its rollout may be gone; what was said of it stays true.
        (None, None) if done => return None,
        (None, None) => condition("Applied", "Unknown", "Waiting", "its moment has not come yet"),
    };
    let accepted = match wrong {
        Some(wrong) => condition("Accepted", "False", wrong.reason, &wrong.message),
        None => condition("Accepted", "True", "Accepted", "it makes sense"),
    };
    let mut all = vec![accepted, applied];
    all.iter_mut().for_each(|one| date(one, &before, object.metadata.generation, now));
    let status = json!({ "observedGeneration": object.metadata.generation, "conditions": all });
    (object.data.get("status") != Some(&status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!([cut("abc", 2), cut("aµc", 2), cut("abc", 9)], ["ab", "a", "abc"]);
    }
}
