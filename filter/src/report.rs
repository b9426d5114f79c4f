//! Counts on their way out: each VM adds its own to the process-wide totals; the poller posts those to the controller.
//!
//! The totals live in shared data, not in Envoy's counters: those can be reset, refused by a stats matcher, and are
//! inherited by a hot-restarted child, while shared data begins and ends with the epoch. Counters get the same numbers
//! for Prometheus, outcomes multiplied by the sampling rate.

use crate::{
    host::{self, Map, Metric},
    poll,
    root::Root,
    shared::{self, Keys},
    vm::{Common, Metrics},
};
use sluicegate_core::{
    counts::{Counts, OUTCOMES},
    ledger::{Told, Totals},
    wire::{PROTOCOL, REPORT_ANSWER, REPORT_PATH, Report},
};

/// Milliseconds between two flushes of a VM.
const FLUSH_MS: u64 = 1_000;
/// Milliseconds between two reports until the controller says how many: the first poll of a new poller may be held for
/// long, and counts should not wait for its answer.
const UNTOLD_MS: u64 = 2_000;
/// When Envoy gives up on a report, in milliseconds.
const TIMEOUT_MS: u32 = 5_000;

/// State of reporting in one root.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    flushed: u64,
    not_before: u64,
    /// Token of the report under way, with what it says.
    under_way: Option<(u32, Totals)>,
    told: Told,
}

impl Reporter {
    /// A controller has answered a poll. A new process knows nothing of what the last one confirmed.
    pub(crate) fn talks_to(&mut self, controller: u64) {
        if self.told.talks_to(controller) {
            self.under_way = None;
        }
    }

    /// A report was answered, by the controller or by Envoy in its place.
    pub(crate) fn answered(&mut self, token: u32, now: u64) {
        let Some((_, said)) = self.under_way.take_if(|(mine, _)| *mine == token) else { return };
        let status = host::header(Map::CallResponse, ":status");
        let body = host::buffer(host::Buffer::CallResponseBody, 4_096).unwrap_or_default();
        if status.as_deref() == Some(b"200") && body.starts_with(REPORT_ANSWER) {
            self.told.confirm(said, now);
        }
    }
}

/// Adds what this VM counted to the totals, at most once in a while.
pub(crate) fn flush(keys: &Keys, common: &mut Common, now: u64, reporter: &mut Reporter) {
    if now < reporter.flushed + FLUSH_MS {
        return;
    }
    reporter.flushed = now;
    let counted: Vec<_> = common.ledger.dirty(keys.plugin).map(|line| (line.key.clone(), line.counts())).collect();
    if counted.is_empty() {
        return;
    }
    let added = shared::update(&keys.counts, |shared| {
        let mut totals = Totals::decode(&shared.value).unwrap_or_default();
        counted.iter().for_each(|(key, counts)| totals.add(key, counts));
        (Some(totals.encode()), ())
    });
    if added.is_err() {
        // The lines keep their counts for the next flush.
        return;
    }
    common.ledger.dirty(keys.plugin).for_each(|line| line.clear());
    for (key, counts) in &counted {
        count_in_envoy(&key.split, &key.subset, key.sample, counts, &mut common.metrics);
    }
}

/// Names become labels by the stats tags of envoy/envoy.yaml.
fn count_in_envoy(split: &str, subset: &str, sample: u32, counts: &Counts, metrics: &mut Metrics) {
    let Some((namespace, split)) = split.split_once('/') else { return };
    let stem = format!("sluicegate.ns.{namespace}.split.{split}.subset.{subset}");
    let mut add = |name: String, by: u64| {
        if by > 0
            && let Some(id) = metrics.id(Metric::Counter, &name)
        {
            // A counter that a stats matcher refuses takes everything and stays 0; nothing of ours depends on it.
            let _ = host::increment_metric(id, by);
        }
    };
    add(format!("{stem}.requests_total"), counts.requests);
    for outcome in OUTCOMES {
        let scaled = counts.outcome(outcome).saturating_mul(u64::from(sample));
        add(format!("{stem}.outcome.{}.responses_total", outcome.name()), scaled);
    }
}

/// Posts the series that changed since the last confirmed report, and now and then that none did.
pub(crate) fn send(root: &mut Root, now: u64) {
    let every = root.poll.report_every.unwrap_or(UNTOLD_MS);
    if root.reporter.under_way.is_some() || now < root.reporter.not_before || every == 0 {
        return;
    }
    let totals = host::shared(&root.keys.counts).map_or_else(|| Ok(Totals::default()), |s| Totals::decode(&s.value));
    let Some(news) = totals.ok().and_then(|totals| root.reporter.told.news(totals, now)) else { return };
    let report = Report { sluicegate: PROTOCOL, proxy: root.proxy.clone(), series: news.series() };
    root.reporter.not_before = now + every;
    if let Ok(token) = host::post(&root.config.cluster, &poll::headers(root, REPORT_PATH), &report.encode(), TIMEOUT_MS)
    {
        root.reporter.under_way = Some((token, news));
    }
}
