//! Stands in for scheduler, nodes and kubelets, which need machines: binds pods to one node, gives them addresses, says that
//! they are ready, and finishes their deletion. In: the pods of the cluster. Out: their status. [`Stub::health`] makes the
//! pods of an image ill.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::api::Api;
use super::pod_status::{self, ONCE, State, Told};

/// The node that all pods run on.
pub const NODE: &str = "stub";
const PODS: &str = "/api/v1/pods";

/// How the pods of an image are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Running and ready.
    Ready,
    /// Running, but the readiness probe fails.
    Unready,
    /// Ends again and again: `CrashLoopBackOff`.
    CrashLoop,
    /// The image is not to be had: `ImagePullBackOff`.
    NoImage,
}

/// The thread that does it.
#[derive(Debug)]
pub struct Stub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    api: Api,
    stopped: AtomicBool,
    addresses: AtomicU32,
    /// Image and health; of several entries for an image the last one counts.
    ill: Mutex<Vec<(String, Health)>>,
}

impl Stub {
    /// Makes the node and starts to look after pods.
    ///
    /// # Errors
    /// When the API refuses the node.
    pub(super) fn start(api: Api) -> Result<Self> {
        api.post("/api/v1/nodes", &json!({ "metadata": { "name": NODE } }))?;
        let ready = json!({ "type": "Ready", "status": "True", "reason": "Stub", "lastHeartbeatTime": ONCE });
        api.patch(&format!("/api/v1/nodes/{NODE}/status"), &json!({ "status": { "conditions": [ready] } }))?;
        let stub = Self::idle(api);
        let worker = Arc::clone(&stub.shared);
        thread::Builder::new().name("kubelet".into()).spawn(move || {
            while !worker.stopped.load(Ordering::Relaxed) {
                // The API may be stopped by a test: try again, after a moment.
                if worker.look_after().is_err() {
                    thread::sleep(Duration::from_millis(50));
                }
            }
        })?;
        Ok(stub)
    }

    /// One that looks after no pod.
    pub(super) fn idle(api: Api) -> Self {
        let (stopped, addresses) = (AtomicBool::new(false), AtomicU32::new(1));
        Self { shared: Arc::new(Shared { api, stopped, addresses, ill: Mutex::new(Vec::new()) }) }
    }

    /// From now on the pods with exactly this image are like this, those that run already as well.
    ///
    /// # Errors
    /// When the API refuses a status.
    pub fn health(&self, image: &str, health: Health) -> Result<()> {
        self.shared.ill.lock().unwrap_or_else(PoisonError::into_inner).push((image.to_owned(), health));
        self.shared.sweep().map(drop)
    }

    pub(super) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// All pods there are, then what happens to them for a while.
    fn look_after(&self) -> Result<()> {
        let version = self.sweep()?;
        self.api.watch(PODS, &version, 5, |kind, pod| {
            if kind != "DELETED" {
                self.tend(&pod);
            }
            Ok(())
        })
    }

    fn sweep(&self) -> Result<String> {
        let (pods, version) = self.api.list(PODS)?;
        for pod in &pods {
            self.tend(pod);
        }
        Ok(version)
    }

    /// Does the next thing for a pod. A refusal means that it has changed meanwhile: the next event tells, or the next sweep.
    fn tend(&self, pod: &Value) {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{}/pods/{}", text("namespace"), text("name"));
        if pod["metadata"]["deletionTimestamp"].is_string() {
            self.api.delete(&format!("{path}?gracePeriodSeconds=0")).ok();
        } else if pod["spec"]["nodeName"].is_null() {
            let binding = json!({ "metadata": { "name": text("name") }, "target": { "kind": "Node", "name": NODE } });
            self.api.post(&format!("{path}/binding"), &binding).ok();
        } else if let Some(status) = self.status(pod) {
            self.api.patch(&format!("{path}/status"), &json!({ "status": status })).ok();
        }
    }

    /// The status that a bound pod should have, when it has another.
    fn status(&self, pod: &Value) -> Option<Value> {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let all: Vec<Told> = containers.map(|one| self.container(one)).collect();
        let had = &pod["status"];
        let address = had["podIP"].as_str().map_or_else(|| self.address(), str::to_owned);
        let status = pod_status::of(&all, &address);
        (said(had) != said(&status)).then_some(status)
    }

    fn container(&self, spec: &Value) -> Told {
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let (name, image) = (text("name"), text("image"));
        let ill = self.ill.lock().unwrap_or_else(PoisonError::into_inner);
        let health = ill.iter().rev().find(|(one, _)| *one == image).map_or(Health::Ready, |(_, health)| *health);
        let waiting = |reason, why: &str| State::Waiting(reason, why.to_owned());
        let (state, restarts) = match health {
            Health::Ready | Health::Unready => (State::Running, 0),
            Health::CrashLoop => (waiting("CrashLoopBackOff", "back-off 10s restarting failed container"), 3),
            Health::NoImage => (waiting("ImagePullBackOff", "Back-off pulling image"), 0),
        };
        Told { name, image, state, ready: health == Health::Ready, restarts }
    }

    /// Addresses that lead nowhere: an EndpointSlice takes no loopback one.
    fn address(&self) -> String {
        let number = self.addresses.fetch_add(1, Ordering::Relaxed);
        let [_, high, middle, low] = number.to_be_bytes();
        format!("10.{}.{middle}.{low}", 128 + high)
    }
}

/// What of a status changes here: which containers are ready, and what the others wait for.
fn said(status: &Value) -> Vec<(&Value, &Value)> {
    let all = status["containerStatuses"].as_array().into_iter().flatten();
    all.map(|one| (&one["ready"], &one["state"]["waiting"]["reason"])).collect()
}
