//! The JSON of the admin port: written by the controller, read by the command line.

use crate::api::percent::Percent;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/splits`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Splits {
    /// In force, or refused from the beginning, in order of name.
    pub splits: Vec<Split>,
    /// What is wrong in the store.
    pub problems: Vec<Problem>,
    /// Splits that filters ask for by name and that do not exist.
    pub missing: Vec<Missing>,
}

/// `GET /v1/splits/{namespace}/{name}`, and one of [`Splits`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// `namespace/name`.
    pub name: String,
    /// In force; `None`: was never accepted.
    pub generation: Option<u64>,
    /// When that generation began.
    pub since: Option<Timestamp>,
    /// In interval order.
    pub subsets: Vec<Subset>,
    /// The subset that goes without header.
    pub default: Option<String>,
    /// Hosts it serves.
    pub hosts: Vec<String>,
    /// even, random, or `sticky by header x-user-id`.
    pub assignment: String,
    /// Live proxies that run this generation.
    pub acked: usize,
    /// Live proxies that subscribe.
    pub live: usize,
    /// From the publication to the ack of the last live proxy; `None`: not there yet.
    pub propagated_ms: Option<f64>,
    /// Accepted and Propagated.
    pub conditions: Vec<Condition>,
    /// What is wrong with its documents.
    pub problems: Vec<Problem>,
    /// Only in the detail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<SplitProxy>,
}

/// One subset with what was counted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// Its share of all weights, 0 to 1.
    pub share: f64,
    /// Only in the detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counted>,
}

/// What was counted for one subset.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// Of all proxies since they started; exact.
    pub requests: u64,
    /// Of all proxies since they started, by outcome (2xx, 5xx, local …); scaled up by the sampling rate.
    pub outcomes: BTreeMap<String, u64>,
    /// The same as they were observed.
    pub observed: BTreeMap<String, u64>,
    /// Seconds the following numbers are of: the last minute.
    pub window_seconds: f64,
    /// Requests per second.
    pub rate: f64,
    /// Share of outcomes that count against the subset, 0 to 1; `None`: none observed.
    pub errors: Option<f64>,
    /// Median latency in ms; `None`: none observed.
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
}

/// As Kubernetes has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Accepted or Propagated.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: String,
    /// One word for machines.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Timestamp,
    /// The generation it is about.
    pub observed_generation: Option<u64>,
}

/// Something in the store that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file, or the folder.
    pub file: String,
    /// From 1.
    pub line: Option<u64>,
    /// From 1.
    pub column: Option<u64>,
    /// The split it is about, if that is known.
    pub split: Option<String>,
    /// One word for machines.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A split that filters ask for by name and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// `namespace/name`.
    pub name: String,
    /// How many live proxies ask for it.
    pub proxies: usize,
}

/// `GET /v1/proxies`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxies {
    /// Live and lost ones, in order of node.
    pub proxies: Vec<Proxy>,
}

/// One Envoy process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Envoy's node id.
    pub node: String,
    /// The plugin's name.
    pub plugin: String,
    /// Random per process, 16 hex digits.
    pub epoch: String,
    /// Of the filter.
    pub version: String,
    /// This build counts.
    pub counts: bool,
    /// This build issues cookies.
    pub cookies: bool,
    /// A split, or `hosts`.
    pub subscription: String,
    /// live or lost.
    pub state: String,
    /// Polls held for it.
    pub polls: usize,
    /// Since its last sync or report ended.
    pub silent_ms: u64,
    /// Since it last reported; `None`: never, to this controller.
    pub reported_ms: Option<u64>,
    /// Splits it runs, with their generation.
    pub runs: BTreeMap<String, u64>,
}

/// One proxy as a split sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitProxy {
    /// Envoy's node id.
    pub node: String,
    /// The plugin's name.
    pub plugin: String,
    /// Random per process, 16 hex digits.
    pub epoch: String,
    /// Of the filter.
    pub version: String,
    /// live or lost.
    pub state: String,
    /// The generation it runs; `None`: none yet.
    pub generation: Option<u64>,
    /// acked, behind, ahead or conflict.
    pub standing: String,
    /// From the publication to its ack.
    pub lag_ms: Option<f64>,
    /// The weights it runs, by subset; `None`: this controller does not know what that generation was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<String, u32>>,
}

/// `POST /v1/splits/{namespace}/{name}/weights`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetWeights {
    /// New weights; subsets that are not named keep theirs.
    pub weights: BTreeMap<String, u32>,
}

/// Its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightsSet {
    /// In force now.
    pub generation: u64,
    /// False: the weights were like that before.
    pub changed: bool,
}

/// Any answer that is not 200.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// What failed, on what, and what to try.
    pub error: String,
}

/// `POST /v1/rollouts/{namespace}/{name}/weight`, of a CanaryTest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Weigh {
    /// The canary's weight in percent, to the thousandth; 0 ends the test.
    pub weight: Percent,
    /// The version to try; unless given: the one its document names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who says so. A cluster knows by itself, and does not ask.
    #[serde(default)]
    pub by: String,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/rollouts/{namespace}/{name}/{verb}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Say {
    /// Who says so. A cluster knows by itself, and does not ask.
    #[serde(default)]
    pub by: String,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
    /// The step that was looked at, from 1: refused when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Go on although the evidence says fail.
    #[serde(default, rename = "override")]
    pub over_fail: bool,
}
