//! Latency in log-spaced buckets on round edges: the preferred numbers R20 of ISO 3 (20 a decade, 12 % apart) from
//! 100 µs to 100 s, so that thresholds people choose (250 ms, 500 ms, 1 s) are edges.

use serde::{Deserialize, Serialize};

/// R20 of ISO 3, times 100.
const R20: [u64; 20] =
    [100, 112, 125, 140, 160, 180, 200, 224, 250, 280, 315, 355, 400, 450, 500, 560, 630, 710, 800, 900];
const DECADES: usize = 6;
/// Number of buckets; the last has no upper edge.
pub const BUCKETS: usize = DECADES * R20.len() + 2;

/// Upper edges in microseconds, inclusive: 100, 112, … 100 000 000.
pub const EDGES: [u64; BUCKETS - 1] = {
    let mut edges = [0; BUCKETS - 1];
    let (mut i, mut scale) = (0, 1);
    while i < BUCKETS - 1 {
        edges[i] = R20[i % R20.len()] * scale;
        i += 1;
        if i % R20.len() == 0 {
            scale *= 10;
        }
    }
    edges
};

/// The bucket of a latency in microseconds: the first whose upper edge is not below it.
pub fn bucket(micros: u64) -> usize {
    EDGES.partition_point(|edge| *edge < micros)
}

/// Counts per bucket; only buckets that have any are kept, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram(pub Vec<(u8, u64)>);

impl Histogram {
    /// Adds `count` to a bucket.
    pub fn add(&mut self, bucket: usize, count: u64) {
        let bucket = bucket.min(BUCKETS - 1) as u8;
        if count == 0 {
            return;
        }
        match self.0.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = known.saturating_add(count);
                }
            }
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(bucket, count)| self.add(usize::from(*bucket), *count));
    }

    /// What came on top of an earlier state of the same histogram; `None` when any bucket went backwards.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut delta = Self::default();
        for (bucket, count) in &self.0 {
            delta.add(usize::from(*bucket), count.checked_sub(earlier.count(usize::from(*bucket)))?);
        }
        let lost = earlier.0.iter().any(|(bucket, count)| self.count(usize::from(*bucket)) < *count);
        if lost { None } else { Some(delta) }
    }

    /// How many in one bucket.
    pub fn count(&self, bucket: usize) -> u64 {
        self.0.iter().find(|(b, _)| usize::from(*b) == bucket).map_or(0, |(_, count)| *count)
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// How many took longer than `micros`, which should be one of [`EDGES`]; within a bucket it cannot tell.
    pub fn slower_than(&self, micros: u64) -> u64 {
        let from = bucket(micros);
        self.0.iter().filter(|(b, _)| usize::from(*b) > from).fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The `q` quantile (0 to 1) in microseconds, linear within its bucket; `None` when empty. In the last bucket,
    /// which has no upper edge, its lower edge.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.total();
        let rank = q.clamp(0.0, 1.0) * total as f64;
        let mut before = 0.0;
        let mut found = None;
        for (b, count) in self.0.iter().filter(|(_, count)| *count > 0) {
            let (b, count) = (usize::from(*b), *count as f64);
            let low = if b == 0 { 0.0 } else { *EDGES.get(b - 1)? as f64 };
            let high = EDGES.get(b).map_or(low, |edge| *edge as f64);
            // Stays the answer when rounding puts the rank beyond the sum of very large counts.
            found = Some(low + (high - low) * ((rank - before) / count).clamp(0.0, 1.0));
            before += count;
            if before >= rank {
                break;
            }
        }
        found
    }
}
