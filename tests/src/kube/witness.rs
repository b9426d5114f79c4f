//! Sees every version of the objects of one kind, in the order in which the API server had them: what was ever written there,
//! not only what a test happens to look at.
//!
//! In: a path of the API. Out: the versions. An API server that is away is waited for; a version that it forgot meanwhile is
//! an error, since then nobody can say what was there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::PATIENCE;
use super::api::Api;
use crate::poll;

/// The API server ends a watch after so many seconds.
const WATCH: u32 = 5;

/// The thread that looks. Dropping it ends it.
#[derive(Debug)]
pub struct Witness {
    shared: Arc<Shared>,
    api: Api,
    path: String,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    seen: Mutex<Vec<Value>>,
    gap: AtomicBool,
}

impl Witness {
    /// Begins with what is there now.
    ///
    /// # Errors
    /// When the path cannot be listed.
    pub fn start(api: &Api, path: &str) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (there, mut version) = api.list(path)?;
        lock(&shared.seen).extend(there);
        let (worker, own, at) = (Arc::clone(&shared), api.clone(), path.to_owned());
        thread::Builder::new().name("witness".into()).spawn(move || {
            while !worker.stopped.load(Ordering::Relaxed) {
                let from = version.clone();
                let looked = own.watch(&at, &from, WATCH, |kind, object| {
                    version = object["metadata"]["resourceVersion"].as_str().unwrap_or(&version).to_owned();
                    if kind != "BOOKMARK" {
                        lock(&worker.seen).push(object);
                    }
                    Ok(())
                });
                if let Err(why) = looked {
                    // 410: too old for the API server after a restart; etcd still has it, unless it was compacted.
                    worker.gap.fetch_or(why.to_string().contains("\"code\":410"), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(50));
                }
            }
        })?;
        Ok(Self { shared, api: api.clone(), path: path.to_owned() })
    }

    /// Every version so far of the object of this name, from the first to what it is now.
    ///
    /// # Errors
    /// When some cannot be told any more, or the API does not answer.
    pub fn versions(&self, name: &str) -> Result<Vec<Value>> {
        let now = self.api.get(&format!("{}/{name}", self.path))?;
        poll::until("the witness to have seen the newest version", PATIENCE, || {
            ensure!(!self.shared.gap.load(Ordering::Relaxed), "versions were forgotten before they were seen");
            let seen = lock(&self.shared.seen);
            let of_name = seen.iter().filter(|one| one["metadata"]["name"] == name);
            let all: Vec<Value> = of_name.cloned().collect();
            let complete =
                all.iter().any(|one| one["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]);
            ensure!(complete, "{} versions", all.len());
            anyhow::Ok(all)
        })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
