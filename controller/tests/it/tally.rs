//! What the proxies counted.

use sluicegate::tally::{Tally, WINDOW};
use sluicegate_core::{
    counts::{Counts, Outcome},
    latency::{Histogram, bucket},
    wire::{PROTOCOL, ProxyId, Report, Series},
};
use std::time::Duration;

fn counts(requests: u64, ok: u64, bad: u64) -> Counts {
    let mut counts = Counts { requests, ..Counts::default() };
    counts.outcomes[Outcome::Success as usize] = ok;
    counts.outcomes[Outcome::ServerError as usize] = bad;
    counts.latency.add(bucket(10_000), ok + bad);
    counts
}

fn report(epoch: u64, sample: u32, counts: Counts) -> Report {
    let proxy = ProxyId { epoch, node: "n".into(), plugin: "p".into() };
    let series = vec![Series { split: "n/a".into(), subset: "v1".into(), sample, counts }];
    Report { sluicegate: PROTOCOL, proxy, series }
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn cumulative_reports_add_up_and_repeated_ones_add_nothing() {
    let mut tally = Tally::default();
    tally.take(report(1, 1, counts(10, 9, 1)), seconds(0));
    tally.take(report(1, 1, counts(10, 9, 1)), seconds(1));
    tally.take(report(1, 1, counts(30, 28, 2)), seconds(2));
    tally.take(report(2, 1, counts(5, 5, 0)), seconds(2));
    let total = tally.total("n/a", "v1");
    assert_eq!(total.observed.requests, 35);
    assert_eq!((total.observed.outcome(Outcome::Success), total.observed.errors()), (33, 2));
}

#[test]
fn a_report_that_was_overtaken_changes_nothing_and_a_new_epoch_begins_anew() {
    let mut tally = Tally::default();
    tally.take(report(1, 1, counts(100, 90, 10)), seconds(0));
    tally.take(report(1, 1, counts(70, 65, 5)), seconds(1));
    assert_eq!(tally.total("n/a", "v1").observed.requests, 100);
    tally.take(report(1, 1, counts(110, 98, 12)), seconds(2));
    assert_eq!(tally.total("n/a", "v1").observed.requests, 110);
    tally.take(report(2, 1, counts(8, 8, 0)), seconds(3));
    assert_eq!(tally.total("n/a", "v1").observed.requests, 118);
}

#[test]
fn outcomes_are_scaled_by_the_rate_they_were_sampled_at_and_requests_are_not() {
    let mut tally = Tally::default();
    tally.take(report(1, 4, counts(100, 20, 5)), seconds(0));
    // The weights changed, so the same subset is sampled at another rate: another series.
    tally.take(report(1, 1, counts(10, 10, 0)), seconds(1));
    let total = tally.total("n/a", "v1");
    assert_eq!((total.scaled.requests, total.scaled.outcome(Outcome::Success), total.scaled.errors()), (110, 90, 20));
    assert_eq!((total.observed.observed(), total.scaled.latency.total()), (35, 110));
}

#[test]
fn the_window_is_the_last_minute() {
    let mut tally = Tally::default();
    for s in 0..200 {
        tally.take(report(1, 1, counts(10 * (s + 1), 9 * (s + 1), s + 1)), seconds(s));
        tally.tick(seconds(s));
    }
    let window = tally.window("n/a", "v1", seconds(200));
    assert!(window.length <= WINDOW && window.length > WINDOW - Duration::from_secs(6), "{:?}", window.length);
    assert!((window.rate() - 10.0).abs() < 0.5, "{}", window.rate());
    assert_eq!(window.errors(), Some(0.1));
    let p50 = window.sums.scaled.latency.quantile(0.5).unwrap();
    assert!((9_000.0..=10_000.0).contains(&p50), "{p50}");
    let later = tally.window("n/a", "v1", seconds(300));
    assert_eq!((later.rate(), later.errors()), (0.0, None));
    assert_eq!(tally.total("n/a", "v1").observed.requests, 2000, "totals stay");
}

#[test]
fn a_flood_of_names_is_cut_off_and_counted() {
    let mut tally = Tally::default();
    for i in 0..70_000 {
        let mut flood = report(1, 1, counts(1, 1, 0));
        flood.series[0].subset = format!("s{i}");
        tally.take(flood, seconds(0));
    }
    assert_eq!(tally.totals().count(), 65_536);
    assert_eq!(tally.dropped(), 70_000 - 65_536);
}

#[test]
fn absurd_numbers_neither_panic_nor_wrap() {
    let mut tally = Tally::default();
    let mut absurd = Counts { requests: u64::MAX, outcomes: [u64::MAX; 8], unobserved: u64::MAX, ..Counts::default() };
    absurd.latency = Histogram(vec![(255, u64::MAX), (3, 0), (3, u64::MAX)]);
    for epoch in 0..3 {
        tally.take(report(epoch, u32::MAX, absurd.clone()), seconds(epoch));
        tally.take(report(epoch, 0, absurd.clone()), seconds(epoch));
    }
    let window = tally.window("n/a", "v1", seconds(3));
    assert!(window.rate() > 0.0);
    window.sums.scaled.latency.quantile(0.99);
}

#[test]
fn what_was_counted_before_our_time_is_in_the_totals_but_not_in_the_last_minute() {
    let mut tally = Tally::default();
    tally.meet(1, seconds(1));
    tally.take(report(1, 1, counts(1_000_000, 1_000_000, 0)), seconds(1));
    assert_eq!(tally.total("n/a", "v1").observed.requests, 1_000_000);
    assert_eq!(tally.window("n/a", "v1", seconds(2)).sums.observed.requests, 0);
    tally.take(report(1, 1, counts(1_000_010, 1_000_010, 0)), seconds(2));
    assert_eq!(tally.window("n/a", "v1", seconds(2)).sums.observed.requests, 10);
}
