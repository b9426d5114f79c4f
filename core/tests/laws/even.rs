//! Promise 6: without a key, counts track the weights at every moment.

use crate::{any, cases};
use proptest::{collection::vec, prelude::*};
use sluicegate_core::{pick::Even, split::Split};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// What was picked since the balance was last forgotten.
struct Tally {
    requests: i128,
    picked: [i128; 16],
}

impl Tally {
    fn new() -> Self {
        Self { requests: 0, picked: [0; 16] }
    }

    /// Counts one and checks that every subset is within `[share − 2, share + 1]`: in whole numbers,
    /// `picked · total − requests · weight`.
    fn add(&mut self, split: &Split, subset: usize) -> Result<(), TestCaseError> {
        let total = i128::from(split.total);
        self.requests += 1;
        self.picked[subset] += 1;
        prop_assert!(split.subsets[subset].weight > 0, "picked a subset of weight 0");
        for (i, (picked, s)) in self.picked.iter().zip(&split.subsets).enumerate() {
            let ahead = picked * total - self.requests * i128::from(s.weight);
            prop_assert!(
                (-2 * total..=total).contains(&ahead),
                "subset {} is {} requests ahead of its share after {}",
                i,
                ahead as f64 / total as f64,
                self.requests
            );
        }
        Ok(())
    }
}

/// Follows `count` requests from here on.
fn stays_even(even: &mut Even, split: &Split, count: usize) -> Result<(), TestCaseError> {
    let mut tally = Tally::new();
    (0..count).try_for_each(|_| tally.add(split, even.next(split)))
}

#[test]
fn a_hundred_requests_at_90_10_give_10_within_2() {
    let split = any::split(&[90, 10]);
    for start in (0..2_000_u64).map(|i| i.wrapping_mul(0x0123_4567_89AB_CDEF)) {
        let mut even = Even::new(start);
        let canary = (0..100).filter(|_| even.next(&split) == 1).count();
        assert!((8..=12).contains(&canary), "{canary} from start {start:#x}");
    }
}

#[test]
fn long_runs_do_not_drift() {
    for weights in [vec![50, 50], vec![90, 10], vec![10, 80, 10], vec![1, 1_000_000], vec![1; 16], vec![u32::MAX; 16]] {
        stays_even(&mut Even::new(12_345), &any::split(&weights), 500_000).unwrap();
    }
}

#[test]
fn the_order_is_not_a_simple_round() {
    // A client with a rhythm of its own (every second request is a POST) must not meet one subset only.
    let split = any::split(&[50, 50]);
    let mut even = Even::new(7);
    let picks: Vec<usize> = (0..1_000).map(|_| even.next(&split)).collect();
    for period in 2..=10 {
        let hits = picks.iter().step_by(period).filter(|s| **s == 0).count() * period;
        assert!((250..=750).contains(&hits), "every {period}th request: {hits} of 1000 on one subset");
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn at_every_moment_counts_are_within_two_of_their_share(weights in any::weights(), start in any::<u64>()) {
        stays_even(&mut Even::new(start), &any::split(&weights), 2_000)?;
    }

    #[test]
    fn counts_stay_even_after_every_change_of_weights(
        start in any::<u64>(),
        plan in vec((any::weights(), 1..300_usize), 1..8),
    ) {
        let mut even = Even::new(start);
        for (weights, requests) in plan {
            even.rebase();
            stays_even(&mut even, &any::split(&weights), requests)?;
        }
    }

    #[test]
    fn weight_0_is_not_picked_even_when_the_rebase_was_forgotten(
        start in any::<u64>(),
        plan in vec((any::weights(), 1..40_usize), 2..8),
    ) {
        let mut even = Even::new(start);
        for (weights, requests) in plan {
            let split = any::split(&weights);
            for _ in 0..requests {
                prop_assert!(weights[even.next(&split)] > 0);
            }
        }
    }

    #[test]
    fn a_choice_carries_a_point_of_its_subset(weights in any::weights(), start in any::<u64>()) {
        let split = any::split(&weights);
        let (mut even, mut twin, mut tally) = (Even::new(start), Even::new(start), Tally::new());
        for _ in 0..500 {
            let choice = even.next_choice(&split);
            prop_assert_eq!(split.at(choice.point), choice.subset);
            prop_assert_eq!(twin.next(&split), choice.subset, "with or without point, the same choice");
            tally.add(&split, choice.subset)?;
        }
    }
}

#[test]
fn points_of_choices_spread_over_the_whole_line() {
    // Ids are issued for these points; a later weight must find them spread, not heaped.
    let split = any::split(&[10, 80, 10]);
    let mut even = Even::new(99);
    let mut tenths = [0; 10];
    for _ in 0..10_000 {
        let point = even.next_choice(&split).point;
        tenths[((u128::from(point) * 10) >> 64) as usize] += 1;
    }
    assert!(tenths.iter().all(|n| (900..=1_100).contains(n)), "{tenths:?}");
}
