//! Decides requests, and counts what came of them. No clock, no socket.
//!
//! In: a snapshot now and then; the headers of each request; how the observed ones ended. Out: what becomes of the subset
//! header; totals for the controller.

use super::proto::{HeaderMap, Kind, Struct};
use sluicegate_core::{
    counts::Outcome,
    decide::{Decision, Memory, Request, SubsetHeader, decide},
    key,
    ledger::{Key, Ledger, Sampler, Totals},
    ready::Ready,
    snapshot::Snapshot,
    spec::Protocol,
    split::Split,
    wire::Subscription,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Totals are kept for one plugin only here.
const PLUGIN: u64 = 0;

/// What is decided, as the command line says it.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Which splits.
    pub subscription: Subscription,
    /// Until there have been weights.
    pub fallback: Option<Split>,
    /// Where requests go while the controller is lost.
    pub revert: Option<String>,
    /// The subset header, lower case.
    pub header: String,
    /// Outcomes are counted, and sticky cookies issued.
    pub observe: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The subset; `None`: no split applies.
    pub subset: Option<String>,
    /// What becomes of the subset header.
    pub header: Change,
    /// `set-cookie` for the response.
    pub cookie: Option<String>,
    /// How it ends is to be told.
    pub observed: Option<Observed>,
}

/// What becomes of the subset header of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    #[default]
    None,
    /// It says the subset.
    Write,
    /// It goes.
    Remove,
}

/// A request whose outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    series: u32,
    /// How its outcome is read.
    pub protocol: Protocol,
}

/// What all streams share.
#[derive(Debug)]
pub struct Gate {
    rules: Rules,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    ready: Ready<State>,
    ledger: Ledger,
    totals: Totals,
    /// Where sequences begin.
    seeds: Seeds,
}

/// What is kept of one split.
#[derive(Debug)]
struct State {
    memory: Memory,
    forced: Option<usize>,
    /// Per subset: the line in the ledger, and which requests are observed.
    lines: Vec<(u32, Sampler)>,
}

/// Random numbers from one: SplitMix64.
#[derive(Debug)]
struct Seeds(u64);

impl Seeds {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        key::seed(&self.0.to_string())
    }
}

impl Gate {
    /// Decides by the fallback at first. `seed` is a random number.
    pub fn new(rules: Rules, seed: u64) -> Self {
        let inner =
            Inner { ready: Ready::default(), ledger: Ledger::default(), totals: Totals::default(), seeds: Seeds(seed) };
        let gate = Self { rules, inner: Mutex::new(inner) };
        gate.load(None);
        gate
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two writes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subset header, lower case.
    pub fn header(&self) -> &str {
        &self.rules.header
    }

    /// There is something to decide by before there are weights.
    pub fn has_fallback(&self) -> bool {
        self.rules.fallback.is_some()
    }

    /// From here on, every request is decided by this. Returns what was refused.
    pub fn load(&self, snapshot: Option<Snapshot>) -> Vec<String> {
        let lost = snapshot.as_ref().is_some_and(|s| s.lost);
        let mut inner = self.lock();
        let Inner { ready, ledger, seeds, .. } = &mut *inner;
        let state = |split: &Split, before: Option<State>| {
            let mut state =
                before.unwrap_or_else(|| State { memory: Memory::new(seeds.next()), forced: None, lines: Vec::new() });
            state.memory.rebase();
            state.lines = split
                .subsets
                .iter()
                .map(|subset| {
                    let key = Key { split: split.name.clone(), subset: subset.name.clone(), sample: subset.sample };
                    (ledger.line(PLUGIN, key, split.protocol), Sampler::new(seeds.next()))
                })
                .collect();
            state
        };
        let Rules { subscription, fallback, revert, .. } = &self.rules;
        let (next, refused) = std::mem::take(ready).next(snapshot, subscription, fallback.as_ref(), state);
        *ready = next;
        let revert = revert.as_ref().filter(|_| lost);
        for (split, state) in ready.iter_mut() {
            state.forced = revert.and_then(|subset| split.index(subset.as_bytes()));
        }
        refused.into_iter().map(|(name, why)| format!("split {name} is refused: {why}")).collect()
    }

    /// Decides one request.
    pub fn decide(&self, headers: &HeaderMap, attributes: Option<&Struct>) -> Verdict {
        let header = self.header();
        let mut live = Live { headers, attributes };
        let removed = || match headers.first(header) {
            Some(_) => Change::Remove,
            None => Change::None,
        };
        let mut inner = self.lock();
        let Inner { ready, ledger, .. } = &mut *inner;
        let authority = || headers.first(":authority").map(<[u8]>::to_vec);
        let decided = ready.split_for(authority).and_then(|(split, state)| {
            let decision = match state.forced {
                Some(subset) => Decision::plain(subset),
                None => decide(split, &mut state.memory, header, &mut live),
            };
            Some((split, decision, split.subsets.get(decision.subset)?, state.lines.get_mut(decision.subset)?))
        });
        let Some((split, decision, subset, (series, sampler))) = decided else {
            // No split, so nobody chose; a client must not either.
            return Verdict { header: removed(), ..Verdict::default() };
        };
        let observed = self.rules.observe && sampler.next(subset.sample);
        if let Some(line) = ledger.get_mut(*series) {
            line.request();
        }
        Verdict {
            subset: Some(subset.name.clone()),
            header: match split.subset_header(&decision) {
                SubsetHeader::Keep => Change::None,
                SubsetHeader::Write => Change::Write,
                SubsetHeader::Remove => removed(),
            },
            cookie: split.set_cookie(&decision).filter(|_| self.rules.observe),
            observed: observed.then_some(Observed { series: *series, protocol: split.protocol }),
        }
    }

    /// How an observed request ended; `micros` when there was an answer.
    pub fn ended(&self, observed: Observed, outcome: Outcome, micros: Option<u64>) {
        if let Some(line) = self.lock().ledger.get_mut(observed.series) {
            line.outcome(outcome, micros);
        }
    }

    /// Everything counted so far.
    pub fn totals(&self) -> Totals {
        let mut inner = self.lock();
        let Inner { ledger, totals, .. } = &mut *inner;
        for line in ledger.dirty(PLUGIN) {
            totals.add(&line.key, &line.counts());
            line.clear();
        }
        totals.clone()
    }
}

/// The request at hand, as Envoy shows it.
struct Live<'a> {
    headers: &'a HeaderMap,
    attributes: Option<&'a Struct>,
}

impl Request for Live<'_> {
    fn header(&mut self, name: &str) -> Option<Vec<u8>> {
        self.headers.first(name).map(<[u8]>::to_vec)
    }

    fn cookie(&mut self, name: &str) -> Option<Vec<u8>> {
        self.headers.values("cookie").find_map(|header| key::cookie(header, name.as_bytes())).map(<[u8]>::to_vec)
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        match self.attributes?.fields.get("source.address")?.kind.as_ref()? {
            Kind::Text(address) => Some(address.clone().into_bytes()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::{HeaderValue, Value};
    use super::*;
    use sluicegate_core::{
        spec::{Assignment, SplitSpec, Sticky, StickyKey, SubsetSpec},
        wire::{Cursor, SyncAnswer},
    };

    fn spec(generation: u64, weights: &[(&str, u32)]) -> SplitSpec {
        SplitSpec {
            name: "default/backend".to_owned(),
            generation,
            subsets: weights
                .iter()
                .map(|(name, weight)| SubsetSpec { name: (*name).to_owned(), weight: *weight })
                .collect(),
            default: "v1".to_owned(),
            hosts: Vec::new(),
            assignment: Assignment::Even,
            overrides: Vec::new(),
            trust_upstream: false,
            write_default: false,
            protocol: Protocol::Http,
        }
    }

    fn snapshot(split: SplitSpec) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let cursor = Cursor { instance: 1, seq: split.generation };
        snapshot.merge(SyncAnswer { sluicegate: 1, cursor, splits: vec![split], removed: Vec::new(), report: 0 });
        snapshot
    }

    fn gate(fallback: Option<SplitSpec>) -> Gate {
        let rules = Rules {
            subscription: Subscription::Split("default/backend".to_owned()),
            fallback: fallback.map(|spec| Split::try_from(spec).expect("a split")),
            revert: Some("v1".to_owned()),
            header: "x-subset".to_owned(),
            observe: true,
        };
        Gate::new(rules, 7)
    }

    fn request(headers: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| HeaderValue {
            key: (*name).to_owned(),
            raw_value: value.as_bytes().to_vec().into(),
            ..HeaderValue::default()
        };
        HeaderMap { headers: headers.iter().map(header).collect() }
    }

    #[test]
    fn without_weights_a_clients_word_goes_and_the_fallback_decides() {
        let told = request(&[("x-subset", "v9")]);
        let verdict = gate(None).decide(&told, None);
        assert_eq!((verdict.subset, verdict.header), (None, Change::Remove));
        let verdict = gate(Some(spec(0, &[("v1", 0), ("v2", 1)]))).decide(&told, None);
        assert_eq!((verdict.subset.as_deref(), verdict.header), (Some("v2"), Change::Write));
    }

    #[test]
    fn what_is_loaded_decides_the_very_next_request_and_a_lost_controller_reverts() {
        let gate = gate(None);
        let plain = request(&[]);
        for (generation, weights, subset, header) in
            [(1, [1, 0], "v1", Change::None), (2, [0, 1], "v2", Change::Write), (3, [1, 0], "v1", Change::None)]
        {
            let spec = spec(generation, &[("v1", weights[0]), ("v2", weights[1])]);
            assert_eq!(gate.load(Some(snapshot(spec))), Vec::<String>::new());
            let verdict = gate.decide(&plain, None);
            assert_eq!((verdict.subset.as_deref(), verdict.header), (Some(subset), header));
        }
        gate.load(Some(Snapshot { lost: true, ..snapshot(spec(4, &[("v1", 0), ("v2", 1)])) }));
        assert_eq!(gate.decide(&plain, None).subset.as_deref(), Some("v1"));
    }

    #[test]
    fn every_request_is_counted_and_those_observed_by_their_outcome() {
        let gate = gate(None);
        gate.load(Some(snapshot(spec(1, &[("v1", 90), ("v2", 10)]))));
        for _ in 0..1_000 {
            let verdict = gate.decide(&request(&[]), None);
            if let Some(observed) = verdict.observed {
                gate.ended(observed, Outcome::Success, Some(1_500));
            }
        }
        // Twice: what was flushed is neither lost nor told twice.
        for _ in 0..2 {
            let totals = gate.totals();
            let told: Vec<_> =
                totals.0.iter().map(|(k, c)| (k.subset.as_str(), k.sample, c.requests, c.observed())).collect();
            let [("v1", 8, v1, observed_v1), ("v2", 1, v2, observed_v2)] = told.as_slice() else { panic!("{told:?}") };
            assert!(v1.abs_diff(900) <= 2 && *observed_v1 == v1.div_ceil(8) || *observed_v1 == v1 / 8, "{told:?}");
            assert!(v1 + v2 == 1_000 && observed_v2 == v2, "{told:?}");
        }
    }

    #[test]
    fn the_address_comes_from_envoys_attributes_only() {
        let gate = gate(None);
        let sticky = Assignment::Sticky(Sticky { key: StickyKey::SourceAddress, salt: "s".to_owned() });
        let split = SplitSpec { assignment: sticky, ..spec(1, &[("v1", 50), ("v2", 50)]) };
        let expected = Split::try_from(split.clone()).expect("a split");
        gate.load(Some(snapshot(split)));
        for last in 0..50 {
            let ip = format!("10.0.0.{last}");
            let value = Value { kind: Some(Kind::Text(format!("{ip}:4711"))) };
            let attributes = Struct { fields: [("source.address".to_owned(), value)].into() };
            let told = request(&[("x-forwarded-for", "1.2.3.4")]);
            let subset = expected.at(key::point(ip.as_bytes(), key::seed("s")));
            let verdict = gate.decide(&told, Some(&attributes));
            assert_eq!(verdict.subset.as_deref(), Some(expected.subsets[subset].name.as_str()));
        }
    }
}
