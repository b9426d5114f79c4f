//! Results as sentences.

use super::{Class, EffectSize, MetricResult, MetricSpec};

/// Four digits of it, so that a sentence stays one.
pub fn number(x: f64) -> String {
    let short: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    if short != 0.0 && !(1e-4..1e9).contains(&short.abs()) { format!("{short:e}") } else { short.to_string() }
}

/// Why a metric has its class.
pub(super) fn reason(metric: &MetricSpec, result: &MetricResult) -> String {
    let (canary, baseline) = (result.canary.used, result.baseline.used);
    let mut said = match (result.class, result.comparison) {
        (Some(Class::Nodata), _) => {
            let side = match (canary, baseline) {
                (0, 0) => "neither side has",
                (0, _) => "the canary does not have",
                _ => "the baseline does not have",
            };
            format!("{side} a single point in the window")
        }
        (_, None) => "both sides are the same".to_owned(),
        (class, Some(it)) => {
            let [low, high, estimate, bound] = [it.low, it.high, it.estimate, it.bound].map(number);
            let verb = match class {
                Some(Class::High) => "is higher",
                Some(Class::Low) => "is lower",
                _ => "does not differ so that it counts",
            };
            let looked = format!("by {estimate}, surely between {low} and {high}, bound {bound}");
            let effect = match (it.effect, metric.effect_size) {
                (None, _) => String::new(),
                (Some(effect), EffectSize::RatioOfMeans) => format!(", {} times the baseline", number(effect)),
                (Some(effect), EffectSize::CommonLanguage) => {
                    format!(", above the baseline with chance {}", number(effect))
                }
            };
            format!("the canary {verb}: {looked}{effect}")
        }
    };
    if result.too_few {
        let least = metric.min_points;
        said = format!("only {canary} points of the canary and {baseline} of the baseline, {least} are needed; {said}");
    }
    said
}
