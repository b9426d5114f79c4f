//! From classes to scores.

use super::{Class, MetricResult};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one group of metrics adds to the total.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupScore {
    /// Its name.
    pub name: String,
    /// Its weight, in percent.
    pub weight: f64,
    /// Passed metrics in percent of those that passed or failed; absent when there are none, and then its weight goes to
    /// the others in proportion.
    pub score: Option<f64>,
    /// Metrics that passed.
    pub passed: usize,
    /// Metrics that are high, low, or without the data they must have.
    pub failed: usize,
    /// Metrics that count neither way: without data, or not judged.
    pub uncounted: usize,
}

/// The score of each group.
pub(super) fn groups(weights: &BTreeMap<String, f64>, results: &[MetricResult]) -> Vec<GroupScore> {
    let scored = |(name, weight): (&String, &f64)| {
        let (mut passed, mut failed, mut uncounted) = (0, 0, 0);
        for result in results.iter().filter(|result| result.group == *name) {
            match result.class {
                Some(Class::Pass) => passed += 1,
                Some(Class::High | Class::Low) => failed += 1,
                Some(Class::Nodata) if result.must_have_data => failed += 1,
                Some(Class::Nodata) | None => uncounted += 1,
            }
        }
        let counted = passed + failed;
        let score = (counted > 0).then(|| 100.0 * passed as f64 / counted as f64);
        GroupScore { name: name.clone(), weight: *weight, score, passed, failed, uncounted }
    };
    weights.iter().map(scored).collect()
}

/// The scores of the groups, by weight; absent when no group that weighs anything has one.
pub(super) fn total(groups: &[GroupScore]) -> Option<f64> {
    let scored = || groups.iter().filter_map(|group| Some((group.weight, group.score?)));
    let all: f64 = scored().map(|(weight, _)| weight).sum();
    let sum: f64 = scored().map(|(weight, score)| weight * score).sum();
    (all > 0.0).then(|| (sum / all).clamp(0.0, 100.0))
}
