//! The chances behind the evidence, against counting every case: probabilities, and that no factor's mean is above 1.

use crate::cases;
use proptest::prelude::*;
use sluicegate_core::judge::{
    bounds,
    hypergeometric::{MAX_SUPPORT, Margins, binomial_bound, binomial_ln_ratio, ln_probability, ln_ratio},
    power::Pair,
    wealth::{HARM, HARMLESS, Wealth},
};
use sluicegate_core::latency::{Histogram, bucket};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn margins(canary: u64, baseline: u64, bad: u64) -> Margins {
    Margins { canary, baseline, bad }
}

/// How many ways to choose; exact for what is used here.
fn ways(n: u64, k: u64) -> f64 {
    (0..k).fold(1.0, |ways, i| ways * (n - i) as f64 / (i + 1) as f64).round()
}

/// Every way the bad ones can fall, counted.
fn counted(m: Margins, odds_ratio: f64) -> Vec<(u64, f64)> {
    let (lowest, highest) = m.support();
    let weight = |x: u64| ways(m.canary, x) * ways(m.baseline, m.bad - x) * odds_ratio.powi(x as i32);
    let all: f64 = (lowest..=highest).map(weight).sum();
    (lowest..=highest).map(|x| (x, weight(x) / all)).collect()
}

fn small() -> impl Strategy<Value = Margins> {
    (0..14_u64, 0..14_u64).prop_flat_map(|(c, b)| (0..=c + b).prop_map(move |bad| margins(c, b, bad)))
}

/// The mean of what `value` is of `x`.
fn mean(m: Margins, odds_ratio: f64, value: impl Fn(u64) -> f64) -> f64 {
    counted(m, odds_ratio).into_iter().map(|(x, p)| p * value(x)).sum()
}

#[test]
fn five_bad_ones_fall_as_in_the_textbook() {
    // Fisher's tea: 4 of 8 cups, of which 3 guessed right: 16 of 70.
    assert!((ln_probability(margins(4, 4, 4), 3, 1.0).exp() - 16.0 / 70.0).abs() < 1e-14);
    assert!((ln_probability(margins(1, 1, 1), 1, 3.0).exp() - 0.75).abs() < 1e-14);
    assert_eq!(ln_probability(margins(2, 3, 4), 0, 1.0), f64::NEG_INFINITY);
    assert_eq!(ln_probability(margins(2, 3, 4), 3, 1.0), f64::NEG_INFINITY);
}

#[test]
fn a_window_without_choice_says_nothing() {
    for m in [margins(0, 9, 4), margins(9, 0, 4), margins(9, 9, 0), margins(9, 9, 18)] {
        assert_eq!(ln_ratio(m, m.support().0, 1.0, 2.0), 0.0, "{m:?}");
    }
}

#[test]
fn large_windows_add_up_too() {
    for m in [margins(100_000, 100_000, 100_000), margins(1_000, 999_000, 500_000), margins(50_000, 50_000, 90)] {
        for odds_ratio in [1.0, 2.0] {
            let (lowest, highest) = m.support();
            let middle = m.canary as f64 * odds_ratio / (m.canary as f64 * odds_ratio + m.baseline as f64);
            let around = (m.bad as f64 * middle) as u64;
            let near = around.saturating_sub(300).max(lowest)..=(around + 300).min(highest);
            let near_sum: f64 = near.step_by(1).map(|x| ln_probability(m, x, odds_ratio).exp()).sum();
            assert!(near_sum < 1.0 + 1e-7, "{m:?}: {near_sum}");
        }
    }
    let whole: f64 = (0..=90).map(|x| ln_probability(margins(50_000, 50_000, 90), x, 2.0).exp()).sum();
    assert!((whole - 1.0).abs() < 1e-10, "{whole}");
}

#[test]
fn beyond_the_largest_sum_the_bound_stays_below_the_true_ratio() {
    // Just small enough to be summed, so that both can be had.
    let edge = MAX_SUPPORT;
    for (m, spread) in [(margins(edge, 2 * edge, edge), 0.3), (margins(2 * edge, 2 * edge, edge), 0.5)] {
        for (from, to) in [(1.0, 1.25), (1.1, 3.0), (1.0, 500.0), (2.0, 1.0), (2.0, 0.06)] {
            for x in [(m.bad as f64 * spread) as u64, m.bad / 2, m.bad * 9 / 10] {
                let (bound, exact) = (binomial_bound(m, x, from, to), ln_ratio(m, x, from, to));
                assert!(bound <= exact + 1e-6, "{m:?} {x} {from} {to}: {bound} above {exact}");
            }
        }
    }
    let huge = margins(u64::MAX / 2, u64::MAX / 2, u64::MAX / 4);
    assert!(ln_ratio(huge, u64::MAX / 8, 1.0, 2.0) < 0.0);
    assert!(ln_ratio(huge, u64::MAX / 5, 1.0, 2.0) > 0.0);
}

#[test]
fn with_few_bad_ones_among_many_the_bound_loses_nothing() {
    let m = margins(100_000, 300_000, 40);
    let (bound, exact) = (binomial_bound(m, 25, 1.0, 3.2), ln_ratio(m, 25, 1.0, 3.2));
    assert!(bound <= exact && exact - bound < 0.01, "{bound} {exact}");
}

#[test]
fn walds_bound_is_what_it_was_computed_to_be_elsewhere() {
    // Two lines of another language: ln(100) / ((KL(p, m) + KL(q, m)) / 2), m the mean of p and q.
    for (q, p, requests) in [(0.01, 0.05, 615.3), (0.001, 0.005, 6310.2), (0.01, 0.02, 5341.4), (0.0005, 0.5, 21.532)] {
        let pair = Pair { canary: p, baseline: q, share: 0.5 };
        let found = pair.wald(0.01);
        assert!((found / requests - 1.0).abs() < 1e-3, "{q} {p}: {found}");
        assert_eq!(
            pair.requests_until(1.0, 1.0, 100.0),
            Some(found.ceil() as u64),
            "a forecast from nothing is that bound"
        );
        assert_eq!(
            pair.requests_until(1.0, 10.0, 100.0),
            Some((found / 2.0).ceil() as u64),
            "half of the way is behind it"
        );
        assert_eq!(pair.requests_until(1.0, 100.0, 100.0), None, "it is there");
    }
}

#[test]
fn a_rate_is_bounded_from_both_sides() {
    assert_eq!(bounds::rate(0, 0, 0.05), (0.0, 1.0));
    let (low, high) = bounds::rate(0, 10_000, 0.05);
    assert!(low == 0.0 && high > 3.0e-4 && high < 1.0e-3, "{high}");
    let (low, high) = bounds::rate(500, 1_000, 0.01);
    assert!(low > 0.42 && low < 0.46 && high > 0.54 && high < 0.58, "{low} {high}");
    assert_eq!(bounds::rate(7, 7, 0.05).1, 1.0);
    let (low, high) = bounds::rate(u64::MAX / 3, u64::MAX, 0.05);
    assert!(low <= 1.0 / 3.0 && 1.0 / 3.0 <= high);
}

#[test]
fn a_quantile_is_bounded_by_edges_and_by_nothing_where_little_is_known() {
    let of = |all: &[(u64, u64)]| {
        let mut it = Histogram::default();
        all.iter().for_each(|(micros, count)| it.add(bucket(*micros), *count));
        it
    };
    assert_eq!(bounds::quantile(&of(&[]), 0.5, 0.05), (0, None));
    assert_eq!(bounds::quantile(&of(&[(10_000, 10_000)]), 0.5, 0.05), (9_000, Some(10_000)));
    let it = of(&[(10_000, 9_000), (40_000, 1_000)]);
    assert_eq!(bounds::quantile(&it, 0.5, 0.05), (9_000, Some(10_000)));
    assert_eq!(bounds::quantile(&it, 0.95, 0.05), (35_500, Some(40_000)), "one in ten is slow");
    assert_eq!(bounds::quantile(&it, 0.9, 0.05), (9_000, Some(40_000)), "just at the edge of both");
    assert_eq!(
        bounds::quantile(&of(&[(10_000, 50)]), 0.99, 0.05).1,
        None,
        "fifty do not know what one in a hundred is"
    );
}

#[test]
fn a_quantile_is_seldom_outside_of_its_bounds_even_at_the_worst_of_many_looks() {
    // Uniform from 0 to 1 s, so the median is 500 ms, an edge.
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % 1_000_000
    };
    let outside = (0..300).filter(|_| {
        let mut it = Histogram::default();
        (0..30).any(|_| {
            (0..20).for_each(|_| it.add(bucket(next()), 1));
            let (low, high) = bounds::quantile(&it, 0.5, 0.05);
            low > 500_000 || high.is_some_and(|high| high < 500_000)
        })
    });
    let outside = outside.count();
    assert!(outside <= 15, "{outside} of 300, and 5 % are allowed");
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_quantile_lies_within_its_bounds(latencies in proptest::collection::vec(0..2_000_000_u64, 1..300), q in 0.01..0.99) {
        let mut it = Histogram::default();
        latencies.iter().for_each(|micros| it.add(bucket(*micros), 1));
        let (low, high) = bounds::quantile(&it, q, 0.05);
        let value = it.quantile(q).expect("some");
        prop_assert!(low as f64 <= value && high.is_none_or(|high| value <= high as f64), "{low} {value} {high:?}");
    }

    #[test]
    fn chances_are_those_of_counting_and_sum_to_1(m in small(), odds_ratio in 0.05..200.0_f64) {
        let mut sum = 0.0;
        for (x, expected) in counted(m, odds_ratio) {
            let found = ln_probability(m, x, odds_ratio).exp();
            prop_assert!((found - expected).abs() <= 1e-12 * expected.max(1e-3), "{x}: {found} not {expected}");
            sum += found;
        }
        prop_assert!((sum - 1.0).abs() < 1e-12, "{}", sum);
    }

    #[test]
    fn no_factor_has_a_mean_above_1_while_there_is_no_harm(
        m in small(),
        tolerance in prop_oneof![Just(1.0), 1.0..2.0_f64],
        less in 0.02..=1.0_f64,
        cap in prop_oneof![Just(f64::MAX), 1.0..10.0_f64],
    ) {
        for (ratio, _) in HARM {
            let factor = |x| ln_ratio(m, x, tolerance, tolerance * ratio).exp().min(cap);
            // At the edge, and at every smaller odds ratio; 2e-15 is the rounding of this very sum.
            for odds_ratio in [tolerance, tolerance * less] {
                let mean = mean(m, odds_ratio, factor);
                prop_assert!(mean <= 1.0 + 2e-15, "{} at {}", mean, odds_ratio);
            }
        }
    }

    #[test]
    fn no_factor_has_a_mean_above_1_while_harm_is_unacceptable(m in small(), more in 1.0..50.0_f64, cap in 1.0..10.0_f64) {
        for (ratio, _) in HARMLESS {
            let factor = |x| ln_ratio(m, x, 2.0, 2.0 * ratio).exp().min(cap);
            for odds_ratio in [2.0, 2.0 * more] {
                let mean = mean(m, odds_ratio, factor);
                prop_assert!(mean <= 1.0 + 2e-15, "{} at {}", mean, odds_ratio);
            }
        }
    }

    #[test]
    fn the_bound_is_below_the_true_ratio_everywhere(m in small(), from in 1.0..3.0_f64, ratio in 0.02..600.0_f64) {
        let (lowest, highest) = m.support();
        prop_assume!(lowest < highest);
        for x in lowest..=highest {
            let (bound, exact) = (binomial_bound(m, x, from, from * ratio), ln_ratio(m, x, from, from * ratio));
            prop_assert!(bound <= exact + 1e-12, "{} at {}: {} above {}", x, from, bound, exact);
        }
    }

    #[test]
    fn no_factor_against_a_limit_has_a_mean_above_1_within_it(n in 1..40_u64, limit in 0.001..0.6_f64, part in 0.0..=1.0_f64) {
        for (ratio, _) in HARM {
            for p in [limit, limit * part] {
                let chance = |x: u64| ways(n, x) * p.powi(x as i32) * (1.0 - p).powi((n - x) as i32);
                let mean: f64 = (0..=n).map(|x| chance(x) * binomial_ln_ratio(x, n, limit, ratio).exp()).sum();
                prop_assert!(mean <= 1.0 + 1e-11, "{}", mean);
            }
        }
    }

    #[test]
    fn wealth_cannot_grow_on_average(factors in proptest::collection::vec((0.0..1.0_f64, 1.0..50.0_f64), 1..12)) {
        // Fair coins: a factor `up` with the chance that makes its mean 1, else `down`; all paths are weighed.
        fn after(wealth: &Wealth, rest: &[(f64, f64)]) -> f64 {
            let Some(((down, up), rest)) = rest.split_first() else { return wealth.value() };
            let chance = (1.0 - down) / (up - down).max(1e-9);
            let next = |factor: f64| {
                let mut wealth = wealth.clone();
                wealth.bet(f64::MAX, HARM.iter().map(|(_, weight)| (*weight, factor.ln())));
                after(&wealth, rest)
            };
            if chance >= 1.0 { next(1.0) } else { chance * next(*up) + (1.0 - chance) * next(*down) }
        }
        let mean = after(&Wealth::new(HARM.len()), &factors);
        prop_assert!((mean - 1.0).abs() < 1e-9, "{}", mean);
    }
}
