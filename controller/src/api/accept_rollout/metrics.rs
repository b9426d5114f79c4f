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
        direction: written.direction.unwrap_or_default().into(),
        nan: written.nan.unwrap_or_default().into(),
        outliers: written.outliers.unwrap_or_default().into(),
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

impl From<DirectionKind> for Direction {
    fn from(written: DirectionKind) -> Self {
        match written {
            DirectionKind::Increase => Self::Increase,
            DirectionKind::Decrease => Self::Decrease,
            DirectionKind::Either => Self::Either,
        }
    }
}

impl From<NanKind> for Nan {
    fn from(written: NanKind) -> Self {
        match written {
            NanKind::Remove => Self::Remove,
            NanKind::Replace => Self::Replace,
        }
    }
}

impl From<OutlierKind> for Outliers {
    fn from(written: OutlierKind) -> Self {
        match written {
            OutlierKind::Keep => Self::Keep,
            OutlierKind::Remove => Self::Remove,
        }
    }
}
