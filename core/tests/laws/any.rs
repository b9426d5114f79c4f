//! What the laws are tried on: weights, specs, answers, counts, and valid bytes with damage.

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::{Index, select},
};
use sluicegate_core::{
    counts::{Counts, OUTCOMES},
    latency::{BUCKETS, Histogram},
    spec::{Assignment, Override, OverrideSource, Protocol, SplitSpec, Sticky, StickyKey, SubsetSpec},
    split::{MAX_SUBSETS, Split},
    wire::{Cursor, PROTOCOL, Removed, SyncAnswer},
};

/// A split `n/s` over subsets s0, s1, … with these weights, even, default s0.
pub(crate) fn spec(weights: &[u32]) -> SplitSpec {
    let subsets = weights.iter().enumerate().map(|(i, weight)| SubsetSpec { name: format!("s{i}"), weight: *weight });
    SplitSpec {
        name: "n/s".to_owned(),
        generation: 1,
        subsets: subsets.collect(),
        default: "s0".to_owned(),
        hosts: Vec::new(),
        assignment: Assignment::Even,
        overrides: Vec::new(),
        trust_upstream: false,
        write_default: false,
        protocol: Protocol::Http,
    }
}

/// [`spec`], made ready.
pub(crate) fn split(weights: &[u32]) -> Split {
    Split::try_from(spec(weights)).expect("weights with a sum above 0")
}

/// One weight, often one of those that break things.
pub(crate) fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![
        2 => Just(0_u32),
        3 => 1..=5_u32,
        4 => 0..=100_u32,
        1 => Just(1_000_000),
        2 => any::<u32>(),
        2 => Just(u32::MAX),
    ]
}

/// 1 to 16 weights, at least one above 0.
pub(crate) fn weights() -> impl Strategy<Value = Vec<u32>> {
    vec(weight(), 1..=MAX_SUBSETS).prop_map(|mut weights| {
        if weights.iter().all(|w| *w == 0) {
            weights[0] = 1;
        }
        weights
    })
}

/// Any whole spec that is accepted; names from a pool small enough that they meet.
pub(crate) fn any_spec() -> impl Strategy<Value = SplitSpec> {
    let parts = (
        (0..6_u32, 0..20_u64, weights(), any::<Index>()),
        (vec(select(vec!["a.example", "b.example", "*.example", "[::1]"]), 0..3), assignment()),
        (vec((override_source(), any::<char>(), any::<Index>()), 0..3), any::<[bool; 3]>()),
    );
    parts.prop_map(|((name, generation, weights, default), (hosts, assignment), (overrides, flags))| {
        let mut it = spec(&weights);
        let names: Vec<String> = it.subsets.iter().map(|s| s.name.clone()).collect();
        it.name = format!("n/s{name}");
        it.generation = generation;
        it.default = default.get(&names).clone();
        it.hosts = hosts.into_iter().map(str::to_owned).collect();
        it.assignment = assignment;
        let overrides = overrides.into_iter();
        it.overrides = overrides
            .map(|(source, value, subset)| Override {
                source,
                value: value.to_string(),
                subset: subset.get(&names).clone(),
            })
            .collect();
        it.write_default = flags[0];
        it.trust_upstream = flags[0] && flags[1];
        it.protocol = if flags[2] { Protocol::Grpc } else { Protocol::Http };
        it
    })
}

fn assignment() -> impl Strategy<Value = Assignment> {
    let key = prop_oneof![
        Just(StickyKey::Header("x-user".to_owned())),
        option::of(any::<u32>()).prop_map(|ttl| StickyKey::Cookie { name: "uid".to_owned(), ttl }),
        Just(StickyKey::SourceAddress),
    ];
    prop_oneof![
        Just(Assignment::Even),
        Just(Assignment::Random),
        (key, 0..4_u8).prop_map(|(key, salt)| Assignment::Sticky(Sticky { key, salt: format!("salt-{salt}") })),
    ]
}

fn override_source() -> impl Strategy<Value = OverrideSource> {
    prop_oneof![Just(OverrideSource::Header("x-canary".to_owned())), Just(OverrideSource::Cookie("canary".to_owned())),]
}

/// Any answer of one of three controllers.
pub(crate) fn answer() -> impl Strategy<Value = SyncAnswer> {
    let removed = (0..6_u32, 0..20_u64);
    (0..3_u64, 0..50_u64, vec(any_spec(), 0..4), vec(removed, 0..3)).prop_map(|(instance, seq, splits, removed)| {
        let removed = removed.into_iter();
        SyncAnswer {
            sluicegate: PROTOCOL,
            cursor: Cursor { instance: instance << 60 | 7, seq },
            splits,
            removed: removed.map(|(name, generation)| Removed { name: format!("n/s{name}"), generation }).collect(),
            report: 1000,
        }
    })
}

/// Counts of any size whose sums of a few do not saturate.
pub(crate) fn counts() -> impl Strategy<Value = Counts> {
    let count = || prop_oneof![Just(0_u64), 0..100_u64, 0..1_u64 << 60];
    let latency = btree_map(0..BUCKETS as u8, 1..1_u64 << 55, 0..12);
    (count(), count(), vec(count(), OUTCOMES.len()), latency).prop_map(|(requests, unobserved, outcomes, latency)| {
        let mut it = Counts { requests, unobserved, ..Counts::default() };
        it.outcomes.copy_from_slice(&outcomes);
        it.latency = Histogram(latency.into_iter().collect());
        it
    })
}

/// One thing that can happen to bytes.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    /// Writes what stands at one place over another.
    Copy(Index, Index),
}

/// One to four damages; inserted bytes are random or from the words given.
pub(crate) fn damage(words: &'static [&'static str]) -> impl Strategy<Value = Vec<Damage>> {
    let place = any::<Index>;
    let inserted = prop_oneof![vec(any::<u8>(), 1..6), select(words).prop_map(|word| word.as_bytes().to_vec())];
    let one = prop_oneof![
        (place(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        (place(), select(vec![0, 1, 0x7F, 0x80, 0xFF, b'9', b'-', b'"'])).prop_map(|(at, byte)| Damage::Set(at, byte)),
        place().prop_map(Damage::Cut),
        (place(), inserted).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (place(), place()).prop_map(|(from, upto)| Damage::Remove(from, upto)),
        (place(), place()).prop_map(|(from, to)| Damage::Copy(from, to)),
    ];
    vec(one, 1..=4)
}

/// The bytes after all that.
pub(crate) fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages.iter().cloned() {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        let at = |index: Index| index.index(length);
        match damage {
            Damage::Flip(place, mask) => bytes[at(place)] ^= mask,
            Damage::Set(place, byte) => bytes[at(place)] = byte,
            Damage::Cut(place) => bytes.truncate(at(place)),
            Damage::Insert(place, new) => drop(bytes.splice(at(place)..at(place), new)),
            Damage::Remove(a, b) => drop(bytes.drain(at(a).min(at(b))..at(a).max(at(b)))),
            Damage::Copy(from, to) => bytes[at(to)] = bytes[at(from)],
        }
    }
    bytes
}
