//! A recording as people write it, and the same checked as far as its shape goes.
//!
//! In: text. Out: a [`Recording`], or the place of the first mistake in it and what to try.

use crate::api::{
    judge::{DirectionKind, NanKind, OutlierKind, PassWhenKind},
    nearest::nearest,
};
use anyhow::{Result, anyhow, bail, ensure};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected},
};
use serde_json::Number;
use std::{collections::BTreeMap, fmt};

/// Whole numbers above this have no f64 of their own.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// What was recorded.
#[derive(Debug)]
pub(super) enum Recording {
    Counts(Counts),
    Metrics(Metrics),
}

/// Windows of counts; at least one, in the order of their `t`.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) windows: Vec<Window>,
    pub(super) alpha: Option<f64>,
    pub(super) tolerance: Option<f64>,
    pub(super) min_requests: Option<u64>,
    pub(super) pass_when: Option<PassWhenKind>,
}

/// Series of metrics; at least one metric.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) metrics: Vec<Metric>,
    pub(super) groups: BTreeMap<String, f64>,
    pub(super) pass: Option<f64>,
    pub(super) marginal: Option<f64>,
}

/// What each side counted in a window, on top of what it had before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a window, an object of t, canary and baseline")]
pub(super) struct Window {
    pub(super) t: Number,
    pub(super) canary: Side,
    pub(super) baseline: Side,
}

/// One side of a window; errors and slow ones are among the n.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object of n, errors and perhaps slow")]
pub(super) struct Side {
    pub(super) n: Count,
    pub(super) errors: Count,
    pub(super) slow: Option<Count>,
}

/// A metric and its points.
#[derive(Debug, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a metric, an object of name, baseline, canary and more"
)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) group: Option<String>,
    pub(super) direction: Option<DirectionKind>,
    pub(super) critical: Option<bool>,
    pub(super) must_have_data: Option<bool>,
    pub(super) nan: Option<NanKind>,
    pub(super) outliers: Option<OutlierKind>,
    pub(super) tolerance: Option<f64>,
    pub(super) confidence: Option<f64>,
    #[serde(alias = "effectSize")]
    pub(super) effect: Option<Effect>,
    pub(super) allowed_increase: Option<f64>,
    pub(super) allowed_decrease: Option<f64>,
    pub(super) critical_increase: Option<f64>,
    pub(super) critical_decrease: Option<f64>,
    pub(super) min_points: Option<usize>,
    pub(super) baseline: Vec<Point>,
    pub(super) canary: Vec<Point>,
}

/// How the size of a change is told, by its name in a CanaryDeploy or by that in the judge itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Effect {
    #[default]
    #[serde(alias = "ratioOfMeans")]
    MeanRatio,
    #[serde(alias = "commonLanguage")]
    Cles,
}

/// A whole number, 0 or above; also when written as 100.0, as some programs do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) u64);

/// A point of a series; null where it is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point(pub(super) Option<f64>);

/// Either shape, with whatever fields it has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    counts: Option<Vec<Window>>,
    alpha: Option<f64>,
    tolerance: Option<f64>,
    min_requests: Option<Count>,
    pass_when: Option<PassWhenKind>,
    metrics: Option<Vec<Metric>>,
    groups: Option<BTreeMap<String, f64>>,
    pass: Option<f64>,
    marginal: Option<f64>,
}

/// Reads a recording.
pub(super) fn read(text: &str) -> Result<Recording> {
    let text = text.trim_start_matches('\u{feff}');
    // The reader would take a list for the fields in their order.
    ensure!(!text.trim_start().starts_with('['), "this is a list: an object is expected, with counts or metrics");
    let mut reader = serde_json::Deserializer::from_str(text);
    let written: Written = serde_path_to_error::deserialize(&mut reader).map_err(|why| explain(text, &why))?;
    reader.end().map_err(|why| anyhow!("one JSON object is expected, and more follows it: {why}"))?;
    let Written { counts, alpha, tolerance, min_requests, pass_when, metrics, groups, pass, marginal } = written;
    let of_counts = [
        ("alpha", alpha.is_some()),
        ("tolerance", tolerance.is_some()),
        ("minRequests", min_requests.is_some()),
        ("passWhen", pass_when.is_some()),
    ];
    let of_metrics = [("groups", groups.is_some()), ("pass", pass.is_some()), ("marginal", marginal.is_some())];
    let none_of = |fields: &[(&str, bool)], here: &str, there: &str| match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => {
            Err(anyhow!("{field} says nothing about {here}: it goes with {there}; leave {field} out here"))
        }
        None => Ok(()),
    };
    match (counts, metrics) {
        (Some(windows), None) => {
            none_of(&of_metrics, "counts", "metrics")?;
            check(&windows)?;
            let min_requests = min_requests.map(|count| count.0);
            Ok(Recording::Counts(Counts { windows, alpha, tolerance, min_requests, pass_when }))
        }
        (None, Some(metrics)) => {
            none_of(&of_counts, "metrics", "counts")?;
            ensure!(!metrics.is_empty(), "metrics is empty: give at least one metric");
            Ok(Recording::Metrics(Metrics { metrics, groups: groups.unwrap_or_default(), pass, marginal }))
        }
        (Some(_), Some(_)) => bail!("there are counts and metrics: judge them one after the other, from two files"),
        (None, None) => bail!("there are neither counts nor metrics: give one of them (docs/REFERENCE.md has both)"),
    }
}

/// What a window cannot be by itself, or after the one before.
fn check(windows: &[Window]) -> Result<()> {
    ensure!(!windows.is_empty(), "counts is empty: give at least one window");
    for (i, window) in windows.iter().enumerate() {
        let t = &window.t;
        for (name, side) in [("canary", &window.canary), ("baseline", &window.baseline)] {
            let n = side.n.0;
            for (field, bad) in [("errors", Some(side.errors)), ("slow", side.slow)] {
                let bad = bad.map_or(0, |count| count.0);
                ensure!(
                    bad <= n,
                    "counts[{i}].{name}.{field} (t {t}) is {bad}, more than n, {n}: n counts all requests of the \
                     window, the bad ones too"
                );
            }
        }
        if let Some(before) = i.checked_sub(1).and_then(|before| windows.get(before)) {
            ensure!(
                is_after(t, &before.t),
                "counts[{i}].t is {t}, after {}: put the windows in the order of time, each t above the one before",
                before.t
            );
        }
    }
    Ok(())
}

/// Exact for whole numbers, such as nanoseconds.
fn is_after(t: &Number, before: &Number) -> bool {
    match (t.as_i64(), before.as_i64()) {
        (Some(t), Some(before)) => t > before,
        _ => t.as_f64() > before.as_f64(),
    }
}

/// What the JSON reader complains about, with its place, and in our words where we know better.
fn explain(text: &str, why: &serde_path_to_error::Error<serde_json::Error>) -> anyhow::Error {
    let (path, inner) = (why.path().to_string(), why.inner());
    if inner.is_syntax() || inner.is_eof() {
        // The reader may stand on the first letter of what it does not understand, or just behind it.
        let line = text.lines().nth(inner.line().saturating_sub(1)).unwrap_or_default().as_bytes();
        let from = inner.column().saturating_sub(2).min(line.len());
        let near =
            String::from_utf8_lossy(line.get(from..line.len().min(from + 12)).unwrap_or_default()).to_lowercase();
        let hint = match () {
            () if near.contains("nan") => "; JSON has no NaN, write null for a missing point",
            () if near.contains("inf") => "; JSON has no infinite numbers, leave the point out or write null",
            () => "",
        };
        let place = if path == "." { String::new() } else { format!("at {path}, ") };
        return anyhow!("{place}this is not JSON: {inner}{hint}");
    }
    let message = inner.to_string();
    let hint = message.strip_prefix("unknown ").and_then(|_| {
        let mut words = message.split('`').skip(1).step_by(2);
        let given = words.next()?;
        nearest(given, words)
    });
    let hint = hint.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
    if path == "." { anyhow!("{message}{hint}") } else { anyhow!("{path}: {message}{hint}") }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl de::Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, 0 or above")
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Count, E> {
        Ok(Count(count))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
        u64::try_from(number).map(Count).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Count, E> {
        match (0.0..=LARGEST_EXACT).contains(&number) && number.fract() == 0.0 {
            true => Ok(Count(number as u64)),
            false => Err(E::invalid_value(Unexpected::Float(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PointVisitor)
    }
}

struct PointVisitor;

impl de::Visitor<'_> for PointVisitor {
    type Value = Point;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or null for a missing point")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Point, E> {
        Ok(Point(None))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Point, E> {
        Ok(Point(Some(number as f64)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Point, E> {
        Ok(Point(Some(number as f64)))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Point, E> {
        Ok(Point(Some(number)))
    }
}
