//! `judge` of a CanaryDeploy as people write it: what makes a step good.

use super::{
    percent::{Percent, any},
    rules,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What makes a step good. Without any of `errors`, `latency` and `metrics`: errors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::JUDGE))]
pub struct JudgeSpec {
    /// The canary must not answer more errors than the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<ErrorsSpec>,
    /// The canary must not be slow more often than the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencySpec>,
    /// Requests that canary and baseline must each have had before a step can pass. Unless given: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub min_requests: Option<u64>,
    /// What to do when a step's time is over and the evidence says neither. Unless given: hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "hold"))]
    pub inconclusive: Option<InconclusiveKind>,
    /// When the evidence passes. Unless given: noHarmSeen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "noHarmSeen"))]
    pub pass_when: Option<PassWhenKind>,
    /// Judge and note the verdict, but let nothing follow from it: steps last as long as they hold, and are left. Unless
    /// given: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// The chance that a good version is ever rolled back by the evidence. Unless given: 0.01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "maximum" = 1, "exclusiveMinimum" = true, "exclusiveMaximum" = true))]
    pub alpha: Option<f64>,
    /// Series of Prometheus to compare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub metrics: Vec<MetricSpec>,
    /// How much each group of metrics counts, in percent; what is left is shared equally.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub groups: BTreeMap<String, f64>,
    /// The scores, of 100, from which metrics pass and below which they fail. Unless given: 95 and 75.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks: Option<MarksSpec>,
    /// Where the metrics are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSpec>,
}

/// Errors: 5xx, resets, timeouts, local failures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorsSpec {
    /// Share of the canary's own requests that may fail whatever the baseline does, in percent, such as 1%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any")]
    pub max: Option<Percent>,
}

/// Slowness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencySpec {
    /// What counts as slow, such as 250ms. Unless given: taken from main before the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub slower_than: Option<String>,
    /// The time within which 99 of 100 requests of the canary must be answered, whatever the baseline does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub p99: Option<String>,
}

/// What to do when a step's time is over and the evidence says neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum InconclusiveKind {
    /// Wait for more, or for a person.
    #[default]
    Hold,
    /// Roll back.
    Rollback,
}

/// When the evidence passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PassWhenKind {
    /// Enough requests, and no harm seen among them.
    #[default]
    NoHarmSeen,
    /// It is shown that there is no unacceptable harm; takes far more requests.
    ProvenHarmless,
}

/// A pair of marks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::MARKS))]
pub struct MarksSpec {
    /// From here on: pass.
    pub pass: f64,
    /// Below: fail.
    pub marginal: f64,
}

/// A series of each subset, to be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSpec {
    /// What it is called in verdicts.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// PromQL that gives one series; `{{subset}}` stands for main, baseline or canary.
    #[schemars(length(max = 8192), extend("x-kubernetes-validations" = rules::QUERY))]
    pub query: String,
    /// Which way is bad. Unless given: increase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<DirectionKind>,
    /// The group it counts in. Unless given: one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub group: Option<String>,
    /// A change beyond `criticalIncrease` or `criticalDecrease` fails the step at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<bool>,
    /// No data fails, instead of leaving the metric out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub must_have_data: Option<bool>,
    /// How far apart the two may be, as a share of the estimate. Unless given: 0.25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub tolerance: Option<f64>,
    /// Confidence of the interval. Unless given: 0.98.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "maximum" = 1, "exclusiveMinimum" = true, "exclusiveMaximum" = true))]
    pub confidence: Option<f64>,
    /// How the size of a change is told. Unless given: meanRatio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<EffectKind>,
    /// The smallest effect that counts as an increase. Unless given: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub allowed_increase: Option<f64>,
    /// The largest effect that counts as a decrease. Unless given: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub allowed_decrease: Option<f64>,
    /// The effect from which a critical metric has failed. Unless given: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub critical_increase: Option<f64>,
    /// The same downwards. Unless given: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub critical_decrease: Option<f64>,
    /// What becomes of missing points. Unless given: remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nan: Option<NanKind>,
    /// What becomes of outliers. Unless given: keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outliers: Option<OutlierKind>,
    /// Points that each side must have for a verdict. Unless given: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 2))]
    pub min_points: Option<u32>,
}

/// Which way is bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DirectionKind {
    /// More is worse.
    #[default]
    Increase,
    /// Less is worse.
    Decrease,
    /// Any change is.
    Either,
}

/// How the size of a change is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EffectKind {
    /// Mean of the canary over mean of the baseline.
    #[default]
    MeanRatio,
    /// The chance that a point of the canary is above one of the baseline.
    Cles,
}

/// What becomes of missing points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NanKind {
    /// They are left out.
    #[default]
    Remove,
    /// They count as 0.
    Replace,
}

/// What becomes of outliers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OutlierKind {
    /// They count.
    #[default]
    Keep,
    /// They are left out.
    Remove,
}

/// Where Prometheus is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// Its address, such as `http://prometheus:9090`.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = rules::URL))]
    pub url: String,
    /// How long a query may take. Unless given: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub timeout: Option<String>,
    /// Time between two points. Unless given: 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub interval: Option<String>,
    /// A file with a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::FILE))]
    pub token_file: Option<String>,
    /// A PEM file with the certificates to trust, instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::FILE))]
    pub ca_file: Option<String>,
}
