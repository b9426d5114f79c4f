//! What came back from a run of the load generator.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Answer;
use crate::http1;

/// Counts and latencies of one run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Complete answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Complete answers by `x-pod`; "" without one.
    pub pods: BTreeMap<String, u64>,
    /// Complete answers by `x-got-subset`, the subset header that the upstream received; "" for none.
    pub subsets: BTreeMap<String, u64>,
    /// Requests whose connection broke, or that were never answered.
    pub broken: u64,
    /// Latencies of the complete answers.
    pub latencies: Latencies,
    /// How long the run took.
    pub took: Duration,
    /// CPU time of the generating thread.
    pub cpu: Duration,
}

impl Tally {
    /// Complete answers.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests that were not answered with 200.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.broken + self.statuses.iter().filter(|(status, _)| **status != 200).map(|(_, number)| number).sum::<u64>()
    }

    /// Answers whose upstream received this subset header.
    #[must_use]
    pub fn subset(&self, name: &str) -> u64 {
        self.subsets.get(name).copied().unwrap_or(0)
    }

    /// Adds another run to this one; times add up too.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in [(&mut self.pods, &other.pods), (&mut self.subsets, &other.subsets)] {
            for (name, number) in others {
                *mine.entry(name.clone()).or_default() += number;
            }
        }
        for (status, number) in &other.statuses {
            *self.statuses.entry(*status).or_default() += number;
        }
        self.broken += other.broken;
        self.latencies.merge(&other.latencies);
        self.took += other.took;
        self.cpu += other.cpu;
    }

    pub(super) fn add(&mut self, answer: &Answer<'_>) {
        *self.statuses.entry(answer.status).or_default() += 1;
        self.latencies.0.push(u32::try_from(answer.latency.as_nanos() / 1000).unwrap_or(u32::MAX));
        let mut pod = &b""[..];
        let mut subset = &b""[..];
        for (name, value) in http1::headers(answer.head) {
            match name {
                b"x-pod" => pod = value,
                b"x-got-subset" => subset = value,
                _ => {}
            }
        }
        bump(&mut self.pods, pod);
        bump(&mut self.subsets, subset);
    }
}

/// Without allocating for a name that is there already.
fn bump(counts: &mut BTreeMap<String, u64>, name: &[u8]) {
    let name = String::from_utf8_lossy(name);
    match counts.get_mut(name.as_ref()) {
        Some(number) => *number += 1,
        None => drop(counts.insert(name.into_owned(), 1)),
    }
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one.
    pub fn push(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// The smallest latency that so many of the answers, 0.0 to 1.0, did not exceed.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        Duration::from_micros(u64::from(sorted.get(at).copied().unwrap_or(0)))
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| self.quantile(q));
        write!(f, "p50 {p50:?}, p99 {p99:?}, max {max:?}")
    }
}
