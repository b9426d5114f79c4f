//! Scheduler and kubelet of the node: binds every pod to it, and gives each a thread that lives its life (`pod.rs`).
//!
//! In: the pods of the cluster. Out: processes, and the status of pods. [`Kubelet::log`] is `kubectl logs`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Images;
use super::pod::{self, Wishes};
use crate::kube::api::Api;
use crate::kube::pod_status;
use crate::paths;

/// The node that all pods run on.
pub const NODE: &str = "node";
const PODS: &str = "/api/v1/pods";
const WATCH: u32 = 30;

/// The thread that does it, and the folder of its pods.
#[derive(Debug)]
pub struct Kubelet {
    shared: Arc<Shared>,
    dir: TempDir,
}

pub(super) struct Shared {
    pub(super) api: Api,
    pub(super) images: Images,
    /// `NAMESPACE/POD/` has `CONTAINER.log` and `volumes/NAME`.
    pub(super) dir: PathBuf,
    pub(super) addresses: AtomicU32,
    stopped: AtomicBool,
    /// Of pods that run, by `NAMESPACE/POD`: the path of the network namespace.
    pub(super) nets: Mutex<BTreeMap<String, String>>,
    /// By uid.
    pods: Mutex<BTreeMap<String, Arc<Wishes>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Kubelet({})", self.dir.display())
    }
}

impl Kubelet {
    pub(super) fn start(api: &Api, images: Images) -> Result<Self> {
        let zone = json!({ "topology.kubernetes.io/zone": "here", "kubernetes.io/hostname": NODE });
        api.post("/api/v1/nodes", &json!({ "metadata": { "name": NODE, "labels": zone } }))?;
        let ready =
            json!({ "type": "Ready", "status": "True", "reason": "Node", "lastHeartbeatTime": pod_status::ONCE });
        api.patch(&format!("/api/v1/nodes/{NODE}/status"), &json!({ "status": { "conditions": [ready] } }))?;
        let dir = paths::scratch("node")?;
        let shared = Arc::new(Shared {
            api: api.clone(),
            images,
            dir: dir.path().to_owned(),
            addresses: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            nets: Mutex::default(),
            pods: Mutex::default(),
        });
        let worker = Arc::clone(&shared);
        thread::Builder::new().name("kubelet".into()).spawn(move || {
            while !worker.stopped.load(Ordering::Relaxed) {
                if look_after(&worker).is_err() {
                    thread::sleep(Duration::from_millis(50));
                }
            }
        })?;
        Ok(Self { shared, dir })
    }

    /// What the containers of this name have printed in all pods of a namespace whose name begins so, those that are gone as well.
    #[must_use]
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> String {
        let all = fs::read_dir(self.dir.path().join(namespace)).into_iter().flatten().flatten();
        let mut logs: Vec<PathBuf> = all
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(pod))
            .map(|entry| entry.path().join(format!("{container}.log")))
            .collect();
        logs.sort();
        logs.iter()
            .filter_map(|path| fs::read(path).ok())
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .collect()
    }

    /// Does something in the network of a pod whose name begins so, as one of its containers would: what is connected there stays there.
    ///
    /// # Errors
    /// When there is no such pod, and those of `act`.
    pub fn within<T: Send>(&self, namespace: &str, pod: &str, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let nets = lock(&self.shared.nets);
        let place = format!("{namespace}/{pod}");
        let net = nets.iter().find(|(name, _)| name.starts_with(&place)).map(|(_, net)| net.clone());
        drop(nets);
        let net = File::open(net.with_context(|| format!("no pod runs as {place}…"))?)?;
        let enter = || {
            setns(&net, CloneFlags::CLONE_NEWNET).context("cannot go there")?;
            act()
        };
        // Only this thread goes there.
        thread::scope(|scope| scope.spawn(enter).join().map_err(|_| anyhow!("it panicked")))?
    }

    /// The folder with the logs: `NAMESPACE/POD/CONTAINER.log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for wishes in known(&self.shared).values() {
            wishes.gone();
        }
    }
}

/// All pods there are, then what happens to them for a while.
fn look_after(shared: &Arc<Shared>) -> Result<()> {
    let (pods, version) = shared.api.list(PODS)?;
    for pod in pods {
        tend(shared, &pod);
    }
    shared.api.watch(PODS, &version, WATCH, |kind, pod| {
        if kind == "DELETED" {
            if let Some(wishes) = known(shared).remove(uid(&pod)) {
                wishes.gone();
            }
        } else {
            tend(shared, &pod);
        }
        Ok(())
    })
}

fn tend(shared: &Arc<Shared>, pod: &Value) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    if pod["spec"]["nodeName"].is_null() {
        let binding = json!({ "metadata": { "name": text("name") }, "target": { "kind": "Node", "name": NODE } });
        let path = format!("/api/v1/namespaces/{}/pods/{}/binding", text("namespace"), text("name"));
        // A refusal means that it has changed meanwhile: the next event tells.
        shared.api.post(&path, &binding).ok();
        return;
    }
    let grace = pod["metadata"]["deletionTimestamp"]
        .is_string()
        .then(|| Duration::from_secs(pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0)));
    let mut all = known(shared);
    let wishes = all.entry(uid(pod).to_owned()).or_insert_with(|| {
        let wishes = Arc::<Wishes>::default();
        let (shared, pod, mine) = (Arc::clone(shared), pod.clone(), Arc::clone(&wishes));
        let name = text("name").to_owned();
        // That there are no threads any more is told by the pod, which does not get ready.
        thread::Builder::new().name(name).spawn(move || pod::live(&shared, &pod, &mine)).ok();
        wishes
    });
    if let Some(grace) = grace {
        wishes.end(grace);
    }
}

fn known(shared: &Shared) -> MutexGuard<'_, BTreeMap<String, Arc<Wishes>>> {
    lock(&shared.pods)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap_or_default()
}
