//! The verbs on the objects of a cluster: with the rights of whoever asks, and under the name the cluster knows them by.
//!
//! In: a kubeconfig. Out: what the status of objects says, in the form of the admin port; Judgments and changed specs.

use super::text::now;
use crate::{
    admin::{
        model::{Condition, Problem, Say, Split, Splits, WeightsSet},
        view,
    },
    kube::{
        cluster::{self, ClusterError, Kind, ask, full_name},
        records,
        report::seen,
        status,
    },
    rollouts::{
        machine::Machine,
        record::Record,
        view::{View, Views},
    },
};
use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use sluicegate_core::rollout::command::{Command, Refused};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep},
};

/// How often an object is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// How long the controller may take to do what an object says.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) struct Kubectl {
    runtime: Runtime,
    client: Client,
    namespace: String,
}

impl Kubectl {
    /// `context`: of the kubeconfig; unless given, the current one.
    pub(super) fn connect(context: Option<String>, namespace: Option<String>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, usual) = runtime.block_on(cluster::connect(context.as_deref()))?;
        Ok(Self { runtime, client, namespace: namespace.unwrap_or(usual) })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn api(&self, kind: Kind, name: &str) -> (Api<DynamicObject>, String) {
        let (namespace, short) = name.split_once('/').unwrap_or((&self.namespace, name));
        (Api::namespaced_with(self.client.clone(), namespace, &kind.resource()), short.to_owned())
    }

    fn list(&self, kind: Kind, everywhere: bool) -> Result<Vec<DynamicObject>> {
        let api: Api<DynamicObject> = match everywhere {
            true => Api::all_with(self.client.clone(), &kind.resource()),
            false => Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource()),
        };
        let listed = self.runtime.block_on(ask(kind.name(), api.list(&ListParams::default())));
        Ok(listed.map_err(explained)?.items)
    }

    async fn find(&self, kind: Kind, name: &str) -> Result<Option<DynamicObject>> {
        let (api, short) = self.api(kind, name);
        ask(&kind.title(name), api.get_opt(&short)).await.map_err(explained)
    }

    pub(super) fn splits(&self, everywhere: bool) -> Result<Splits> {
        let splits: Vec<_> = self.list(Kind::TrafficSplit, everywhere)?.iter().map(split).collect();
        let problems = splits.iter().flat_map(|split| split.problems.clone()).collect();
        Ok(Splits { splits, problems, missing: Vec::new() })
    }

    pub(super) fn split(&self, name: &str) -> Result<Split> {
        let found = self.runtime.block_on(self.find(Kind::TrafficSplit, name))?;
        found.as_ref().map(split).ok_or_else(|| missing(Kind::TrafficSplit, name))
    }

    pub(super) fn rollouts(&self, everywhere: bool) -> Result<Views> {
        let mut rollouts = Vec::new();
        for kind in Kind::ROLLOUTS {
            rollouts.extend(self.list(kind, everywhere)?.iter().map(|object| rollout(kind, object)));
        }
        rollouts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Views { rollouts })
    }

    pub(super) fn rollout(&self, name: &str) -> Result<Option<View>> {
        for kind in Kind::ROLLOUTS {
            if let Some(object) = self.runtime.block_on(self.find(kind, name))? {
                return Ok(Some(rollout(kind, &object)));
            }
        }
        Ok(None)
    }

    pub(super) fn say(&self, name: &str, verb: &str, say: &Say) -> Result<View> {
        self.runtime.block_on(async {
            let kind = Kind::CanaryDeploy;
            let object = self.find(kind, name).await?.ok_or_else(|| missing(kind, name))?;
            match verb {
                "pause" | "resume" => self.pause(name, &object, verb == "pause").await?,
                decision => self.judge(name, &object, decision, say).await?,
            }
            let object = self.find(kind, name).await?.ok_or_else(|| missing(kind, name))?;
            Ok(rollout(kind, &object))
        })
    }

    /// `paused` in its spec: what keeps it there is part of what is wanted.
    async fn pause(&self, name: &str, object: &DynamicObject, paused: bool) -> Result<()> {
        let record = known(object)?;
        if let Machine::CanaryDeploy { state, held, .. } = &record.machine
            && !paused
            && state.paused.is_some()
            && !held
        {
            bail!(
                "{name} was paused through a controller's admin port, and the spec does not say so; resume it there, with \
                 --admin"
            );
        }
        let (api, short) = self.api(Kind::CanaryDeploy, name);
        let value = if paused { json!(true) } else { Value::Null };
        let patch = Patch::Merge(json!({ "spec": { "paused": value } }));
        ask(&Kind::CanaryDeploy.title(name), api.patch(&short, &PatchParams::default(), &patch))
            .await
            .map_err(explained)?;
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
    async fn judge(&self, name: &str, object: &DynamicObject, decision: &str, say: &Say) -> Result<()> {
        let record = known(object)?;
        let command = match decision {
            "continue" => Command::Continue { over_fail: say.over_fail },
            "promote" => Command::Promote { over_fail: say.over_fail },
            "undo" => Command::Undo,
            _ => Command::Rollback,
        };
        // A Judgment waits for its moment; a person who types this means now, so it is not given when that would refuse it.
        let about = say.step.map(|step| step.saturating_sub(1));
        let seen = seen(&record.machine, object);
        let at = now().as_millisecond().max(0) as u64;
        record.machine.command(command, about, &seen, at).map_err(|why| anyhow!("{name}: {why}"))?;
        let Machine::CanaryDeploy { state, .. } = &record.machine else { bail!("{name} is no CanaryDeploy") };
        let version = state.rollout.as_ref().map(|rollout| rollout.version.clone());
        let (_, short) = self.api(Kind::CanaryDeploy, name);
        let mut judgment = DynamicObject::new("", &Kind::Judgment.resource());
        judgment.metadata = ObjectMeta {
            generate_name: Some(format!("{}-", short.get(..40).unwrap_or(&short))),
            ..ObjectMeta::default()
        };
        let step = say.step.or(state.phase.step().map(|step| step + 1)).filter(|_| decision == "continue");
        judgment.data = json!({ "spec": {
            "rollout": short, "decision": decision, "by": self.who(&say.by).await?, "version": version, "step": step,
            "reason": Some(&say.reason).filter(|reason| !reason.is_empty()),
            "override": Some(true).filter(|_| say.over_fail),
        } });
        judgment.data = cluster::without_nulls(judgment.data);
        let (api, _) = self.api(Kind::Judgment, name);
        let what = "to judge";
        let given = ask(what, api.create(&PostParams::default(), &judgment)).await.map_err(explained)?;
        let given = full_name(&given);
        let waits = format!("judgment {given} to be carried out");
        self.until(Kind::Judgment, &given, &waits, PATIENCE, |object| {
            let applied = status::conditions(object).into_iter().find(|condition| condition.type_ == "Applied");
            match applied {
                Some(applied) if applied.status == "True" => Ok(Some(())),
                Some(applied) if applied.status == "False" => bail!("{name}: {}", applied.message),
                _ => Ok(None),
            }
        })
        .await
    }

    /// As the cluster knows who asks; `typed` where it does not tell.
    async fn who(&self, typed: &str) -> Result<String> {
        let api = Api::<SelfSubjectReview>::all(self.client.clone());
        let review = ask("who asks", api.create(&PostParams::default(), &SelfSubjectReview::default())).await;
        let known = review.ok().and_then(|review| review.status?.user_info?.username);
        Ok(known.unwrap_or_else(|| typed.to_owned()))
    }

    pub(super) fn set_weights(
        &self,
        name: &str,
        weights: &BTreeMap<String, u32>,
        wait: Option<Duration>,
    ) -> Result<(WeightsSet, Split)> {
        self.runtime.block_on(async {
            let kind = Kind::TrafficSplit;
            let object = self.find(kind, name).await?.ok_or_else(|| missing(kind, name))?;
            let mut subsets = object.data["spec"]["subsets"].as_array().cloned().unwrap_or_default();
            let names = subsets.iter().filter_map(|subset| subset["name"].as_str()).collect::<Vec<_>>().join(", ");
            for (subset, weight) in weights {
                let of = subsets.iter_mut().find(|one| one["name"] == subset.as_str());
                let of = of.ok_or_else(|| anyhow!("split {name} has no subset {subset:?}; it has {names}"))?;
                of["weight"] = json!(weight);
            }
            let (api, short) = self.api(kind, name);
            // Made from this version of it, so that nobody's change in between is lost.
            let patch = json!({
                "metadata": { "resourceVersion": object.metadata.resource_version }, "spec": { "subsets": subsets },
            });
            let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let patched = api.patch(&short, &params, &patch);
            let patched = ask(&kind.title(name), patched).await.map_err(explained)?;
            let changed = patched.metadata.generation != object.metadata.generation;
            let wanted = patched.metadata.generation;
            let read = self.until(kind, name, "the controller to read it", PATIENCE, |object| {
                let accepted = status::conditions(object).into_iter().find(|c| c.type_ == "Accepted");
                match accepted.filter(|accepted| accepted.observed_generation >= wanted) {
                    Some(refused) if refused.status == "False" => bail!("split {name}: {}", refused.message),
                    Some(driven) if driven.reason == "Driven" => bail!(
                        "split {name}: {}; the spec was changed, and is in force when that is over",
                        driven.message
                    ),
                    read => Ok(read.map(|_| object.clone())),
                }
            });
            let mut object = read.await?;
            if let Some(wait) = wait {
                let acked = self.until(kind, name, "the acks", wait, |object| {
                    let spread = status::conditions(object).into_iter().find(|c| c.type_ == "Propagated");
                    Ok(spread.filter(|c| c.observed_generation >= wanted && c.status == "True").map(|_| object.clone()))
                });
                // Too late is told by who asked, from what there is.
                object = match acked.await {
                    Ok(object) => object,
                    Err(_) => self.find(kind, name).await?.ok_or_else(|| missing(kind, name))?,
                };
            }
            let split = split(&object);
            Ok((WeightsSet { generation: split.generation.unwrap_or_default(), changed }, split))
        })
    }

    async fn until<T>(
        &self,
        kind: Kind,
        name: &str,
        what: &str,
        patience: Duration,
        mut done: impl FnMut(&DynamicObject) -> Result<Option<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            let object = self.find(kind, name).await?.ok_or_else(|| missing(kind, name))?;
            if let Some(done) = done(&object)? {
                return Ok(done);
            }
            if begun.elapsed() >= patience {
                bail!(
                    "waited {} s for {what}; is a controller running, and does it look at this namespace? It stays as it is \
                     now, and is done when one does",
                    patience.as_secs_f64()
                );
            }
            sleep(LOOK).await;
        }
    }
}

fn missing(kind: Kind, name: &str) -> anyhow::Error {
    let plural = kind.resource().plural;
    anyhow!("there is no {}; `kubectl get {plural} -A` lists all", kind.title(name))
}

/// The API server's words, with what to do about them.
fn explained(why: ClusterError) -> anyhow::Error {
    let text = why.to_string();
    if text.contains("could not find the requested resource") || text.contains("404 page not found") {
        return anyhow!("{text}: the CRDs are not installed; `sluicegate crds | kubectl apply --server-side -f -`");
    }
    if text.contains("forbidden") && text.contains("judgments") {
        return anyhow!("{text}; to judge is a right of its own, `create judgments`: ask who administers the cluster");
    }
    anyhow!(text)
}

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

fn split(object: &DynamicObject) -> Split {
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

fn known(object: &DynamicObject) -> Result<Record> {
    let name = full_name(object);
    let record = records::known(object).map_err(|why| anyhow!("{name}: {why}"))?;
    if record.is_none() && !text(object, "phase").is_empty() {
        bail!("{name}: {}", Refused::Idle);
    }
    record.with_context(|| format!("{name}: no controller has looked at it yet; is one running in this cluster?"))
}

fn rollout(kind: Kind, object: &DynamicObject) -> View {
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
        Ok(Some(record)) => view.tell(&record, &seen(&record.machine, object), None, now()),
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
