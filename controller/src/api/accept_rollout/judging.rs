//! `judge` of a CanaryDeploy from written to meant.

use super::{Errors, Judging, Latency, Prometheus, parts};
use crate::api::{
    accept::{Refusal, refuse},
    judge::{ErrorsSpec, JudgeSpec, LatencySpec, MetricSpec, PrometheusSpec},
    nearest::hint,
    tree::Step,
};
use std::time::Duration;

/// `minRequests` unless given.
pub const MIN_REQUESTS: u64 = 100;
/// `alpha` unless given.
pub const ALPHA: f64 = 0.01;
/// `marks.pass` and `marks.marginal` unless given.
pub const MARKS: (f64, f64) = (95.0, 75.0);
/// Unless given.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(15);
/// Longest that may be given.
const MAX_QUERY_TIMEOUT: Duration = Duration::from_secs(300);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

fn at<const N: usize>(rest: [Step; N]) -> Vec<Step> {
    [&["spec".into(), "judge".into()][..], &rest].concat()
}

fn no<T, const N: usize>(rest: [Step; N], message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { path: at(rest), message: message.into() })
}

/// What makes a step good.
pub(super) fn judging(written: Option<&JudgeSpec>) -> Result<Judging, Refusal> {
    let nothing = JudgeSpec::default();
    let written = written.unwrap_or(&nothing);
    let unsaid = written.errors.is_none() && written.latency.is_none() && written.metrics.is_empty();
    let errors = match &written.errors {
        Some(spec) => Some(errors(spec)?),
        None => unsaid.then(Errors::default),
    };
    let min_requests = written.min_requests.unwrap_or(MIN_REQUESTS);
    if min_requests == 0 {
        return no(["minRequests".into()], "minRequests must be at least 1: nothing is never enough to pass");
    }
    let alpha = written.alpha.unwrap_or(ALPHA);
    if !(alpha > 0.0 && alpha < 1.0) {
        return no(["alpha".into()], format!("alpha {alpha} must be between 0 and 1, for example 0.01"));
    }
    let marks = written.marks.as_ref().map_or(MARKS, |m| (m.pass, m.marginal));
    if !(0.0 <= marks.1 && marks.1 <= marks.0 && marks.0 <= 100.0) {
        return no(["marks".into()], "marks must be 0 ≤ marginal ≤ pass ≤ 100");
    }
    let prometheus = written.prometheus.as_ref().map(prometheus).transpose()?;
    if prometheus.is_none() && !written.metrics.is_empty() {
        return no(
            ["metrics".into()],
            "metrics come from Prometheus; add prometheus: { url: http://HOST:9090 } to judge",
        );
    }
    for (i, metric) in written.metrics.iter().enumerate() {
        check(i, metric, &written.metrics)?;
    }
    groups(written)?;
    let judging = Judging {
        errors,
        latency: written.latency.as_ref().map(latency).transpose()?,
        min_requests,
        pass_when: written.pass_when.unwrap_or_default(),
        dry_run: written.dry_run.unwrap_or(false),
        alpha,
        metrics: written.metrics.clone(),
        groups: written.groups.clone(),
        marks,
        prometheus,
    };
    match judging.metrics() {
        Ok(_) => Ok(judging),
        Err(why) => no(["metrics".into()], why.to_string()),
    }
}

fn errors(written: &ErrorsSpec) -> Result<Errors, Refusal> {
    let Some(max) = &written.max else { return Ok(Errors::default()) };
    match max.thousandths() {
        Ok(max) => Ok(Errors { max: Some(max) }),
        Err(why) => no(["errors".into(), "max".into()], format!("max {max} {why}")),
    }
}

fn latency(written: &LatencySpec) -> Result<Latency, Refusal> {
    let time = |text: &Option<String>, field: &'static str| {
        let path = ["spec".into(), "judge".into(), "latency".into(), field.into()];
        let least = Duration::from_millis(1);
        text.as_deref().map(|text| parts::millis(Some(text), least, least, path)).transpose()
    };
    Ok(Latency { slower_than: time(&written.slower_than, "slowerThan")?, p99: time(&written.p99, "p99")? })
}

fn prometheus(written: &PrometheusSpec) -> Result<Prometheus, Refusal> {
    let path = |field: &'static str| ["spec".into(), "judge".into(), "prometheus".into(), field.into()];
    if let Err(why) = parts::url(&written.url) {
        return refuse(path("url"), why);
    }
    let time = |text: &Option<String>, unless_given, least, most, field| {
        parts::time(text.as_deref(), unless_given, least, most, path(field))
    };
    let (instant, second) = (Duration::from_millis(1), Duration::from_secs(1));
    Ok(Prometheus {
        url: written.url.trim_end_matches('/').to_owned(),
        timeout: time(&written.timeout, QUERY_TIMEOUT, instant, MAX_QUERY_TIMEOUT, "timeout")?,
        interval: time(&written.interval, INTERVAL, second, MAX_INTERVAL, "interval")?,
        token_file: written.token_file.as_ref().map(Into::into),
        ca_file: written.ca_file.as_ref().map(Into::into),
    })
}

fn check(i: usize, metric: &MetricSpec, all: &[MetricSpec]) -> Result<(), Refusal> {
    let refused = |field: &'static str, why: String| no(["metrics".into(), i.into(), field.into()], why);
    if metric.name.trim().is_empty() {
        return refused("name", "a metric needs a name, to be found in verdicts".into());
    }
    if all.iter().take(i).any(|other| other.name == metric.name) {
        return refused("name", format!("metric {:?} is listed twice", metric.name));
    }
    if metric.query.trim().is_empty() {
        return refused("query", "the query is empty; write PromQL that gives one series".into());
    }
    if !metric.query.contains("{{subset}}") {
        let why = "the query must tell the subsets apart; put {{subset}} where its name belongs";
        return refused("query", why.into());
    }
    if metric.confidence.is_some_and(|c| !(c > 0.0 && c < 1.0)) {
        return refused("confidence", "confidence must be between 0 and 1, for example 0.98".into());
    }
    if metric.min_points.is_some_and(|points| points < 2) {
        return refused("minPoints", "minPoints must be at least 2".into());
    }
    for (field, value) in [
        ("tolerance", metric.tolerance),
        ("allowedIncrease", metric.allowed_increase),
        ("allowedDecrease", metric.allowed_decrease),
        ("criticalIncrease", metric.critical_increase),
        ("criticalDecrease", metric.critical_decrease),
    ] {
        if let Some(value) = value.filter(|v| !v.is_finite() || *v < 0.0) {
            return refused(field, format!("{field} {value} must be a number, 0 or above"));
        }
    }
    Ok(())
}

/// Weights of groups that exist, in percent.
fn groups(written: &JudgeSpec) -> Result<(), Refusal> {
    let known = || written.metrics.iter().filter_map(|m| m.group.as_deref());
    for (group, weight) in &written.groups {
        if !known().any(|k| k == group) {
            let message = format!("no metric belongs to group {group:?}{}", hint(group, known()));
            return no(["groups".into()], message);
        }
        if !(0.0..=100.0).contains(weight) {
            return no(["groups".into()], format!("group {group:?} counts {weight}; write a percent of 0 to 100"));
        }
    }
    let sum: f64 = written.groups.values().sum();
    // Ten groups of 10.1 and nine of 9.9 may be a hair above.
    match sum > 100.0 + 1e-6 {
        true => no(["groups".into()], format!("groups count {sum} together; that is more than 100")),
        false => Ok(()),
    }
}
