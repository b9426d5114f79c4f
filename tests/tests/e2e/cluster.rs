//! The controller on a real API server: each test in a namespace of its own, with a controller that looks only there and
//! may do what the chart's role says, and no more.

mod autoscaler;
mod content;
mod dashboard;
mod edits;
mod faults;
mod founding;
mod lag;
mod plugin;
mod replicas;
mod rollouts;
mod scale;
mod splits;
mod telling;

use crate::charts::helm;
use anyhow::Result;
use serde_json::Value;
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::kube::{self, Cluster, PATIENCE};
use sluicegate_tests::poll;
use std::path::PathBuf;
use std::sync::Arc;

struct World {
    namespace: String,
    controller: Controller,
    /// That of the chart's ServiceAccount.
    kubeconfig: PathBuf,
    // Last: the controller goes before what it looks at.
    cluster: Arc<Cluster>,
}

impl World {
    /// A controller with reports every 200 ms in a new namespace.
    fn new(prefix: &str) -> Result<Self> {
        Self::on(Arc::clone(kube::shared()?), prefix)
    }

    /// The same on a cluster of its own.
    fn on(cluster: Arc<Cluster>, prefix: &str) -> Result<Self> {
        cluster.install_crds()?;
        let namespace = cluster.namespace(prefix)?;
        let kubeconfig = service_account(&cluster, &namespace)?;
        let controller = Controller::start_in_cluster(&kubeconfig, &namespace, &["--report-interval", "200ms"])?;
        Ok(Self { namespace, controller, kubeconfig, cluster })
    }

    fn apply(&self, yaml: &str) -> Result<()> {
        self.cluster.apply(&self.namespace, yaml).map(drop)
    }

    fn path(&self, plural: &str, name: &str) -> String {
        format!("/apis/sluicegate.dev/v1alpha1/namespaces/{}/{plural}/{name}", self.namespace)
    }

    fn object(&self, plural: &str, name: &str) -> Result<Value> {
        self.cluster.api().get(&self.path(plural, name))
    }

    /// Waits until an object says so.
    fn until(&self, what: &str, plural: &str, name: &str, mut says: impl FnMut(&Value) -> bool) -> Result<Value> {
        poll::until(what, PATIENCE, || {
            let object = self.object(plural, name).map_err(|why| format!("{why:#}"))?;
            if says(&object) { Ok(object) } else { Err(object["status"].to_string()) }
        })
    }

    /// Waits until the admin port shows these weights of a split; returns its generation.
    fn until_weights(&self, split: &str, wanted: &[u64]) -> Result<u64> {
        poll::until(&format!("{split} at {wanted:?}"), PATIENCE, || {
            let path = format!("/v1/splits/{}/{split}", self.namespace);
            let shown = self.controller.json(&path).map_err(|why| format!("{why:#}"))?;
            let weights = shown["subsets"].as_array().into_iter().flatten().map(|s| s["weight"].as_u64().unwrap_or(0));
            if weights.eq(wanted.iter().copied()) {
                Ok(shown["generation"].as_u64().unwrap_or(0))
            } else {
                Err(shown.to_string())
            }
        })
    }
}

/// Makes what the chart makes of accounts and roles, for one namespace; returns a kubeconfig of the account.
fn service_account(cluster: &Cluster, namespace: &str) -> Result<PathBuf> {
    let only = format!("namespace={namespace}");
    let chart = ["template", "sluicegate", "charts/sluicegate", "--namespace", namespace, "--set", &only];
    let yaml = helm(&[&chart[..], &["--show-only", "templates/rbac.yaml"]].concat())?.map_err(anyhow::Error::msg)?;
    cluster.kubectl_with(&["-n", namespace, "apply", "-f", "-"], &yaml)?;
    let token = cluster.kubectl(&["-n", namespace, "create", "token", "sluicegate"])?;
    cluster.kubeconfig_of(namespace, token.trim())
}

/// `status` of a condition.
fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let all = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|one| one["type"] == kind).unwrap_or(&Value::Null)
}

fn backend(v1: u64, v2: u64) -> String {
    split_yaml("backend", &[("v1", v1), ("v2", v2)], "")
}
