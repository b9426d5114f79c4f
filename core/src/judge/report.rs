//! A verdict with every number behind it, for people and machines.

use super::{
    Verdict,
    rules::{Criterion, PassWhen},
    window::Tally,
};
use serde::Serialize;

/// What the judge says of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in short sentences; never empty.
    pub reasons: Vec<String>,
    /// Evidence of harm over the whole rollout: 1 says nothing.
    pub harm: Level,
    /// How a step passes.
    pub pass_when: PassWhen,
    /// Evidence of harm from which a step does not pass by itself.
    pub warning: f64,
    /// Requests observed on each side before a step can pass.
    pub min_requests: u64,
    /// Windows in this step.
    pub windows: u32,
    /// The most a window counts towards harm.
    pub cap: f64,
    /// Proxies whose reports are missing or stale.
    pub missing: u32,
    /// Each criterion.
    pub criteria: Vec<Compared>,
    /// Each limit.
    pub limits: Vec<Limited>,
}

/// Evidence and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Level {
    /// Now.
    pub value: f64,
    /// Its base-10 logarithm.
    pub log10: f64,
    /// The most it ever was; this is what is held against the threshold of harm.
    pub peak: f64,
    /// The threshold.
    pub decides_at: f64,
}

/// One side's counts on a criterion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// In this step.
    pub step: Tally,
    /// In the whole rollout.
    pub rollout: Tally,
    /// Share of bad requests in this step; `None` without requests.
    pub rate: Option<f64>,
    /// The lowest rate this step's counts do not refute (anytime, with error β).
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

/// A criterion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// What is compared.
    pub criterion: Criterion,
    /// Its share of the evidence.
    pub weight: f64,
    /// The canary.
    pub canary: Side,
    /// What it is compared with.
    pub baseline: Side,
    /// Odds of a bad request on the canary to those on the baseline, in this step; `None` when one is unknown or 0.
    pub odds_ratio: Option<f64>,
    /// Evidence of harm on this criterion, over the whole rollout. Its threshold is divided by the weight.
    pub harm: Level,
    /// Evidence in this step that the harm is not unacceptable.
    pub harmless: Level,
    /// The smallest harm this step would have caught in four of five cases; `None`: it can see nothing.
    pub could_see: Option<CouldSee>,
    /// Requests of both sides together, about, after which harm is shown, if they go on as in this step; `None`: they do
    /// not look like harm, or it is shown.
    pub fails_after: Option<u64>,
    /// The same until unacceptable harm is refuted.
    pub proven_after: Option<u64>,
}

/// The smallest harm a step would have caught.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CouldSee {
    /// Odds of a bad request on the canary to those on the baseline.
    pub odds_ratio: f64,
    /// The canary's rate then.
    pub rate: f64,
    /// When the baseline's rate is this.
    pub beside: f64,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limited {
    /// What is limited.
    pub criterion: Criterion,
    /// The largest share of bad requests.
    pub max: f64,
    /// The canary.
    pub canary: Side,
    /// Evidence that it is exceeded, over the whole rollout.
    pub harm: Level,
}

/// What a criterion is called in a sentence.
pub fn name(criterion: Criterion) -> String {
    match criterion {
        Criterion::Errors(_) => "errors".to_owned(),
        Criterion::SlowerThan(micros) => format!("slower than {} ms", micros as f64 / 1000.0),
        Criterion::Slow => "slow".to_owned(),
    }
}

/// A share in percent, with two digits that matter.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent {
        p if p >= 10.0 || p <= 0.0 => 0,
        p if p >= 1.0 => 1,
        p if p >= 0.1 => 2,
        p if p >= 0.01 => 3,
        _ => 4,
    };
    format!("{percent:.digits$} %")
}

/// Evidence for a sentence: few digits, however large.
pub fn amount(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{v:.0e}"),
        v if v >= 10.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}
