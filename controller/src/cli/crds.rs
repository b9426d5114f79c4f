//! `sluicegate crds`: the CRDs, made of the types that also read the YAML, and the policy that checks what CRDs cannot.

use super::text;
use crate::api::{
    canary_deploy::CanaryDeploy, canary_test::CanaryTest, judgment::Judgment, traffic_split::TrafficSplit,
};
use anyhow::Result;
use kube::CustomResourceExt;
use serde_json::Value;

/// What `kubectl apply` takes besides the CRDs.
const POLICY: &str = include_str!("crds/policy.yaml");

/// All of it as one YAML text.
pub(crate) fn yaml() -> Result<String> {
    let mut text = "# Made by `sluicegate crds`; do not edit.\n".to_owned();
    for crd in [TrafficSplit::crd(), CanaryDeploy::crd(), CanaryTest::crd(), Judgment::crd()] {
        let mut crd = serde_json::to_value(&crd)?;
        drop_nullable(&mut crd);
        let crd = serde_saphyr::to_string(&crd)?;
        text.push_str(&format!("---\n{}\n", crd.trim_end()));
    }
    text.push_str(&format!("---\n{POLICY}"));
    Ok(text)
}

/// A field that may be left out is not one that may be null: the API server removes a null, and CEL need not know of it.
fn drop_nullable(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            fields.values_mut().for_each(drop_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nullable),
        _ => {}
    }
}

pub(super) fn run() -> Result<()> {
    text::print(&yaml()?)
}
