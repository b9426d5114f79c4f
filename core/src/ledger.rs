//! Counting behind one door: plain arrays per series, merged into the process-wide totals at each flush, and what of
//! those the controller has yet to be told.

use crate::{
    codec::{self, Damaged},
    counts::{Counts, OUTCOMES, Outcome},
    latency::{BUCKETS, bucket},
    sorted::Sorted,
    spec::Protocol,
    wire::Series,
};

/// What one series counts: a subset at one sampling rate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `namespace/name`.
    pub split: String,
    /// Subset name.
    pub subset: String,
    /// Outcomes are observed of one in this many requests.
    pub sample: u32,
}

/// Counts of one series since the last flush.
#[derive(Debug, Clone)]
pub struct Line {
    /// Which plugin of this VM counts here (see `shared::Keys`).
    pub plugin: u64,
    /// What it counts.
    pub key: Key,
    /// How outcomes are read.
    pub protocol: Protocol,
    requests: u64,
    unobserved: u64,
    outcomes: [u64; OUTCOMES.len()],
    latency: Box<[u32; BUCKETS]>,
    observed: bool,
}

impl Line {
    /// One more request sent to the subset.
    pub fn request(&mut self) {
        self.requests += 1;
    }

    /// A request chosen for observation that could not be followed.
    pub fn unobserved(&mut self) {
        self.unobserved += 1;
    }

    /// How an observed request ended; `micros` when there was an answer.
    pub fn outcome(&mut self, outcome: Outcome, micros: Option<u64>) {
        self.observed = true;
        if let Some(count) = self.outcomes.get_mut(outcome as usize) {
            *count += 1;
        }
        if let Some(count) = micros.and_then(|m| self.latency.get_mut(bucket(m))) {
            *count = count.saturating_add(1);
        }
    }

    fn is_empty(&self) -> bool {
        self.requests == 0 && self.unobserved == 0 && !self.observed
    }

    /// The counts as they travel.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            requests: self.requests,
            outcomes: self.outcomes,
            unobserved: self.unobserved,
            ..Counts::default()
        };
        let filled = self.latency.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.for_each(|(bucket, count)| counts.latency.add(bucket, u64::from(*count)));
        counts
    }

    /// Begins anew, once the counts are safe in the totals.
    pub fn clear(&mut self) {
        (self.requests, self.unobserved, self.observed) = (0, 0, false);
        self.outcomes.fill(0);
        self.latency.fill(0);
    }
}

/// All series of a VM. A line keeps its index for ever, because streams under way refer to it.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: Vec<Line>,
    index: Sorted<(u64, Key), u32>,
}

impl Ledger {
    /// Index of the line with this key.
    pub fn line(&mut self, plugin: u64, key: Key, protocol: Protocol) -> u32 {
        let key = (plugin, key);
        if let Some(index) = self.index.get(&key).copied() {
            if let Some(line) = self.get_mut(index) {
                line.protocol = protocol;
            }
            return index;
        }
        let index = self.lines.len() as u32;
        self.lines.push(Line {
            plugin,
            key: key.1.clone(),
            protocol,
            requests: 0,
            unobserved: 0,
            outcomes: [0; OUTCOMES.len()],
            latency: Box::new([0; BUCKETS]),
            observed: false,
        });
        self.index.insert(key, index);
        index
    }

    /// A line by index.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut Line> {
        self.lines.get_mut(index as usize)
    }

    /// The lines of a plugin that have counted since the last flush.
    pub fn dirty(&mut self, plugin: u64) -> impl Iterator<Item = &mut Line> {
        self.lines.iter_mut().filter(move |line| line.plugin == plugin && !line.is_empty())
    }
}

/// Which requests of a subset are observed: one in each block of `rate`, at a place of the block that no client's
/// rhythm can lock to.
#[derive(Debug, Clone, Copy)]
pub struct Sampler {
    seen: u32,
    chosen: u32,
}

impl Sampler {
    /// Begins with this random place.
    pub fn new(seed: u64) -> Self {
        Self { seen: 0, chosen: seed as u32 }
    }

    /// Whether the next request is observed. `rate` is a power of two.
    pub fn next(&mut self, rate: u32) -> bool {
        let mask = rate.wrapping_sub(1);
        let place = self.seen & mask;
        self.seen = self.seen.wrapping_add(1);
        let hit = place == self.chosen & mask;
        if place == mask {
            // A full-period generator (Numerical Recipes' "quick and dirty"); its high bits are the good ones.
            self.chosen = self.chosen.wrapping_mul(1_664_525).wrapping_add(1_013_904_223).rotate_left(13);
        }
        hit
    }
}

/// Process-wide cumulative counts; a filter keeps them in shared data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals(pub Sorted<Key, Counts>);

/// First number of the encoding; an incompatible layout gets another.
const LAYOUT: u64 = 0x5302;

impl Totals {
    /// From bytes of shared data. A seeded, empty value is empty totals.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut totals = Self::default();
        if bytes.is_empty() {
            return Ok(totals);
        }
        let series = codec::read_message(LAYOUT, bytes)?.list(|r| {
            let key = Key { split: r.string()?, subset: r.string()?, sample: r.small()? };
            Ok((key, Counts::read(r)?))
        })?;
        for (key, counts) in series {
            totals.0.insert(key, counts);
        }
        Ok(totals)
    }

    /// Bytes for shared data.
    pub fn encode(&self) -> Vec<u8> {
        codec::message(LAYOUT, |w| {
            w.list(self.0.iter(), |w, (key, counts)| {
                w.string(&key.split);
                w.string(&key.subset);
                w.number(key.sample.into());
                counts.write(w);
            });
        })
    }

    /// Adds counts to a series.
    pub fn add(&mut self, key: &Key, counts: &Counts) {
        match self.0.get_mut(key) {
            Some(known) => known.merge(counts),
            None => {
                self.0.insert(key.clone(), counts.clone());
            }
        }
    }

    /// As they are reported.
    pub fn series(&self) -> Vec<Series> {
        let series = self.0.iter().map(|(key, counts)| Series {
            split: key.split.clone(),
            subset: key.subset.clone(),
            sample: key.sample,
            counts: counts.clone(),
        });
        series.collect()
    }
}

/// Who has nothing new to report says so this often, in milliseconds: otherwise a proxy without traffic would look like one
/// whose reports get lost.
pub const SIGN_OF_LIFE_MS: u64 = 10_000;

/// What a controller has confirmed of the totals.
#[derive(Debug, Default)]
pub struct Told {
    totals: Totals,
    controller: u64,
    /// When it confirmed something for the last time, in milliseconds.
    confirmed: Option<u64>,
}

impl Told {
    /// A controller process has answered; true: another one than before, which knows nothing of what that confirmed.
    pub fn talks_to(&mut self, controller: u64) -> bool {
        let other = std::mem::replace(&mut self.controller, controller) != controller;
        if other {
            (self.totals, self.confirmed) = (Totals::default(), None);
        }
        other
    }

    /// Of these totals, those that changed since they were confirmed; `None`: none did, and it is not yet time to say so.
    pub fn news(&self, mut totals: Totals, now: u64) -> Option<Totals> {
        totals.0.retain(|key, counts| self.totals.0.get(key) != Some(counts));
        let heard = self.confirmed.is_some_and(|at| now < at.saturating_add(SIGN_OF_LIFE_MS));
        (!totals.0.is_empty() || !heard).then_some(totals)
    }

    /// The controller has these.
    pub fn confirm(&mut self, totals: Totals, now: u64) {
        totals.0.into_iter().for_each(|(key, counts)| self.totals.0.insert(key, counts));
        self.confirmed = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sample: u32) -> Key {
        Key { split: "default/backend".to_owned(), subset: "main".to_owned(), sample }
    }

    #[test]
    fn the_same_series_is_one_line_and_another_plugin_or_rate_is_another() {
        let mut ledger = Ledger::default();
        let first = ledger.line(1, key(1), Protocol::Http);
        assert_eq!(ledger.line(1, key(1), Protocol::Grpc), first);
        assert_ne!(ledger.line(1, key(2), Protocol::Http), first);
        assert_ne!(ledger.line(2, key(1), Protocol::Http), first);
        assert_eq!(ledger.get_mut(first).map(|l| l.protocol), Some(Protocol::Grpc));
    }

    #[test]
    fn flushed_lines_start_anew_and_totals_keep_the_sum() {
        let (mut ledger, mut totals) = (Ledger::default(), Totals::default());
        let line = ledger.line(1, key(1), Protocol::Http);
        for _ in 0..3 {
            let line = ledger.get_mut(line).expect("line");
            line.request();
            line.outcome(Outcome::ServerError, Some(250_000));
            let dirty: Vec<_> = ledger.dirty(1).collect();
            assert_eq!(dirty.len(), 1);
            for line in dirty {
                totals.add(&line.key, &line.counts());
                line.clear();
            }
            assert_eq!(ledger.dirty(1).count(), 0);
        }
        let counts = totals.0.get(&key(1)).expect("counted").clone();
        assert_eq!((counts.requests, counts.outcome(Outcome::ServerError)), (3, 3));
        assert_eq!(counts.latency.count(bucket(250_000)), 3);
        let bytes = totals.encode();
        assert_eq!(Totals::decode(&bytes), Ok(totals));
        assert_eq!(Totals::decode(&[]), Ok(Totals::default()));
        assert!(Totals::decode(&[9, 9]).is_err());
        assert!((1..bytes.len()).all(|cut| Totals::decode(&bytes[..cut]).is_err()));
    }

    #[test]
    fn what_is_confirmed_is_not_told_again_but_to_another_controller() {
        let (mut told, mut totals) = (Told::default(), Totals::default());
        let some = |requests| Counts { requests, ..Counts::default() };
        totals.add(&key(1), &some(3));
        totals.add(&key(2), &some(4));
        assert!(told.talks_to(7));
        assert_eq!(told.news(totals.clone(), 0), Some(totals.clone()));
        told.confirm(totals.clone(), 0);
        assert!(!told.talks_to(7));
        assert_eq!(told.news(totals.clone(), 1), None);
        totals.add(&key(2), &some(1));
        let news = told.news(totals.clone(), 1).expect("news");
        assert_eq!(news.series().iter().map(|s| (s.sample, s.counts.requests)).collect::<Vec<_>>(), [(2, 5)]);
        assert!(told.talks_to(8));
        assert_eq!(told.news(totals.clone(), 1), Some(totals));
    }

    #[test]
    fn who_has_nothing_new_says_so_now_and_then() {
        let (mut told, nothing) = (Told::default(), Totals::default());
        assert_eq!(told.news(nothing.clone(), 0), Some(nothing.clone()), "never heard of");
        told.confirm(nothing.clone(), 5);
        assert_eq!(told.news(nothing.clone(), 5 + SIGN_OF_LIFE_MS - 1), None);
        assert_eq!(told.news(nothing.clone(), 5 + SIGN_OF_LIFE_MS), Some(nothing.clone()), "and again until confirmed");
        assert!(told.talks_to(8));
        assert_eq!(told.news(nothing.clone(), 6), Some(nothing), "a new controller has not heard of it");
    }

    #[test]
    fn one_in_each_block_is_sampled_and_every_place_gets_its_turn() {
        for rate in [1, 2, 8, 64] {
            let mut sampler = Sampler::new(12_345);
            let mut places = vec![0; rate as usize];
            for block in 0..4_096 {
                let hits: Vec<u32> = (0..rate).filter(|_| sampler.next(rate)).collect();
                assert_eq!(hits.len(), 1, "rate {rate}, block {block}");
                places[hits[0] as usize] += 1;
            }
            let expected = 4_096 / rate as usize;
            assert!(places.iter().all(|p| (expected / 3..=expected * 3).contains(p)), "rate {rate}: {places:?}");
        }
    }
}
