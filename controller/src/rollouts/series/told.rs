//! Points as the page gets them.

use super::{
    Fresh,
    points::{Point, Side},
};
use jiff::Timestamp;
use serde::Serialize;
use sluicegate_core::{judge::bounds, latency::Histogram, rollout::Role};
use std::collections::BTreeMap;

/// A true value is outside of its interval with at most this probability, however often one looks at the point.
pub const ALPHA: f64 = 0.05;

/// New points of a rollout.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// When the memory of this rollout began.
    pub since: Timestamp,
    /// They stand in place of all that were told before.
    pub whole: bool,
    /// How sure the intervals are, such as 0.95.
    pub confidence: f64,
    /// In order of time.
    pub points: Vec<ToldPoint>,
}

/// A stretch of time.
#[derive(Debug, Serialize)]
pub struct ToldPoint {
    /// Its end.
    pub until: Timestamp,
    /// How long it is.
    pub seconds: f64,
    /// Weights at its end, by role, in percent.
    pub weights: BTreeMap<&'static str, f64>,
    /// What was counted, of each role that had a request.
    pub sides: BTreeMap<&'static str, ToldSide>,
}

/// One side.
#[derive(Debug, Serialize)]
pub struct ToldSide {
    /// Requests, every one.
    pub requests: u64,
    /// Requests per second; exact.
    pub rate: f64,
    /// Share of errors, 0 to 1; `None`: none observed.
    pub errors: Option<Estimate>,
    /// Latency, ms: the median, …
    pub p50: Option<Estimate>,
    /// … the 95th percentile, …
    pub p95: Option<Estimate>,
    /// … and the 99th.
    pub p99: Option<Estimate>,
}

/// A value and its interval: value, lowest, highest; `None`: no highest is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate(pub f64, pub f64, pub Option<f64>);

impl From<Fresh> for Told {
    fn from(fresh: Fresh) -> Self {
        let points = fresh.points.iter().map(ToldPoint::from).collect();
        Self { since: fresh.since, whole: fresh.whole, confidence: 1.0 - ALPHA, points }
    }
}

impl From<&Point> for ToldPoint {
    fn from(point: &Point) -> Self {
        let seconds = point.length.as_secs_f64();
        let sides = Role::ALL.map(|role| (role.name(), point.sides.get(role)));
        let sides = sides.into_iter().filter(|(_, side)| side.requests > 0 || side.errors.requests > 0);
        Self {
            until: point.until,
            seconds,
            weights: Role::ALL.iter().zip(point.weights).map(|(role, weight)| (role.name(), weight)).collect(),
            sides: sides.map(|(role, side)| (role, ToldSide::new(side, seconds))).collect(),
        }
    }
}

impl ToldSide {
    fn new(side: &Side, seconds: f64) -> Self {
        let errors = side.errors.rate().map(|rate| {
            let (lowest, highest) = bounds::rate(side.errors.bad, side.errors.requests, ALPHA);
            Estimate(rate, lowest, Some(highest))
        });
        let quantile = |q| quantile(&side.latency, q);
        let rate = side.requests as f64 / seconds.max(1e-3);
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(quantile);
        Self { requests: side.requests, rate, errors, p50, p95, p99 }
    }
}

fn quantile(latency: &Histogram, q: f64) -> Option<Estimate> {
    let value = latency.quantile(q)?;
    let (lowest, highest) = bounds::quantile(latency, q, ALPHA);
    Some(Estimate(value / 1e3, lowest as f64 / 1e3, highest.map(|highest| highest as f64 / 1e3)))
}
