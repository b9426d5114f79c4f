//! Series of metrics, judged by [`sluicegate_core::judge::metrics`].
//!
//! In: a recording. Out: a verdict, the score, and what each metric shows.

use super::recording::{self, Effect, Point};
use crate::api::{accept_rollout::judging, nearest::hint};
use anyhow::{Result, bail};
use serde::Serialize;
use sluicegate_core::judge::{
    Verdict,
    metrics::{
        Class, EffectSize, GroupScore, Marks, MetricResult, MetricSpec, Metrics, MetricsSpec, Samples, SpecError,
    },
};

/// What the metrics say together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// Always `None`: series are judged as a whole.
    pub(super) decided_at: Option<f64>,
    /// 0 to 100; 0 also when a critical metric failed and when nothing could be scored.
    pub(super) score: f64,
    pub(super) pass: f64,
    pub(super) marginal: f64,
    pub(super) reasons: Vec<String>,
    pub(super) metrics: Vec<Metric>,
    pub(super) groups: Vec<GroupScore>,
}

/// What one metric shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) group: String,
    /// `pass`, `high`, `low`, `nodata`, or `error` when it cannot be judged.
    pub(super) class: &'static str,
    /// It failed the whole judgment.
    pub(super) critical: bool,
    /// Lowest and highest shift of the canary that the points do not rule out; `None` when nothing had to be compared.
    pub(super) interval: Option<[f64; 2]>,
    /// The shift that fits best.
    pub(super) estimate: Option<f64>,
    /// The class is `high` or `low` only when the whole interval lies beyond this.
    pub(super) bound: Option<f64>,
    pub(super) effect: Option<f64>,
    /// Points compared.
    pub(super) n: Points,
    /// Fewer than `minPoints`: the class is shown, and no reason for a verdict.
    pub(super) too_few: bool,
    pub(super) reason: String,
}

/// Points of both sides.
#[derive(Debug, Serialize)]
pub(super) struct Points {
    pub(super) baseline: usize,
    pub(super) canary: usize,
}

/// Judges.
pub(super) fn judge(recording: &recording::Metrics) -> Result<Judged> {
    let (pass, marginal) = judging::MARKS;
    let marks = Marks { pass: recording.pass.unwrap_or(pass), marginal: recording.marginal.unwrap_or(marginal) };
    let metrics = match Metrics::try_from(MetricsSpec {
        metrics: recording.metrics.iter().map(spec).collect(),
        group_weights: recording.groups.clone(),
        marks,
        looks: 1,
    }) {
        Ok(metrics) => metrics,
        Err(why) => bail!("{}", explain(&why, recording)),
    };
    let points = |points: &[Point]| points.iter().map(|point| point.0).collect();
    let samples = recording.metrics.iter();
    let samples: Vec<Samples> =
        samples.map(|it| Samples::Series { canary: points(&it.canary), baseline: points(&it.baseline) }).collect();
    let it = metrics.judge(&samples);
    Ok(Judged {
        verdict: it.verdict,
        decided_at: None,
        score: it.score.unwrap_or(0.0),
        pass: marks.pass,
        marginal: marks.marginal,
        reasons: it.reasons,
        metrics: it.metrics.into_iter().map(shown).collect(),
        groups: it.groups,
    })
}

/// The metric as the judge knows it.
fn spec(metric: &recording::Metric) -> MetricSpec {
    let unless_given = MetricSpec::named(&metric.name);
    let effect_size = match metric.effect.unwrap_or_default() {
        Effect::MeanRatio => EffectSize::RatioOfMeans,
        Effect::Cles => EffectSize::CommonLanguage,
    };
    // A canary that is surely higher is above the baseline more often than not, so what is below 0.5 allows nothing more
    // than 0.5 does. Both are often left at 1, which makes sense for ratios.
    let chances = effect_size == EffectSize::CommonLanguage;
    let up = |given: Option<f64>| given.map(|v| if chances && (0.0..0.5).contains(&v) { 0.5 } else { v });
    let down = |given: Option<f64>| given.map(|v| if chances && (0.5..=1.0).contains(&v) { 0.5 } else { v });
    MetricSpec {
        group: metric.group.clone().unwrap_or_else(|| metric.name.clone()),
        direction: metric.direction.unwrap_or_default().into(),
        nan: metric.nan.unwrap_or_default().into(),
        outliers: metric.outliers.unwrap_or_default().into(),
        must_have_data: metric.must_have_data.unwrap_or(unless_given.must_have_data),
        critical: metric.critical.unwrap_or(unless_given.critical),
        effect_size,
        allowed_increase: up(metric.allowed_increase),
        allowed_decrease: down(metric.allowed_decrease),
        critical_increase: up(metric.critical_increase),
        critical_decrease: down(metric.critical_decrease),
        tolerance: metric.tolerance.unwrap_or(unless_given.tolerance),
        confidence: metric.confidence.unwrap_or(unless_given.confidence),
        min_points: metric.min_points.unwrap_or(unless_given.min_points),
        ..unless_given
    }
}

/// Why they cannot be judged, with the names that exist.
fn explain(why: &SpecError, recording: &recording::Metrics) -> String {
    match why {
        SpecError::NoSuchGroup(group) => {
            let groups = recording.metrics.iter().map(|metric| metric.group.as_ref().unwrap_or(&metric.name).as_str());
            format!("{why}{}", hint(group, groups))
        }
        SpecError::Field { metric, .. } => {
            let at = recording.metrics.iter().position(|it| it.name == *metric).unwrap_or_default();
            format!("metrics[{at}]: {why}")
        }
        _ => why.to_string(),
    }
}

fn shown(it: MetricResult) -> Metric {
    Metric {
        class: match it.class {
            Some(Class::Pass) => "pass",
            Some(Class::High) => "high",
            Some(Class::Low) => "low",
            Some(Class::Nodata) => "nodata",
            None => "error",
        },
        critical: it.critical,
        interval: it.comparison.map(|c| [c.low, c.high]),
        estimate: it.comparison.map(|c| c.estimate),
        bound: it.comparison.map(|c| c.bound),
        effect: it.comparison.and_then(|c| c.effect),
        n: Points { baseline: it.baseline.used, canary: it.canary.used },
        too_few: it.too_few,
        reason: it.reason,
        name: it.name,
        group: it.group,
    }
}
