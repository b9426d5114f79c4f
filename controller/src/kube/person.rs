//! What a person does to the objects of a cluster: with their own rights, and under the name the cluster knows them by.
//!
//! In: a client by their kubeconfig, and names, `namespace/name`. Out: Judgments and changed specs, once the controller has
//! done what they say; or why not.

use super::{
    cluster::{self, ClusterError, Kind, ask, full_name},
    report::seen,
    rights::{self, Right},
    shown, status,
};
use crate::{
    admin::model::{Say, Split, Weigh, WeightsSet},
    clock::Clock,
    rollouts::{machine::Machine, view::View},
};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use sluicegate_core::rollout::{WHOLE, command::Command, plan::percent};
use std::{collections::BTreeMap, future::Future, time::Duration};
use thiserror::Error;
use tokio::time::{Instant, sleep};

/// How often an object is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// How long the controller may take to do what an object says.
const PATIENCE: Duration = Duration::from_secs(15);
/// Who last changed a spec by a verb, and why: what is no Judgment has no other place for it.
const CHANGED_BY: &str = "sluicegate.dev/changed-by";
const CHANGE_REASON: &str = "sluicegate.dev/change-reason";
/// What to do where the kinds are unknown.
pub(crate) const NO_CRDS: &str = "the cluster does not know our kinds: the CRDs are not installed; `sluicegate crds | \
                                  kubectl apply --server-side -f -`";
/// The most a test may have, in thousandths of a percent.
const MOST: u32 = WHOLE / 2;

/// Somebody, by their kubeconfig.
#[derive(Clone)]
pub(crate) struct Person {
    client: Client,
    clock: Clock,
}

/// Why something was not done.
#[derive(Debug, Error)]
pub(crate) enum PersonError {
    /// There is no such object.
    #[error("{0}")]
    Missing(String),
    /// The person has no right to it.
    #[error("{why}")]
    MayNot { right: Right, namespace: Option<String>, why: String },
    /// It makes no sense, whenever it is said.
    #[error("{0}")]
    Wrong(String),
    /// Not as things stand now.
    #[error("{0}")]
    Refused(String),
    /// The controller has not done it yet.
    #[error("{0}")]
    Late(String),
    /// The API server cannot be asked.
    #[error("{0}")]
    Failed(String),
}

type Done<T> = Result<T, PersonError>;

impl Person {
    pub(crate) fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    fn api(&self, kind: Kind, name: &str) -> (Api<DynamicObject>, String) {
        let (namespace, short) = name.split_once('/').unwrap_or(("default", name));
        (Api::namespaced_with(self.client.clone(), namespace, &kind.resource()), short.to_owned())
    }

    /// All objects of a kind in a namespace; `None`: in all of them.
    pub(crate) async fn list(&self, kind: Kind, namespace: Option<&str>) -> Done<Vec<DynamicObject>> {
        let api: Api<DynamicObject> = match namespace {
            None => Api::all_with(self.client.clone(), &kind.resource()),
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind.resource()),
        };
        let right = Right { verb: "list", kind };
        Ok(call(kind.name(), right, namespace, api.list(&ListParams::default())).await?.items)
    }

    /// An object, as it is now.
    pub(crate) async fn find(&self, kind: Kind, name: &str) -> Done<Option<DynamicObject>> {
        let (api, short) = self.api(kind, name);
        call(&kind.title(name), Right { verb: "get", kind }, space(name), api.get_opt(&short)).await
    }

    /// The same; that there is none is an error.
    pub(crate) async fn get(&self, kind: Kind, name: &str) -> Done<DynamicObject> {
        let plural = kind.resource().plural;
        let missing = || format!("there is no {}; `kubectl get {plural} -A` lists all", kind.title(name));
        self.find(kind, name).await?.ok_or_else(|| PersonError::Missing(missing()))
    }

    async fn patch(&self, right: Right, name: &str, patch: &Value) -> Done<DynamicObject> {
        let (api, short) = self.api(right.kind, name);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        call(&right.kind.title(name), right, space(name), api.patch(&short, &params, &patch)).await
    }

    /// Says something to a rollout: a verb of the command line.
    pub(crate) async fn say(&self, name: &str, verb: &str, say: &Say) -> Done<View> {
        let kind = Kind::CanaryDeploy;
        let object = self.get(kind, name).await?;
        match verb {
            "pause" | "resume" => self.pause(name, &object, verb == "pause", say).await?,
            decision => self.judge(name, &object, decision, say).await?,
        }
        Ok(shown::rollout(kind, &self.get(kind, name).await?, self.clock.now().wall))
    }

    /// `paused` in its spec: what keeps it there is part of what is wanted.
    async fn pause(&self, name: &str, object: &DynamicObject, paused: bool, say: &Say) -> Done<()> {
        let record = shown::record(object).map_err(PersonError::Refused)?;
        if let Machine::CanaryDeploy { state, held, .. } = &record.machine
            && !paused
            && state.paused.is_some()
            && !held
        {
            return Err(PersonError::Refused(format!(
                "{name} was paused through a controller's admin port, and the spec does not say so; resume it there, with \
                 --admin"
            )));
        }
        let value = if paused { json!(true) } else { Value::Null };
        let patch = json!({ "metadata": self.note(&say.by, &say.reason).await, "spec": { "paused": value } });
        self.patch(Right::PAUSE, name, &patch).await?;
        if !record.machine.is_under_way() {
            return Ok(());
        }
        let waits = if paused { "pause" } else { "resume" };
        self.until(Kind::CanaryDeploy, name, waits, PATIENCE, |object| {
            let is = object.data["status"]["phase"] == "Paused";
            Ok((is == paused).then_some(()))
        })
        .await
    }

    /// A Judgment: to give one is a right of its own.
    async fn judge(&self, name: &str, object: &DynamicObject, decision: &str, say: &Say) -> Done<()> {
        let record = shown::record(object).map_err(PersonError::Refused)?;
        let command = match decision {
            "continue" => Command::Continue { over_fail: say.over_fail },
            "promote" => Command::Promote { over_fail: say.over_fail },
            "undo" => Command::Undo,
            _ => Command::Rollback,
        };
        // A Judgment waits for its moment; a person who says this means now, so it is not given when that would refuse it.
        let about = say.step.map(|step| step.saturating_sub(1));
        let seen = seen(&record.machine, object);
        let at = self.clock.now().wall.as_millisecond().max(0) as u64;
        let refused = |why| PersonError::Refused(format!("{name}: {why}"));
        record.machine.command(command, about, &seen, at).map_err(refused)?;
        let Machine::CanaryDeploy { state, .. } = &record.machine else {
            return Err(PersonError::Refused(format!("{name} is no CanaryDeploy")));
        };
        let version = state.rollout.as_ref().map(|rollout| rollout.version.clone());
        let (_, short) = self.api(Kind::CanaryDeploy, name);
        let mut judgment = DynamicObject::new("", &Kind::Judgment.resource());
        judgment.metadata = ObjectMeta {
            generate_name: Some(format!("{}-", short.get(..40).unwrap_or(&short))),
            ..ObjectMeta::default()
        };
        let step = say.step.or(state.phase.step().map(|step| step + 1)).filter(|_| decision == "continue");
        judgment.data = json!({ "spec": {
            "rollout": short, "decision": decision, "by": self.who(&say.by).await, "version": version, "step": step,
            "reason": Some(&say.reason).filter(|reason| !reason.is_empty()),
            "override": Some(true).filter(|_| say.over_fail),
        } });
        judgment.data = cluster::without_nulls(judgment.data);
        let (api, _) = self.api(Kind::Judgment, name);
        let params = PostParams::default();
        let given = api.create(&params, &judgment);
        let given = full_name(&call("to judge", Right::JUDGE, space(name), given).await?);
        let waits = format!("judgment {given} to be carried out");
        self.until(Kind::Judgment, &given, &waits, PATIENCE, |object| {
            let applied = status::conditions(object).into_iter().find(|condition| condition.type_ == "Applied");
            match applied {
                Some(applied) if applied.status == "True" => Ok(Some(())),
                Some(applied) if applied.status == "False" => {
                    Err(PersonError::Refused(format!("{name}: {}", applied.message)))
                }
                _ => Ok(None),
            }
        })
        .await
    }

    /// As the cluster knows who asks; `typed` where it does not tell.
    async fn who(&self, typed: &str) -> String {
        rights::user(&self.client).await.ok().flatten().unwrap_or_else(|| typed.to_owned())
    }

    async fn note(&self, typed: &str, reason: &str) -> Value {
        let reason = Some(reason).filter(|reason| !reason.is_empty());
        json!({ "annotations": { CHANGED_BY: self.who(typed).await, CHANGE_REASON: reason } })
    }

    /// Sets weights of a split that no rollout leads. `wait`: how long to wait for the acks, `None`: not at all.
    pub(crate) async fn set_weights(
        &self,
        name: &str,
        weights: &BTreeMap<String, u32>,
        wait: Option<Duration>,
    ) -> Done<(WeightsSet, Split)> {
        let kind = Kind::TrafficSplit;
        let object = self.get(kind, name).await?;
        let mut subsets = object.data["spec"]["subsets"].as_array().cloned().unwrap_or_default();
        let names = subsets.iter().filter_map(|subset| subset["name"].as_str()).collect::<Vec<_>>().join(", ");
        for (subset, weight) in weights {
            let of = subsets.iter_mut().find(|one| one["name"] == subset.as_str());
            let none = || PersonError::Wrong(format!("split {name} has no subset {subset:?}; it has {names}"));
            of.ok_or_else(none)?["weight"] = json!(weight);
        }
        // Made from this version of it, so that nobody's change in between is lost.
        let patch = json!({
            "metadata": { "resourceVersion": object.metadata.resource_version }, "spec": { "subsets": subsets },
        });
        let patched = self.patch(Right::WEIGH, name, &patch).await?;
        let changed = patched.metadata.generation != object.metadata.generation;
        let wanted = patched.metadata.generation;
        let mut object = self
            .until(kind, name, "the controller to read it", PATIENCE, |object| {
                let accepted = status::conditions(object).into_iter().find(|c| c.type_ == "Accepted");
                match accepted.filter(|accepted| accepted.observed_generation >= wanted) {
                    Some(refused) if refused.status == "False" => {
                        Err(PersonError::Wrong(format!("split {name}: {}", refused.message)))
                    }
                    Some(driven) if driven.reason == "Driven" => Err(PersonError::Refused(format!(
                        "split {name}: {}; the spec was changed, and is in force when that is over",
                        driven.message
                    ))),
                    read => Ok(read.map(|_| object.clone())),
                }
            })
            .await?;
        if let Some(wait) = wait {
            let acked = self.until(kind, name, "the acks", wait, |object| {
                let spread = status::conditions(object).into_iter().find(|c| c.type_ == "Propagated");
                Ok(spread.filter(|c| c.observed_generation >= wanted && c.status == "True").map(|_| object.clone()))
            });
            // Too late is told by who asked, from what there is.
            object = match acked.await {
                Ok(object) => object,
                Err(_) => self.get(kind, name).await?,
            };
        }
        let split = shown::split(&object);
        Ok((WeightsSet { generation: split.generation.unwrap_or_default(), changed }, split))
    }

    /// Gives a CanaryTest its weight, and perhaps the version it tries; 0 ends it.
    pub(crate) async fn weigh(&self, name: &str, weigh: &Weigh) -> Done<View> {
        let (kind, Weigh { weight, version, by, reason }) = (Kind::CanaryTest, weigh);
        let thousandths = weight.thousandths().map_err(|why| PersonError::Wrong(format!("weight {weight} {why}")))?;
        if thousandths > MOST {
            return Err(PersonError::Wrong(format!(
                "weight {weight} is above {}, the most a test may have",
                percent(MOST)
            )));
        }
        // A number, as the CRD has it, also where it was typed as text.
        let number: Value = percent(thousandths).parse().map_or_else(|_| json!(weight), Value::Number);
        let spec = match version {
            Some(version) => json!({ "weight": number, "version": version }),
            None => json!({ "weight": number }),
        };
        let patch = json!({ "metadata": self.note(by, reason).await, "spec": spec });
        let wanted = self.patch(Right::TRY, name, &patch).await?.metadata.generation;
        let read = self.until(kind, name, "the controller to read it", PATIENCE, |object| {
            let refused = status::conditions(object).into_iter().find(|c| c.type_ == "Accepted" && c.status == "False");
            let observed = object.data["status"]["observedGeneration"].as_i64();
            match refused.filter(|refused| refused.observed_generation >= wanted) {
                Some(refused) => Err(PersonError::Wrong(format!("{name}: {}", refused.message))),
                None => Ok((observed >= wanted).then(|| object.clone())),
            }
        });
        Ok(shown::rollout(kind, &read.await?, self.clock.now().wall))
    }

    async fn until<T>(
        &self,
        kind: Kind,
        name: &str,
        what: &str,
        patience: Duration,
        mut done: impl FnMut(&DynamicObject) -> Done<Option<T>>,
    ) -> Done<T> {
        let begun = Instant::now();
        loop {
            let object = self.get(kind, name).await?;
            if let Some(done) = done(&object)? {
                return Ok(done);
            }
            if begun.elapsed() >= patience {
                return Err(PersonError::Late(format!(
                    "waited {} s for {what}; is a controller running, and does it look at this namespace? It stays as it is \
                     now, and is done when one does",
                    patience.as_secs_f64()
                )));
            }
            sleep(LOOK).await;
        }
    }
}

/// The namespace of a full name.
fn space(name: &str) -> Option<&str> {
    name.split_once('/').map(|(namespace, _)| namespace)
}

/// Asks the API server; when it does not want that, with its words and what to do about them.
async fn call<T>(
    what: &str,
    right: Right,
    namespace: Option<&str>,
    call: impl Future<Output = kube::Result<T>>,
) -> Done<T> {
    let why = match ask(what, call).await {
        Ok(answer) => return Ok(answer),
        Err(why) => why,
    };
    let text = why.to_string();
    Err(match why {
        // A list is empty when nothing is in it; it is missing when the API does not know the kind.
        ClusterError::Missing(_) if right.verb == "list" => PersonError::Failed(NO_CRDS.to_owned()),
        ClusterError::Forbidden { .. } => {
            let more = match right == Right::JUDGE {
                true => "; to judge is a right of its own, `create judgments`: ask who administers the cluster",
                false => "",
            };
            PersonError::MayNot { right, namespace: namespace.map(str::to_owned), why: format!("{text}{more}") }
        }
        ClusterError::Refused { .. } => PersonError::Wrong(text),
        ClusterError::Conflict(_) => PersonError::Refused(text),
        ClusterError::Missing(_) => PersonError::Missing(text),
        _ => PersonError::Failed(text),
    })
}
