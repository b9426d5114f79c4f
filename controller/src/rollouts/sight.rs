//! What the hub and the tally know of a rollout's splits.

use crate::{
    context::Inner,
    hub::{proxy::Proxy, record::Spread},
    store,
};
use sluicegate_core::{
    counts::Counts,
    rollout::{Role, SplitSeen, WHOLE, Weights},
    snapshot::Entry,
    spec::SplitSpec,
};
use std::time::Duration;

/// A proxy that counts and has not reported for this long is missing; one without traffic says so every ten seconds.
const SILENT: Duration = Duration::from_secs(15);

/// How a split looks. `expected`: proxies that subscribed when the state was last written; after a restart they take a
/// moment to come back, and acks without them prove nothing.
pub fn split(inner: &Inner, name: &str, expected: usize) -> SplitSeen {
    let nothing = SplitSeen { weights: None, acked: false };
    let Some(record) = inner.hub.record(name) else { return nothing };
    let Entry::Live(spec) = &record.entry else { return nothing };
    let (_, live) = inner.hub.acked(name);
    SplitSeen { weights: weights(spec), acked: record.spread == Spread::Everywhere && live >= expected }
}

/// Live proxies that subscribe to any of these splits: the most of one.
pub fn live<'a>(inner: &Inner, splits: impl Iterator<Item = &'a str>) -> usize {
    splits.map(|name| inner.hub.acked(name).1).max().unwrap_or(0)
}

/// Weights as a rollout means them; `None` when the split has other subsets.
fn weights(spec: &SplitSpec) -> Option<Weights> {
    if spec.subsets.iter().any(|s| !Role::ALL.iter().any(|role| role.name() == s.name)) {
        return None;
    }
    let weight = |role: Role| spec.subsets.iter().find(|s| s.name == role.name()).map(|s| u64::from(s.weight));
    let (main, canary) = (weight(Role::Main)?, weight(Role::Canary)?);
    let baseline = weight(Role::Baseline).unwrap_or(0);
    let total = main + canary + baseline;
    // Weights that are no thousandths of a percent are nobody's but the user's.
    let scale =
        |w: u64| (w * u64::from(WHOLE)).checked_div(total).filter(|share| share * total == w * u64::from(WHOLE));
    match (scale(canary), scale(main), scale(baseline)) {
        (Some(canary), Some(main), Some(baseline)) => {
            Some(Weights { canary: canary as u32, main: main as u32, baseline: baseline as u32 })
        }
        _ => Some(Weights { canary: 0, main: 0, baseline: 0 }),
    }
}

/// Weights as they are published: percents where that is exact.
pub fn published(weights: Weights) -> store::Weights {
    let all = [(Role::Canary, weights.canary), (Role::Main, weights.main), (Role::Baseline, weights.baseline)];
    let unit = if all.iter().all(|(_, w)| w % 1_000 == 0) { 1_000 } else { 1 };
    all.into_iter().filter(|(_, w)| *w > 0).map(|(role, w)| (role.name().to_owned(), w / unit)).collect()
}

/// What this controller has seen counted of one role, over all the splits.
pub fn counts<'a>(inner: &Inner, splits: impl Iterator<Item = &'a str>, role: Role) -> Counts {
    let mut sum = Counts::default();
    splits.for_each(|split| sum.merge(&inner.tally.fresh(split, role.name())));
    sum
}

/// Live proxies that serve one of these splits, and count.
pub fn counting<'a>(inner: &'a Inner, splits: &'a [String]) -> impl Iterator<Item = &'a Proxy> {
    inner.hub.proxies().filter(|p| {
        let mut records = splits.iter().filter_map(|name| inner.hub.record(name).map(|r| (name, r)));
        p.lost.is_none() && p.abilities.counts && records.any(|(name, r)| r.is_for(name, &p.subscription))
    })
}

/// Of those, the ones that have gone silent.
pub fn missing(inner: &Inner, splits: &[String], now: Duration) -> u32 {
    let patience = SILENT.max(inner.hub.report_interval() * 3);
    let silent = |p: &&Proxy| inner.tally.heard(p.id.epoch).is_none_or(|heard| now.saturating_sub(heard) > patience);
    counting(inner, splits).filter(silent).count() as u32
}
