//! Rollouts as Prometheus reads them.

use crate::{context::Inner, rollouts::view::View};
use jiff::Timestamp;
use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};
use std::fmt;

pub(super) fn encode(inner: &Inner, now: Timestamp, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let views = || inner.rollouts.values();
    let mut gauge = |name, help, value: &dyn Fn(&View) -> Option<f64>| -> fmt::Result {
        let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for view in views() {
            let Some(value) = value(view) else { continue };
            family.encode_family(&[("rollout", view.name.as_str())])?.encode_gauge(&value)?;
        }
        Ok(())
    };
    let flag = |is: bool| Some(f64::from(u8::from(is)));
    let evidence = |view: &View, at: &str| view.evidence.as_ref()?.pointer(at)?.as_f64();
    let verdict = |view: &View| match view.verdict.as_deref()? {
        "pass" => Some(1.0),
        "fail" => Some(-1.0),
        _ => Some(0.0),
    };
    gauge("rollout_step", "Step a rollout is at, from 1; 0: at none", &|v| Some(v.step.unwrap_or(0) as f64))?;
    gauge("rollout_steps", "Steps a rollout has", &|v| Some(v.steps.len() as f64))?;
    gauge("rollout_verdict", "1 pass, 0 inconclusive, -1 fail", &verdict)?;
    gauge("rollout_evidence", "Evidence of harm; 1 says nothing", &|v| evidence(v, "/harm/value"))?;
    gauge("rollout_evidence_limit", "Evidence of harm that rolls back", &|v| evidence(v, "/harm/decidesAt"))?;
    gauge("rollout_proxies_live", "Live proxies, over all splits of a rollout", &|v| Some(v.live as f64))?;
    gauge("rollout_proxies_acked", "Live proxies that run the weights in force", &|v| Some(v.acked as f64))?;
    gauge("rollout_paused", "1 while a person or its document keeps it", &|v| flag(v.paused))?;
    gauge("rollout_stalled", "1 while something keeps it from going on", &|v| {
        flag(v.conditions.iter().any(|condition| condition.kind == "Stalled" && condition.status == "True"))
    })?;
    gauge("rollout_phase_seconds", "Time since the phase began", &|v| {
        Some(now.duration_since(v.since?).as_secs_f64().max(0.0))
    })?;
    let help = "Weight in percent of each role, in the first split";
    let mut family = to.encode_descriptor("rollout_weight", help, None, MetricType::Gauge)?;
    for view in views() {
        for (role, weight) in &view.weights {
            let labels = [("rollout", view.name.as_str()), ("role", role.as_str())];
            family.encode_family(&labels)?.encode_gauge(&weight.parse().unwrap_or(f64::NAN))?;
        }
    }
    let mut family = to.encode_descriptor("rollout_phase", "1 for the phase it is in", None, MetricType::Gauge)?;
    for view in views() {
        let labels = [("rollout", view.name.as_str()), ("phase", view.phase.as_str())];
        family.encode_family(&labels)?.encode_gauge(&1_i64)?;
    }
    let help = "Rollouts that ended since the start, promoted or rolled back";
    let mut family = to.encode_descriptor("rollouts_ended", help, None, MetricType::Counter)?;
    for ((rollout, outcome), count) in &inner.outcomes {
        let labels = [("rollout", rollout.as_str()), ("outcome", *outcome)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
    }
    Ok(())
}
