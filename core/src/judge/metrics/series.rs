//! From the points of a range query to values that can be compared.

use super::{MetricSpec, Nan, Outliers, percentile};
use serde::{Deserialize, Serialize};

/// Larger values have no mean and no shift that a double holds.
const LARGEST: f64 = 1e150;

/// What became of the points of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Points {
    /// Compared.
    pub used: usize,
    /// Missing, or no number; left out or taken for 0, as the metric says.
    pub missing: usize,
    /// Left out as outliers.
    pub outliers: usize,
}

/// One side, ready.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Ascending; finite; no negative zero.
    pub(super) values: Vec<f64>,
    pub(super) points: Points,
}

/// Both sides.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) canary: Side,
    pub(super) baseline: Side,
}

/// Pairs, handles what is missing, then outliers. The error says which points cannot be judged.
pub(super) fn prepare(metric: &MetricSpec, canary: &[Option<f64>], baseline: &[Option<f64>]) -> Result<Pair, String> {
    let length = canary.len().max(baseline.len());
    let number = |points: &[Option<f64>]| points.iter().flatten().any(|x| !x.is_nan());
    // Zeros for both sides would be data where there is none.
    let replace = metric.nan == Nan::Replace && (number(canary) || number(baseline));
    let side = |name, points| side(name, points, length, replace, metric.outliers);
    Ok(Pair { canary: side("canary", canary)?, baseline: side("baseline", baseline)? })
}

fn side(name: &str, points: &[Option<f64>], length: usize, replace: bool, outliers: Outliers) -> Result<Side, String> {
    // Plus zero makes negative zeros positive, so that equal values are equal in every order.
    let mut values: Vec<f64> = points.iter().flatten().filter(|x| !x.is_nan()).map(|x| x + 0.0).collect();
    let endless = values.iter().filter(|x| x.is_infinite()).count();
    if endless > 0 {
        return Err(format!(
            "{endless} of {length} points of the {name} are infinite: does the query divide by something that can be zero?"
        ));
    }
    if let Some(large) = values.iter().find(|x| x.abs() > LARGEST) {
        return Err(format!("the {name} has a point of {large:e}, too large to compare; is the query right?"));
    }
    let missing = length - values.len();
    if replace {
        values.resize(length, 0.0);
    }
    values.sort_unstable_by(f64::total_cmp);
    let before = values.len();
    if let (Outliers::Remove, Some((low, high))) = (outliers, percentile::fences(&values)) {
        values.retain(|x| !(*x < low || *x > high));
    }
    let points = Points { used: values.len(), missing, outliers: before - values.len() };
    Ok(Side { values, points })
}
