//! From a CanaryDeploy, CanaryTest or Judgment as written to what it means, or why it was refused and at which field.
//!
//! * [`deploy`], [`mod@test`], [`judgment`]: the three kinds.
//! * [`content`]: what is rolled out; [`parts`]: what else they have in common.
//! * [`judging`]: what makes a step good; [`metrics`]: the metrics among it.

pub mod content;
pub mod deploy;
pub mod judging;
pub mod judgment;
pub mod metrics;
pub mod parts;
pub mod test;

use super::{
    canary_deploy::{RollbackKind, ThenKind},
    judge::{InconclusiveKind, MetricSpec, PassWhenKind},
    judgment::{DecisionKind, VerdictKind},
    rollout::{JudgeKind, WebhookPhase},
};
use content::Content;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// A CanaryDeploy that makes sense. Weights are in thousandths of a percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// `namespace/name`.
    pub name: String,
    /// The Deployment that is main.
    pub workload: Option<String>,
    /// The new version as one text: as written, or made of the images.
    pub version: String,
    /// Container name to image; empty when the version is a name.
    pub images: BTreeMap<String, String>,
    /// What is rolled out beyond images.
    #[serde(default)]
    pub content: Option<Content>,
    /// Pods of main, when main belongs to the rollout.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// The user's own command; `None`: pods are taken as given, or are a Deployment's.
    pub command: Option<CommandLine>,
    /// At least one, the last at 50 %.
    pub steps: Vec<Step>,
    /// `namespace/name` and the canary's weight at each step; at least one.
    pub splits: Vec<(String, Vec<u32>)>,
    /// What makes a step good.
    pub judging: Judging,
    /// What to do when a step's time is over and the evidence says neither.
    pub inconclusive: InconclusiveKind,
    /// How the way back begins.
    pub rollback: RollbackKind,
    /// Milliseconds to look on after promotion; 0: not at all.
    pub watch: u64,
    /// Milliseconds at rest before the autoscaler of main is its owner's again.
    #[serde(default = "deploy::settle")]
    pub settle: u64,
    /// Milliseconds that pods may take to get ready, per step.
    pub deadline: u64,
    /// Milliseconds that proxies may take to ack.
    pub ack_timeout: u64,
    /// And then.
    pub acks: ThenKind,
    /// In the order written.
    pub webhooks: Vec<Webhook>,
    /// Stay where it is.
    pub paused: bool,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The canary's weight, in thousandths of a percent.
    pub weight: u32,
    /// Milliseconds it lasts at least, from the ack of its weights.
    pub hold: u64,
    /// Who decides.
    pub judge: JudgeKind,
}

/// The user's own command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLine {
    /// The program and its arguments; at least the program.
    pub command: Vec<String>,
    /// How long each run may take.
    pub timeout: Duration,
}

/// A program to be told, or asked, over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Where: http or https.
    pub url: String,
    /// When.
    pub phase: WebhookPhase,
    /// How long each try may take.
    pub timeout: Duration,
    /// How often it is tried again.
    pub retries: u32,
    /// The file with the key that signs the body.
    pub secret_file: Option<PathBuf>,
    /// The file with the certificates to trust, instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

impl Webhook {
    /// The same, with relative paths seen from this folder.
    pub fn seen_from(mut self, folder: &Path) -> Self {
        for file in [&mut self.secret_file, &mut self.ca_file].into_iter().flatten() {
            *file = folder.join(&*file);
        }
        self
    }
}

/// What makes a step good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judging {
    /// Compare errors.
    pub errors: Option<Errors>,
    /// Compare slowness.
    pub latency: Option<Latency>,
    /// Requests that canary and baseline must each have had; at least 1.
    pub min_requests: u64,
    /// When the evidence passes.
    pub pass_when: PassWhenKind,
    /// Nothing follows from the verdict.
    #[serde(default)]
    pub dry_run: bool,
    /// The chance that a good version is ever rolled back; between 0 and 1, both excluded.
    pub alpha: f64,
    /// Series to compare, each with a name of its own.
    pub metrics: Vec<MetricSpec>,
    /// Group to percent; each group has a metric.
    pub groups: BTreeMap<String, f64>,
    /// Scores from which metrics pass, and below which they fail.
    pub marks: (f64, f64),
    /// Where the metrics are; there when there are any.
    pub prometheus: Option<Prometheus>,
}

/// Compare errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// Share of the canary's own requests that may fail, in thousandths of a percent.
    pub max: Option<u32>,
}

/// Compare slowness. Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// What counts as slow; `None`: taken from main before the step.
    pub slower_than: Option<u64>,
    /// The time within which 99 of 100 requests of the canary must be answered.
    pub p99: Option<u64>,
}

/// Where metrics are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prometheus {
    /// Its address.
    pub url: String,
    /// How long a query may take.
    pub timeout: Duration,
    /// Time between two points.
    pub interval: Duration,
    /// The file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// The file with the certificates to trust, instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

/// A CanaryTest that makes sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// `namespace/name`.
    pub name: String,
    /// The Deployment that is main.
    pub workload: Option<String>,
    /// The version to try as one text: as written, or made of the images.
    pub version: String,
    /// Container name to image; empty when the version is a name.
    pub images: BTreeMap<String, String>,
    /// What is rolled out beyond images.
    #[serde(default)]
    pub content: Option<Content>,
    /// The user's own command; `None`: pods are taken as given, or are a Deployment's.
    pub command: Option<CommandLine>,
    /// `namespace/name`; at least one.
    pub splits: Vec<String>,
    /// The canary's weight in thousandths of a percent, at most half of all; 0: off.
    pub weight: u32,
    /// The canary's pods; at least one unless the weight is 0.
    pub replicas: u32,
    /// Milliseconds until it ends by itself; `None`: never.
    pub duration: Option<u64>,
}

/// A Judgment that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgment {
    /// `namespace/name`.
    pub name: String,
    /// `namespace/name` of the CanaryDeploy.
    pub rollout: String,
    /// The version it is about; `None`: the one that is rolled out.
    pub version: Option<String>,
    /// Index of the step it is about, counting from 0; `None`: the one that waits.
    pub step: Option<usize>,
    /// What it says.
    pub said: Said,
    /// Why, for people.
    pub reason: Option<String>,
}

/// What a judgment says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// By a person.
    Person {
        /// What is to happen.
        decision: DecisionKind,
        /// Who.
        by: String,
        /// Even though the evidence says fail.
        over_fail: bool,
    },
    /// By the evidence, as the controller noted it; nothing follows from reading it.
    Evidence {
        /// What it says.
        verdict: VerdictKind,
        /// What followed.
        decision: Option<DecisionKind>,
        /// The numbers behind it.
        evidence: serde_json::Map<String, serde_json::Value>,
    },
}
