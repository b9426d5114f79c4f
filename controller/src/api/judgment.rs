//! `kind: Judgment` as people and the controller write it.

use super::{percent::any_object, rules};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person's decision, or the verdict of the evidence, on a step of a rollout.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluicegate.dev",
    version = "v1alpha1",
    kind = "Judgment",
    plural = "judgments",
    shortname = "jdg",
    category = "sluicegate",
    namespaced,
    status = "JudgmentStatus",
    doc = "A person's decision, or the verdict of the evidence, on a step of a rollout.",
    printcolumn = r#"{"name":"Rollout","type":"string","jsonPath":".spec.rollout"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.version"}"#,
    printcolumn = r#"{"name":"Step","type":"integer","jsonPath":".spec.step"}"#,
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".spec.verdict"}"#,
    printcolumn = r#"{"name":"Decision","type":"string","jsonPath":".spec.decision"}"#,
    printcolumn = r#"{"name":"By","type":"string","jsonPath":".spec.by"}"#,
    printcolumn = r#"{"name":"Applied","type":"string","jsonPath":".status.conditions[?(@.type==\"Applied\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::JUDGMENT))]
pub struct JudgmentSpec {
    /// The CanaryDeploy: `name`, or `namespace/name`.
    #[schemars(length(max = 127), extend("x-kubernetes-validations" = rules::ROLLOUT))]
    pub rollout: String,
    /// The version it is about. Unless given: the one that is rolled out when this is first read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub version: Option<String>,
    /// The step it is about, counting from 1. Unless given: the one that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 100))]
    pub step: Option<u32>,
    /// What is to happen. A person's judgment has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionKind>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub by: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Continue, or promote, even though the evidence says fail.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub over_fail: Option<bool>,
    /// What the evidence says. The controller writes this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictKind>,
    /// The numbers behind it. The controller writes this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub evidence: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DecisionKind {
    /// The step is good.
    Continue,
    /// Take the canary off.
    Rollback,
    /// Go to the last step and promote, leaving out the judgments in between.
    Promote,
    /// Give main the version before again, after it was promoted.
    Undo,
}

/// What the evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum VerdictKind {
    /// No harm seen, and enough to see it by.
    Pass,
    /// Harm.
    Fail,
    /// Too little, nothing, or a source that does not answer.
    Inconclusive,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JudgmentStatus {
    /// The `metadata.generation` that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, and Applied or why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>,
}
