//! `sluicegate crds`: the CRDs, made of the types that also read the YAML.

use super::text;
use crate::api::traffic_split::TrafficSplit;
use anyhow::Result;
use kube::CustomResourceExt;

/// All CRDs as one YAML text.
pub(crate) fn yaml() -> Result<String> {
    let crd = serde_saphyr::to_string(&TrafficSplit::crd())?;
    Ok(format!("# Made by `sluicegate crds`; do not edit.\n---\n{}\n", crd.trim_end()))
}

pub(super) fn run() -> Result<()> {
    text::print(&yaml()?)
}
