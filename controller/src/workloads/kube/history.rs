//! What main ran before: its pod templates, each in a ControllerRevision, so that a version is always content again.
//!
//! In: a main that is about to be given another version. Out: the template of a version it once ran. One is written before
//! main changes; the last ten are kept.

use crate::{
    api::accept_rollout::content::hash,
    kube::cluster::{Cluster, ClusterError, MANAGER, ask},
};
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// On revisions: the Deployment they are of.
const WORKLOAD: &str = "sluicegate.dev/workload";
/// On revisions: the version they are of.
const VERSION: &str = super::shape::VERSION;
/// So many are kept.
const KEPT: usize = 10;

/// The history of one Deployment.
#[derive(Debug)]
pub struct History<'a> {
    /// Where it is kept.
    pub cluster: &'a Cluster,
    /// `namespace/name` of the Deployment.
    pub main: &'a str,
}

impl History<'_> {
    fn api(&self) -> (Api<ControllerRevision>, &str) {
        let (namespace, name) = self.main.split_once('/').unwrap_or(("default", self.main));
        (Api::namespaced(self.cluster.client(), namespace), name)
    }

    /// All of it, the newest last.
    async fn all(&self) -> Result<Vec<ControllerRevision>, ClusterError> {
        let (api, name) = self.api();
        let params = ListParams::default().labels(&format!("{WORKLOAD}={name}"));
        let mut all = ask("ControllerRevisions", api.list(&params)).await?.items;
        all.sort_by_key(|one| one.revision);
        Ok(all)
    }

    /// The template of a version; `None`: it is not remembered.
    pub async fn find(&self, version: &str) -> Result<Option<Value>, ClusterError> {
        let mut all = self.all().await?;
        let found = all.iter().rposition(|one| one.annotations().get(VERSION).is_some_and(|told| told == version));
        Ok(found.map(|at| all.swap_remove(at).data.0))
    }

    /// Remembers that main ran this; `owner`: with whom it goes.
    pub async fn keep(&self, version: &str, template: Value, owner: Option<Value>) -> Result<(), ClusterError> {
        self.cluster.may_write()?;
        let (api, main) = self.api();
        let all = self.all().await?;
        let name = format!("{main}-{}", hash(&format!("{version}\n{template}")));
        let newest = all.last().map_or(0, |one| one.revision.unwrap_or(0));
        match all.iter().find(|one| one.name_any() == name) {
            Some(known) if known.revision == Some(newest) => return Ok(()),
            Some(_) => {
                let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                let patch = Patch::Merge(json!({ "revision": newest + 1 }));
                ask(&name, api.patch(&name, &params, &patch)).await?;
            }
            None => {
                let metadata = json!({
                    "name": name, "labels": { WORKLOAD: main }, "annotations": { VERSION: version },
                    "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
                });
                let revision = ControllerRevision {
                    metadata: serde_json::from_value(metadata).unwrap_or_default(),
                    data: RawExtension(template),
                    revision: Some(newest + 1),
                };
                let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
                ask(&name, api.create(&params, &revision)).await?;
            }
        }
        for old in all.iter().filter(|one| one.name_any() != name).rev().skip(KEPT - 1) {
            match ask("an old ControllerRevision", api.delete(&old.name_any(), &DeleteParams::default())).await {
                Ok(_) | Err(ClusterError::Missing(_)) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }
}
