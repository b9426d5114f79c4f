//! How far one series lies above another: the interval that the test of Mann and Whitney does not reject.
//!
//! Mann & Whitney 1947; the interval is that of R's `wilcox.test(conf.int = TRUE, exact = FALSE)`. All values are
//! sorted ascending and finite. A work of `m + n` per look, since both sides stay sorted when one is shifted.

use super::{brent, normal};

/// Shifts of the canary against the baseline, in the unit of the metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The smallest that the data does not rule out.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// The one that fits best.
    pub estimate: f64,
}

/// How many standard deviations the canary's ranks are above chance once its values are lowered by `shift`: 0 when that
/// makes both sides alike, falling as `shift` grows. With ties averaged, and corrected for ties and continuity.
pub fn z(canary: &[f64], baseline: &[f64], shift: f64) -> f64 {
    let (m, n) = (canary.len() as f64, baseline.len() as f64);
    let (mut ahead_c, mut ahead_b) = (canary, baseline);
    let (mut ranks, mut before, mut ties) = (0.0, 0.0, 0.0);
    loop {
        let lowest = match (ahead_c.first().map(|x| x - shift), ahead_b.first()) {
            (Some(c), Some(b)) => c.min(*b),
            (Some(c), None) => c,
            (None, Some(b)) => *b,
            (None, None) => break,
        };
        let from_c = ahead_c.iter().take_while(|x| **x - shift == lowest).count();
        let from_b = ahead_b.iter().take_while(|x| **x == lowest).count();
        let tied = (from_c + from_b) as f64;
        if tied == 0.0 {
            break; // No number: none of the values that reach this.
        }
        ranks += from_c as f64 * (before + (tied + 1.0) / 2.0);
        ties += tied * tied * tied - tied;
        before += tied;
        ahead_c = ahead_c.get(from_c..).unwrap_or_default();
        ahead_b = ahead_b.get(from_b..).unwrap_or_default();
    }
    let dz = ranks - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let continuity = if dz == 0.0 { 0.0 } else { 0.5_f64.copysign(dz) };
    let variance = m * n / 12.0 * ((m + n + 1.0) - ties / ((m + n) * (m + n - 1.0)));
    if variance > 0.0 { (dz - continuity) / variance.sqrt() } else { 0.0 }
}

/// The shifts that a two-sided test with `tail` on each side does not rule out; `None` when a side is empty.
///
/// When both sides are constant, there is nothing to estimate a spread from: the shift is the difference of the constants.
pub fn interval(canary: &[f64], baseline: &[f64], tail: f64) -> Option<Interval> {
    let (c_min, c_max) = (*canary.first()?, *canary.last()?);
    let (b_min, b_max) = (*baseline.first()?, *baseline.last()?);
    if c_min == c_max && b_min == b_max {
        let shift = c_min - b_min;
        return Some(Interval { low: shift, high: shift, estimate: shift });
    }
    let (least, most) = (c_min - b_max, c_max - b_min);
    // Relative to the range, so that seconds and milliseconds give the same answer.
    let tolerance = (most - least) * 1e-13;
    let root = |level: f64| {
        let beyond = |shift: f64| z(canary, baseline, shift) - level;
        if beyond(least) <= 0.0 {
            least
        } else if beyond(most) >= 0.0 {
            most
        } else {
            step_at(canary, baseline, brent::root(beyond, least, most, tolerance))
        }
    };
    let reach = normal::above(tail);
    // z is a staircase, and often zero on a whole tread: the estimate is the middle of it. A quarter of a rank is less
    // than any step away from zero.
    let (m, n) = (canary.len() as f64, baseline.len() as f64);
    let tread = 0.25 / (m * n * (m + n + 1.0) / 12.0).sqrt();
    let (left, right) = (root(tread), root(-tread));
    Some(Interval { low: root(reach), high: root(-reach), estimate: left + (right - left) / 2.0 })
}

/// The difference of a value of the canary and one of the baseline that is closest to `shift`: z changes nowhere else, and
/// without this a root at 0 would be one at some 1e-15, which is above 0 or below it by chance.
fn step_at(canary: &[f64], baseline: &[f64], shift: f64) -> f64 {
    let mut closest = None;
    for x in canary {
        let above = baseline.partition_point(|b| *b < x - shift);
        for b in [above.checked_sub(1), Some(above)].into_iter().flatten().filter_map(|at| baseline.get(at)) {
            let off = (x - b - shift).abs();
            if closest.is_none_or(|(least, _)| off < least) {
                closest = Some((off, x - b));
            }
        }
    }
    closest.map_or(shift, |(_, difference)| difference)
}

/// The chance that a value of the canary is above one of the baseline, ties half (McGraw & Wong 1992): 0.5 when alike.
pub fn common_language(canary: &[f64], baseline: &[f64]) -> Option<f64> {
    if canary.is_empty() || baseline.is_empty() {
        return None;
    }
    let above: usize =
        canary.iter().map(|x| baseline.partition_point(|b| b < x) + baseline.partition_point(|b| b <= x)).sum();
    Some(above as f64 / 2.0 / (canary.len() as f64 * baseline.len() as f64))
}
