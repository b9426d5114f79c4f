//! A point falls into the interval `[before/total, upto/total)`, exactly, for every total.

use crate::{any, cases};
use proptest::prelude::*;
use sluicegate_core::split::Split;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// 2^64.
const WHOLE: u128 = 1 << 64;

/// The first point that is not below `weight/total`, by division of whole numbers.
fn edge(weight: u64, total: u64) -> u128 {
    (u128::from(weight) * WHOLE).div_ceil(u128::from(total))
}

/// Looks at both sides of both ends of every subset's interval, and at the ends of the line.
fn ends_are_exact(split: &Split) -> Result<(), TestCaseError> {
    let mut before = 0;
    for (i, subset) in split.subsets.iter().enumerate() {
        let (start, end) = (edge(before, split.total), edge(before + u64::from(subset.weight), split.total));
        before += u64::from(subset.weight);
        if subset.weight == 0 {
            prop_assert_eq!(start, end);
            continue;
        }
        prop_assert_eq!(split.at(start as u64), i, "first point of {}", i);
        prop_assert_eq!(split.at((end - 1) as u64), i, "last point of {}", i);
        if start > 0 {
            prop_assert!(split.at((start - 1) as u64) < i, "one before the first point of {}", i);
        }
        if end < WHOLE {
            prop_assert!(split.at(end as u64) > i, "one after the last point of {}", i);
        }
    }
    prop_assert_eq!(edge(before, split.total), WHOLE);
    Ok(())
}

#[test]
fn intervals_are_exact_for_every_small_total() {
    for total in 1..=300_u32 {
        for weight in [0, 1, total / 3, total / 2, total - 1, total] {
            ends_are_exact(&any::split(&[weight, total - weight])).unwrap();
            ends_are_exact(&any::split(&[weight / 2, total - weight, 0, weight - weight / 2])).unwrap();
        }
    }
}

#[test]
fn one_in_a_million_is_one_in_a_million() {
    let split = any::split(&[1, 1_000_000]);
    ends_are_exact(&split).unwrap();
    let last = (u64::MAX / 1_000_001) as u128;
    assert_eq!(edge(1, 1_000_001), last + 1, "18 446 725 627 305 points of 2^64");
    let every = u64::MAX / 1_000_001;
    let hits = (0..1_000_001_u64).filter(|i| split.at(every / 2 + i * every) == 0).count();
    assert_eq!(hits, 1);
}

#[test]
fn the_largest_possible_sum_is_exact() {
    let split = any::split(&[u32::MAX; 16]);
    assert_eq!(split.total, 16 * u64::from(u32::MAX));
    ends_are_exact(&split).unwrap();
    assert_eq!((0..16_u64).map(|i| split.at(i << 60)).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    assert_eq!(split.at(u64::MAX), 15);
}

#[test]
fn a_single_subset_gets_every_point() {
    for weight in [1, 2, 100, u32::MAX] {
        let split = any::split(&[weight]);
        assert!([0, 1, 1 << 63, u64::MAX].into_iter().all(|point| split.at(point) == 0));
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn intervals_are_exact_for_any_weights(weights in any::weights()) {
        ends_are_exact(&any::split(&weights))?;
    }

    #[test]
    fn a_point_is_in_the_interval_it_is_picked_for(weights in any::weights(), point in any::<u64>()) {
        let split = any::split(&weights);
        let picked = split.at(point);
        let before: u64 = weights[..picked].iter().copied().map(u64::from).sum();
        let upto = before + u64::from(weights[picked]);
        let place = u128::from(point) * u128::from(split.total);
        prop_assert!(u128::from(before) * WHOLE <= place && place < u128::from(upto) * WHOLE);
    }

    #[test]
    fn weight_0_is_never_picked(weights in any::weights(), points in prop::collection::vec(any::<u64>(), 50)) {
        let split = any::split(&weights);
        for point in points.into_iter().chain([0, u64::MAX]) {
            prop_assert!(weights[split.at(point)] > 0);
        }
    }

    #[test]
    fn a_factor_on_all_weights_changes_nothing(
        weights in prop::collection::vec(1..=5_000_u32, 1..=16),
        factor in 1..=800_000_u32,
        point in any::<u64>(),
    ) {
        let larger: Vec<u32> = weights.iter().map(|w| w * factor).collect();
        prop_assert_eq!(any::split(&weights).at(point), any::split(&larger).at(point));
    }

    #[test]
    fn a_point_in_a_subset_is_picked_as_that_subset(weights in any::weights(), fraction in any::<u64>()) {
        let split = any::split(&weights);
        for (i, weight) in weights.iter().enumerate() {
            for fraction in [0, fraction, u64::MAX] {
                let point = split.point_in(i, fraction);
                prop_assert_eq!(point.is_some(), *weight > 0);
                prop_assert!(point.is_none_or(|point| split.at(point) == i), "subset {}", i);
            }
        }
        prop_assert_eq!(split.point_in(weights.len(), fraction), None);
    }

    #[test]
    fn fractions_of_a_subset_reach_from_its_start_to_its_end(weights in any::weights()) {
        let split = any::split(&weights);
        let mut before = 0;
        for (i, weight) in weights.iter().enumerate() {
            let (start, end) = (edge(before, split.total), edge(before + u64::from(*weight), split.total));
            before += u64::from(*weight);
            if let (Some(first), Some(last)) = (split.point_in(i, 0), split.point_in(i, u64::MAX)) {
                prop_assert_eq!(u128::from(first), start);
                prop_assert_eq!(u128::from(last), end - 1);
            }
        }
    }
}
