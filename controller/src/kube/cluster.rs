//! The way to the API server, what was last seen there, and the one door for writes.
//!
//! In: what is to be written, with the object it was made from. Out: the object as it is then. A write that was made
//! from an object that has changed meanwhile fails, and so does one by a controller that does not hold the lease: so
//! two controllers never write over each other.

use super::lease::Fence;
use crate::api::{
    canary_deploy::CanaryDeploy, canary_test::CanaryTest, judgment::Judgment, traffic_split::TrafficSplit,
};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    config::KubeConfigOptions,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::time::timeout;

/// The name all our writes go by.
pub const MANAGER: &str = "sluicegate";
/// The API server says something on every watch within a minute (a bookmark); longer silence is a dead connection.
const SILENCE: Duration = Duration::from_secs(100);
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of our kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `TrafficSplit`.
    TrafficSplit,
    /// `CanaryDeploy`.
    CanaryDeploy,
    /// `CanaryTest`.
    CanaryTest,
    /// `Judgment`.
    Judgment,
    /// `Deployment`: the pods of rollouts.
    Deployment,
    /// `HorizontalPodAutoscaler`: who else scales them.
    Autoscaler,
}

impl Kind {
    /// All of ours.
    pub const ALL: [Self; 4] = [Self::TrafficSplit, Self::CanaryDeploy, Self::CanaryTest, Self::Judgment];
    /// Those that rollouts are carried out on.
    pub const WORKLOADS: [Self; 2] = [Self::Deployment, Self::Autoscaler];
    /// Those that are led from step to step.
    pub const ROLLOUTS: [Self; 2] = [Self::CanaryDeploy, Self::CanaryTest];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::TrafficSplit => "TrafficSplit",
            Self::CanaryDeploy => "CanaryDeploy",
            Self::CanaryTest => "CanaryTest",
            Self::Judgment => "Judgment",
            Self::Deployment => "Deployment",
            Self::Autoscaler => "HorizontalPodAutoscaler",
        }
    }

    /// Kind and name, as objects are called in messages.
    pub fn title(self, name: &str) -> String {
        format!("{} {name}", self.name())
    }

    /// Where the API keeps it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::TrafficSplit => ApiResource::erase::<TrafficSplit>(&()),
            Self::CanaryDeploy => ApiResource::erase::<CanaryDeploy>(&()),
            Self::CanaryTest => ApiResource::erase::<CanaryTest>(&()),
            Self::Judgment => ApiResource::erase::<Judgment>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Autoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        }
    }
}

/// The same without the fields that are null: the API does not keep them.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(there.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Why something was not written, or could not be asked. Nothing has changed then, unless the answer was lost.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Another replica writes now.
    #[error("another replica holds the lease; ask that one, or again in some seconds")]
    Follower,
    /// The object changed in between.
    #[error("{0} was changed by somebody else at the same moment; it is tried again")]
    Conflict(String),
    /// It is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// It is there already.
    #[error("{0} is there already")]
    There(String),
    /// Whoever asks lacks a right.
    #[error("{what}: {why}")]
    Forbidden {
        /// What it was about.
        what: String,
        /// Who may not do what, in the API server's words.
        why: String,
    },
    /// The API server does not want it.
    #[error("{what}: {why}")]
    Refused {
        /// What it was about.
        what: String,
        /// Why.
        why: String,
    },
    /// No answer, or none that says what has become of it.
    #[error("{what}: {why}")]
    Api {
        /// What it was about.
        what: String,
        /// Why.
        why: String,
    },
}

impl ClusterError {
    /// Why, without what it was about: the same for all that fail for one reason.
    pub fn reason(&self) -> String {
        match self {
            Self::Forbidden { why, .. } | Self::Refused { why, .. } | Self::Api { why, .. } => why.clone(),
            other => other.to_string(),
        }
    }
}

/// Objects by name.
pub type Objects = BTreeMap<String, Arc<DynamicObject>>;
type Seen = HashMap<Kind, Objects>;

/// The cluster as it was last seen. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: Option<String>,
    fence: Fence,
    seen: Arc<Mutex<Seen>>,
    listed: Arc<Mutex<BTreeSet<Kind>>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// A client by the kubeconfig, or by the service account of the pod; and the namespace it names. `context`: of the
/// kubeconfig; unless given, the current one.
pub async fn connect(context: Option<&str>) -> Result<(Client, String), ClusterError> {
    let what = || "cannot find the cluster".to_owned();
    let failed = |why: String| ClusterError::Api { what: what(), why };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match context.is_some() || std::env::var_os("KUBECONFIG").is_some() {
        // A kubeconfig that was named and is wrong is an error, not a reason to look elsewhere.
        true => Config::from_kubeconfig(&options).await.map_err(|why| failed(why.to_string()))?,
        false => Config::infer().await.map_err(|why| failed(why.to_string()))?,
    };
    config.read_timeout = Some(SILENCE);
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config).map_err(|why| failed(why.to_string()))?, namespace))
}

/// Asks the API server, but does not wait for ever.
pub async fn ask<T>(what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
    let why = match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
            return Err(ClusterError::Conflict(what.to_owned()));
        }
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
            return Err(ClusterError::Missing(what.to_owned()));
        }
        Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => {
            return Err(ClusterError::There(what.to_owned()));
        }
        // A full quota and a namespace that ends are forbidden too, whoever asks.
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() && status.message.contains(" cannot ") => {
            return Err(ClusterError::Forbidden { what: what.to_owned(), why: status.message.clone() });
        }
        Ok(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) => {
            return Err(ClusterError::Refused { what: what.to_owned(), why: status.message.clone() });
        }
        Ok(Err(kube::Error::Api(status))) => status.message.clone(),
        Ok(Err(why)) => format!("the API server cannot be reached ({})", causes(&why)),
        Err(_) => format!("the API server did not answer within {} s", PATIENCE.as_secs()),
    };
    Err(ClusterError::Api { what: what.to_owned(), why })
}

/// An error with what is behind it.
fn causes(why: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(why), |one| one.source()).map(ToString::to_string);
    all.collect::<Vec<_>>().join(": ")
}

/// `namespace/name` of an object.
pub fn full_name(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// The number behind a resource version. Since Kubernetes 1.35 they are promised to be ordered by it.
pub fn revision(object: &impl Resource) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Cluster {
    /// Nothing seen yet. `namespace`: only that one.
    pub fn new(client: Client, namespace: Option<String>, fence: Fence) -> Self {
        Self { client, namespace, fence, seen: Arc::default(), listed: Arc::default() }
    }

    /// The client, for kinds that are not ours. Writes go by [`Self::may_write`].
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether the lease is held at this very moment.
    pub fn may_write(&self) -> Result<(), ClusterError> {
        if self.fence.holds() { Ok(()) } else { Err(ClusterError::Follower) }
    }

    /// All objects of a kind that this controller looks at.
    pub fn all(&self, kind: Kind) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &kind.resource()),
            None => Api::all_with(self.client(), &kind.resource()),
        }
    }

    fn within(&self, kind: Kind, name: &str) -> (Api<DynamicObject>, String) {
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        (Api::namespaced_with(self.client(), namespace, &kind.resource()), name.to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // One insert or one look-up at a time: a panic elsewhere leaves nothing half done.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object as it was last seen.
    pub fn get(&self, kind: Kind, name: &str) -> Option<Arc<DynamicObject>> {
        self.lock().get(&kind)?.get(name).cloned()
    }

    /// All objects of a kind as they were last seen, by name.
    pub fn list(&self, kind: Kind) -> Objects {
        self.lock().get(&kind).cloned().unwrap_or_default()
    }

    /// Notes an object that was read or written. False: what is known is as new, or newer.
    pub fn note(&self, kind: Kind, mut object: DynamicObject) -> bool {
        // Large, and of no use to us.
        object.metadata.managed_fields = None;
        let name = full_name(&object);
        let mut seen = self.lock();
        let of_kind = seen.entry(kind).or_default();
        let newer = of_kind.get(&name).is_none_or(|known| revision(known.as_ref()) < revision(&object));
        if newer {
            of_kind.insert(name, Arc::new(object));
        }
        newer
    }

    /// Notes that an object is gone. `revision`: as of then; what is known to be newer stays.
    pub fn drop(&self, kind: Kind, name: &str, as_of: u64) -> bool {
        let mut seen = self.lock();
        let of_kind = seen.entry(kind).or_default();
        let gone = of_kind.get(name).is_some_and(|known| revision(known.as_ref()) <= as_of);
        if gone {
            of_kind.remove(name);
        }
        gone
    }

    /// Notes that all objects of a kind were seen.
    pub fn set_listed(&self, kind: Kind) {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).insert(kind);
    }

    /// All objects of a kind were seen.
    pub fn is_listed(&self, kind: Kind) -> bool {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).contains(&kind)
    }

    /// Reads an object anew; `None`: it is not there.
    pub async fn read(&self, kind: Kind, name: &str) -> Result<Option<Arc<DynamicObject>>, ClusterError> {
        let (api, short) = self.within(kind, name);
        if let Some(object) = ask(&kind.title(name), api.get_opt(&short)).await? {
            self.note(kind, object);
            return Ok(self.get(kind, name));
        }
        Ok(None)
    }

    /// Writes the whole status of an object, made from this version of it.
    pub async fn write_status(&self, kind: Kind, from: &DynamicObject, status: Value) -> Result<(), ClusterError> {
        self.may_write()?;
        let name = full_name(from);
        let (api, short) = self.within(kind, &name);
        let resource = kind.resource();
        let patch = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "status": status,
            "metadata": { "name": short, "resourceVersion": from.metadata.resource_version, "uid": from.metadata.uid },
        });
        let params = PatchParams::apply(MANAGER).force();
        let written = ask(&kind.title(&name), api.patch_status(&short, &params, &Patch::Apply(&patch))).await?;
        self.note(kind, written);
        Ok(())
    }

    /// Changes other fields of an object, made from this version of it: what `patch` names, and nothing else.
    pub async fn write(&self, kind: Kind, from: &DynamicObject, patch: Value) -> Result<(), ClusterError> {
        let written = self.patch(kind, from, patch, Patch::Merge, false).await?;
        self.note(kind, written);
        Ok(())
    }

    /// The same for what Kubernetes knows lists in: an entry of a list is found by its name.
    pub async fn amend(&self, kind: Kind, from: &DynamicObject, patch: Value) -> Result<(), ClusterError> {
        let written = self.patch(kind, from, patch, Patch::Strategic, false).await?;
        self.note(kind, written);
        Ok(())
    }

    /// What an object would be after that.
    pub async fn would_be(
        &self,
        kind: Kind,
        from: &DynamicObject,
        patch: Value,
    ) -> Result<DynamicObject, ClusterError> {
        self.patch(kind, from, patch, Patch::Strategic, true).await
    }

    async fn patch(
        &self,
        kind: Kind,
        from: &DynamicObject,
        mut patch: Value,
        way: impl FnOnce(Value) -> Patch<Value>,
        dry_run: bool,
    ) -> Result<DynamicObject, ClusterError> {
        self.may_write()?;
        let name = full_name(from);
        let (api, short) = self.within(kind, &name);
        patch["metadata"]["resourceVersion"] = json!(from.metadata.resource_version);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), dry_run, ..PatchParams::default() };
        ask(&kind.title(&name), api.patch(&short, &params, &way(patch))).await
    }

    /// Makes an object what `content` says of it, and leaves the rest of it alone; it is made when it is not there.
    pub async fn apply(&self, kind: Kind, name: &str, mut content: Value) -> Result<(), ClusterError> {
        self.may_write()?;
        let (api, short) = self.within(kind, name);
        let resource = kind.resource();
        content["apiVersion"] = json!(resource.api_version);
        content["kind"] = json!(resource.kind);
        content["metadata"]["name"] = json!(short);
        let params = PatchParams::apply(MANAGER).force();
        let written = ask(&kind.title(name), api.patch(&short, &params, &Patch::Apply(&content))).await?;
        self.note(kind, written);
        Ok(())
    }

    /// Makes an object.
    pub async fn create(&self, kind: Kind, name: &str, content: Value) -> Result<(), ClusterError> {
        self.may_write()?;
        let (api, short) = self.within(kind, name);
        let mut object = DynamicObject::new(&short, &kind.resource());
        object.data = content;
        if let Some(labels) = object.data["labels"].take().as_object() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            object.metadata.labels = Some(labels.iter().map(|(key, value)| (key.clone(), text(value))).collect());
        }
        if let Some(rest) = object.data.as_object_mut() {
            rest.remove("labels");
        }
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        ask(&kind.title(name), api.create(&params, &object)).await.map(drop)
    }
}
