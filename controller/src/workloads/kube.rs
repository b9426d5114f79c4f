//! Workloads that are Deployments: main is the one the rollout names, `-baseline` and `-canary` are its copies.
//!
//! In: Deployments as the watch last saw them; a stale status is not believed. Out: patches of main, server-side applied
//! copies. Main is touched only where a plan says so: its replicas, and the images or patch of the version; where an
//! autoscaler has it, the replicas are left alone. With a template main belongs to the rollout, too. The copies belong to
//! the rollout and go with it; between rollouts they have no pods.
//!
//! * [`shape`]: what a copy looks like, and what a Deployment says of itself. Pure.
//! * [`history`]: what main ran before.
//! * [`scaler`]: what the autoscaler of main is told. Pure.

pub mod history;
pub mod scaler;
pub mod shape;

use super::{Answer, Care, Observed, Role, Target, Workload, Workloads, error::WorkloadsError};
use crate::{
    api::accept_rollout::content::Content,
    kube::cluster::{Cluster, Kind, ask},
};
use history::History;
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Pods that are looked at to find out why they are not ready.
const PODS: u32 = 20;

/// Why pods are not ready is asked at the second look at them, and then once in so many looks.
const ASKED: u32 = 6;

/// The Deployments of a cluster. Clones share what was seen.
#[derive(Debug, Clone)]
pub struct Deployments {
    cluster: Cluster,
    role_label: String,
}

/// Those of one rollout.
#[derive(Debug, Clone)]
pub struct OfRollout {
    all: Deployments,
    care: Care,
    /// Of roles whose pods are not ready: how often they were looked at since, and why, as last asked.
    unready: Arc<Mutex<Unready>>,
}

type Unready = HashMap<Role, (u32, Option<String>)>;

impl Deployments {
    /// Of this cluster; `role_label` tells main, baseline and canary apart.
    pub fn new(cluster: Cluster, role_label: String) -> Self {
        Self { cluster, role_label }
    }

    /// Those of one rollout.
    pub fn of(&self, care: Care) -> OfRollout {
        OfRollout { all: self.clone(), care, unready: Arc::default() }
    }
}

fn typed(object: &DynamicObject) -> Result<Deployment, String> {
    let unread = |why| format!("it cannot be read ({why}); was it written by a newer Kubernetes?");
    object.clone().try_parse().map_err(unread)
}

impl OfRollout {
    fn name(&self, rollout: &str, role: Role) -> String {
        let namespace = rollout.split('/').next().unwrap_or("default");
        let workload = self.care.workload.as_deref().unwrap_or_default();
        match role {
            Role::Main => format!("{namespace}/{workload}"),
            role => format!("{namespace}/{workload}-{role}"),
        }
    }

    fn get(&self, name: &str) -> Result<Option<Deployment>, String> {
        if !self.all.cluster.is_listed(Kind::Deployment) {
            return Err("the Deployments of the cluster are not known yet; a moment".to_owned());
        }
        self.all.cluster.get(Kind::Deployment, name).map(|object| typed(&object)).transpose()
    }

    /// The autoscaler of main; of several the first, about whom Kubernetes complains itself.
    fn scaler(&self, rollout: &str) -> Result<Option<(Arc<DynamicObject>, HorizontalPodAutoscaler)>, String> {
        let main = self.name(rollout, Role::Main);
        if !self.all.cluster.is_listed(Kind::Autoscaler) {
            return Err("the HorizontalPodAutoscalers of the cluster are not known yet; a moment".to_owned());
        }
        let (namespace, short) = main.split_once('/').unwrap_or_default();
        let all = self.all.cluster.list(Kind::Autoscaler).into_values();
        let here = all.filter(|object| object.metadata.namespace.as_deref() == Some(namespace));
        let read = here.filter_map(|object| {
            // One that cannot be read scales nothing.
            let scaler: HorizontalPodAutoscaler = DynamicObject::clone(&object).try_parse().ok()?;
            scaler::scales(&scaler, short).then_some((object, scaler))
        });
        Ok(read.into_iter().next())
    }

    async fn tell_scaler(&self, rollout: &str, replicas: u32) -> Result<(), WorkloadsError> {
        let scaler = self.scaler(rollout).map_err(|why| self.wrong(&self.name(rollout, Role::Main), why))?;
        let Some((object, scaler)) = scaler else { return Ok(()) };
        let patch = scaler::tell(&scaler, replicas);
        Ok(self.all.cluster.write(Kind::Autoscaler, &object, patch).await?)
    }

    async fn look(&self, rollout: &str, role: Role) -> Result<Workload, WorkloadsError> {
        let name = self.name(rollout, role);
        let wrong = |why| WorkloadsError::Deployment { deployment: name.clone(), why };
        let Some(deployment) = self.get(&name).map_err(wrong)? else {
            return Ok(Workload { settled: true, ..Workload::default() });
        };
        if role == Role::Main {
            self.check_owned(rollout, &deployment).map_err(wrong)?;
        }
        let mut workload = shape::observe(&deployment, &self.care).map_err(wrong)?;
        match workload.ready < workload.replicas {
            true => workload.trouble = self.trouble_now_and_then(role, &name, &deployment).await,
            false => drop(self.unready().remove(&role)),
        }
        if role == Role::Main {
            workload.floor = self.scaler(rollout).map_err(wrong)?.map(|(_, scaler)| scaler::told(&scaler));
        }
        Ok(workload)
    }

    fn unready(&self) -> MutexGuard<'_, Unready> {
        // One look-up at a time: a panic elsewhere leaves nothing half done.
        self.unready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list of pods for each look would be most of what the API server is asked.
    async fn trouble_now_and_then(&self, role: Role, name: &str, deployment: &Deployment) -> Option<String> {
        let (looks, known) = {
            let mut unready = self.unready();
            let (looks, known) = unready.entry(role).or_default();
            *looks = looks.wrapping_add(1);
            (*looks, known.clone())
        };
        if looks % ASKED != 2 {
            return known;
        }
        // It is only for people: that it cannot be found out is no reason to stop.
        let trouble = self.trouble(name, deployment).await;
        self.unready().insert(role, (looks, trouble.clone()));
        trouble
    }

    async fn trouble(&self, name: &str, deployment: &Deployment) -> Option<String> {
        let namespace = name.split('/').next().unwrap_or("default");
        let params = ListParams::default().labels(&shape::selector(deployment)?).limit(PODS);
        let pods = Api::<Pod>::namespaced(self.all.cluster.client(), namespace);
        let pods = ask("its pods", pods.list(&params)).await.ok()?;
        let role = shape::label(deployment, &self.all.role_label);
        let own = pods.items.iter().filter(|pod| {
            let labels = pod.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(&self.all.role_label)).map(String::as_str) == role
        });
        shape::trouble(own).or_else(|| shape::complaint(deployment))
    }

    fn wrong(&self, name: &str, why: impl Into<String>) -> WorkloadsError {
        WorkloadsError::Deployment { deployment: name.to_owned(), why: why.into() }
    }

    fn missing(&self, rollout: &str) -> WorkloadsError {
        let why = "it is not there, and it is main; bring it back, or delete the rollout";
        self.wrong(&self.name(rollout, Role::Main), why)
    }

    fn uid(&self, rollout: &str) -> Option<String> {
        self.all.cluster.get(self.care.kind, rollout)?.metadata.uid.clone()
    }

    /// What belongs to the rollout says so by this.
    fn owner(&self, rollout: &str) -> Option<Value> {
        let resource = self.care.kind.resource();
        let short = rollout.split('/').next_back().unwrap_or(rollout);
        let uid = self.uid(rollout)?;
        Some(json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "name": short, "uid": uid, "controller": true,
        }))
    }

    /// A main that the rollout makes must not be somebody else's.
    fn check_owned(&self, rollout: &str, main: &Deployment) -> Result<(), String> {
        let made = matches!(self.care.content, Some(Content::Template(_)));
        if !made || shape::is_owned(main, self.uid(rollout).as_deref()) {
            return Ok(());
        }
        Err("it is there and does not belong to this rollout, which has a template and so makes it; delete it, choose \
             another name with workload, or leave it as it is and roll out images or a patch instead of a template"
            .to_owned())
    }

    /// The pods of a version, made from main as it is.
    async fn template(&self, rollout: &str, main: &DynamicObject, version: &str) -> Result<Value, WorkloadsError> {
        let (name, cluster) = (self.name(rollout, Role::Main), &self.all.cluster);
        let runs = shape::version(&typed(main).map_err(|why| self.wrong(&name, why))?, &self.care);
        if runs.is_ok_and(|runs| runs == version) {
            return Ok(shape::template(main));
        }
        match &self.care.content {
            Some(Content::Patch(patch)) if version == self.care.version => {
                let patch = json!({ "spec": { "template": object(patch) } });
                Ok(shape::template(&cluster.would_be(Kind::Deployment, main, patch).await?))
            }
            _ => match self.remembered(rollout, version).await? {
                Some(template) => Ok(template),
                None => Ok(shape::with_images(shape::template(main), version)),
            },
        }
    }

    /// The pods of a version that need no main; `None`: it is main's pods with other images.
    async fn remembered(&self, rollout: &str, version: &str) -> Result<Option<Value>, WorkloadsError> {
        let main = self.name(rollout, Role::Main);
        match &self.care.content {
            None => return Ok(None),
            Some(Content::Template(template)) if version == self.care.version => return Ok(Some(object(template))),
            Some(_) => {}
        }
        let history = History { cluster: &self.all.cluster, main: &main };
        match history.find(version).await? {
            None => Err(self.wrong(&main, format!("no ControllerRevision says any more what version {version} was"))),
            found => Ok(found),
        }
    }

    async fn tell_main(&self, rollout: &str, target: &Target) -> Result<(), WorkloadsError> {
        let (name, cluster) = (self.name(rollout, Role::Main), &self.all.cluster);
        let Some(main) = cluster.get(Kind::Deployment, &name) else {
            let template = self.remembered(rollout, &target.version).await?;
            let made = matches!(self.care.content, Some(Content::Template(_)));
            let template = template.filter(|_| made).ok_or_else(|| self.missing(rollout))?;
            let short = name.split('/').next_back().unwrap_or_default();
            let mut content = shape::own_main(short, template, &self.all.role_label, target);
            content["metadata"]["ownerReferences"] = json!(self.owner(rollout).into_iter().collect::<Vec<_>>());
            return Ok(cluster.apply(Kind::Deployment, &name, content).await?);
        };
        let seen = typed(&main).map_err(|why| self.wrong(&name, why))?;
        self.check_owned(rollout, &seen).map_err(|why| self.wrong(&name, why))?;
        let mut patch = json!({ "spec": {} });
        if self.scaler(rollout).map_err(|why| self.wrong(&name, why))?.is_none() {
            patch["spec"]["replicas"] = json!(target.replicas);
        }
        let runs = shape::version(&seen, &self.care).map_err(|why| self.wrong(&name, why))?;
        if runs != target.version {
            patch["spec"]["template"] = match &self.care.content {
                None => shape::images(&target.version),
                Some(Content::Patch(patch)) if target.version == self.care.version => object(patch),
                Some(_) => {
                    let template = self.template(rollout, &main, &target.version).await?;
                    shape::replaced(&main, template, &self.all.role_label)
                }
            };
            if self.care.content.is_some() {
                patch["metadata"] = json!({ "annotations": { shape::VERSION: target.version } });
                let history = History { cluster, main: &name };
                history.keep(&runs, shape::template(&main), self.owner(rollout)).await?;
            }
        }
        Ok(cluster.amend(Kind::Deployment, &main, patch).await?)
    }

    async fn tell_copy(&self, rollout: &str, role: Role, target: &Target) -> Result<(), WorkloadsError> {
        let (main_name, name) = (self.name(rollout, Role::Main), self.name(rollout, role));
        let cluster = &self.all.cluster;
        let found = self.get(&name).map_err(|why| self.wrong(&name, why))?;
        match &found {
            None if target.replicas == 0 => return Ok(()),
            Some(copy) if !shape::is_owned(copy, self.uid(rollout).as_deref()) => {
                let why = format!(
                    "it is there and does not belong to this rollout; a copy of {main_name} needs that name, so rename \
                     or delete it"
                );
                return Err(self.wrong(&name, why));
            }
            Some(copy)
                if target.replicas == 0 || shape::version(copy, &self.care).is_ok_and(|v| v == target.version) =>
            {
                let Some(object) = cluster.get(Kind::Deployment, &name) else { return Ok(()) };
                let patch = json!({ "spec": { "replicas": target.replicas } });
                return Ok(cluster.write(Kind::Deployment, &object, patch).await?);
            }
            _ => {}
        }
        let main = cluster.get(Kind::Deployment, &main_name).ok_or_else(|| self.missing(rollout))?;
        if role == Role::Baseline && self.care.content.is_some() {
            let seen = typed(&main).map_err(|why| self.wrong(&main_name, why))?;
            let runs = shape::version(&seen, &self.care).map_err(|why| self.wrong(&main_name, why))?;
            let history = History { cluster, main: &main_name };
            history.keep(&runs, shape::template(&main), self.owner(rollout)).await?;
        }
        let template = self.template(rollout, &main, &target.version).await?;
        let mut content = shape::copy(&main, template, role, &self.all.role_label, target);
        if let Some(owner) = self.owner(rollout) {
            content["metadata"]["ownerReferences"] = json!([owner]);
        }
        if let Some(copy) = found {
            content["metadata"]["resourceVersion"] = json!(copy.metadata.resource_version);
        }
        Ok(cluster.apply(Kind::Deployment, &name, content).await?)
    }
}

/// Text that is known to be of an object.
fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl Workloads for OfRollout {
    fn observe<'a>(&'a self, rollout: &'a str, roles: &'a [Role]) -> Answer<'a, Observed> {
        Box::pin(async move {
            let mut observed = Observed::default();
            for role in roles {
                observed.set(*role, self.look(rollout, *role).await?);
            }
            Ok(observed)
        })
    }

    fn apply<'a>(&'a self, rollout: &'a str, role: Role, target: &'a Target) -> Answer<'a, ()> {
        match role {
            Role::Main => Box::pin(self.tell_main(rollout, target)),
            role => Box::pin(self.tell_copy(rollout, role, target)),
        }
    }

    fn floor<'a>(&'a self, rollout: &'a str, replicas: u32) -> Answer<'a, ()> {
        Box::pin(self.tell_scaler(rollout, replicas))
    }
}
