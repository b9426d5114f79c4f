//! The other judge on the same simulated rollouts: the share of bad requests in each window is a point of a metric.
//!
//! In: a scenario, and after how many windows it looks. Out: how many rollouts it fails.

use crate::sim::{Scenario, many};
use sluicegate_core::judge::{
    Verdict,
    metrics::{Direction, MetricSpec, Metrics, MetricsSpec, Samples},
    window::Tally,
};

/// In percent, those it fails at one of these looks, each at all windows so far. As configured unless told otherwise,
/// with an increase as what is bad.
pub(crate) fn failed(scenario: &Scenario, looks: &[usize], rollouts: u64, seed: u64) -> f64 {
    let metric = MetricSpec { direction: Direction::Increase, ..MetricSpec::named("errors") };
    let metrics = Metrics::try_from(MetricsSpec::of(vec![metric])).expect("a metric");
    let last = looks.iter().copied().max().unwrap_or(0);
    let fails = many(rollouts, seed, |seed| {
        let point = |tally: Tally| Some(tally.rate().unwrap_or(0.0));
        let (canary, baseline): (Vec<_>, Vec<_>) =
            scenario.tallies(seed).take(last).map(|(canary, baseline)| (point(canary), point(baseline))).unzip();
        looks.iter().any(|look| {
            let first = |points: &[Option<f64>]| points.iter().take(*look).copied().collect();
            let samples = Samples::Series { canary: first(&canary), baseline: first(&baseline) };
            metrics.judge(&[samples]).verdict == Verdict::Fail
        })
    });
    100.0 * fails.iter().filter(|failed| **failed).count() as f64 / rollouts as f64
}
