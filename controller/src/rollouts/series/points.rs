//! Points of one rollout: the newest as they came, the older ones merged, so that a rollout of hours fits.

use jiff::Timestamp;
use sluicegate_core::{
    counts::Counts,
    judge::{
        rules::{Classes, Criterion},
        window::Tally,
    },
    latency::Histogram,
    rollout::Role,
};
use std::{collections::VecDeque, time::Duration};

/// Never more points than this.
pub const MOST: usize = 240;
/// The newest are never merged.
pub const NEWEST: usize = 60;
/// When there are too many, those that are not the newest become as few as this.
const OLDER: usize = 90;
/// Older ones are merged up to this length at first: two, and each may come late.
const FIRST: Duration = Duration::from_secs(12);

/// What was counted of one side in the time of a point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Side {
    /// Requests, every one.
    pub requests: u64,
    /// Observed ones, and the errors among them.
    pub errors: Tally,
    /// Of the observed ones that had an answer.
    pub latency: Histogram,
}

/// In the order of [`Role::ALL`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sides(pub [Side; 3]);

/// A stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its end.
    pub until: Timestamp,
    /// How long it is.
    pub length: Duration,
    /// Weights at its end, in percent, in the order of [`Role::ALL`].
    pub weights: [f64; 3],
    /// What was counted in it.
    pub sides: Sides,
}

/// In order of time.
#[derive(Debug, Default)]
pub struct Points {
    points: VecDeque<Point>,
    /// Older ones are merged up to this length.
    step: Duration,
    merged: u32,
}

impl Side {
    /// Of what came on top in that time.
    pub fn of(counts: &Counts) -> Self {
        let errors = Tally::of(counts, Criterion::Errors(Classes::default()));
        Self { requests: counts.requests, errors, latency: counts.latency.clone() }
    }

    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors.add(other.errors);
        self.latency.merge(&other.latency);
    }
}

impl Sides {
    /// One of them.
    pub fn get(&self, role: Role) -> &Side {
        let [main, baseline, canary] = &self.0;
        match role {
            Role::Main => main,
            Role::Baseline => baseline,
            Role::Canary => canary,
        }
    }
}

impl Point {
    /// Adds the one that follows.
    fn merge(&mut self, next: &Self) {
        (self.until, self.weights) = (next.until, next.weights);
        self.length += next.length;
        self.sides.0.iter_mut().zip(&next.sides.0).for_each(|(own, more)| own.merge(more));
    }
}

impl Points {
    /// Adds the newest.
    pub fn add(&mut self, point: Point) {
        self.points.push_back(point);
        if self.points.len() > MOST {
            self.thin();
        }
    }

    fn thin(&mut self) {
        let newest = self.points.split_off(self.points.len().saturating_sub(NEWEST));
        self.step = self.step.max(FIRST);
        while at_most(self.step, &self.points).len() > OLDER {
            self.step *= 2;
        }
        self.points = at_most(self.step, &self.points);
        self.points.extend(newest);
        self.merged = self.merged.wrapping_add(1);
    }

    /// How often older ones were merged: what was told before that is void.
    pub fn merged(&self) -> u32 {
        self.merged
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// None yet.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

/// Neighbours merged as long as they are together no longer than this.
fn at_most(length: Duration, points: &VecDeque<Point>) -> VecDeque<Point> {
    let mut merged: VecDeque<Point> = VecDeque::new();
    for point in points {
        match merged.back_mut() {
            Some(last) if last.length + point.length <= length => last.merge(point),
            _ => merged.push_back(point.clone()),
        }
    }
    merged
}
