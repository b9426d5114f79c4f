//! The set-up for rollouts: pods that are processes, an Envoy with the filter that finds them by EDS, and the controller,
//! with a split `app` of canary, main and baseline, all on main.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::controller::{Controller, split_yaml};
use crate::envoy::{Envoy, Options};
use crate::envoy_config::{CONTROLLER_CLUSTER, Listener, Wasm};
use crate::lab::WEB;
use crate::pods::{Pods, ROLES};
use crate::steady::Steady;
use crate::{paths, poll};

/// How long a phase of a rollout may take, on a busy machine.
pub const PHASE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct RolloutLab {
    /// The controller.
    pub controller: Controller,
    /// The Envoy, with two workers.
    pub envoy: Envoy,
    /// The pods; the last to go.
    pub pods: Pods,
}

/// The split `app`.
#[must_use]
pub fn split() -> String {
    split_yaml("app", &[("canary", 0), ("main", 100), ("baseline", 0)], "").replace("default: canary", "default: main")
}

/// A rollout of the split `app` with these lines in its spec, each indented by two spaces.
#[must_use]
pub fn rollout_yaml(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: app }}\nspec:\n  splits: [app]\n{spec}"
    )
}

impl RolloutLab {
    /// Starts all of it with so many pods of `v1`, and waits until the proxy has the split.
    ///
    /// # Errors
    /// When a part does not start.
    pub fn start(replicas: u32) -> Result<Self> {
        let pods = Pods::start(replicas)?;
        let split = split();
        let controller = Controller::start_with(&[("app.yaml", &split)], &["--report-interval", "200ms"])?;
        let config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "split": "default/app" });
        let wasm = Wasm::new(&paths::wasm("sluicegate.wasm")?, config);
        let listener = Listener::new(WEB, "main").subset("canary", "canary").subset("baseline", "baseline");
        let mut clusters: Vec<Value> = ROLES.iter().map(|role| pods.cluster(role)).collect();
        clusters.push(crate::envoy_config::cluster(CONTROLLER_CLUSTER, &[controller.proxy]));
        let mut options = Options::new(vec![listener.filter(wasm.filter())], clusters).workers(2);
        options.extra = json!({ "node": { "id": "gateway-1", "cluster": "test" } });
        let envoy = Envoy::start(options)?;
        let lab = Self { controller, envoy, pods };
        poll::until("the proxy to have the split", PHASE, || {
            let split = lab.controller.json("/v1/splits/default/app").map_err(|why| format!("{why:#}"))?;
            if split["acked"] == 1 { Ok(()) } else { Err(split.to_string()) }
        })?;
        Ok(lab)
    }

    /// Writes the rollout: a CanaryDeploy or CanaryTest with these lines in its spec, see [`rollout_yaml`], and the pods'
    /// command.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn write(&self, kind: &str, spec: &str) -> Result<()> {
        let workloads = format!("  workloads: {{ command: {} }}\n", self.pods.command());
        self.controller.write("rollout.yaml", &rollout_yaml(kind, &format!("{spec}{workloads}")))
    }

    /// Where requests go to, at so many a second.
    ///
    /// # Errors
    /// When the listener is gone.
    pub fn load(&self, rate: f64) -> Result<Steady> {
        Steady::start(self.envoy.listener(WEB)?, rate)
    }

    /// The rollout as `get -o json` shows it.
    ///
    /// # Errors
    /// When there is none.
    pub fn rollout(&self) -> Result<Value> {
        self.controller.json("/v1/rollouts/default/app")
    }

    /// Waits until the rollout is so.
    ///
    /// # Errors
    /// When it does not come; with the rollout as last seen.
    pub fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
        poll::until(what, PHASE, || {
            let rollout = self.rollout().map_err(|why| anyhow!("{why:#}"))?;
            if so(&rollout) { Ok(rollout) } else { Err(anyhow!("{rollout}")) }
        })
    }

    /// Waits until the rollout is in this phase, and all proxies run the weights in force.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn until_phase(&self, phase: &str) -> Result<Value> {
        self.until(&format!("the rollout to be {phase}"), |rollout| {
            rollout["phase"] == phase && rollout["acked"] == rollout["live"] && rollout["live"] != 0
        })
    }
}
