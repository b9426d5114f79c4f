//! What kubelets and a gateway's control plane do for traffic: behind each ready pod of a namespace a server of this process,
//! and for Envoy an EDS file per role that follows the cluster's EndpointSlices.
//!
//! In: the EndpointSlices of the services `…-canary`, `…-main` and `…-baseline`; what is wrong with an image. Out: files that
//! Envoy watches. A pod that is deleted goes on answering for a while, as one with a `preStop` hook does: until every proxy
//! has heard of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::Api;
use crate::pods::ROLES;
use crate::upstream::{Habits, Upstreams};
use crate::{envoy_config, paths};

/// How long a pod that is gone still answers.
const DRAIN: Duration = Duration::from_secs(5);
/// The API server ends a watch after so many seconds; then all is listed again.
const WATCH: u32 = 5;

/// The thread that does it, and its files.
#[derive(Debug)]
pub struct Endpoints {
    shared: Arc<Shared>,
    _dir: TempDir,
}

#[derive(Debug)]
struct Shared {
    api: Api,
    namespace: String,
    dir: PathBuf,
    stopped: AtomicBool,
    /// Image and what is wrong with it.
    habits: Mutex<Vec<(String, Habits)>>,
    /// Roles whose pods Envoy is not told of now.
    held: Mutex<BTreeSet<String>>,
    /// By role, the pods that Envoy was told of.
    told: Mutex<BTreeMap<&'static str, BTreeSet<String>>>,
}

/// What the thread owns.
#[derive(Default)]
struct Servers {
    slices: BTreeMap<String, Value>,
    running: BTreeMap<String, Upstreams>,
    /// With the moment at which they end.
    leaving: Vec<(Instant, Upstreams)>,
}

impl Endpoints {
    /// Follows the EndpointSlices of a namespace.
    ///
    /// # Errors
    /// When there is no room for its files.
    pub fn start(api: &Api, namespace: &str) -> Result<Self> {
        let dir = paths::scratch("endpoints")?;
        let files = dir.path().join("eds");
        fs::create_dir(&files).context("no folder for EDS files")?;
        let shared = Arc::new(Shared {
            api: api.clone(),
            namespace: namespace.to_owned(),
            dir: files,
            stopped: AtomicBool::new(false),
            habits: Mutex::default(),
            held: Mutex::default(),
            told: Mutex::default(),
        });
        ROLES.iter().try_for_each(|role| shared.tell(role, &[]))?;
        let worker = Arc::clone(&shared);
        thread::Builder::new().name("endpoints".into()).spawn(move || {
            let mut servers = Servers::default();
            while !worker.stopped.load(Ordering::Relaxed) {
                // The API may be stopped by a test: what is told stays, and it tries again after a moment.
                if worker.follow(&mut servers).is_err() {
                    thread::sleep(Duration::from_millis(50));
                }
            }
        })?;
        Ok(Self { shared, _dir: dir })
    }

    /// From now on pods with this image that get ready have this wrong with them.
    pub fn spoil(&self, image: &str, habits: Habits) {
        lock(&self.shared.habits).push((image.to_owned(), habits));
    }

    /// From now on Envoy is not told of what becomes of the pods of a role, as by a control plane that is slow.
    pub fn hold_back(&self, role: &str) {
        lock(&self.shared.held).insert(role.to_owned());
    }

    /// Envoy is told of all of them again.
    pub fn catch_up(&self) {
        lock(&self.shared.held).clear();
    }

    /// The pods of a role that Envoy was told of last.
    #[must_use]
    pub fn of(&self, role: &str) -> BTreeSet<String> {
        lock(&self.shared.told).get(role).cloned().unwrap_or_default()
    }

    /// The cluster of a role, as xDS JSON.
    #[must_use]
    pub fn cluster(&self, role: &str) -> Value {
        envoy_config::cluster_by_eds(role, &self.shared.file(role))
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// All slices there are, then what happens to them for a while.
    fn follow(&self, servers: &mut Servers) -> Result<()> {
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", self.namespace);
        let (all, version) = self.api.list(&path)?;
        servers.slices = all.into_iter().map(|slice| (name(&slice), slice)).collect();
        self.update(servers)?;
        self.api.watch(&path, &version, WATCH, |kind, slice| {
            match kind {
                "DELETED" => servers.slices.remove(&name(&slice)),
                _ => servers.slices.insert(name(&slice), slice),
            };
            self.update(servers)
        })
    }

    /// Makes servers and files what the slices say.
    fn update(&self, servers: &mut Servers) -> Result<()> {
        let now = Instant::now();
        let wanted = ROLES.map(|role| (role, ready(servers.slices.values(), role)));
        for pod in wanted.iter().flat_map(|(_, pods)| pods) {
            // It may be gone already: then the next slice says so.
            if !servers.running.contains_key(pod)
                && let Ok(server) = self.serve(pod)
            {
                servers.running.insert(pod.clone(), server);
            }
        }
        for (role, pods) in &wanted {
            let running: Vec<_> = pods.iter().filter_map(|pod| servers.running.get_key_value(pod)).collect();
            let names = running.iter().map(|(pod, _)| (*pod).clone()).collect();
            if !lock(&self.held).contains(*role) && lock(&self.told).get(role) != Some(&names) {
                self.tell(role, &running)?;
                lock(&self.told).insert(role, names);
            }
        }
        let gone = servers.running.extract_if(.., |pod, _| !wanted.iter().any(|(_, pods)| pods.contains(pod)));
        servers.leaving.extend(gone.map(|(_, server)| (now + DRAIN, server)));
        servers.leaving.retain(|(ends, _)| *ends > now);
        Ok(())
    }

    fn serve(&self, pod: &str) -> Result<Upstreams> {
        let found = self.api.get(&format!("/api/v1/namespaces/{}/pods/{pod}", self.namespace))?;
        let image = found["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let habits = lock(&self.habits).iter().rev().find(|(one, _)| one == image).map(|(_, habits)| *habits);
        Upstreams::start_with(&[pod], habits.unwrap_or_default())
    }

    fn tell(&self, role: &str, pods: &[(&String, &Upstreams)]) -> Result<()> {
        let addresses: Vec<_> = pods.iter().map(|(pod, server)| server.addr(pod)).collect();
        let resource = envoy_config::endpoints(role, &addresses);
        paths::write_atomically(&self.file(role), json!({ "resources": [resource] }).to_string())
    }

    fn file(&self, role: &str) -> PathBuf {
        self.dir.join(format!("{role}.json"))
    }
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// The pods that slices of the service of a role call ready.
fn ready<'a>(slices: impl Iterator<Item = &'a Value>, role: &str) -> BTreeSet<String> {
    let of_role = |slice: &&Value| {
        let service = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap_or_default();
        service.rsplit('-').next() == Some(role)
    };
    let endpoints = slices.filter(of_role).flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|one| one["conditions"]["ready"] == true);
    ready.filter_map(|one| one["targetRef"]["name"].as_str().map(str::to_owned)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
