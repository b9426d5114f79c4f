//! Latency buckets: each value in the right one, thresholds people choose on edges, quantiles in the right bucket.

use crate::cases;
use proptest::{collection::vec, prelude::*};
use sluicegate_core::latency::{BUCKETS, EDGES, Histogram, bucket};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn histogram(latencies: &[u64]) -> Histogram {
    let mut it = Histogram::default();
    latencies.iter().for_each(|micros| it.add(bucket(*micros), 1));
    it
}

/// Lower and upper edge; the last bucket stands for its lower edge.
fn edges(bucket: usize) -> (f64, f64) {
    let low = if bucket == 0 { 0.0 } else { EDGES[bucket - 1] as f64 };
    (low, EDGES.get(bucket).map_or(low, |edge| *edge as f64))
}

/// Microseconds of every size.
fn micros() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..200_u64,
        0..300_000_000_u64,
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..EDGES.len()).prop_map(|i| EDGES[i])
    ]
}

#[test]
fn thresholds_that_people_choose_are_edges() {
    for millis in [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 400, 500, 800, 1_000, 2_000, 2_500, 5_000, 10_000, 100_000] {
        assert!(EDGES.contains(&(millis * 1_000)), "{millis} ms");
    }
}

#[test]
fn edges_are_twenty_a_decade_and_at_most_14_percent_apart() {
    assert_eq!((EDGES[0], EDGES[BUCKETS - 2], EDGES.len()), (100, 100_000_000, 121));
    assert!(EDGES.windows(2).all(|w| w[0] < w[1] && w[1] as f64 / w[0] as f64 <= 1.145));
    assert!((0..=100).all(|i| EDGES[i + 20] == EDGES[i] * 10));
}

#[test]
fn an_edge_belongs_to_the_bucket_below_it() {
    for (i, edge) in EDGES.iter().enumerate() {
        assert_eq!([bucket(edge - 1), bucket(*edge), bucket(edge + 1)], [i, i, i + 1], "{edge} µs");
    }
    assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
}

#[test]
fn exactly_the_threshold_is_not_slower_than_it() {
    let it = histogram(&[1, 249_999, 250_000, 250_001, 280_000, 280_001, u64::MAX]);
    assert_eq!(it.slower_than(250_000), 4);
    assert_eq!(it.slower_than(280_000), 2);
    assert_eq!(it.slower_than(0), 6);
    assert_eq!(it.slower_than(100_000_000), 1);
    assert_eq!(it.slower_than(u64::MAX), 0);
}

#[test]
fn an_empty_histogram_has_no_quantile() {
    assert_eq!(Histogram::default().quantile(0.5), None);
    assert_eq!(Histogram(vec![(3, 0)]).quantile(0.5), None);
    assert_eq!((Histogram::default().total(), Histogram::default().slower_than(0)), (0, 0));
}

#[test]
fn a_quantile_is_linear_in_its_bucket() {
    let it = Histogram(vec![(1, 4), (21, 4)]);
    let all = [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| it.quantile(q).unwrap());
    assert_eq!(all, [100.0, 106.0, 112.0, 1_060.0, 1_120.0]);
    assert_eq!((it.quantile(-1.0), it.quantile(7.0)), (Some(100.0), Some(1_120.0)));
    assert_eq!(Histogram(vec![(121, 5)]).quantile(0.5), Some(100_000_000.0));
    assert_eq!(Histogram(vec![(0, 2)]).quantile(0.5), Some(50.0));
}

#[test]
fn very_large_counts_still_have_every_quantile() {
    // The sum of rounded counts may stay below their rounded sum.
    let it = Histogram((0..122).map(|b| (b, (1 << 53) + 1)).collect());
    assert_eq!(it.quantile(1.0), Some(100_000_000.0));
    let full = Histogram(vec![(0, u64::MAX), (5, u64::MAX)]);
    assert_eq!(full.total(), u64::MAX);
    assert!(full.quantile(1.0).is_some());
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn every_value_is_in_the_bucket_whose_edges_hold_it(micros in micros()) {
        let b = bucket(micros);
        prop_assert!(b < BUCKETS);
        prop_assert!(b == 0 || EDGES[b - 1] < micros);
        prop_assert!(b == BUCKETS - 1 || micros <= EDGES[b]);
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_the_value_at_its_rank(
        mut latencies in vec(micros(), 1..200),
        per_mille in 0..=1_000_u32,
    ) {
        let q = f64::from(per_mille) / 1_000.0;
        let found = histogram(&latencies).quantile(q).unwrap();
        latencies.sort_unstable();
        let rank = (q * latencies.len() as f64).ceil() as usize;
        let (low, high) = edges(bucket(latencies[rank.max(1) - 1]));
        prop_assert!((low..=high).contains(&found), "{} outside {}..={}", found, low, high);
    }

    #[test]
    fn quantiles_never_fall(latencies in vec(micros(), 1..100), a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
        let it = histogram(&latencies);
        prop_assert!(it.quantile(a.min(b)) <= it.quantile(a.max(b)));
    }

    #[test]
    fn slower_than_an_edge_counts_exactly(latencies in vec(micros(), 0..200), edge in 0..EDGES.len()) {
        let slower = latencies.iter().filter(|micros| **micros > EDGES[edge]).count() as u64;
        prop_assert_eq!(histogram(&latencies).slower_than(EDGES[edge]), slower);
    }

    #[test]
    fn a_histogram_counts_every_value_once_and_stays_in_order(latencies in vec(micros(), 0..200)) {
        let it = histogram(&latencies);
        prop_assert_eq!(it.total(), latencies.len() as u64);
        prop_assert!(it.0.windows(2).all(|w| w[0].0 < w[1].0) && it.0.iter().all(|(_, count)| *count > 0));
        for b in 0..BUCKETS {
            prop_assert_eq!(it.count(b), latencies.iter().filter(|micros| bucket(**micros) == b).count() as u64);
        }
    }

    #[test]
    fn numbers_from_outside_may_be_anything(
        pairs in vec(any::<(u8, u64)>(), 0..20),
        more in vec(any::<(u8, u64)>(), 0..20),
        q in any::<f64>(),
    ) {
        let (it, other) = (Histogram(pairs), Histogram(more));
        let (_, _, _) = (it.quantile(q), it.slower_than(250_000), it.since(&other));
        // Whatever it was made of, a sum is in order and within bounds.
        let mut sum = Histogram::default();
        sum.merge(&it);
        sum.merge(&other);
        prop_assert!(sum.0.windows(2).all(|w| w[0].0 < w[1].0) && sum.0.iter().all(|(b, _)| usize::from(*b) < BUCKETS));
        prop_assert!(sum.0.is_empty() || sum.quantile(0.5).is_some_and(f64::is_finite));
    }
}
