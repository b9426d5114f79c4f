//! The verbs on the objects of a cluster, for a command line that waits for each.
//!
//! In: a kubeconfig. Out: what the status of objects says, in the form of the admin port; Judgments and changed specs.

use crate::{
    admin::model::{Say, Split, Splits, Weigh, WeightsSet},
    app,
    kube::{
        cluster::{self, Kind},
        person::{Person, PersonError},
        shown,
    },
    rollouts::view::{View, Views},
};
use anyhow::Result;
use std::{collections::BTreeMap, time::Duration};
use tokio::runtime::Runtime;

pub(super) struct Kubectl {
    runtime: Runtime,
    person: Person,
    namespace: String,
}

impl Kubectl {
    /// `context`: of the kubeconfig; unless given, the current one.
    pub(super) fn connect(context: Option<String>, namespace: Option<String>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, usual) = runtime.block_on(cluster::connect(context.as_deref()))?;
        // A clock stands on the runtime that it is read in.
        let clock = runtime.block_on(async { app::clock() });
        Ok(Self { runtime, person: Person::new(client, clock), namespace: namespace.unwrap_or(usual) })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn place(&self, everywhere: bool) -> Option<&str> {
        (!everywhere).then_some(&self.namespace)
    }

    pub(super) fn splits(&self, everywhere: bool) -> Result<Splits> {
        let listed = self.runtime.block_on(self.person.list(Kind::TrafficSplit, self.place(everywhere)))?;
        let splits: Vec<_> = listed.iter().map(shown::split).collect();
        let problems = splits.iter().flat_map(|split| split.problems.clone()).collect();
        Ok(Splits { splits, problems, missing: Vec::new() })
    }

    pub(super) fn split(&self, name: &str) -> Result<Split> {
        Ok(shown::split(&self.runtime.block_on(self.person.get(Kind::TrafficSplit, name))?))
    }

    pub(super) fn rollouts(&self, everywhere: bool) -> Result<Views> {
        let mut rollouts = Vec::new();
        for kind in Kind::ROLLOUTS {
            let listed = self.runtime.block_on(self.person.list(kind, self.place(everywhere)))?;
            rollouts.extend(listed.iter().map(|object| shown::rollout(kind, object, super::text::now())));
        }
        rollouts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Views { rollouts })
    }

    pub(super) fn rollout(&self, name: &str) -> Result<Option<View>> {
        for kind in Kind::ROLLOUTS {
            if let Some(object) = self.runtime.block_on(self.person.find(kind, name))? {
                return Ok(Some(shown::rollout(kind, &object, super::text::now())));
            }
        }
        Ok(None)
    }

    pub(super) fn say(&self, name: &str, verb: &str, say: &Say) -> Result<View, PersonError> {
        self.runtime.block_on(self.person.say(name, verb, say))
    }

    pub(super) fn weigh(&self, name: &str, weigh: &Weigh) -> Result<View, PersonError> {
        self.runtime.block_on(self.person.weigh(name, weigh))
    }

    pub(super) fn set_weights(
        &self,
        name: &str,
        weights: &BTreeMap<String, u32>,
        wait: Option<Duration>,
    ) -> Result<(WeightsSet, Split), PersonError> {
        self.runtime.block_on(self.person.set_weights(name, weights, wait))
    }
}
