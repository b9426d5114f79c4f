//! What monitoring sees of an ext-proc: the counters that a filter leaves in Envoy, under the same names.

use super::{follow::Follower, gate::Gate};
use crate::listen::teach;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};
use sluicegate_core::counts::OUTCOMES;
use std::{collections::BTreeMap, fmt, sync::Arc};
use tokio::sync::watch;

/// Who knows.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) gate: Arc<Gate>,
    pub(super) follower: Arc<Follower>,
    pub(super) closing: watch::Receiver<bool>,
}

/// The port monitoring calls; nothing can be changed there.
pub(super) fn router(told: Told) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .fallback(async || teach(StatusCode::NOT_FOUND, "no such path; there are /metrics, /healthz and /readyz"))
        .with_state(told)
}

async fn ready(State(told): State<Told>) -> Response {
    match told.follower.can_decide() && !*told.closing.borrow() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

async fn scrape(State(told): State<Told>) -> Response {
    let mut registry = Registry::with_prefix("sluicegate");
    registry.register_collector(Box::new(told));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(why) => teach(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics could not be written: {why}")),
    }
}

impl Collector for Told {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = to.encode_descriptor("build_info", "1, for the version", None, MetricType::Gauge)?;
        family.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1_i64)?;
        let help = "Since the controller's last answer";
        let silence = self.follower.silence().as_secs_f64();
        to.encode_descriptor("controller_silence_seconds", help, None, MetricType::Gauge)?.encode_gauge(&silence)?;
        // Of one subset there may be several series, by sampling rate.
        let mut sums: BTreeMap<[String; 3], (u64, [u64; OUTCOMES.len()])> = BTreeMap::new();
        for (key, counts) in self.gate.totals().0 {
            let (namespace, split) = key.split.split_once('/').unwrap_or_default();
            let (requests, outcomes) = sums.entry([namespace.into(), split.into(), key.subset]).or_default();
            *requests += counts.requests;
            for (sum, outcome) in outcomes.iter_mut().zip(counts.outcomes) {
                *sum += outcome.saturating_mul(key.sample.into());
            }
        }
        let labels = |[namespace, split, subset]: &'_ [String; 3]| {
            [("namespace", namespace.clone()), ("split", split.clone()), ("subset", subset.clone())]
        };
        let mut family = to.encode_descriptor("requests", "Requests sent to a subset", None, MetricType::Counter)?;
        for (names, (requests, _)) in &sums {
            family.encode_family(&labels(names))?.encode_counter::<NoLabelSet, _, u64>(requests, None)?;
        }
        let help = "Outcomes of requests, scaled up by the sampling rate";
        let mut family = to.encode_descriptor("responses", help, None, MetricType::Counter)?;
        for (names, (_, outcomes)) in &sums {
            let [namespace, split, subset] = labels(names);
            for (outcome, count) in OUTCOMES.iter().zip(outcomes) {
                let outcome = ("outcome", outcome.name().to_owned());
                let labels = [namespace.clone(), split.clone(), subset.clone(), outcome];
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        Ok(())
    }
}
