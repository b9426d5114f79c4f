//! How the bad events of a window fall on its two sides, when their odds differ by a given ratio: Fisher's noncentral
//! hypergeometric distribution (Fisher 1935; Fog 2008 for its computation).
//!
//! In: requests of both sides, how many were bad, how many of those on the canary. Out: logarithms of likelihood
//! ratios, never above the true ones.
//!
//! Given the numbers of requests and of bad events, where the bad ones fall depends on the odds ratio alone; how common
//! they are, which nobody knows, drops out. So a ratio of two such probabilities is exact at any rate.

use libm::{log, log1p};

/// Supports up to this size are summed exactly, a few ms of work; above it [`ln_ratio`] is a bound.
pub const MAX_SUPPORT: u64 = 1 << 17;

/// What is given: requests of both sides, and the bad ones among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Margins {
    /// Requests of the canary.
    pub canary: u64,
    /// Requests of the baseline.
    pub baseline: u64,
    /// Bad ones of both, at most as many as there are requests.
    pub bad: u64,
}

impl Margins {
    /// The fewest and the most bad ones the canary can have.
    pub fn support(&self) -> (u64, u64) {
        (self.bad.saturating_sub(self.baseline), self.bad.min(self.canary))
    }

    /// From the probability of `x` on the canary to that of `x + 1`, at odds ratio 1.
    fn up(&self, x: u64) -> f64 {
        let good_of_baseline = (self.baseline.saturating_add(x).saturating_add(1)).saturating_sub(self.bad);
        (self.canary.saturating_sub(x) as f64 * self.bad.saturating_sub(x) as f64)
            / (x.saturating_add(1) as f64 * good_of_baseline as f64)
    }
}

/// The logarithm of a number that lies between these.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Between {
    low: f64,
    high: f64,
}

/// The natural logarithm of the probability that `x` of the bad events are on the canary. `-inf` where `x` is
/// impossible. Off by no more than some 1e-15 for each term summed.
pub fn ln_probability(margins: Margins, x: u64, odds_ratio: f64) -> f64 {
    let (lowest, highest) = margins.support();
    if x < lowest || x > highest {
        return f64::NEG_INFINITY;
    }
    let inverse = ln_inverse(margins, x, odds_ratio);
    -(inverse.low + inverse.high) / 2.0
}

/// `ln P(x; to) / P(x; from)`: how much better one odds ratio explains that `x` of the bad events are on the
/// canary than another, which is at least 1. Never above the true value: below it by rounding (some 1e-15 a term), and for
/// supports beyond [`MAX_SUPPORT`] by the distance of [`binomial_bound`]. 0 when the margins leave no choice or `x` is
/// impossible.
pub fn ln_ratio(margins: Margins, x: u64, from: f64, to: f64) -> f64 {
    let (lowest, highest) = margins.support();
    if lowest >= highest || x < lowest || x > highest {
        return 0.0;
    }
    if highest - lowest > MAX_SUPPORT {
        return binomial_bound(margins, x, from, to);
    }
    ln_inverse(margins, x, from).low - ln_inverse(margins, x, to).high
}

/// `ln (1 / P(x))`: the sum of all probabilities, in units of that of `x`, walked from `x` to both ends.
fn ln_inverse(margins: Margins, x: u64, odds_ratio: f64) -> Between {
    let (lowest, highest) = margins.support();
    let above = Sum::of((x..highest).map(|x| margins.up(x) * odds_ratio));
    let below = Sum::of((lowest..x).rev().map(|x| 1.0 / (margins.up(x) * odds_ratio)));
    let scale = above.ln_scale.max(below.ln_scale);
    let shrunk = |sum: &Sum, part: f64| part * libm::exp(sum.ln_scale - scale);
    let total = libm::exp(-scale) + shrunk(&above, above.total) + shrunk(&below, below.total);
    let rest = shrunk(&above, above.rest) + shrunk(&below, below.rest);
    let ln = scale + log(total);
    // Eight roundings a term, each at most 1.2e-16; the logarithm's own.
    let error = 1e-15 * (above.terms + below.terms + 4.0 + ln.abs());
    Between { low: ln - error, high: ln + rest / total + error }
}

/// The sum of products of falling ratios, without overflow.
struct Sum {
    total: f64,
    /// At least what was left out.
    rest: f64,
    /// `total` and `rest` are in units of e to this.
    ln_scale: f64,
    terms: f64,
}

impl Sum {
    fn of(ratios: impl Iterator<Item = f64>) -> Self {
        /// 2^800 and its logarithm.
        const HUGE: f64 = f64::from_bits((1023 + 800) << 52);
        const LN_HUGE: f64 = 800.0 * core::f64::consts::LN_2;
        const NEGLIGIBLE: f64 = 1e-19;
        let (mut sum, mut term) = (Self { total: 0.0, rest: 0.0, ln_scale: 0.0, terms: 0.0 }, 1.0);
        for ratio in ratios {
            term *= ratio;
            sum.total += term;
            sum.terms += 1.0;
            if term > HUGE {
                term /= HUGE;
                sum.total /= HUGE;
                sum.ln_scale += LN_HUGE;
            }
            // Ratios only fall, so what follows is at most a geometric series.
            if ratio < 1.0 && term < sum.total * NEGLIGIBLE {
                sum.rest = term * ratio / (1.0 - ratio);
                break;
            }
        }
        sum
    }
}

/// A lower bound of [`ln_ratio`] at any size, by the binomial limit.
///
/// The canary's bad events are distributed like a sum of independent yes/no events, `m` = size of the support of them
/// undecided (Vatutin and Mikhailov 1982), so by the inequality of the means `E r^X ≤ (1 + p (r-1))^m` with `p` their
/// mean probability (Hoeffding 1956), and the ratio taken against the right side is never above the true one.
pub fn binomial_bound(margins: Margins, x: u64, from: f64, to: f64) -> f64 {
    let (lowest, highest) = margins.support();
    let (undecided, ratio) = ((highest - lowest) as f64, to / from);
    // The mean is rounded; stay on the safe side of it.
    let mean = mean_bound(margins, from, ratio > 1.0) * if ratio > 1.0 { 1.0 + 1e-13 } else { 1.0 - 1e-13 };
    let share = ((mean - lowest as f64) / undecided).clamp(0.0, 1.0);
    binomial_ln_ratio(x.saturating_sub(lowest), highest - lowest, share, ratio)
}

/// `x ln r - n ln(1 + p (r-1))`: how much better odds `r` times those of `p` explain `x` bad ones of `n`. Never above
/// the true value; `e` to this has mean at most 1 while the probability is at most `p` (`r` above 1) or at least `p`
/// (`r` below 1).
pub fn binomial_ln_ratio(x: u64, n: u64, p: f64, r: f64) -> f64 {
    let (of_bad, of_all) = (x as f64 * log(r), n as f64 * log1p(p * (r - 1.0)));
    of_bad - of_all - 1e-15 * (1.0 + of_bad.abs() + of_all.abs())
}

/// A bound of the mean, from above or below, for odds ratios of at least 1.
///
/// `ψ E (n_c-X)(k-X) = E X(n_b-k+X)` holds exactly; with the variance between 0 and a quarter of the support's size it
/// encloses the mean.
fn mean_bound(margins: Margins, odds_ratio: f64, above: bool) -> f64 {
    let (lowest, highest) = margins.support();
    let (canary, bad) = (margins.canary as f64, margins.bad as f64);
    let good_of_baseline = margins.baseline as f64 - bad;
    let variance = if above { (highest - lowest) as f64 / 4.0 } else { 0.0 };
    let excess = (odds_ratio - 1.0) * variance;
    let (mut low, mut high) = (lowest as f64, highest as f64);
    for _ in 0..100 {
        let mean = (low + high) / 2.0;
        let balance = mean * (good_of_baseline + mean) - odds_ratio * (canary - mean) * (bad - mean);
        if balance < excess { low = mean } else { high = mean }
    }
    if above { high } else { low }
}
