//! From the shared state to what people see.

use super::{
    condition::conditions,
    model::{Counted, Missing, Problem, Proxies, Proxy, Split, SplitProxy, Splits, Subset},
};
use crate::{
    context::Inner,
    hub::{Hub, proxy::Standing, record::Record, view::Subscriber},
    store::Complaint,
};
use sluicegate_core::{
    counts::{Counts, OUTCOMES},
    snapshot::Entry,
    spec::{Assignment, SplitSpec, StickyKey, SubsetSpec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Milliseconds with a fraction.
fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// All splits: in force, or refused from the beginning.
pub(super) fn splits(inner: &Inner) -> Splits {
    let live = inner.hub.records().filter(|(_, record)| matches!(record.entry, Entry::Live(_)));
    let mut names: BTreeSet<&str> = live.map(|(name, _)| name).collect();
    names.extend(inner.complaints.iter().filter(|c| c.refused).filter_map(|c| c.split.as_deref()));
    let missing = inner.hub.wanted_in_vain();
    Splits {
        splits: names.into_iter().filter_map(|name| split(inner, name, None)).collect(),
        problems: inner.complaints.iter().map(problem).collect(),
        missing: missing.into_iter().map(|(name, proxies)| Missing { name: name.to_owned(), proxies }).collect(),
    }
}

/// One split; with `now` in detail. `None`: neither in force nor refused.
pub(super) fn split(inner: &Inner, name: &str, now: Option<Duration>) -> Option<Split> {
    let about = || inner.complaints.iter().filter(|c| c.split.as_deref() == Some(name));
    let record = inner.hub.record(name);
    let spec = record.and_then(|record| match &record.entry {
        Entry::Live(spec) => Some((spec, record)),
        Entry::Gone(_) => None,
    });
    if spec.is_none() && !about().any(|c| c.refused) {
        return None;
    }
    let mut view = Split {
        name: name.to_owned(),
        conditions: conditions(inner, name, spec.map(|(_, record)| record)),
        problems: about().map(problem).collect(),
        ..Split::default()
    };
    if let Some((spec, record)) = spec {
        (view.acked, view.live) = inner.hub.acked(name);
        view.generation = Some(record.generation());
        view.since = Some(record.began);
        describe(&mut view, spec);
        view.propagated_ms = record.took.map(ms);
        if let Some(now) = now {
            for subset in &mut view.subsets {
                subset.counts = Some(counted(inner, name, &subset.name, now));
            }
            view.proxies = inner.hub.subscribers(name).iter().map(|s| split_proxy(s, name, record)).collect();
        }
    }
    Some(view)
}

fn assignment(assignment: &Assignment) -> String {
    match assignment {
        Assignment::Even => "even".to_owned(),
        Assignment::Random => "random".to_owned(),
        Assignment::Sticky(sticky) => match &sticky.key {
            StickyKey::Header(header) => format!("sticky by header {header}"),
            StickyKey::Cookie { name, .. } => format!("sticky by cookie {name}"),
            StickyKey::SourceAddress => "sticky by source address".to_owned(),
        },
    }
}

/// Fills in what is wanted of a split.
pub fn describe(view: &mut Split, spec: &SplitSpec) {
    let total: u64 = spec.subsets.iter().map(|s| u64::from(s.weight)).sum();
    let share = |weight| f64::from(weight) / total.max(1) as f64;
    let subset =
        |s: &SubsetSpec| Subset { name: s.name.clone(), weight: s.weight, share: share(s.weight), counts: None };
    view.subsets = spec.subsets.iter().map(subset).collect();
    view.default = Some(spec.default.clone());
    view.hosts.clone_from(&spec.hosts);
    view.assignment = assignment(&spec.assignment);
}

fn counted(inner: &Inner, split: &str, subset: &str, now: Duration) -> Counted {
    let total = inner.tally.total(split, subset);
    let window = inner.tally.window(split, subset, now);
    let quantile = |q| window.sums.scaled.latency.quantile(q).map(|micros| micros / 1e3);
    let by_name = |counts: &Counts| OUTCOMES.iter().map(|o| (o.name().to_owned(), counts.outcome(*o))).collect();
    Counted {
        requests: total.scaled.requests,
        outcomes: by_name(&total.scaled),
        observed: by_name(&total.observed),
        window_seconds: window.length.as_secs_f64(),
        rate: window.rate(),
        errors: window.errors(),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
    }
}

fn split_proxy(subscriber: &Subscriber<'_>, name: &str, record: &Record) -> SplitProxy {
    let proxy = subscriber.proxy;
    let standing = match subscriber.standing {
        Standing::Acked => "acked",
        Standing::Behind => "behind",
        Standing::Ahead => "ahead",
        Standing::Conflict => "conflict",
    };
    SplitProxy {
        node: proxy.id.node.clone(),
        plugin: proxy.id.plugin.clone(),
        epoch: format!("{:016x}", proxy.id.epoch),
        version: proxy.version.clone(),
        state: state(proxy.lost.is_some()),
        generation: proxy.acks.get(name).map(|known| known.ack.0),
        standing: standing.to_owned(),
        lag_ms: proxy.lag(name, record).map(ms),
        weights: proxy.acks.get(name).and_then(|known| record.weights_of(known.ack)).map(BTreeMap::from_iter),
    }
}

fn state(lost: bool) -> String {
    if lost { "lost" } else { "live" }.to_owned()
}

/// All proxies.
pub(super) fn proxies(inner: &Inner, now: Duration) -> Proxies {
    let view = |p: &crate::hub::proxy::Proxy| Proxy {
        node: p.id.node.clone(),
        plugin: p.id.plugin.clone(),
        epoch: format!("{:016x}", p.id.epoch),
        version: p.version.clone(),
        counts: p.abilities.counts,
        cookies: p.abilities.cookies,
        subscription: Hub::subscription_text(&p.subscription).to_owned(),
        state: state(p.lost.is_some()),
        polls: p.open,
        silent_ms: if p.open > 0 { 0 } else { now.saturating_sub(p.heard.at).as_millis() as u64 },
        reported_ms: inner.tally.heard(p.id.epoch).map(|heard| now.saturating_sub(heard).as_millis() as u64),
        runs: p.acks.iter().map(|(name, known)| (name.to_string(), known.ack.0)).collect(),
    };
    let mut proxies: Vec<_> = inner.hub.proxies().map(view).collect();
    proxies.sort_by(|a, b| (&a.node, &a.epoch).cmp(&(&b.node, &b.epoch)));
    Proxies { proxies }
}

fn problem(complaint: &Complaint) -> Problem {
    Problem {
        file: complaint.file.clone(),
        line: complaint.place.map(|p| p.line),
        column: complaint.place.map(|p| p.column),
        split: complaint.split.clone(),
        reason: complaint.reason.to_owned(),
        message: complaint.message.clone(),
    }
}
