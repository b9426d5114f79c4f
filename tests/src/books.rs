//! What reports add up to: the last word on each series, over all proxies and sampling rates.

use std::collections::BTreeMap;

use sluicegate_core::counts::{Counts, OUTCOMES, Outcome};
use sluicegate_core::wire::Report;

/// The last cumulative counts of each series, by split and subset.
#[derive(Clone, Debug, Default)]
pub struct Books(BTreeMap<(String, String), Vec<(u32, Counts)>>);

impl Books {
    /// From all reports, in the order they came.
    #[must_use]
    pub fn of(reports: &[Report]) -> Self {
        let mut last = BTreeMap::new();
        for report in reports {
            for series in &report.series {
                let key = (report.proxy.epoch, &series.split, &series.subset, series.sample);
                last.insert(key, &series.counts);
            }
        }
        let mut books = Self::default();
        for ((_, split, subset, sample), counts) in last {
            books.0.entry((split.clone(), subset.clone())).or_default().push((sample, counts.clone()));
        }
        books
    }

    /// Requests of a subset of any split.
    #[must_use]
    pub fn requests(&self, subset: &str) -> u64 {
        self.all(Some(subset)).map(|(_, counts)| counts.requests).sum()
    }

    /// Requests of all subsets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.all(None).map(|(_, counts)| counts.requests).sum()
    }

    /// Requests by subset, without those that had none.
    #[must_use]
    pub fn by_subset(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for ((_, subset), series) in &self.0 {
            *sums.entry(subset.clone()).or_default() += series.iter().map(|(_, counts)| counts.requests).sum::<u64>();
        }
        sums.retain(|_, requests| *requests > 0);
        sums
    }

    /// How many requests of a subset ended so, observed ones multiplied by their sampling rate.
    #[must_use]
    pub fn outcome(&self, subset: &str, outcome: Outcome) -> u64 {
        self.all(Some(subset)).map(|(sample, counts)| u64::from(*sample) * counts.outcome(outcome)).sum()
    }

    /// All outcomes of a subset that occurred, by name; observed ones multiplied by their sampling rate.
    #[must_use]
    pub fn outcomes(&self, subset: &str) -> BTreeMap<&'static str, u64> {
        let all = OUTCOMES.iter().map(|outcome| (outcome.name(), self.outcome(subset, *outcome)));
        all.filter(|(_, number)| *number > 0).collect()
    }

    /// Latencies of a subset's observed requests.
    #[must_use]
    pub fn latency(&self, subset: &str) -> sluicegate_core::latency::Histogram {
        let mut sum = sluicegate_core::latency::Histogram::default();
        self.all(Some(subset)).for_each(|(_, counts)| sum.merge(&counts.latency));
        sum
    }

    /// Sampling rates at which a subset was counted.
    #[must_use]
    pub fn samples(&self, subset: &str) -> Vec<u32> {
        self.all(Some(subset)).map(|(sample, _)| *sample).collect()
    }

    /// Of the subsets observed in full: requests that have no outcome (yet), because a stream is open or was lost.
    #[must_use]
    pub fn open(&self) -> i64 {
        let full = self.all(None).filter(|(sample, _)| *sample == 1);
        full.map(|(_, counts)| counts.requests as i64 - counts.observed() as i64).sum()
    }

    fn all<'a>(&'a self, subset: Option<&'a str>) -> impl Iterator<Item = &'a (u32, Counts)> {
        let found = self.0.iter().filter(move |((_, name), _)| subset.is_none_or(|subset| subset == name));
        found.flat_map(|(_, series)| series)
    }
}
