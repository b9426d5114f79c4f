//! One metric: is the canary higher or lower than the baseline, surely and by enough to matter?

use super::{Direction, EffectSize, MetricSpec, mann_whitney};
use serde::{Deserialize, Serialize};

/// What a metric shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// No change that counts.
    Pass,
    /// The canary is higher, and that is bad.
    High,
    /// The canary is lower, and that is bad.
    Low,
    /// A side has no points.
    Nodata,
}

/// The numbers behind a class. Absent where both sides are the same and nothing needs comparing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Smallest shift of the canary, in the unit of the metric, that the data does not rule out.
    pub low: f64,
    /// Largest.
    pub high: f64,
    /// The shift that fits best.
    pub estimate: f64,
    /// The class is not `pass` only if the whole interval lies beyond this, or below its negative.
    pub bound: f64,
    /// The effect size; absent when it tells nothing, see [`EffectSize::RatioOfMeans`].
    pub effect: Option<f64>,
}

/// The class of sorted values, and the numbers behind it; `looks` divides the chance of error.
pub(super) fn classify(
    metric: &MetricSpec,
    canary: &[f64],
    baseline: &[f64],
    looks: u32,
) -> (Class, Option<Comparison>) {
    if canary.is_empty() || baseline.is_empty() {
        return (Class::Nodata, None);
    }
    if canary == baseline || one_value(canary, baseline) {
        return (Class::Pass, None);
    }
    let tail = (1.0 - metric.confidence) / 2.0 / f64::from(looks.max(1));
    let Some(interval) = mann_whitney::interval(canary, baseline, tail) else { return (Class::Nodata, None) };
    let bound = metric.tolerance * interval.estimate.abs();
    let effect = match metric.effect_size {
        EffectSize::RatioOfMeans => Some(mean(baseline)).filter(|b| *b > 0.0).map(|b| mean(canary) / b),
        EffectSize::CommonLanguage => mann_whitney::common_language(canary, baseline),
    };
    // A baseline of nearly nothing has the canary infinitely above it, which no JSON holds.
    let effect = effect.filter(|effect| effect.is_finite());
    let watched = |way| metric.direction == way || metric.direction == Direction::Either;
    let class = if watched(Direction::Increase) && interval.low > bound && metric.counts(Class::High, effect) {
        Class::High
    } else if watched(Direction::Decrease) && interval.high < -bound && metric.counts(Class::Low, effect) {
        Class::Low
    } else {
        Class::Pass
    };
    let mann_whitney::Interval { low, high, estimate } = interval;
    (class, Some(Comparison { low, high, estimate, bound, effect }))
}

fn one_value(canary: &[f64], baseline: &[f64]) -> bool {
    let first = canary.first();
    first == canary.last() && first == baseline.first() && first == baseline.last()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
