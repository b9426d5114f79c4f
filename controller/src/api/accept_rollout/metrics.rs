//! From metrics as people write them to those of the judge.

use super::Judging;
use crate::api::judge::{self, DirectionKind, EffectKind, NanKind, OutlierKind};
use sluicegate_core::judge::metrics::{
    Direction, EffectSize, Marks, MetricSpec, Metrics, MetricsSpec, Nan, Outliers, SpecError,
};

impl Judging {
    /// The metrics, ready to judge by.
    pub fn metrics(&self) -> Result<Metrics, SpecError> {
        let spec = MetricsSpec {
            group_weights: self.groups.clone(),
            marks: Marks { pass: self.marks.0, marginal: self.marks.1 },
            ..MetricsSpec::of(self.metrics.iter().map(metric).collect())
        };
        Metrics::try_from(spec)
    }
}

fn metric(written: &judge::MetricSpec) -> MetricSpec {
    let usual = MetricSpec::named(&written.name);
    MetricSpec {
        group: written.group.clone().unwrap_or_else(|| written.name.clone()),
        direction: match written.direction.unwrap_or_default() {
            DirectionKind::Increase => Direction::Increase,
            DirectionKind::Decrease => Direction::Decrease,
            DirectionKind::Either => Direction::Either,
        },
        nan: match written.nan.unwrap_or_default() {
            NanKind::Remove => Nan::Remove,
            NanKind::Replace => Nan::Replace,
        },
        outliers: match written.outliers.unwrap_or_default() {
            OutlierKind::Keep => Outliers::Keep,
            OutlierKind::Remove => Outliers::Remove,
        },
        effect_size: match written.effect.unwrap_or_default() {
            EffectKind::MeanRatio => EffectSize::RatioOfMeans,
            EffectKind::Cles => EffectSize::CommonLanguage,
        },
        must_have_data: written.must_have_data.unwrap_or(false),
        critical: written.critical.unwrap_or(false),
        allowed_increase: written.allowed_increase,
        allowed_decrease: written.allowed_decrease,
        critical_increase: written.critical_increase,
        critical_decrease: written.critical_decrease,
        tolerance: written.tolerance.unwrap_or(usual.tolerance),
        confidence: written.confidence.unwrap_or(usual.confidence),
        min_points: written.min_points.map_or(usual.min_points, |points| points as usize),
        ..usual
    }
}
