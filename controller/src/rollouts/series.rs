//! What canary, baseline and main were counted to do over time: the memory behind the dashboard's charts.
//!
//! In: every second the rollouts as they stand and the tally. Out: for the rollout that somebody looks at, its points.
//! Pure. It is not written down; a controller that is started again begins anew.
//!
//! * [`points`]: one rollout's points, the older ones merged.
//! * [`told`]: a point as the page gets it, with its intervals.

pub mod points;
pub mod told;

use super::view::View;
use crate::{clock::Now, tally::Tally};
use jiff::Timestamp;
use points::{Point, Points, Side, Sides};
use sluicegate_core::{counts::Counts, rollout::Role};
use std::{collections::BTreeMap, time::Duration};

/// Between two points, at first.
pub const STEP: Duration = Duration::from_secs(5);
/// After its end a rollout is followed for so long; then nothing is done for it any more.
pub const AFTER: Duration = Duration::from_secs(5 * 60);
/// Rollouts that are remembered at once, those that have ended only as long as no other needs the room; more have no charts
/// of what was counted. With 240 points each and the some 20 buckets that latencies of one service fall into, one takes about
/// 300 KB; with all 122, at most 1.5 MB.
pub const MOST: usize = 100;

/// Phases in which nothing is under way.
const AT_REST: [&str; 6] = ["", "Idle", "Promoted", "RolledBack", "Off", "Gone"];

/// See the module.
#[derive(Debug, Default)]
pub struct AllSeries(BTreeMap<String, Series>);

/// One rollout's.
#[derive(Debug)]
struct Series {
    since: Timestamp,
    points: Points,
    /// When the last point ended, and what was counted until then.
    last: (Duration, [Counts; 3]),
    /// Since when nothing is under way.
    resting: Option<Duration>,
}

/// Which of the points somebody has: how often older ones had been merged, and how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    since: Timestamp,
    merged: u32,
    count: usize,
}

/// Points that are news to somebody.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// When the memory of this rollout began.
    pub since: Timestamp,
    /// They stand in place of all that were told before.
    pub whole: bool,
    /// In order of time.
    pub points: Vec<Point>,
    /// What is known with these.
    pub known: Known,
}

impl AllSeries {
    /// Time has passed: a new point for each rollout under way, if it is time for one.
    pub fn tick(&mut self, rollouts: &BTreeMap<String, View>, tally: &Tally, now: Now) {
        self.0.retain(|name, _| rollouts.contains_key(name));
        for (name, view) in rollouts {
            let at_rest = AT_REST.contains(&view.phase.as_str());
            let ended = self.0.get(name).is_some_and(|series| series.resting.is_some());
            // The next run has charts of its own.
            if !at_rest && (ended || !self.0.contains_key(name)) {
                self.0.remove(name);
                if self.has_room() {
                    self.0.insert(name.clone(), Series::new(view, tally, now));
                }
            }
            if let Some(series) = self.0.get_mut(name) {
                series.tick(view, tally, at_rest, now);
            }
        }
    }

    /// Whether one more may be remembered, if need be in place of the one that ended first.
    fn has_room(&mut self) -> bool {
        if self.0.len() >= MOST {
            let ended = self.0.iter().filter_map(|(name, series)| Some((series.resting?, name)));
            let first = ended.min().map(|(_, name)| name.clone());
            first.map(|name| self.0.remove(&name));
        }
        self.0.len() < MOST
    }

    /// What is new of a rollout to somebody who knows this; `None`: nothing.
    pub fn fresh(&self, rollout: &str, known: Option<Known>) -> Option<Fresh> {
        let series = self.0.get(rollout)?;
        let (since, merged, count) = (series.since, series.points.merged(), series.points.len());
        let whole = known.is_none_or(|known| known.since != since || known.merged != merged);
        let skip = known.filter(|_| !whole).map_or(0, |known| known.count);
        let points: Vec<Point> = series.points.iter().skip(skip).cloned().collect();
        let fresh = Fresh { since, whole, points, known: Known { since, merged, count } };
        (whole || !fresh.points.is_empty()).then_some(fresh)
    }
}

impl Series {
    fn new(view: &View, tally: &Tally, now: Now) -> Self {
        let last = (now.at, counted(view, tally));
        Self { since: now.wall, points: Points::default(), last, resting: None }
    }

    fn tick(&mut self, view: &View, tally: &Tally, at_rest: bool, now: Now) {
        let since = *self.resting.get_or_insert(now.at);
        if !at_rest {
            self.resting = None;
        } else if now.at.saturating_sub(since) > AFTER {
            return;
        }
        let length = now.at.saturating_sub(self.last.0);
        if length < STEP {
            return;
        }
        let counts = counted(view, tally);
        // Counts that went backwards say nothing of this time.
        let grown = |at: usize| Some(Side::of(&counts.get(at)?.since(self.last.1.get(at)?)?));
        let sides = Sides([0, 1, 2].map(|at| grown(at).unwrap_or_default()));
        let weights = Role::ALL.map(|role| view.weights.get(role.name()).and_then(|w| w.parse().ok()).unwrap_or(0.0));
        self.points.add(Point { until: now.wall, length, weights, sides });
        self.last = (now.at, counts);
    }
}

/// Over all splits of a rollout, in the order of [`Role::ALL`].
fn counted(view: &View, tally: &Tally) -> [Counts; 3] {
    Role::ALL.map(|role| {
        let mut sum = Counts::default();
        view.splits.iter().for_each(|split| sum.merge(&tally.fresh(split, role.name())));
        sum
    })
}
