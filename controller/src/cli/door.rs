//! Where the verbs go: the admin port of a controller, or the objects of a cluster, by the kubeconfig of whoever asks.
//!
//! In: names as typed. Out: the same answers through either door; what only a controller knows is not there by the other.

use super::{Common, client::Client, cluster::Kubectl};
use crate::{
    admin::model::{Proxies, Say, SetWeights, Split, Splits, Weigh, WeightsSet},
    rollouts::view::{View, Views},
};
use anyhow::{Result, bail};
use sluicegate_core::name;
use std::{collections::BTreeMap, time::Duration};

/// The admin port, unless given.
const ADMIN: &str = "http://127.0.0.1:7071";
/// The program's name as a kubectl plugin.
const PLUGIN: &str = "kubectl-sluicegate";

pub(super) enum Door {
    Admin { client: Client, namespace: String },
    Cluster(Kubectl),
}

impl Door {
    /// As the options say; a kubectl plugin asks the cluster unless it is told otherwise.
    pub(super) fn open(common: &Common) -> Result<Self> {
        let plugin = std::env::args().next().is_some_and(|own| own.rsplit(['/', '\\']).next() == Some(PLUGIN));
        if common.kube || common.context.is_some() || (plugin && common.admin.is_none()) {
            return Kubectl::connect(common.context.clone(), common.namespace.clone()).map(Self::Cluster);
        }
        let namespace = common.namespace.clone().unwrap_or_else(|| "default".to_owned());
        Ok(Self::Admin { client: Client::new(common.admin.as_deref().unwrap_or(ADMIN)), namespace })
    }

    /// `namespace/name` of what was typed.
    pub(super) fn full(&self, typed: &str) -> Result<String> {
        let namespace = match self {
            Self::Admin { namespace, .. } => namespace,
            Self::Cluster(cluster) => cluster.namespace(),
        };
        let full = if typed.contains('/') { typed.to_owned() } else { format!("{namespace}/{typed}") };
        name::split(&full)?;
        Ok(full)
    }

    pub(super) fn splits(&self, everywhere: bool) -> Result<Splits> {
        match self {
            Self::Admin { client, .. } => client.get("/v1/splits", Duration::ZERO),
            Self::Cluster(cluster) => cluster.splits(everywhere),
        }
    }

    pub(super) fn split(&self, name: &str) -> Result<Split> {
        match self {
            Self::Admin { client, .. } => client.get(&format!("/v1/splits/{name}"), Duration::ZERO),
            Self::Cluster(cluster) => cluster.split(name),
        }
    }

    pub(super) fn rollouts(&self, everywhere: bool) -> Result<Views> {
        match self {
            Self::Admin { client, .. } => client.get("/v1/rollouts", Duration::ZERO),
            Self::Cluster(cluster) => cluster.rollouts(everywhere),
        }
    }

    /// A rollout; `None`: there is none of that name.
    pub(super) fn rollout(&self, name: &str) -> Result<Option<View>> {
        match self {
            Self::Admin { client, .. } => client.find(&format!("/v1/rollouts/{name}")),
            Self::Cluster(cluster) => cluster.rollout(name),
        }
    }

    pub(super) fn proxies(&self) -> Result<Proxies> {
        match self {
            Self::Admin { client, .. } => client.get("/v1/proxies", Duration::ZERO),
            Self::Cluster(_) => bail!(
                "the cluster keeps no list of proxies; ask the controller that leads: `kubectl -n NAMESPACE port-forward \
                 POD 7071`, then `sluicegate get proxies`"
            ),
        }
    }

    /// Says something to a rollout; `by`: who, unless the cluster knows.
    pub(super) fn say(&self, name: &str, verb: &str, say: Say) -> Result<View> {
        match self {
            Self::Admin { client, .. } => client.post(&format!("/v1/rollouts/{name}/{verb}"), &say),
            Self::Cluster(cluster) => Ok(cluster.say(name, verb, &say)?),
        }
    }

    /// Gives a CanaryTest another weight.
    pub(super) fn weigh(&self, name: &str, weigh: &Weigh) -> Result<View> {
        match self {
            Self::Admin { client, .. } => client.post(&format!("/v1/rollouts/{name}/weight"), weigh),
            Self::Cluster(cluster) => Ok(cluster.weigh(name, weigh)?),
        }
    }

    /// Sets weights; `wait`: how long to wait for the acks, `None`: not at all.
    pub(super) fn set_weights(
        &self,
        name: &str,
        weights: BTreeMap<String, u32>,
        wait: Option<Duration>,
    ) -> Result<(WeightsSet, Split)> {
        let client = match self {
            Self::Admin { client, .. } => client,
            Self::Cluster(cluster) => return Ok(cluster.set_weights(name, &weights, wait)?),
        };
        let path = format!("/v1/splits/{name}");
        let done: WeightsSet = client.post(&format!("{path}/weights"), &SetWeights { weights })?;
        let split = match wait {
            None => client.get(&path, Duration::ZERO)?,
            Some(wait) => {
                let (generation, timeout) = (done.generation, wait.as_secs_f64());
                client.get(&format!("{path}?wait=acked&generation={generation}&timeout={timeout}"), wait)?
            }
        };
        Ok((done, split))
    }
}
