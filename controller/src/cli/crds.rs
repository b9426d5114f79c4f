//! `sluicegate crds`: the CRDs, made of the types that also read the YAML.

use super::text;
use crate::api::{
    canary_deploy::CanaryDeploy, canary_test::CanaryTest, judgment::Judgment, traffic_split::TrafficSplit,
};
use anyhow::Result;
use kube::CustomResourceExt;

/// All CRDs as one YAML text.
pub(crate) fn yaml() -> Result<String> {
    let mut text = "# Made by `sluicegate crds`; do not edit.\n".to_owned();
    for crd in [TrafficSplit::crd(), CanaryDeploy::crd(), CanaryTest::crd(), Judgment::crd()] {
        let crd = serde_saphyr::to_string(&crd)?;
        text.push_str(&format!("---\n{}\n", crd.trim_end()));
    }
    Ok(text)
}

pub(super) fn run() -> Result<()> {
    text::print(&yaml()?)
}
