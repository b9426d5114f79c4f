//! `GET /metrics`: the shared state as Prometheus reads it. Nothing is counted twice: what the hub and the tally know is
//! written down when somebody asks.

use crate::context::{Context, Inner};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};
use sluicegate_core::{
    counts::OUTCOMES,
    latency::{EDGES, Histogram},
    snapshot::Entry,
};
use std::{collections::BTreeSet, fmt};

mod rollouts;

/// Upper edges in µs of the latency buckets given to Prometheus; each is an edge of ours, so the counts are exact.
const LATENCY: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Upper edges in seconds of the propagation buckets.
pub const PROPAGATION: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// Everything, in the text format.
pub(super) fn text(context: &Context) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sluicegate");
    let propagation = context.lock().propagation.clone();
    registry.register(
        "propagation_seconds",
        "From the publication of a generation to the ack of the last live proxy",
        propagation,
    );
    registry.register_collector(Box::new(Snapshot(context.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Snapshot(Context);

impl Collector for Snapshot {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let inner = self.0.lock();
        controller(&inner, &mut to)?;
        splits(&inner, &mut to)?;
        proxies(&inner, &mut to)?;
        counts(&inner, &mut to)?;
        rollouts::encode(&inner, self.0.clock.now().wall, &mut to)
    }
}

fn splits(inner: &Inner, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let live = || inner.hub.records().filter(|(_, record)| matches!(record.entry, Entry::Live(_)));
    let mut family = to.encode_descriptor("split_weight", "Weight of a subset", None, MetricType::Gauge)?;
    for (name, record) in live() {
        let Entry::Live(spec) = &record.entry else { continue };
        for subset in &spec.subsets {
            let labels = [("split", name), ("subset", subset.name.as_str())];
            family.encode_family(&labels)?.encode_gauge(&i64::from(subset.weight))?;
        }
    }
    let mut family = to.encode_descriptor("split_generation", "Generation in force", None, MetricType::Gauge)?;
    for (name, record) in live() {
        family.encode_family(&[("split", name)])?.encode_gauge(&record.generation())?;
    }
    let help = "Live proxies that subscribe to a split";
    let mut family = to.encode_descriptor("split_proxies_live", help, None, MetricType::Gauge)?;
    for (name, _) in live() {
        family.encode_family(&[("split", name)])?.encode_gauge(&(inner.hub.acked(name).1 as u64))?;
    }
    let help = "Live proxies that run the generation in force";
    let mut family = to.encode_descriptor("split_proxies_acked", help, None, MetricType::Gauge)?;
    for (name, _) in live() {
        family.encode_family(&[("split", name)])?.encode_gauge(&(inner.hub.acked(name).0 as u64))?;
    }
    let help = "1 when the newest document of a split is in force, 0 when it was refused";
    let mut family = to.encode_descriptor("split_accepted", help, None, MetricType::Gauge)?;
    let refused = inner.complaints.iter().filter(|c| c.refused).filter_map(|c| c.split.as_deref());
    let refused: BTreeSet<&str> = refused.collect();
    let known: BTreeSet<&str> = live().map(|(name, _)| name).chain(refused.iter().copied()).collect();
    for name in known {
        family.encode_family(&[("split", name)])?.encode_gauge(&i64::from(!refused.contains(name)))?;
    }
    let help = "1 for each document in which something is wrong now";
    let mut family = to.encode_descriptor("store_problem", help, None, MetricType::Gauge)?;
    let wrong: BTreeSet<_> = inner.complaints.iter().map(|c| (c.file.as_str(), c.reason)).collect();
    for (file, reason) in wrong {
        family.encode_family(&[("file", file), ("reason", reason)])?.encode_gauge(&1_i64)?;
    }
    Ok(())
}

fn controller(inner: &Inner, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = to.encode_descriptor("build_info", "1, for the version", None, MetricType::Gauge)?;
    family.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1_i64)?;
    let help = "1 while this process leads the rollouts";
    to.encode_descriptor("leader", help, None, MetricType::Gauge)?.encode_gauge(&i64::from(inner.leads))
}

fn proxies(inner: &Inner, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let lost = inner.hub.proxies().filter(|p| p.lost.is_some()).count() as u64;
    let live = inner.hub.proxies().count() as u64 - lost;
    let mut family = to.encode_descriptor("proxies", "Proxies by state", None, MetricType::Gauge)?;
    family.encode_family(&[("state", "live")])?.encode_gauge(&live)?;
    family.encode_family(&[("state", "lost")])?.encode_gauge(&lost)?;
    let gauges = [
        ("sync_polls_open", "Long polls held now", inner.hub.open_polls() as u64),
        ("splits_missing", "Splits that proxies ask for in vain", inner.hub.wanted_in_vain().len() as u64),
        ("store_problems", "What is wrong in the store now", inner.complaints.len() as u64),
    ];
    for (name, help, value) in gauges {
        to.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    let totals = inner.totals;
    let counters = [
        ("syncs", "Syncs since the start", totals.syncs),
        ("reports", "Reports since the start", totals.reports),
        ("refused_messages", "Messages on the proxy port that were not understood", totals.refused),
        ("store_errors", "Times something in the store was found to be wrong", totals.complaints),
        ("report_series_dropped", "Reported series that found no room", inner.tally.dropped()),
    ];
    for (name, help, value) in counters {
        let mut counter = to.encode_descriptor(name, help, None, MetricType::Counter)?;
        counter.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

fn counts(inner: &Inner, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Requests sent to a subset, as the proxies counted them";
    let mut family = to.encode_descriptor("requests", help, None, MetricType::Counter)?;
    for (split, subset, sums) in inner.tally.totals() {
        let labels = [("split", split), ("subset", subset)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&sums.scaled.requests, None)?;
    }
    let help = "Outcomes of requests, scaled up by the sampling rate";
    let mut family = to.encode_descriptor("outcomes", help, None, MetricType::Counter)?;
    for (split, subset, sums) in inner.tally.totals() {
        for outcome in OUTCOMES {
            let labels = [("split", split), ("subset", subset), ("outcome", outcome.name())];
            let count = sums.scaled.outcome(outcome);
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    let help = "Latency of requests, scaled up by the sampling rate; the sum is estimated from the buckets";
    let mut family = to.encode_descriptor("latency_seconds", help, None, MetricType::Histogram)?;
    for (split, subset, sums) in inner.tally.totals() {
        let (sum, count, buckets) = histogram(&sums.scaled.latency);
        let labels = [("split", split), ("subset", subset)];
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}

/// Sum in seconds, count, and counts per coarse bucket.
fn histogram(latency: &Histogram) -> (f64, u64, Vec<(f64, u64)>) {
    let edges = LATENCY.iter().map(|micros| *micros as f64 / 1e6).chain([f64::MAX]);
    let mut buckets: Vec<(f64, u64)> = edges.map(|edge| (edge, 0)).collect();
    let mut sum = 0.0;
    for (fine, count) in &latency.0 {
        let fine = usize::from(*fine);
        let low = fine.checked_sub(1).and_then(|b| EDGES.get(b)).copied().unwrap_or(0);
        let high = EDGES.get(fine).copied().unwrap_or(low);
        sum += (low + high) as f64 / 2e6 * *count as f64;
        let unbounded = fine >= EDGES.len();
        let coarse = if unbounded { LATENCY.len() } else { LATENCY.partition_point(|edge| *edge < high) };
        if let Some((_, known)) = buckets.get_mut(coarse) {
            *known = known.saturating_add(*count);
        }
    }
    (sum, latency.total(), buckets)
}
