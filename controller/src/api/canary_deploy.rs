//! `kind: CanaryDeploy` as people write it.

use super::{
    judge::{InconclusiveKind, JudgeSpec},
    percent::{any_object, list_of_any},
    rollout::{Object, SplitEntry, StepEntry, WebhookSpec, WorkloadsSpec, images, patch, template},
    rules,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Brings a new version into production step by step.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluicegate.dev",
    version = "v1alpha1",
    kind = "CanaryDeploy",
    plural = "canarydeploys",
    shortname = "cdeploy",
    category = "sluicegate",
    namespaced,
    status = "CanaryDeployStatus",
    doc = "Brings a new version into production step by step, comparing it with the old one.",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Step","type":"string","jsonPath":".status.step"}"#,
    printcolumn = r#"{"name":"Main","type":"string","jsonPath":".status.main"}"#,
    printcolumn = r#"{"name":"Baseline","type":"string","jsonPath":".status.baseline"}"#,
    printcolumn = r#"{"name":"Canary","type":"string","jsonPath":".status.canary"}"#,
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".status.verdict"}"#,
    printcolumn = r#"{"name":"Acked","type":"string","jsonPath":".status.acked"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::DEPLOY))]
pub struct CanaryDeploySpec {
    /// The Deployment that is main; `-baseline` and `-canary` are its copies. With `template` it is made, by the name of
    /// this rollout unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 54), extend("x-kubernetes-validations" = rules::LABEL))]
    pub workload: Option<String>,
    /// Container name to image: the new version of a Deployment. Changing this starts a rollout. Of `images`
    /// and `patch`, `template`, `version` exactly one is given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "images")]
    pub images: BTreeMap<String, String>,
    /// What else of main's pods is to change: a strategic merge patch of its pod template, such as
    /// `{ spec: { containers: [{ name: app, args: [-v] }] } }`. Changing this starts a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patch")]
    pub patch: Option<Object>,
    /// The pods of main, which then belongs to this rollout and goes with it. Changing this starts a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "template")]
    pub template: Option<Object>,
    /// How many pods main has, with `template`. A change in mid-rollout waits for its end. Unless given: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 10_000))]
    pub replicas: Option<u32>,
    /// The new version by a name that the user's own command knows. Changing this starts a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::VERSION))]
    pub version: Option<String>,
    /// The user's own command that looks after the pods, in a folder. Unless given, in a folder: weights move, pods
    /// are taken as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<WorkloadsSpec>,
    /// The TrafficSplits to drive: names, or `{ name, steps }` for one with weights of its own. Their subsets are
    /// main, baseline and canary.
    #[schemars(schema_with = "list_of_any")]
    pub splits: Vec<SplitEntry>,
    /// The canary's weight in percent at each step, ascending to 50: numbers, or `{ weight, hold, judge }`. The
    /// baseline gets as much, main the rest.
    #[schemars(schema_with = "list_of_any")]
    pub steps: Vec<StepEntry>,
    /// How long each step lasts at least, once all proxies have its weights. Unless given: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub hold: Option<String>,
    /// What makes a step good. Unless given: no more errors than the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeSpec>,
    /// How the way back begins. Unless given: fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "fast"))]
    pub rollback: Option<RollbackKind>,
    /// How long to look on after promotion. Unless given: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub watch: Option<String>,
    /// How long pods may take to get ready at each step before it is rolled back. Unless given: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub deadline: Option<String>,
    /// What to do about a HorizontalPodAutoscaler that scales main.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<AutoscalerSpec>,
    /// What to do about proxies that do not ack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acks: Option<AcksSpec>,
    /// Programs to be told, or asked, over HTTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub webhooks: Vec<WebhookSpec>,
    /// Stay where it is; a bad verdict still rolls back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// How the way back begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RollbackKind {
    /// The canary's share goes to pods of the old version at once.
    #[default]
    Fast,
    /// Main gets all its pods back first.
    Safe,
}

/// What to do about a HorizontalPodAutoscaler that scales main.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutoscalerSpec {
    /// How long after the end of a rollout it still leaves main the pods of the start: what it measured until then is of
    /// a main with less traffic. Unless given: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub settle: Option<String>,
}

/// What to do about proxies that do not ack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcksSpec {
    /// How long they may take. Unless given: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub timeout: Option<String>,
    /// And then. Unless given: hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<ThenKind>,
}

/// What to do when not all proxies acked in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ThenKind {
    /// Wait on, and say so.
    #[default]
    Hold,
    /// Go on without them.
    Proceed,
    /// Roll back.
    Rollback,
}

/// What the controller knows about the rollout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryDeployStatus {
    /// Where it is, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The step, of how many: `2/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Version, pods and weight of main, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    /// The same of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The same of the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Of the evidence so far: pass, fail or inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Live proxies that acked, of all live ones: `3/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked: Option<String>,
    /// What it waits for, or why it was rolled back, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The `metadata.generation` that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// For the controller: exactly where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub state: Option<serde_json::Map<String, serde_json::Value>>,
    /// Accepted, Progressing, Judged, Promoted, RolledBack and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>,
}

impl CanaryDeploySpec {
    pub(super) fn inconclusive(&self) -> InconclusiveKind {
        self.judge.as_ref().and_then(|j| j.inconclusive).unwrap_or_default()
    }
}
