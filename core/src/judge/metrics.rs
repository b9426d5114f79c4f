//! Judges a step by metrics of canary and baseline: each is classed, the classes give scores, the scores a verdict.
//!
//! In the order data meets it:
//!
//! * [`MetricsSpec`]: what people say about their metrics; [`Metrics`]: the same checked.
//! * [`Samples`]: what the metrics system answered, or why it did not.
//! * [`percentile`]: which points are outliers.
//! * [`mann_whitney`], made of [`brent`] and [`normal`]: how far the canary lies above the baseline.
//! * [`Class`] with its [`Comparison`]; [`GroupScore`]; [`Judgment`].
//!
//! The method is that of Kayenta's judge. Where that one could pass a release that nobody had looked at, this one is
//! inconclusive: a source that fails, too few points, no data at all.
//!
//! It does not see sparse errors: a handful of them moves no rank. That is what judging by our own counts is for.

pub mod brent;
mod classify;
pub mod mann_whitney;
pub mod normal;
pub mod percentile;
mod score;
mod series;
mod spec;
mod text;

pub use classify::{Class, Comparison};
pub use score::GroupScore;
pub use series::Points;
pub use spec::{Direction, EffectSize, Marks, MetricSpec, Metrics, MetricsSpec, Nan, Outliers, SpecError};
pub use text::number;

use super::Verdict;
use serde::{Deserialize, Serialize};

/// Room for rounding in sums of weights: a score this close to a mark has reached it.
const ROUNDING: f64 = 1e-9;

/// What the metrics system says about one metric over the window.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// A point per step; `None` or NaN where there is none.
    Series {
        /// Of the canary.
        canary: Vec<Option<f64>>,
        /// Of the baseline, over the same window.
        baseline: Vec<Option<f64>>,
    },
    /// Why there are none.
    Failed(String),
}

/// What became of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricResult {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// What it shows; absent when its source failed.
    pub class: Option<Class>,
    /// A class from fewer points than asked for: shown, and no reason for a verdict.
    pub too_few: bool,
    /// It fails the whole judgment.
    pub critical: bool,
    /// As the metric says.
    pub must_have_data: bool,
    /// Points of the canary.
    pub canary: Points,
    /// Points of the baseline.
    pub baseline: Points,
    /// The numbers behind the class.
    pub comparison: Option<Comparison>,
    /// The same as a sentence.
    pub reason: String,
}

/// What all metrics say together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgment {
    /// The verdict.
    pub verdict: Verdict,
    /// 0 to 100, of the metrics that could be judged; absent when there were none.
    pub score: Option<f64>,
    /// Why this verdict, the strongest reason first.
    pub reasons: Vec<String>,
    /// The groups, by name.
    pub groups: Vec<GroupScore>,
    /// The metrics, as configured.
    pub metrics: Vec<MetricResult>,
}

impl Metrics {
    /// Judges; `samples` are in the order of [`Self::list`]. A metric without samples counts as one whose source failed.
    pub fn judge(&self, samples: &[Samples]) -> Judgment {
        let unasked = Samples::Failed("nobody asked for it".to_owned());
        let pairs = self.metrics.iter().enumerate().map(|(i, metric)| (metric, samples.get(i).unwrap_or(&unasked)));
        let metrics: Vec<MetricResult> = pairs.map(|(metric, samples)| look(metric, samples, self.looks)).collect();
        let groups = score::groups(&self.weights, &metrics);
        let score = score::total(&groups);
        let mut judgment = Judgment { verdict: Verdict::Inconclusive, score, reasons: Vec::new(), groups, metrics };
        self.decide(&mut judgment);
        judgment
    }

    /// Fills in the verdict, its reasons, and the score of a critical failure.
    fn decide(&self, judgment: &mut Judgment) {
        let told = |some: fn(&MetricResult) -> bool| -> Vec<String> {
            judgment.metrics.iter().filter(|m| some(m)).map(|m| format!("{}: {}", m.name, m.reason)).collect()
        };
        let critical = told(|m| m.critical);
        let failed = told(|m| !m.critical && matches!(m.class, Some(Class::High | Class::Low)));
        let unknown = told(|m| m.class.is_none() || m.too_few);
        let without = told(|m| m.class == Some(Class::Nodata) && m.must_have_data);
        let Marks { pass, marginal } = self.marks;
        let (verdict, score, first) = match judgment.score {
            _ if !critical.is_empty() => (Verdict::Fail, Some(0.0), "a critical metric failed".to_owned()),
            score if !unknown.is_empty() => (
                Verdict::Inconclusive,
                score,
                format!("{} of {} metrics cannot be judged", unknown.len(), self.metrics.len()),
            ),
            None => (Verdict::Inconclusive, None, "no metric has data".to_owned()),
            Some(score) => {
                let shown = number(score);
                if score + ROUNDING < marginal {
                    (Verdict::Fail, Some(score), format!("the score is {shown}, below {marginal}"))
                } else if score + ROUNDING < pass {
                    (Verdict::Inconclusive, Some(score), format!("the score is {shown}, between {marginal} and {pass}"))
                } else if !without.is_empty() {
                    (Verdict::Inconclusive, Some(score), format!("the score is {shown}, but data is missing"))
                } else {
                    (Verdict::Pass, Some(score), format!("the score is {shown}, at least {pass}"))
                }
            }
        };
        let why = [vec![first], critical, unknown, failed, without].concat();
        (judgment.verdict, judgment.score, judgment.reasons) = (verdict, score, why);
    }
}

/// Looks at one metric.
fn look(metric: &MetricSpec, samples: &Samples, looks: u32) -> MetricResult {
    let mut result = MetricResult {
        name: metric.name.clone(),
        group: metric.group.clone(),
        class: None,
        too_few: false,
        critical: false,
        must_have_data: metric.must_have_data,
        canary: Points::default(),
        baseline: Points::default(),
        comparison: None,
        reason: String::new(),
    };
    let pair = match samples {
        Samples::Series { canary, baseline } => series::prepare(metric, canary, baseline),
        Samples::Failed(why) => Err(why.clone()),
    };
    let pair = match pair {
        Ok(pair) => pair,
        Err(why) => {
            result.reason = why;
            return result;
        }
    };
    let (class, comparison) = classify::classify(metric, &pair.canary.values, &pair.baseline.values, looks);
    (result.canary, result.baseline) = (pair.canary.points, pair.baseline.points);
    (result.class, result.comparison) = (Some(class), comparison);
    let fewest = result.canary.used.min(result.baseline.used);
    result.too_few = class != Class::Nodata && fewest < metric.min_points;
    let effect = comparison.and_then(|comparison| comparison.effect);
    result.critical = !result.too_few && metric.is_critical(class, effect);
    result.reason = text::reason(metric, &result);
    result
}
