//! What one side's own counts say about its rate, right at every look.
//!
//! In: bad ones of so many requests. Out: the rates that are not refuted.

use super::exact::Exact;
use libm::{lgamma, log, log1p};

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
    let (x, n) = (bad as f64, requests as f64);
    let ln_pi = log(core::f64::consts::PI);
    let mixture = lgamma(x + 0.5) + lgamma(n - x + 0.5) - lgamma(n + 1.0) - ln_pi;
    // Large logarithms of gamma are rounded; refute a little less.
    let refuted = mixture + log(alpha) - 1e-13 * n;
    let explained = |p: f64| {
        let of_bad = if bad == 0 { 0.0 } else { x * log(p) };
        of_bad + if bad == requests { 0.0 } else { (n - x) * log1p(-p) }
    };
    let best = x / n;
    let low = if bad == 0 { 0.0 } else { edge(0.0, best, |p| explained(p) < refuted) };
    let high = if bad == requests { 1.0 } else { edge(1.0, best, |p| explained(p) < refuted) };
    (low, high)
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
