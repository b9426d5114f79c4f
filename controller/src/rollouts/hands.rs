//! The pods of one rollout: looked at and changed beside the engine, one thing at a time.

use super::job::{Job, Progress};
use crate::workloads::{Care, Keeper, Observed, Role, Target, Workloads, given::Given};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;
use tracing::info;

/// Pods are looked at this often while they are waited for …
const WAITING: Duration = Duration::from_millis(500);
/// … and this often otherwise.
const IDLE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub struct Hands {
    rollout: String,
    wake: Arc<Notify>,
    workloads: Option<(Care, Arc<dyn Workloads>)>,
    job: Option<Job<Done>>,
    /// When pods are to be looked at again.
    look_at: Duration,
    /// They were looked at since they were last told anything.
    fresh: bool,
    /// As they were last seen.
    pub pods: Observed,
    /// What keeps them from being seen, or told.
    pub trouble: Option<String>,
}

#[derive(Debug)]
enum Done {
    Looked(Result<Observed, String>),
    Told(Result<(), String>),
}

impl Hands {
    /// Of a rollout, `namespace/name`.
    pub fn new(rollout: String, wake: Arc<Notify>) -> Self {
        Self {
            rollout,
            wake,
            workloads: None,
            job: None,
            look_at: Duration::ZERO,
            fresh: false,
            pods: Observed::default(),
            trouble: None,
        }
    }

    /// Makes sure that somebody looks after the pods, or nobody. `main`: what is taken as given then.
    pub async fn prepare(&mut self, keeper: &Keeper, care: Care, main: Target) {
        if self.workloads.as_ref().is_some_and(|(known, _)| *known == care) {
            return;
        }
        let workloads = match keeper.workloads(&care) {
            Some(workloads) => workloads,
            None => {
                let given = Given::new();
                // It only notes what it is told, and has nothing to fail by.
                let _ = given.apply(&self.rollout, Role::Main, &main).await;
                Arc::new(given)
            }
        };
        self.workloads = Some((care, workloads));
        (self.job, self.fresh, self.look_at) = (None, false, Duration::ZERO);
    }

    /// Something has happened to pods: they are looked at in the next turn.
    pub fn look_soon(&mut self) {
        self.look_at = Duration::ZERO;
    }

    /// Takes what was done, and looks again when it is time; `waiting`: the rollout waits for pods.
    pub fn turn(&mut self, waiting: bool, now: Duration) {
        match self.job.take().map(Job::look) {
            Some(Progress::Busy(job)) => self.job = Some(job),
            Some(Progress::Done(Done::Looked(seen))) => {
                (self.fresh, self.trouble) = (true, seen.as_ref().err().cloned());
                self.pods = seen.unwrap_or_default();
                self.look_at = now + if waiting { WAITING } else { IDLE };
            }
            Some(Progress::Done(Done::Told(told))) => {
                // What could not be told is told again after the next look, not at once.
                self.trouble = told.err();
                self.look_at = now + if self.trouble.is_some() { WAITING } else { Duration::ZERO };
            }
            Some(Progress::Lost) => self.trouble = Some("looking after the pods ended with a panic, a bug".to_owned()),
            None => {}
        }
        let due = now >= self.look_at || (waiting && self.look_at > now + WAITING);
        if let (None, true, Some((_, workloads))) = (&self.job, due, &self.workloads) {
            let (workloads, rollout) = (Arc::clone(workloads), self.rollout.clone());
            let before = self.trouble.is_some();
            self.job = Some(Job::start(&self.wake, async move {
                let seen = workloads.observe(&rollout, &Role::ALL).await;
                if before && seen.is_ok() {
                    info!(rollout, "pods can be looked at");
                }
                Done::Looked(seen.map_err(|why| why.to_string()))
            }));
        }
    }

    /// Tells main's autoscaler its `floor`, and then groups what they should be, in this order; does nothing while something
    /// else is under way, or before they were looked at again: what is still missing then is asked for again.
    pub fn tell(&mut self, floor: Option<u32>, targets: Vec<(Role, Target)>) {
        if self.job.is_some() || !self.fresh || (floor.is_none() && targets.is_empty()) {
            return;
        }
        let Some((_, workloads)) = &self.workloads else { return };
        let (workloads, rollout) = (Arc::clone(workloads), self.rollout.clone());
        self.fresh = false;
        self.job = Some(Job::start(&self.wake, async move {
            if let Some(replicas) = floor {
                if let Err(why) = workloads.floor(&rollout, replicas).await {
                    return Done::Told(Err(why.to_string()));
                }
                info!(rollout, replicas, "autoscaler told");
            }
            for (role, target) in targets {
                if let Err(why) = workloads.apply(&rollout, role, &target).await {
                    return Done::Told(Err(why.to_string()));
                }
                info!(rollout, %role, version = target.version, replicas = target.replicas, "pods told");
            }
            Done::Told(Ok(()))
        }));
    }
}
