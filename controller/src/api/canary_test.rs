//! `kind: CanaryTest` as people write it.

use super::{
    percent::{Percent, any_object, list_of_any},
    rollout::{Object, SplitEntry, WorkloadsSpec, images, patch},
    rules,
};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tries a version beside production, with weight and pods by hand.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluicegate.dev",
    version = "v1alpha1",
    kind = "CanaryTest",
    plural = "canarytests",
    shortname = "ctest",
    category = "sluicegate",
    namespaced,
    status = "CanaryTestStatus",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas"),
    doc = "Tries a version beside production, with weight and pods by hand; main is never touched.",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Main","type":"string","jsonPath":".status.main"}"#,
    printcolumn = r#"{"name":"Canary","type":"string","jsonPath":".status.canary"}"#,
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".status.verdict"}"#,
    printcolumn = r#"{"name":"Acked","type":"string","jsonPath":".status.acked"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::TEST))]
pub struct CanaryTestSpec {
    /// The Deployment that is main; `-canary` is its copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 54), extend("x-kubernetes-validations" = rules::LABEL))]
    pub workload: Option<String>,
    /// Container name to image: the version of a Deployment to try. Either `images` and `patch`, or
    /// `version` is given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "images")]
    pub images: BTreeMap<String, String>,
    /// What else of main's pods is to be tried: a strategic merge patch of its pod template, such as
    /// `{ spec: { containers: [{ name: app, args: [-v] }] } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patch")]
    pub patch: Option<Object>,
    /// The version to try by a name that the user's own command knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::VERSION))]
    pub version: Option<String>,
    /// The user's own command that looks after the pods, in a folder. Unless given, in a folder: weights move, pods
    /// are taken as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<WorkloadsSpec>,
    /// The TrafficSplits to drive, by name. Their subsets are main and canary.
    #[schemars(schema_with = "list_of_any")]
    pub splits: Vec<SplitEntry>,
    /// The canary's weight in percent, 0 to 50; 0: off. May be changed at any time.
    #[schemars(schema_with = "up_to_half")]
    pub weight: Percent,
    /// The canary's pods. May be changed at any time. Unless given: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 0, max = 10_000))]
    pub replicas: Option<u32>,
    /// When it ends by itself, from the moment all proxies have the weight. Unless given: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub duration: Option<String>,
}

fn up_to_half(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "minimum": 0, "maximum": 50 })
}

/// What the controller knows about the test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryTestStatus {
    /// Where it is, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Version, pods and weight of main, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    /// The same of the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Pods that the canary was told to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Of the evidence so far: pass, fail or inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Live proxies that acked, of all live ones: `3/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked: Option<String>,
    /// What it waits for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The `metadata.generation` that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// For the controller: exactly where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub state: Option<serde_json::Map<String, serde_json::Value>>,
    /// Accepted and Progressing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>,
}
