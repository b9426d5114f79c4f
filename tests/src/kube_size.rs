//! A cluster of some size: many splits, rollouts of some of them, one proxy that subscribes to all; and what the controller
//! asks of the API server for it.
//!
//! In: how many. Out: calls by verb and kind, memory, and how long things take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::controller::Controller;
use crate::envoy::{Envoy, Options};
use crate::envoy_config::{self, CONTROLLER_CLUSTER, Listener, Wasm};
use crate::kube::Cluster;
use crate::kube::between::Between;
use crate::lab::WEB;
use crate::pods::ROLES;
use crate::upstream::Upstreams;
use crate::{paths, poll};

const GROUP: &str = "/apis/sluicegate.dev/v1alpha1";
/// Longest wait for all objects to get somewhere.
const PATIENCE: Duration = Duration::from_mins(10);

/// See the module.
#[derive(Debug)]
pub struct KubeSize {
    /// The controller, which knows all of it.
    pub controller: Controller,
    /// From its start until all splits were published.
    pub published: Duration,
    namespace: String,
    rollouts: usize,
    between: Between,
    _envoy: Envoy,
    _pods: Upstreams,
    cluster: Arc<Cluster>,
}

impl KubeSize {
    /// Makes so many splits, and Deployments and idle rollouts for the first of them; then starts controller and proxy.
    ///
    /// # Errors
    /// When a part does not start, or does not get there.
    pub fn start(cluster: &Arc<Cluster>, splits: usize, rollouts: usize) -> Result<Self> {
        cluster.install_crds()?;
        let namespace = cluster.namespace("size")?;
        let api = cluster.api();
        let post = |path: &str, object: Value| api.post(path, &object).with_context(|| format!("POST {path}"));
        for index in 0..splits {
            post(&format!("{GROUP}/namespaces/{namespace}/trafficsplits"), split(index))?;
        }
        for index in 0..rollouts {
            post(&format!("/apis/apps/v1/namespaces/{namespace}/deployments"), deployment(index))?;
            post(&format!("{GROUP}/namespaces/{namespace}/canarydeploys"), rollout(index))?;
        }
        let between = Between::start(api)?;
        let user = cluster.kubeconfig_by(cluster.kubeconfig(), &namespace, &between.url())?;
        let began = Instant::now();
        let controller = Controller::start_in_cluster(&user, &namespace, &[])?;
        poll::until("all splits to be published", PATIENCE, || {
            let shown = controller.json("/v1/splits").map_err(|why| format!("{why:#}"))?;
            let count = shown["splits"].as_array().or(shown.as_array()).map_or(0, Vec::len);
            if count == splits { Ok(()) } else { Err(format!("{count} of {splits}")) }
        })?;
        let published = began.elapsed();
        let pods = Upstreams::start(&ROLES)?;
        let config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "hosts": true });
        let wasm = Wasm::new(&paths::wasm("sluicegate.wasm")?, config);
        let listener = Listener::new(WEB, "main").subset("canary", "canary").subset("baseline", "baseline");
        let mut clusters: Vec<Value> =
            ROLES.iter().map(|role| envoy_config::cluster(role, &pods.addrs(role))).collect();
        clusters.push(envoy_config::cluster(CONTROLLER_CLUSTER, &[controller.proxy]));
        let envoy = Envoy::start(Options::new(vec![listener.filter(wasm.filter())], clusters).workers(1))?;
        let size = Self {
            controller,
            published,
            namespace,
            rollouts,
            between,
            _envoy: envoy,
            _pods: pods,
            cluster: Arc::clone(cluster),
        };
        size.until("trafficsplits", splits, |o| o["status"]["acked"] == "1/1")?;
        size.until("canarydeploys", rollouts, |o| o["status"]["phase"] == "Idle" && o["status"]["acked"] == "1/1")?;
        Ok(size)
    }

    /// Begins all rollouts at once; returns how long it took until each holds its first step.
    ///
    /// # Errors
    /// When they do not get there.
    pub fn begin(&self) -> Result<Duration> {
        let began = Instant::now();
        for index in 0..self.rollouts {
            let path = format!("{GROUP}/namespaces/{}/canarydeploys/{}", self.namespace, name(index));
            self.cluster.api().patch(&path, &json!({ "spec": { "images": { "app": "hello:v2" } } }))?;
        }
        self.until("canarydeploys", self.rollouts, |o| o["status"]["phase"] == "Hold")?;
        Ok(began.elapsed())
    }

    /// What was asked of the API server in so long a time from now on, by verb and kind.
    ///
    /// # Errors
    /// Never so far.
    pub fn calls(&self, during: Duration) -> Result<BTreeMap<String, u64>> {
        let (before, since) = (self.between.asked(), Instant::now());
        poll::until("the end of the measurement", during * 2, || {
            if since.elapsed() >= during { Ok(()) } else { Err("not yet") }
        })?;
        let added = |(kind, count): (String, u64)| {
            let new = count - before.get(&kind).copied().unwrap_or(0);
            (new > 0).then_some((kind, new))
        };
        Ok(self.between.asked().into_iter().filter_map(added).collect())
    }

    fn until(&self, plural: &str, count: usize, says: impl Fn(&Value) -> bool) -> Result<()> {
        let path = format!("{GROUP}/namespaces/{}/{plural}", self.namespace);
        poll::until(&format!("all {plural} to get there"), PATIENCE, || {
            let (all, _) = self.cluster.api().list(&path).map_err(|why| format!("{why:#}"))?;
            let there = all.iter().filter(|one| says(one)).count();
            if there == count { Ok(()) } else { Err(format!("{there} of {count}")) }
        })
    }
}

fn name(index: usize) -> String {
    format!("hello-{index:04}")
}

fn split(index: usize) -> Value {
    let subsets =
        [("canary", 0), ("main", 100), ("baseline", 0)].map(|(name, weight)| json!({ "name": name, "weight": weight }));
    object(
        "TrafficSplit",
        index,
        json!({ "subsets": subsets, "default": "main", "hosts": [format!("{}.example.com", name(index))] }),
    )
}

fn rollout(index: usize) -> Value {
    let spec = json!({
        "workload": name(index), "images": { "app": "hello:v1" }, "splits": [name(index)], "steps": [10, 50],
        "hold": "1s", "judge": { "errors": {}, "minRequests": 1000 },
    });
    object("CanaryDeploy", index, spec)
}

fn object(kind: &str, index: usize, spec: Value) -> Value {
    json!({ "apiVersion": "sluicegate.dev/v1alpha1", "kind": kind, "metadata": { "name": name(index) }, "spec": spec })
}

fn deployment(index: usize) -> Value {
    let labels = json!({ "app": name(index), "sluicegate.dev/role": "main" });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name(index) },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "app", "image": "hello:v1" }] },
            },
        },
    })
}
