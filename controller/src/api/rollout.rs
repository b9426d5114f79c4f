//! What `kind: CanaryDeploy` and `kind: CanaryTest` have in common, as people write it.

use super::{
    percent::{Percent, PercentVisitor, any, list_of_any},
    rules,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, json};
use std::fmt;

pub use super::accept_rollout::Webhook;
pub(super) use super::accept_rollout::content::Object;

/// The user's own command that looks after the pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadsSpec {
    /// The program and its arguments; paths are relative to the folder of the YAML. It reads a request as JSON on
    /// stdin and writes an answer as JSON to stdout.
    #[schemars(length(min = 1, max = 64))]
    pub command: Vec<String>,
    /// How long each run may take, such as 30s. Unless given: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub timeout: Option<String>,
}

/// A split to drive: its name, or an object with weights of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SplitEntry {
    /// With the weights of the rollout.
    Name(String),
    /// With its own.
    Own(OwnSteps),
}

/// A split with weights of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnSteps {
    /// The TrafficSplit: `name`, or `namespace/name`.
    pub name: String,
    /// The canary's weight in it at each step, in percent: as many as the rollout has steps. Unless given: those of
    /// the rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_of_any")]
    pub steps: Vec<Percent>,
}

impl<'de> Deserialize<'de> for SplitEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = SplitEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a TrafficSplit, or { name, steps }")
            }

            fn visit_str<E>(self, name: &str) -> Result<SplitEntry, E> {
                Ok(SplitEntry::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SplitEntry, A::Error> {
                OwnSteps::deserialize(MapAccessDeserializer::new(map)).map(SplitEntry::Own)
            }
        }
        from.deserialize_any(Either)
    }
}

/// A step: the canary's weight, or an object with more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum StepEntry {
    /// The canary's weight in percent.
    Weight(Percent),
    /// With how long and by whom.
    Full(FullStep),
}

/// A step in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FullStep {
    /// The canary's weight in percent.
    #[schemars(schema_with = "any")]
    pub weight: Percent,
    /// How long the step lasts at least once all proxies have its weights. Unless given: `hold` of the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub hold: Option<String>,
    /// Who decides that the step is good. Unless given: auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeKind>,
}

impl<'de> Deserialize<'de> for StepEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = StepEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a weight in percent such as 10, or { weight, hold, judge }")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<StepEntry, E> {
                PercentVisitor.visit_u64(number).map(StepEntry::Weight)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<StepEntry, E> {
                PercentVisitor.visit_i64(number).map(StepEntry::Weight)
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<StepEntry, E> {
                PercentVisitor.visit_f64(number).map(StepEntry::Weight)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<StepEntry, E> {
                PercentVisitor.visit_str(text).map(StepEntry::Weight)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StepEntry, A::Error> {
                FullStep::deserialize(MapAccessDeserializer::new(map)).map(StepEntry::Full)
            }
        }
        from.deserialize_any(Either)
    }
}

/// Who decides that a step is good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum JudgeKind {
    /// The evidence.
    #[default]
    Auto,
    /// A person.
    Manual,
    /// A person, as long as the evidence does not say fail.
    Both,
}

/// What a webhook is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WebhookPhase {
    /// Asked before the first pod of the canary is made.
    BeforeStart,
    /// Asked before each step.
    BeforeIncrease,
    /// Asked before main gets the new version.
    BeforePromote,
    /// Told when main runs the new version.
    AfterPromote,
    /// Told when the way back begins.
    OnRollback,
    /// Told of everything.
    Notify,
}

impl WebhookPhase {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeStart => "beforeStart",
            Self::BeforeIncrease => "beforeIncrease",
            Self::BeforePromote => "beforePromote",
            Self::AfterPromote => "afterPromote",
            Self::OnRollback => "onRollback",
            Self::Notify => "notify",
        }
    }

    /// The rollout waits for its yes.
    pub fn is_gate(self) -> bool {
        matches!(self, Self::BeforeStart | Self::BeforeIncrease | Self::BeforePromote)
    }
}

/// A program to be told, or asked, over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookSpec {
    /// Where: http or https.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = rules::URL))]
    pub url: String,
    /// When. Phases that begin with `before` are gates: the rollout goes on when the answer is 2xx.
    pub phase: WebhookPhase,
    /// How long each try may take. Unless given: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::DURATION))]
    pub timeout: Option<String>,
    /// How often it is tried again after a broken connection, 5xx or 429. Unless given: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 0, max = 20))]
    pub retries: Option<u32>,
    /// A file with the key that signs the body (HMAC-SHA256, header `x-sluicegate-signature`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::FILE))]
    pub secret_file: Option<String>,
    /// A PEM file with the certificates to trust, instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::FILE))]
    pub ca_file: Option<String>,
}

/// The schema of a part of a pod template.
pub(super) fn patch(_: &mut SchemaGenerator) -> Schema {
    pod(&["name"], json!({ "type": "string", "minLength": 1, "maxLength": 63 }), &[])
}

/// The schema of a whole one. What has a name in it is checked; the rest is Kubernetes' business.
pub(super) fn template(_: &mut SchemaGenerator) -> Schema {
    let text = |most| json!({ "type": "string", "maxLength": most, "pattern": "^[^ ,]+$" });
    let mut schema = pod(&["name", "image"], text(63), &["spec"]);
    let fields = schema.ensure_object();
    fields["properties"]["spec"]["required"] = json!(["containers"]);
    fields["properties"]["spec"]["properties"]["containers"]["minItems"] = json!(1);
    fields["properties"]["spec"]["properties"]["containers"]["items"]["properties"]["image"] = text(1024);
    schema
}

fn pod(required: &[&str], name: Value, parts: &[&str]) -> Schema {
    let open = |mut schema: Value| {
        schema["type"] = json!("object");
        schema["x-kubernetes-preserve-unknown-fields"] = json!(true);
        schema
    };
    let container = open(json!({ "required": required, "properties": { "name": name } }));
    let spec = open(json!({ "properties": { "containers": { "type": "array", "items": container } } }));
    json_schema!({
        "type": "object", "minProperties": 1, "required": parts,
        "properties": { "metadata": open(json!({})), "spec": spec },
    })
}

/// The schema of container name to image.
pub(super) fn images(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64, "minProperties": 1,
        "additionalProperties": { "type": "string", "maxLength": 1024 },
        "x-kubernetes-validations": rules::IMAGES,
    })
}
