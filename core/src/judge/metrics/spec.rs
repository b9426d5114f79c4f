//! What people say about metrics, and the same checked.

use super::Class;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Which way is bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More is bad: errors, latency.
    Increase,
    /// Less is bad: cache hits, conversions.
    Decrease,
    /// Any change is bad.
    #[default]
    Either,
}

/// What a missing point stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Nan {
    /// For nothing: it is left out.
    #[default]
    Remove,
    /// For 0, as with a count of errors that has no series until there is one.
    Replace,
}

/// What is done with points far from the others of their series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outliers {
    /// They count like all others.
    #[default]
    Keep,
    /// They are left out, see [`super::percentile::fences`].
    Remove,
}

/// How the size of a change is told, beside its being certain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EffectSize {
    /// Mean of the canary by mean of the baseline: 1 without a change. Tells nothing, and so excuses nothing, unless the
    /// baseline's mean is above 0.
    #[default]
    RatioOfMeans,
    /// The chance that a point of the canary is above one of the baseline: 0.5 without a change.
    CommonLanguage,
}

impl EffectSize {
    /// Its value when nothing has changed.
    pub fn neutral(self) -> f64 {
        match self {
            Self::RatioOfMeans => 1.0,
            Self::CommonLanguage => 0.5,
        }
    }
}

/// One metric, as people write it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSpec {
    /// What people call it; unique.
    pub name: String,
    /// The group whose score it counts in.
    #[serde(default = "default_group")]
    pub group: String,
    /// Which way is bad.
    #[serde(default)]
    pub direction: Direction,
    /// What a missing point stands for.
    #[serde(default)]
    pub nan: Nan,
    /// What is done with points far from the others.
    #[serde(default)]
    pub outliers: Outliers,
    /// To have no data is a failure.
    #[serde(default)]
    pub must_have_data: bool,
    /// A failure of it beyond `criticalIncrease` or `criticalDecrease` fails the whole judgment.
    #[serde(default)]
    pub critical: bool,
    /// How the size of a change is told.
    #[serde(default)]
    pub effect_size: EffectSize,
    /// Effect size from which an increase counts; unless given, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_increase: Option<f64>,
    /// Effect size down from which a decrease counts; unless given, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_decrease: Option<f64>,
    /// Effect size from which an increase of a critical metric fails the judgment; unless given, any that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_increase: Option<f64>,
    /// Effect size down from which a decrease of a critical metric fails the judgment; unless given, any that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_decrease: Option<f64>,
    /// Part of the estimated shift that the whole interval must lie beyond, away from 0.
    #[serde(default = "default_tolerance")]
    pub tolerance: f64,
    /// Of the interval, above 0 and below 1.
    #[serde(default = "default_confidence")]
    pub confidence: f64,
    /// Fewer points than this on either side, and the verdict is inconclusive.
    #[serde(default = "default_min_points")]
    pub min_points: usize,
}

fn default_group() -> String {
    "metrics".to_owned()
}

const fn default_tolerance() -> f64 {
    0.25
}

const fn default_confidence() -> f64 {
    0.98
}

const fn default_min_points() -> usize {
    10
}

impl MetricSpec {
    /// A metric of which nothing but the name is said.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: default_group(),
            direction: Direction::default(),
            nan: Nan::default(),
            outliers: Outliers::default(),
            must_have_data: false,
            critical: false,
            effect_size: EffectSize::default(),
            allowed_increase: None,
            allowed_decrease: None,
            critical_increase: None,
            critical_decrease: None,
            tolerance: default_tolerance(),
            confidence: default_confidence(),
            min_points: default_min_points(),
        }
    }

    /// Whether a change of this size counts as this class; a size that tells nothing excuses nothing.
    pub(super) fn counts(&self, class: Class, effect: Option<f64>) -> bool {
        self.beyond(class, effect, self.allowed_increase, self.allowed_decrease)
    }

    /// Whether a change of this size and class fails the whole judgment.
    pub(super) fn is_critical(&self, class: Class, effect: Option<f64>) -> bool {
        self.critical && self.beyond(class, effect, self.critical_increase, self.critical_decrease)
    }

    fn beyond(&self, class: Class, effect: Option<f64>, up: Option<f64>, down: Option<f64>) -> bool {
        let neutral = self.effect_size.neutral();
        match class {
            Class::High => effect.is_none_or(|effect| effect >= up.unwrap_or(neutral)),
            Class::Low => effect.is_none_or(|effect| effect <= down.unwrap_or(neutral)),
            Class::Pass | Class::Nodata => false,
        }
    }

    fn check(&self) -> Result<(), SpecError> {
        let neutral = self.effect_size.neutral();
        let up = |value: Option<f64>| value.is_none_or(|v| v.is_finite() && v >= neutral);
        let down = |value: Option<f64>| value.is_none_or(|v| v.is_finite() && v <= neutral);
        let wrong = |field, must| Err(SpecError::Field { metric: self.name.clone(), field, must });
        if self.name.is_empty() {
            return wrong("name", "not be empty");
        }
        if !(self.tolerance.is_finite() && self.tolerance >= 0.0) {
            return wrong("tolerance", "be a number from 0, for example 0.25");
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return wrong("confidence", "be above 0 and below 1, for example 0.98");
        }
        if self.min_points == 0 {
            return wrong("minPoints", "be at least 1; below 10, good releases are often called bad");
        }
        for (field, good) in
            [("allowedIncrease", up(self.allowed_increase)), ("criticalIncrease", up(self.critical_increase))]
        {
            if !good {
                return wrong(field, "be at least 1 (ratioOfMeans; 1.2 is 20 % more) or 0.5 (commonLanguage)");
            }
        }
        for (field, good) in
            [("allowedDecrease", down(self.allowed_decrease)), ("criticalDecrease", down(self.critical_decrease))]
        {
            if !good {
                return wrong(field, "be at most 1 (ratioOfMeans; 0.8 is 20 % less) or 0.5 (commonLanguage)");
            }
        }
        Ok(())
    }
}

/// The scores from which, and below which, a verdict is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Marks {
    /// This score or more passes.
    pub pass: f64,
    /// Less than this fails; in between it is inconclusive.
    pub marginal: f64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { pass: 95.0, marginal: 75.0 }
    }
}

/// All metrics of a judgment, as people write them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsSpec {
    /// The metrics.
    pub metrics: Vec<MetricSpec>,
    /// Weights of groups, in percent; groups without one share the rest equally.
    #[serde(default)]
    pub group_weights: BTreeMap<String, f64>,
    /// What the total score must reach.
    #[serde(default)]
    pub marks: Marks,
    /// How often a step will be judged, if it is judged more than once: the chance of error is divided by it.
    #[serde(default = "once")]
    pub looks: u32,
}

const fn once() -> u32 {
    1
}

impl MetricsSpec {
    /// These metrics, with the usual marks, judged once.
    pub fn of(metrics: Vec<MetricSpec>) -> Self {
        Self { metrics, group_weights: BTreeMap::new(), marks: Marks::default(), looks: once() }
    }
}

/// Why metrics were refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SpecError {
    /// A field of a metric.
    #[error("{field} of metric \"{}\" must {must}", .metric.escape_default())]
    Field {
        /// Which metric.
        metric: String,
        /// Which field.
        field: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// Two of one name.
    #[error("two metrics are called \"{}\"; give each a name of its own", .0.escape_default())]
    Twice(String),
    /// A weight that is none.
    #[error("the weight of group \"{}\" must be 0 to 100 (percent)", .0.escape_default())]
    Weight(String),
    /// A weight of a group without metrics.
    #[error("groups names \"{}\", but no metric is in that group", .0.escape_default())]
    NoSuchGroup(String),
    /// More than all.
    #[error("the weights of groups add up to {0}; they are percent, so at most 100")]
    TooMuch(f64),
    /// All given away, and somebody left.
    #[error("the weights of groups add up to 100, so nothing is left for group \"{}\"; give it a weight", .0.escape_default())]
    NothingLeft(String),
    /// The marks.
    #[error("marks must be 0 <= marginal <= pass <= 100, not marginal {marginal}, pass {pass}", marginal = .0.marginal, pass = .0.pass)]
    Marks(Marks),
    /// The looks.
    #[error("looks must be at least 1: how often each step will be judged")]
    Looks,
}

/// Metrics that can be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    pub(super) metrics: Vec<MetricSpec>,
    /// Each group that has a metric, in percent.
    pub(super) weights: BTreeMap<String, f64>,
    pub(super) marks: Marks,
    pub(super) looks: u32,
}

impl Metrics {
    /// The metrics, in the order in which [`Self::judge`] wants their samples.
    pub fn list(&self) -> &[MetricSpec] {
        &self.metrics
    }
}

impl TryFrom<MetricsSpec> for Metrics {
    type Error = SpecError;

    fn try_from(spec: MetricsSpec) -> Result<Self, SpecError> {
        let mut names = BTreeSet::new();
        for metric in &spec.metrics {
            metric.check()?;
            if !names.insert(&metric.name) {
                return Err(SpecError::Twice(metric.name.clone()));
            }
        }
        let Marks { pass, marginal } = spec.marks;
        if !(0.0 <= marginal && marginal <= pass && pass <= 100.0) {
            return Err(SpecError::Marks(spec.marks));
        }
        if spec.looks == 0 {
            return Err(SpecError::Looks);
        }
        let weights = weights(&spec)?;
        Ok(Self { metrics: spec.metrics, weights, marks: spec.marks, looks: spec.looks })
    }
}

fn weights(spec: &MetricsSpec) -> Result<BTreeMap<String, f64>, SpecError> {
    let groups: BTreeSet<&String> = spec.metrics.iter().map(|metric| &metric.group).collect();
    for (group, weight) in &spec.group_weights {
        if !(0.0..=100.0).contains(weight) {
            return Err(SpecError::Weight(group.clone()));
        }
        if !groups.contains(group) {
            return Err(SpecError::NoSuchGroup(group.clone()));
        }
    }
    let given: f64 = spec.group_weights.values().sum();
    if given > 100.0 + 1e-9 {
        return Err(SpecError::TooMuch(given));
    }
    let others: Vec<&String> = groups.iter().copied().filter(|g| !spec.group_weights.contains_key(*g)).collect();
    let share = (100.0 - given) / others.len().max(1) as f64;
    match others.first() {
        Some(first) if share < 1e-9 => return Err(SpecError::NothingLeft((*first).clone())),
        _ => {}
    }
    Ok(groups.into_iter().map(|g| (g.clone(), *spec.group_weights.get(g).unwrap_or(&share))).collect())
}
