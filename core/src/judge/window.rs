//! What the judge is fed: of each side, how many requests a window had and how many of them were bad.

use super::rules::{Criterion, Rules};
use crate::{
    counts::{Counts, Outcome},
    latency::{EDGES, Histogram},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Requests, and the bad ones among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tally {
    /// Requests observed.
    pub requests: u64,
    /// Bad ones, not more than requests.
    pub bad: u64,
}

/// One window, a second or more of both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// The canary's, in the order of [`Rules::measured`].
    pub canary: Vec<Tally>,
    /// The baseline's, in the same order.
    pub baseline: Vec<Tally>,
    /// Proxies whose reports are missing or stale. While there are any, nothing passes; so when no report comes at
    /// all, a window of zeros with this set says so.
    pub missing: u32,
}

/// Why a window is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// A count is smaller than it was.
    #[error("counts went backwards: a proxy began anew, start a new series from here")]
    Backwards,
    /// More bad requests than requests.
    #[error("{bad} bad ones of {requests} requests: the counts do not belong together")]
    TooManyBad {
        /// Bad ones.
        bad: u64,
        /// Requests.
        requests: u64,
    },
    /// Not one tally for each criterion and limit.
    #[error("{given} tallies for {expected} criteria and limits: the window was made by other rules")]
    OtherRules {
        /// How many there are.
        given: usize,
        /// How many there should be.
        expected: usize,
    },
}

/// A series of cumulative counts at both ends of a window.
#[derive(Debug, Clone, Copy)]
pub struct Grown<'a> {
    /// At its beginning.
    pub earlier: &'a Counts,
    /// At its end.
    pub now: &'a Counts,
}

impl Tally {
    /// What these counts say on a criterion. Requests whose client left before the answer say nothing.
    pub fn of(counts: &Counts, criterion: Criterion) -> Self {
        match criterion {
            Criterion::Errors(classes) => {
                let of = |chosen: bool, outcome| if chosen { counts.outcome(outcome) } else { 0 };
                let server = of(classes.server, Outcome::ServerError);
                let local =
                    of(classes.local, Outcome::LocalFailure).saturating_add(of(classes.local, Outcome::Unreached));
                Self {
                    requests: counts.observed().saturating_sub(counts.outcome(Outcome::Abandoned)),
                    bad: server.saturating_add(local).saturating_add(of(classes.client, Outcome::ClientError)),
                }
            }
            Criterion::SlowerThan(micros) => {
                Self { requests: counts.latency.total(), bad: counts.latency.slower_than(micros) }
            }
            Criterion::Slow => Self::default(),
        }
    }

    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bad = self.bad.saturating_add(other.bad).min(self.requests);
    }

    /// The share of bad ones; `None` without requests.
    pub fn rate(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.bad as f64 / self.requests as f64)
    }
}

impl Window {
    /// From what came on top in a window.
    pub fn of(rules: &Rules, canary: &Counts, baseline: &Counts, missing: u32) -> Self {
        let side = |counts| rules.measured().map(|criterion| Tally::of(counts, criterion)).collect();
        Self { canary: side(canary), baseline: side(baseline), missing }
    }

    /// From cumulative counts at its beginning and its end; refused when any went backwards.
    pub fn between(rules: &Rules, canary: Grown<'_>, baseline: Grown<'_>, missing: u32) -> Result<Self, Refused> {
        let grown = |side: Grown<'_>| side.now.since(side.earlier).ok_or(Refused::Backwards);
        Ok(Self::of(rules, &grown(canary)?, &grown(baseline)?, missing))
    }

    /// Whether evidence by rules with so many criteria and limits can take it.
    pub(super) fn check(&self, expected: usize) -> Result<(), Refused> {
        for side in [&self.canary, &self.baseline] {
            if side.len() != expected {
                return Err(Refused::OtherRules { given: side.len(), expected });
            }
            if let Some(tally) = side.iter().find(|tally| tally.bad > tally.requests) {
                return Err(Refused::TooManyBad { bad: tally.bad, requests: tally.requests });
            }
        }
        Ok(())
    }
}

/// Which part of the requests is at most as slow as a threshold that is taken from main.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Quantile {
    /// Half of them: sees that everything got slower.
    P50,
    /// 19 of 20.
    P95,
    /// 99 of 100: sees a slow tail.
    P99,
}

/// The threshold for [`Criterion::SlowerThan`], in microseconds: the first bucket edge that at most the rest of the
/// requests exceed. Give it main's latencies from *before* the step, so that it does not depend on what is judged.
/// `None` without latencies, or when the rest is slower than the last edge.
pub fn threshold(before: &Histogram, quantile: Quantile) -> Option<u64> {
    let (rest, of) = match quantile {
        Quantile::P50 => (1, 2),
        Quantile::P95 => (1, 20),
        Quantile::P99 => (1, 100),
    };
    let allowed = u128::from(before.total()) * rest;
    let enough = |edge: &&u64| u128::from(before.slower_than(**edge)) * of <= allowed;
    EDGES.iter().filter(|_| before.total() > 0).find(enough).copied()
}
