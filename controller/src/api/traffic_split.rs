//! `kind: TrafficSplit` as people write it.

use super::{percent::any_object, rules};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Divides the requests of one service over named subsets by weight.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluicegate.dev",
    version = "v1alpha1",
    kind = "TrafficSplit",
    plural = "trafficsplits",
    shortname = "split",
    category = "sluicegate",
    namespaced,
    status = "TrafficSplitStatus",
    doc = "Divides the requests of one service over named subsets by weight.",
    printcolumn = r#"{"name":"Weights","type":"string","jsonPath":".status.weights"}"#,
    printcolumn = r#"{"name":"Generation","type":"integer","jsonPath":".status.generation"}"#,
    printcolumn = r#"{"name":"Acked","type":"string","jsonPath":".status.acked"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::SPLIT))]
pub struct TrafficSplitSpec {
    /// Where requests can go, 1 to 16 of them. The order matters when weights change: a subset at either end grows and
    /// shrinks only against its neighbour, so list canary, main, baseline.
    #[schemars(length(min = 1, max = 16))]
    pub subsets: Vec<SubsetEntry>,
    /// The subset whose requests go out without the subset header, and where requests go when nothing is known.
    /// Unless given: `main` if there is a subset of that name, otherwise the first one listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub default: Option<String>,
    /// Hosts whose requests this split decides, for filters that serve many splits: lower-case names, exact or
    /// beginning with `*.`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 253)), extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = rules::HOSTS))]
    pub hosts: Vec<String>,
    /// How a request gets its subset. Unless given: even.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "even"))]
    pub assignment: Option<AssignmentKind>,
    /// What `assignment: sticky` goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickySpec>,
    /// Looked at before weights; the first match wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub overrides: Vec<OverrideEntry>,
    /// Keep a subset header set by an earlier hop when it names a subset of this split: one decision for a whole call
    /// tree. Implies `writeDefault: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_upstream: Option<bool>,
    /// Send the subset header for the default subset too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_default: Option<bool>,
    /// How the outcome of a request is read. Unless given: http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "http"))]
    pub protocol: Option<ProtocolKind>,
}

/// A subset and its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubsetEntry {
    /// A DNS label: the value of the subset header.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = rules::LABEL))]
    pub name: String,
    /// Its share, relative to the sum of all weights.
    #[schemars(with = "i64", range(min = 0, max = 4_294_967_295_u64))]
    pub weight: u32,
}

/// How a request gets its subset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AssignmentKind {
    /// Counts track the weights at every moment.
    #[default]
    Even,
    /// Independent draws.
    Random,
    /// By a key of the request: see `sticky`.
    Sticky,
}

/// What stickiness goes by: exactly one of `header`, `cookie` and `sourceAddress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::STICKY))]
pub struct StickySpec {
    /// The value of this header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::HEADER))]
    pub header: Option<String>,
    /// The value of this cookie, which is issued to clients that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieEntry>,
    /// The client's address as Envoy trusts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::ONLY_TRUE))]
    pub source_address: Option<bool>,
    /// Different salts pick different users. Unless given: the split's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub salt: Option<String>,
}

/// A cookie to be sticky by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieEntry {
    /// Its name.
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::COOKIE))]
    pub name: String,
    /// How long an issued cookie lives, such as 24h or 30d. Unless given: until the browser closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub ttl: Option<String>,
}

/// Requests that match get this subset whatever the weights are: `value` and exactly one of `header` and `cookie`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::OVERRIDE))]
pub struct OverrideEntry {
    /// The header to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::HEADER))]
    pub header: Option<String>,
    /// The cookie to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::COOKIE))]
    pub cookie: Option<String>,
    /// What it must equal, byte by byte.
    pub value: String,
    /// The subset of a request that matches.
    #[schemars(length(max = 63))]
    pub subset: String,
}

/// How the outcome of a request is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProtocolKind {
    /// By HTTP status.
    #[default]
    Http,
    /// By gRPC status.
    Grpc,
}

/// What the controller knows about the split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSplitStatus {
    /// The generation in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub generation: Option<u64>,
    /// The weights in force, as text: `v1=90 v2=10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Live proxies that acked the generation, of all live ones: `3/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked: Option<String>,
    /// For the controller: exactly what is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub state: Option<serde_json::Map<String, serde_json::Value>>,
    /// Accepted and Propagated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>,
}
