//! The set-up for rollouts on Kubernetes: the real controller in a namespace of a real control plane, the Deployment `hello`
//! with its split and its Services, and an Envoy with the filter whose upstreams follow the pods.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::controller::Controller;
use crate::envoy::{Envoy, Options};
use crate::envoy_config::{self, CONTROLLER_CLUSTER, Listener, Wasm};
use crate::kube::endpoints::Endpoints;
use crate::kube::{Cluster, PATIENCE};
use crate::lab::WEB;
use crate::pods::ROLES;
use crate::rollout_lab;
use crate::steady::Steady;
use crate::{paths, poll};

/// How long a phase of a rollout may take, on a busy machine.
const PHASE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct KubeLab {
    /// Where everything of this lab is.
    pub namespace: String,
    /// The controller, of this namespace only.
    pub controller: Controller,
    /// Its other replicas, when there are any.
    pub others: Vec<Controller>,
    /// The Envoy, with two workers.
    pub envoy: Envoy,
    /// What listens in the pods, and what Envoy is told of it.
    pub endpoints: Endpoints,
    /// The control plane; the last to go.
    pub cluster: Arc<Cluster>,
}

/// The Deployment `hello`, which is main, and the split `hello`, all on main.
#[must_use]
pub fn service_yaml(image: &str, replicas: u32) -> String {
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: hello }}\nspec:\n  replicas: {replicas}\n  \
         selector: {{ matchLabels: {{ app: hello, sluicegate.dev/role: main }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: hello, sluicegate.dev/role: main }} }}\n    \
         spec: {{ containers: [{{ name: app, image: \"{image}\" }}] }}\n"
    );
    format!("{deployment}---\n{}", rollout_lab::split().replace("name: app }", "name: hello }"))
}

/// A CanaryDeploy or CanaryTest `hello` of this image, with these lines in its spec, each indented by two spaces.
#[must_use]
pub fn rollout_yaml(kind: &str, image: &str, spec: &str) -> String {
    format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: hello }}\nspec:\n  workload: hello\n  \
         images: {{ app: \"{image}\" }}\n  splits: [hello]\n{spec}"
    )
}

impl KubeLab {
    /// Starts all of it with so many pods of `hello:v1`, and waits until the proxy has pods and split.
    ///
    /// # Errors
    /// When a part does not start.
    pub fn start(cluster: &Arc<Cluster>, namespace: &str, replicas: u32) -> Result<Self> {
        Self::start_as(cluster, namespace, replicas, &[cluster.kubeconfig()])
    }

    /// The same with a controller for each of these kubeconfigs; the proxy may call any of them.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_as(cluster: &Arc<Cluster>, namespace: &str, replicas: u32, users: &[&Path]) -> Result<Self> {
        cluster.install_crds()?;
        let begin = |user: &&Path| Controller::start_in_cluster(user, namespace, &["--report-interval", "200ms"]);
        let mut controllers = users.iter().map(begin).collect::<Result<Vec<_>>>()?.into_iter();
        let controller = controllers.next().context("no kubeconfig")?;
        let others: Vec<_> = controllers.collect();
        let proxies: Vec<_> = [&controller].into_iter().chain(&others).map(|one| one.proxy).collect();
        cluster.apply(namespace, &services(namespace)?)?;
        cluster.apply(namespace, &service_yaml("hello:v1", replicas))?;
        let endpoints = Endpoints::start(cluster.api(), namespace)?;
        let split = format!("{namespace}/hello");
        let config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "split": split });
        let wasm = Wasm::new(&paths::wasm("sluicegate.wasm")?, config);
        let listener = Listener::new(WEB, "main").subset("canary", "canary").subset("baseline", "baseline");
        let mut clusters: Vec<Value> = ROLES.iter().map(|role| endpoints.cluster(role)).collect();
        clusters.push(envoy_config::cluster(CONTROLLER_CLUSTER, &proxies));
        let mut options = Options::new(vec![listener.filter(wasm.filter())], clusters).workers(2);
        options.extra = json!({ "node": { "id": "gateway-1", "cluster": "test" } });
        let envoy = Envoy::start(options)?;
        let cluster = Arc::clone(cluster);
        let lab = Self { namespace: namespace.to_owned(), controller, others, envoy, endpoints, cluster };
        lab.await_start(replicas)?;
        Ok(lab)
    }

    fn await_start(&self, replicas: u32) -> Result<()> {
        poll::until("the pods of main", PATIENCE, || match self.endpoints.of("main").len() {
            ready if ready == replicas as usize => Ok(()),
            ready => Err(format!("{ready} of {replicas}")),
        })?;
        poll::until("Envoy to have them, and the split", PATIENCE, || {
            // Only the leader hears of all proxies.
            let path = format!("/v1/splits/{}/hello", self.namespace);
            let acked = [&self.controller]
                .into_iter()
                .chain(&self.others)
                .any(|one| one.json(&path).is_ok_and(|split| split["acked"] == 1));
            let clusters = self.envoy.ask("/clusters").map_err(|why| format!("{why:#}"))?.text();
            let known = clusters.lines().filter(|line| line.starts_with("main::127.") && line.contains("::weight::"));
            let known = known.count();
            if acked && known == replicas as usize { Ok(()) } else { Err(format!("{known} pods, acked: {acked}")) }
        })
    }

    /// Who holds the lease: 0 is [`Self::controller`], the others follow.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn leader(&self) -> Result<Option<usize>> {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/sluicegate", self.namespace);
        let lease = self.cluster.api().get(&path)?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let port = holder.rsplit('_').next().and_then(|port| port.parse().ok());
        Ok([&self.controller].into_iter().chain(&self.others).position(|one| Some(one.proxy.port()) == port))
    }

    /// One of the controllers, counted as by [`Self::leader`].
    pub fn replica(&mut self, index: usize) -> &mut Controller {
        match index.checked_sub(1).and_then(|other| self.others.get_mut(other)) {
            Some(other) => other,
            None => &mut self.controller,
        }
    }

    /// Runs `kubectl` in the namespace.
    ///
    /// # Errors
    /// When it exits non-zero; with what it said.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["-n", &self.namespace], args].concat())
    }

    /// `kubectl apply` of this YAML.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.cluster.apply(&self.namespace, yaml)
    }

    /// Where requests go to, at so many a second.
    ///
    /// # Errors
    /// When the listener is gone.
    pub fn load(&self, rate: f64) -> Result<Steady> {
        Steady::start(self.envoy.listener(WEB)?, rate)
    }

    /// An object of the API: plural and name of a kind of ours.
    ///
    /// # Errors
    /// When it is not there.
    pub fn object(&self, plural: &str, name: &str) -> Result<Value> {
        let path = format!("/apis/sluicegate.dev/v1alpha1/namespaces/{}/{plural}/{name}", self.namespace);
        self.cluster.api().get(&path)
    }

    /// Waits until the object `hello` of a kind says so.
    ///
    /// # Errors
    /// When it does not come; with its status as last seen.
    pub fn until(&self, what: &str, plural: &str, mut says: impl FnMut(&Value) -> bool) -> Result<Value> {
        poll::until(what, PHASE, || {
            let object = self.object(plural, "hello").map_err(|why| format!("{why:#}"))?;
            if says(&object) { Ok(object) } else { Err(object["status"].to_string()) }
        })
    }

    /// Waits until the object `hello` of a kind is gone.
    ///
    /// # Errors
    /// When it stays; with its status as last seen.
    pub fn until_gone(&self, plural: &str) -> Result<()> {
        poll::until(&format!("the end of {plural}/hello"), PHASE, || match self.object(plural, "hello") {
            Err(_) => Ok(()),
            Ok(object) => Err(object["status"].to_string()),
        })
    }

    /// A Deployment; `None` when it is not there.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn deployment(&self, name: &str) -> Result<Option<Value>> {
        let (all, _) = self.cluster.api().list(&format!("/apis/apps/v1/namespaces/{}/deployments", self.namespace))?;
        Ok(all.into_iter().find(|one| one["metadata"]["name"] == name))
    }

    /// Replicas and image of a Deployment; 0 and "" when it is not there.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn pods(&self, name: &str) -> Result<(u64, String)> {
        let found = self.deployment(name)?.unwrap_or_default();
        let image = found["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        Ok((found["spec"]["replicas"].as_u64().unwrap_or(0), image.to_owned()))
    }
}

/// The Service per role that `sluicegate routes` prints; its HTTPRoute needs a gateway.
fn services(namespace: &str) -> Result<String> {
    let mut command = Command::new(paths::controller()?);
    command.args(["routes", "--for", "envoy-gateway", "--gateway", "public", &format!("{namespace}/hello")]);
    let output = command.output().context("cannot run sluicegate routes")?;
    ensure!(output.status.success(), "sluicegate routes: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let services: Vec<_> = printed.split("---\n").filter(|one| one.contains("kind: Service")).collect();
    Ok(services.join("---\n"))
}
