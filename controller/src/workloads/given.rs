//! Workloads that somebody else looks after: weights move, pods are taken as given.

use super::{Answer, Observed, Role, Target, Workload, Workloads};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Says that whatever was asked for is there and ready.
///
/// It remembers what it was told until the process ends. What it was never told about nobody has looked at; so whoever
/// keeps the state of a rollout tells it again after a restart, main first.
#[derive(Debug, Default)]
pub struct Given(Mutex<HashMap<(String, Role), Target>>);

impl Given {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn told(&self) -> MutexGuard<'_, HashMap<(String, Role), Target>> {
        // One insert or one look-up at a time: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workloads for Given {
    fn observe<'a>(&'a self, rollout: &'a str, roles: &'a [Role]) -> Answer<'a, Observed> {
        Box::pin(async move {
            let mut observed = Observed::default();
            let told = self.told();
            for role in roles {
                let Some(Target { version, replicas }) = told.get(&(rollout.to_owned(), *role)) else { continue };
                let (version, replicas) = (version.clone(), *replicas);
                observed.set(
                    *role,
                    Workload { version, replicas, ready: replicas, settled: true, trouble: None, floor: None },
                );
            }
            Ok(observed)
        })
    }

    fn apply<'a>(&'a self, rollout: &'a str, role: Role, target: &'a Target) -> Answer<'a, ()> {
        Box::pin(async move {
            self.told().insert((rollout.to_owned(), role), target.clone());
            Ok(())
        })
    }
}
