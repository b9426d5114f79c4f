//! The pods of a rollout: what there is of each role, and making it what it should be.
//!
//! In: a rollout's name and what a role should be. Out: what there is, or why that could not be found out or done.
//!
//! * [`contract`]: the JSON that the user's own command reads and writes. Pure.
//! * [`command`]: [`Workloads`] by that command.
//! * [`mod@kube`]: [`Workloads`] on Deployments.
//! * [`given`]: [`Workloads`] for those who move weights only: whatever was asked for is there.
//! * [`process`]: one run of a command, with its time, its output and its children kept within bounds.
//! * [`error`]: why it did not work.

pub mod command;
pub mod contract;
pub mod error;
pub mod given;
pub mod kube;
pub mod process;

use crate::{
    api::accept_rollout::{CommandLine, Deploy, Test, content::Content},
    kube::cluster::Kind,
    rollouts::Wanted,
};
use error::WorkloadsError;
use std::{fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc};

pub use sluicegate_core::rollout::{Role, Workload, desired::Target};

/// What there is of each role that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// `None`: was not asked about, or nothing is known of it.
    pub main: Option<Workload>,
    /// The same.
    pub baseline: Option<Workload>,
    /// The same.
    pub canary: Option<Workload>,
}

impl Observed {
    /// One group of pods; `None`: was not asked about.
    pub fn get(&self, role: Role) -> Option<&Workload> {
        match role {
            Role::Main => self.main.as_ref(),
            Role::Baseline => self.baseline.as_ref(),
            Role::Canary => self.canary.as_ref(),
        }
    }

    /// Sets one group of pods.
    pub fn set(&mut self, role: Role, workload: Workload) {
        let place = match role {
            Role::Main => &mut self.main,
            Role::Baseline => &mut self.baseline,
            Role::Canary => &mut self.canary,
        };
        *place = Some(workload);
    }
}

/// An answer that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, WorkloadsError>> + Send + 'a>>;

/// Knows the pods of rollouts and changes them.
///
/// Everything here may be repeated: whoever asks may have crashed before it heard the answer. Dropping an answer
/// that is under way gives up on it.
pub trait Workloads: fmt::Debug + Send + Sync {
    /// What there is of these roles. `rollout` is `namespace/name`.
    fn observe<'a>(&'a self, rollout: &'a str, roles: &'a [Role]) -> Answer<'a, Observed>;

    /// Tells a role what it should be. Returns when it was told, not when the pods are ready: `observe` says that.
    fn apply<'a>(&'a self, rollout: &'a str, role: Role, target: &'a Target) -> Answer<'a, ()>;

    /// Tells the autoscaler of main, where there is one, to leave so many pods at least; 0: as its owner says.
    fn floor<'a>(&'a self, _rollout: &'a str, _replicas: u32) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Who looks after the pods of one rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Care {
    /// Of the rollout.
    pub kind: Kind,
    /// The user's own command.
    pub command: Option<CommandLine>,
    /// The Deployment that is main.
    pub workload: Option<String>,
    /// The containers whose images make the version, in order.
    pub containers: Vec<String>,
    /// What is rolled out beyond images.
    pub content: Option<Content>,
    /// The version that is rolled out.
    pub version: String,
}

impl Care {
    /// As the user wants it.
    pub fn of(wanted: &Wanted) -> Self {
        match wanted {
            Wanted::Deploy(deploy) => Self::of_deploy(deploy),
            Wanted::Test(test) => Self::of_test(test),
        }
    }

    /// The same of a CanaryDeploy.
    pub fn of_deploy(deploy: &Deploy) -> Self {
        Self {
            kind: Kind::CanaryDeploy,
            command: deploy.command.clone(),
            workload: deploy.workload.clone(),
            containers: deploy.images.keys().cloned().collect(),
            content: deploy.content.clone(),
            version: deploy.version.clone(),
        }
    }

    /// The same of a CanaryTest.
    pub fn of_test(test: &Test) -> Self {
        Self {
            kind: Kind::CanaryTest,
            command: test.command.clone(),
            workload: test.workload.clone(),
            containers: test.images.keys().cloned().collect(),
            content: test.content.clone(),
            version: test.version.clone(),
        }
    }
}

/// Finds those who look after pods. Clones share what they know.
#[derive(Debug, Clone)]
pub enum Keeper {
    /// The user's own commands, run in this folder.
    Folder(PathBuf),
    /// Deployments; no commands are run.
    Cluster(kube::Deployments),
}

impl Keeper {
    /// Deployments.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Those of one rollout; `None`: nobody, its pods are taken as given.
    pub fn workloads(&self, care: &Care) -> Option<Arc<dyn Workloads>> {
        match (self, &care.command, &care.workload) {
            (Self::Folder(folder), Some(line), _) => {
                Some(Arc::new(command::Command::new(&line.command, folder.clone(), line.timeout)))
            }
            (Self::Cluster(deployments), _, Some(_)) => Some(Arc::new(deployments.of(care.clone()))),
            _ => None,
        }
    }
}
