//! Cumulative counts: sums do not depend on their order, differences undo them, and a new start is noticed.

use crate::{any, cases};
use proptest::prelude::*;
use sluicegate_core::{
    counts::{Counts, OUTCOMES, Outcome},
    latency::Histogram,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn sum(parts: &[&Counts]) -> Counts {
    let mut sum = Counts::default();
    parts.iter().for_each(|part| sum.merge(part));
    sum
}

#[test]
fn counts_say_what_was_counted() {
    let mut it = Counts { requests: 100, outcomes: [1, 2, 3, 4, 5, 6, 7, 8], ..Counts::default() };
    assert_eq!(OUTCOMES.map(|outcome| it.outcome(outcome)), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((it.observed(), it.errors()), (36, 19));
    assert_eq!(it.outcome(Outcome::LocalFailure), 6);
    assert!(!it.is_empty() && Counts::default().is_empty());
    it.outcomes = [u64::MAX; OUTCOMES.len()];
    assert_eq!((it.observed(), it.errors()), (u64::MAX, u64::MAX));
}

#[test]
fn a_full_counter_stays_full() {
    let full = Counts {
        requests: u64::MAX,
        outcomes: [u64::MAX; OUTCOMES.len()],
        unobserved: 1,
        latency: Histogram(vec![(3, u64::MAX)]),
    };
    assert_eq!(sum(&[&full, &full]), Counts { unobserved: 2, ..full.clone() });
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_sum_does_not_depend_on_its_order(a in any::counts(), b in any::counts(), c in any::counts()) {
        let whole = sum(&[&a, &b, &c]);
        prop_assert_eq!(&whole, &sum(&[&c, &a, &b]));
        prop_assert_eq!(&whole, &sum(&[&a, &sum(&[&b, &c])]));
        prop_assert_eq!(sum(&[&a]), a);
    }

    #[test]
    fn what_came_on_top_is_what_was_added(earlier in any::counts(), added in any::counts()) {
        let now = sum(&[&earlier, &added]);
        prop_assert_eq!(now.since(&earlier), Some(added));
        prop_assert_eq!(now.since(&now), Some(Counts::default()));
        prop_assert_eq!(now.since(&Counts::default()), Some(now));
    }

    #[test]
    fn any_count_that_went_backwards_is_a_new_start(
        counts in any::counts(),
        added in any::counts(),
        which in 0..10_usize,
        bucket in 0..122_u8,
    ) {
        let mut earlier = counts.clone();
        // One more in the past than now, in one place; everything else as before or grown.
        match which {
            0..=6 => earlier.outcomes[which] += added.outcomes[which] + 1,
            7 => earlier.requests += added.requests + 1,
            8 => earlier.unobserved += added.unobserved + 1,
            _ => earlier.latency.add(usize::from(bucket), added.latency.count(usize::from(bucket)) + 1),
        }
        prop_assert_eq!(sum(&[&counts, &added]).since(&earlier), None);
    }

    #[test]
    fn a_zero_written_out_is_no_difference(counts in any::counts(), bucket in 0..122_u8) {
        let mut earlier = counts.clone();
        if counts.latency.count(usize::from(bucket)) == 0 {
            earlier.latency.0.push((bucket, 0));
            earlier.latency.0.sort_unstable();
        }
        prop_assert_eq!(counts.since(&earlier), Some(Counts::default()));
    }
}
