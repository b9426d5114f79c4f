//! What is remembered of a rollout over time.

use crate::support::at;
use serde_json::{Value, json};
use sluicegate::{
    clock::Now,
    rollouts::{
        history::{Entry, History},
        series::{AFTER, AllSeries, MOST, points, told::Told},
        view::View,
    },
    tally::Tally,
};
use sluicegate_core::{
    counts::{Counts, Outcome},
    latency::bucket,
    wire::{PROTOCOL, ProxyId, Report, Series},
};
use std::{collections::BTreeMap, time::Duration};

fn rollout(name: &str, phase: &str) -> View {
    let weights = BTreeMap::from([("canary".to_owned(), "10".to_owned()), ("main".to_owned(), "80".to_owned())]);
    let splits = vec!["n/app".to_owned()];
    View { name: name.to_owned(), phase: phase.to_owned(), splits, weights, ..View::default() }
}

/// A fleet of one proxy, a rollout in front of it, and their time.
struct World {
    series: AllSeries,
    rollouts: BTreeMap<String, View>,
    tally: Tally,
    now: Now,
    sent: u64,
}

impl World {
    fn new(phase: &str) -> Self {
        let rollouts = BTreeMap::from([("n/app".to_owned(), rollout("n/app", phase))]);
        Self { series: AllSeries::default(), rollouts, tally: Tally::default(), now: at(0), sent: 0 }
    }

    fn phase(&mut self, phase: &str) {
        self.rollouts.insert("n/app".to_owned(), rollout("n/app", phase));
    }

    /// So many seconds, with ten requests each on either side; the canary's are slow, and one of ten fails.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = at(self.now.at.as_millis() as u64 + 1_000);
            self.sent += 10;
            let counts = |bad, micros| {
                let mut counts = Counts { requests: self.sent, ..Counts::default() };
                counts.outcomes[Outcome::Success as usize] = self.sent - bad;
                counts.outcomes[Outcome::ServerError as usize] = bad;
                counts.latency.add(bucket(micros), self.sent);
                counts
            };
            let series =
                |subset: &str, counts| Series { split: "n/app".into(), subset: subset.into(), sample: 1, counts };
            let proxy = ProxyId { epoch: 1, node: "n".into(), plugin: "p".into() };
            let series = vec![series("canary", counts(self.sent / 10, 40_000)), series("baseline", counts(0, 10_000))];
            self.tally.take(Report { sluicegate: PROTOCOL, proxy, series }, self.now.at);
            self.series.tick(&self.rollouts, &self.tally, self.now);
        }
    }

    fn points(&self) -> Vec<points::Point> {
        self.series.fresh("n/app", None).map(|fresh| fresh.points).unwrap_or_default()
    }
}

#[test]
fn a_rollout_of_half_a_day_fits_and_no_request_is_lost_by_merging() {
    let mut world = World::new("Hold");
    let hours = 12;
    for _ in 0..hours * 60 {
        world.pass(60);
        assert!(world.points().len() <= points::MOST, "{}", world.points().len());
    }
    let points = world.points();
    assert!(points.len() > 120, "{}", points.len());
    let requests: u64 = points.iter().map(|point| point.sides.0[2].requests).sum();
    // Those of the second in which it was first looked at came before.
    assert_eq!(requests, (hours * 3_600 - 1) / 5 * 50);
    for pair in points.windows(2) {
        let gap = pair[1].until.as_millisecond() - pair[0].until.as_millisecond();
        assert_eq!(gap, pair[1].length.as_millis() as i64, "no gap, no overlap");
    }
    let (older, newest) = points.split_at(points.len() - points::NEWEST);
    assert!(newest.iter().all(|point| point.length == Duration::from_secs(5)), "the newest are as they came");
    let longest = older.iter().map(|point| point.length).max().unwrap();
    assert!(longest <= Duration::from_secs(hours * 3_600 / 45), "{longest:?}");
}

#[test]
fn who_has_points_is_told_new_ones_only_until_older_ones_are_merged() {
    let mut world = World::new("Weigh");
    world.pass(1);
    let first = world.series.fresh("n/app", None).unwrap();
    assert!(first.whole && first.points.is_empty(), "that it is remembered is told before there is anything");
    world.pass(12);
    let second = world.series.fresh("n/app", Some(first.known)).unwrap();
    assert!(!second.whole && second.points.len() == 2, "{second:?}");
    assert!(world.series.fresh("n/app", Some(second.known)).is_none(), "nothing is told twice");
    world.pass(5 * points::MOST as u64);
    let third = world.series.fresh("n/app", Some(second.known)).unwrap();
    assert!(third.whole && third.points == world.points());
    assert!(world.series.fresh("n/other", None).is_none());
}

#[test]
fn some_minutes_after_its_end_nothing_is_added_and_the_next_run_begins_anew() {
    let mut world = World::new("Idle");
    world.pass(60);
    assert!(world.series.fresh("n/app", None).is_none(), "nothing is remembered of what never moved");
    world.phase("Hold");
    world.pass(61);
    assert_eq!(world.points().len(), 12);
    world.phase("Promoted");
    world.pass(AFTER.as_secs() + 60);
    let rested = world.points();
    assert_eq!(rested.len(), 12 + AFTER.as_secs() as usize / 5, "the watch after it is shown too, and then no more");
    let known = world.series.fresh("n/app", None).unwrap().known;
    world.phase("Scale");
    world.pass(6);
    let fresh = world.series.fresh("n/app", Some(known)).unwrap();
    assert!(fresh.whole && fresh.points.len() == 1 && fresh.since > rested[0].until, "{fresh:?}");
    world.rollouts.clear();
    world.pass(1);
    assert!(world.series.fresh("n/app", None).is_none(), "what is gone is forgotten");
}

#[test]
fn there_is_a_bound_to_how_many_are_remembered() {
    let mut world = World::new("Hold");
    let more = (0..MOST + 50).map(|at| format!("n/app-{at:04}"));
    world.rollouts = more.map(|name| (name.clone(), rollout(&name, "Hold"))).collect();
    world.pass(6);
    let remembered = world.rollouts.keys().filter(|name| world.series.fresh(name, None).is_some()).count();
    assert_eq!(remembered, MOST);
    let (ended, waiting) = ("n/app-0007".to_owned(), format!("n/app-{:04}", MOST + 1));
    assert!(world.series.fresh(&ended, None).is_some() && world.series.fresh(&waiting, None).is_none());
    world.rollouts.insert(ended.clone(), rollout(&ended, "Promoted"));
    world.rollouts.retain(|name, _| *name <= waiting);
    world.rollouts.remove(&format!("n/app-{MOST:04}"));
    world.pass(2);
    let told = [&ended, &waiting].map(|name| world.series.fresh(name, None).is_some());
    assert_eq!(told, [false, true], "one that has ended makes room");
}

#[test]
fn both_sides_are_told_with_intervals_that_hold_their_values() {
    let mut world = World::new("Hold");
    world.pass(61);
    let told = serde_json::to_value(Told::from(world.series.fresh("n/app", None).unwrap())).unwrap();
    assert_eq!((&told["whole"], &told["confidence"]), (&json!(true), &json!(0.95)));
    let point = &told["points"][3];
    assert_eq!(point["weights"], json!({ "baseline": 0.0, "canary": 10.0, "main": 80.0 }));
    assert!(point["sides"]["main"].is_null(), "no request, nothing to show: {point}");
    let (canary, baseline) = (&point["sides"]["canary"], &point["sides"]["baseline"]);
    assert_eq!((&canary["requests"], &canary["rate"]), (&json!(50), &json!(10.0)));
    for side in [canary, baseline] {
        for key in ["errors", "p50", "p95", "p99"] {
            let [value, low, high] = [0, 1, 2].map(|at| side[key][at].as_f64());
            assert!(low <= value && high.is_none_or(|high| high >= value.unwrap()), "{key}: {side}");
        }
        assert!(side["p99"][2].is_null(), "fifty requests say nothing of what one in a hundred is at most");
    }
    assert!(canary["p50"][1].as_f64() > baseline["p50"][2].as_f64(), "{point}");
    assert_eq!(canary["errors"][0], 0.1);
}

#[test]
fn a_history_that_an_older_program_wrote_is_read_and_written_as_it_was() {
    let old = json!([{ "at": "2026-01-01T00:00:00Z", "phase": "Hold", "message": "step 1 of 3" }]);
    let history: History = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(serde_json::to_value(&history).unwrap(), old);
    let entry: &Entry = history.entries().next().unwrap();
    assert!(entry.weights.is_none() && entry.said.is_none() && entry.step.is_none());
    let newer: Value = json!([{ "at": "2026-01-01T00:00:00Z", "phase": "Weigh", "message": "m", "step": 2,
        "weights": { "canary": "25" }, "said": { "verb": "continue", "step": 1, "by": "ada", "why": "fine" } }]);
    let history: History = serde_json::from_value(newer.clone()).unwrap();
    assert_eq!(serde_json::to_value(&history).unwrap(), newer);
}
