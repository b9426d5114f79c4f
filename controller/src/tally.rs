//! What the proxies counted, per split and subset: totals that only grow, and the last minute for rates and quantiles.
//!
//! In: cumulative series per proxy, as they come, late, twice, or from a proxy that began anew. Out: sums. Pure.
//!
//! `requests` are exact. Outcomes and latencies are observed of one in `sample` requests; they are kept as observed,
//! and times `sample` for show.

use sluicegate_core::{
    counts::Counts,
    latency::Histogram,
    wire::{Report, Series},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

/// Length of the window that rates and quantiles are of.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Step of the window.
pub const STEP: Duration = Duration::from_secs(5);
/// Series of one proxy are remembered up to this many: 1,000 splits of 16 subsets at a few sampling rates.
const MAX_SERIES: usize = 65_536;
/// Splits and subsets in all, so that a confused proxy cannot fill the memory.
const MAX_SUBSETS: usize = 65_536;
/// Proxies, the longest silent ones go first.
const MAX_PROXIES: usize = 65_536;
/// So long after we met it, a proxy older than this process may still tell for the first time what it counted before.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// A proxy that has not reported for this long is forgotten; its counts stay in the totals.
const FORGET: Duration = Duration::from_secs(3600);

type Name = (String, String);

/// Counts of a subset.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Sums {
    /// As observed: outcomes and latencies are of a sample.
    pub observed: Counts,
    /// Times the sampling rate: an estimate of all.
    pub scaled: Counts,
}

impl Sums {
    fn add(&mut self, delta: &Counts, sample: u32) {
        self.observed.merge(delta);
        self.scaled.merge(&scale(delta, sample));
    }
}

/// Outcomes and latencies times the sampling rate; requests are exact already.
fn scale(counts: &Counts, sample: u32) -> Counts {
    let by = u64::from(sample.max(1));
    let mut scaled = counts.clone();
    scaled.outcomes.iter_mut().for_each(|n| *n = n.saturating_mul(by));
    scaled.unobserved = scaled.unobserved.saturating_mul(by);
    scaled.latency = Histogram(counts.latency.0.iter().map(|(b, n)| (*b, n.saturating_mul(by))).collect());
    scaled
}

/// One subset.
#[derive(Debug, Default)]
struct Subset {
    total: Sums,
    /// Of these, what was counted while this process looked on: not what proxies had counted before they first came.
    fresh: Counts,
    /// Steps that had any, by number since the start.
    steps: VecDeque<(u64, Sums)>,
}

#[derive(Debug, Default)]
struct Reporter {
    last: HashMap<(String, String, u32), Counts>,
    heard: Duration,
    /// It has reported to this process.
    told: bool,
    /// Until then what it says for the first time is what it counted before we knew it.
    catching_up: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tally {
    subsets: BTreeMap<Name, Subset>,
    reporters: HashMap<u64, Reporter>,
    /// Series that found no room.
    dropped: u64,
}

/// The last minute of a subset.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// How long it is; shorter than [`WINDOW`] in the beginning.
    pub length: Duration,
    /// What came in it.
    pub sums: Sums,
}

impl Window {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.sums.scaled.requests as f64 / self.length.as_secs_f64().max(1.0)
    }

    /// Share of the outcomes that count against the subset; `None`: none observed.
    pub fn errors(&self) -> Option<f64> {
        let judged = self.sums.scaled.observed();
        (judged > 0).then(|| self.sums.scaled.errors() as f64 / judged as f64)
    }
}

impl Tally {
    /// A proxy that other controllers knew before: its first counts belong to the totals, not to the last minute.
    pub fn meet(&mut self, epoch: u64, now: Duration) {
        if self.reporters.len() < MAX_PROXIES {
            let reporter = || Reporter { heard: now, catching_up: now + CATCHING_UP, ..Reporter::default() };
            self.reporters.entry(epoch).or_insert_with(reporter);
        }
    }

    /// Takes a report: adds what came on top of the last report of the same proxy.
    pub fn take(&mut self, report: Report, now: Duration) {
        let epoch = report.proxy.epoch;
        if !self.reporters.contains_key(&epoch) && self.reporters.len() >= MAX_PROXIES {
            let silent = self.reporters.iter().min_by_key(|(_, r)| r.heard).map(|(epoch, _)| *epoch);
            silent.map(|epoch| self.reporters.remove(&epoch));
        }
        for series in report.series {
            self.take_series(epoch, series, now);
        }
        let reporter = self.reporters.entry(epoch).or_default();
        (reporter.heard, reporter.told) = (now, true);
    }

    fn take_series(&mut self, epoch: u64, series: Series, now: Duration) {
        let Series { split, subset, sample, counts } = series;
        let name = (split.clone(), subset.clone());
        let reporter = self.reporters.entry(epoch).or_default();
        let key = (split, subset, sample);
        let room = reporter.last.len() < MAX_SERIES || reporter.last.contains_key(&key);
        if !room || (self.subsets.len() >= MAX_SUBSETS && !self.subsets.contains_key(&name)) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let (delta, recent) = match reporter.last.get(&key).map(|last| counts.since(last)) {
            Some(Some(delta)) => (delta, true),
            // Within an epoch counts only grow: an older report that was overtaken, as when the poller changes.
            Some(None) => return,
            None => (counts.clone(), now >= reporter.catching_up),
        };
        reporter.last.insert(key, counts);
        if delta.is_empty() {
            return;
        }
        let entry = self.subsets.entry(name).or_default();
        entry.total.add(&delta, sample);
        if !recent {
            return;
        }
        entry.fresh.merge(&delta);
        let step = step(now);
        match entry.steps.back_mut() {
            Some((last, sums)) if *last == step => sums.add(&delta, sample),
            _ => {
                let mut sums = Sums::default();
                sums.add(&delta, sample);
                entry.steps.push_back((step, sums));
            }
        }
    }

    /// Time has passed: forgets what is out of the window, and reporters that have gone.
    pub fn tick(&mut self, now: Duration) {
        let oldest = oldest(now);
        for subset in self.subsets.values_mut() {
            while subset.steps.front().is_some_and(|(step, _)| *step < oldest) {
                subset.steps.pop_front();
            }
        }
        self.reporters.retain(|_, r| now.saturating_sub(r.heard) < FORGET);
    }

    /// Since the start.
    pub fn total(&self, split: &str, subset: &str) -> Sums {
        self.get(split, subset).map(|s| s.total.clone()).unwrap_or_default()
    }

    /// As observed, since the start, without what proxies had counted before they first came: only grows.
    pub fn fresh(&self, split: &str, subset: &str) -> Counts {
        self.get(split, subset).map(|s| s.fresh.clone()).unwrap_or_default()
    }

    /// What one proxy has counted of a subset, as observed, over these splits; `None`: it has not reported yet.
    pub fn told(&self, epoch: u64, splits: &[String], subset: &str) -> Option<Counts> {
        let reporter = self.reporters.get(&epoch).filter(|reporter| reporter.told)?;
        let mut sum = Counts::default();
        let ours = |key: &&(String, String, u32)| key.1 == subset && splits.contains(&key.0);
        reporter.last.iter().filter(|(key, _)| ours(key)).for_each(|(_, counts)| sum.merge(counts));
        Some(sum)
    }

    /// When a proxy last reported.
    pub fn heard(&self, epoch: u64) -> Option<Duration> {
        self.reporters.get(&epoch).map(|reporter| reporter.heard)
    }

    /// The last minute.
    pub fn window(&self, split: &str, subset: &str, now: Duration) -> Window {
        let oldest = oldest(now);
        let mut sums = Sums::default();
        for (_, step) in self.get(split, subset).into_iter().flat_map(|s| &s.steps).filter(|(step, _)| *step >= oldest)
        {
            sums.observed.merge(&step.observed);
            sums.scaled.merge(&step.scaled);
        }
        Window { length: now.saturating_sub(STEP * u32::try_from(oldest).unwrap_or(u32::MAX)), sums }
    }

    /// All subsets that were ever reported, with their totals.
    pub fn totals(&self) -> impl Iterator<Item = (&str, &str, &Sums)> {
        self.subsets.iter().map(|((split, subset), s)| (split.as_str(), subset.as_str(), &s.total))
    }

    /// Series that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn get(&self, split: &str, subset: &str) -> Option<&Subset> {
        self.subsets.get(&(split.to_owned(), subset.to_owned()))
    }
}

fn step(now: Duration) -> u64 {
    now.as_secs() / STEP.as_secs()
}

/// The first step of the window that ends now.
fn oldest(now: Duration) -> u64 {
    (step(now) + 1).saturating_sub(WINDOW.as_secs() / STEP.as_secs())
}
