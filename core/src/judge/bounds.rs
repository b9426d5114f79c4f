//! What one side's own counts say about its rate, right at every look.
//!
//! In: bad ones of so many requests, or latencies. Out: the rates, or quantiles, that are not refuted.

use super::exact::Exact;
use crate::latency::{EDGES, Histogram};
use libm::{lgamma, log, log1p};

/// How well rates explain what was counted on one side.
#[derive(Debug, Clone, Copy)]
struct Counted {
    bad: f64,
    requests: f64,
    /// What explains it worse than this is refuted.
    refuted: f64,
}

impl Counted {
    /// Of at least one request.
    fn new(bad: u64, requests: u64, alpha: f64) -> Self {
        let (x, n) = (bad as f64, requests as f64);
        let ln_pi = log(core::f64::consts::PI);
        let mixture = lgamma(x + 0.5) + lgamma(n - x + 0.5) - lgamma(n + 1.0) - ln_pi;
        // Large logarithms of gamma are rounded; refute a little less.
        Self { bad: x, requests: n, refuted: mixture + log(alpha) - 1e-13 * n }
    }

    fn refutes(&self, p: f64) -> bool {
        let good = self.requests - self.bad;
        let of_bad = if self.bad <= 0.0 { 0.0 } else { self.bad * log(p) };
        of_bad + if good <= 0.0 { 0.0 } else { good * log1p(-p) } < self.refuted
    }
}

/// The lowest and the highest rate not refuted: the true one, while it stays the same, is ever outside with
/// probability at most `alpha`, however often one looks. 0 and 1 without requests.
///
/// A rate is refuted when the mixture of all rates (Jeffreys' prior, the betting of Krichevsky and Trofimov 1981) has
/// explained the counts `1/alpha` times better (Robbins 1970; Howard et al. 2021).
pub fn rate(bad: u64, requests: u64, alpha: f64) -> (f64, f64) {
    let bad = bad.min(requests);
    if requests == 0 {
        return (0.0, 1.0);
    }
    let counted = Counted::new(bad, requests, alpha);
    let best = bad as f64 / requests as f64;
    let low = if bad == 0 { 0.0 } else { edge(0.0, best, |p| counted.refutes(p)) };
    let high = if bad == requests { 1.0 } else { edge(1.0, best, |p| counted.refutes(p)) };
    (low, high)
}

/// Between which edges of buckets, in microseconds, the `q` quantile (0 to 1, exclusive) of all latencies lies: it is
/// ever outside with probability at most `alpha`, however often one looks. `None`: nothing speaks against a higher one.
///
/// That a quantile lies above an edge says that more than `1 - q` of the requests are slower than it, and this is a
/// rate; each end is given half of `alpha`.
pub fn quantile(latency: &Histogram, q: f64, alpha: f64) -> (u64, Option<u64>) {
    let (total, rest) = (latency.total(), 1.0 - q);
    let refuted = |slower: u64| Counted::new(slower, total, alpha / 2.0).refutes(rest);
    let (mut lowest, mut slower) = (0, total);
    // Within a bucket that has none and its neighbours the counts say the same of every edge.
    for (bucket, count) in latency.0.iter().filter(|(_, count)| *count > 0) {
        let bucket = usize::from(*bucket);
        if slower as f64 > rest * total as f64 && refuted(slower) {
            lowest = bucket.checked_sub(1).and_then(|below| EDGES.get(below)).copied().unwrap_or(0);
        }
        slower = slower.saturating_sub(*count);
        if (slower as f64) < rest * total as f64 && refuted(slower) {
            return (lowest, EDGES.get(bucket).copied());
        }
    }
    (lowest, None)
}

/// The last refuted rate on the way from one that is to one that is not.
fn edge(mut refuted: f64, mut kept: f64, is_refuted: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..100 {
        let middle = (refuted + kept) / 2.0;
        if is_refuted(middle) { refuted = middle } else { kept = middle }
    }
    refuted
}

/// The base-10 logarithm, for people; the lowest finite one for 0.
pub fn log10(value: f64) -> f64 {
    libm::log10(Exact::new(value).get().max(f64::MIN_POSITIVE))
}
