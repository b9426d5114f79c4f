//! Judging by Prometheus: our filter in a real Envoy counts, a real Prometheus scrapes it, and its answers are judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate::prometheus::query::{self, Subject};
use sluicegate::prometheus::{Prometheus as Source, Settings, Window};
use sluicegate_core::judge::Verdict;
use sluicegate_core::judge::metrics::{Class, Direction, Judgment, MetricSpec, Metrics, MetricsSpec, Nan};
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::stats_tags;
use sluicegate_tests::lab::{self, PODS, WEB};
use sluicegate_tests::load::{Limits, Load};
use sluicegate_tests::poll;
use sluicegate_tests::prometheus::Prometheus;
use sluicegate_tests::upstream::Upstreams;

const REQUESTS: &str =
    r#"sum(rate(sluicegate_requests_total{namespace="{{namespace}}",split="{{split}}",subset="{{subset}}"}[4s]))"#;
const ERRORS: &str =
    r#"sum(rate(sluicegate_responses_total{split="{{split}}",subset="{{subset}}",outcome="5xx"}[4s]))"#;

fn subject(subset: &str) -> Subject {
    let [namespace, split, subset, version] = ["default", "backend", subset, subset].map(str::to_owned);
    Subject { namespace, split, subset, version }
}

/// Requests may not rise by more than half; errors are critical, and where none are counted there are none.
fn metrics() -> Result<Metrics> {
    let mut requests = MetricSpec::named("requests");
    (requests.direction, requests.allowed_increase, requests.must_have_data) = (Direction::Increase, Some(1.5), true);
    let mut errors = MetricSpec::named("errors");
    (errors.direction, errors.critical, errors.nan) = (Direction::Increase, true, Nan::Replace);
    Ok(Metrics::try_from(MetricsSpec::of(vec![requests, errors]))?)
}

fn judge(source: &Source, canary: &str, baseline: &str, window: Window) -> Result<Judgment> {
    let (canary, baseline) = (subject(canary), subject(baseline));
    let samples = [REQUESTS, ERRORS].map(|query| source.samples(query, &canary, &baseline, window));
    Ok(metrics()?.judge(&samples))
}

#[test]
fn what_prometheus_scrapes_from_envoy_is_judged() -> Result<()> {
    // v2 gets every fifth request by an override, and each of those fails; v1 and v3 share the rest evenly with v2.
    let split = split_yaml(
        "backend",
        &[("v1", 1), ("v2", 1), ("v3", 1)],
        "overrides: [{ header: x-canary, value: always, subset: v2 }]",
    );
    let controller = Controller::start(&[("backend.yaml", &split)])?;
    let pods = Upstreams::start(&PODS)?;
    let listener = lab::listener(WEB, &lab::plugin(json!({}))?);
    let mut options = lab::options(&pods, vec![listener], controller.proxy, 2);
    options.stats_tags = stats_tags();
    let envoy = Envoy::start(options)?;
    poll::until("the ack", poll::LONG, || {
        let split = controller.json("/v1/splits/default/backend").map_err(|why| format!("{why:#}"))?;
        if split["live"] == 1 && split["acked"] == 1 { Ok(()) } else { Err(split.to_string()) }
    })?;
    let mut prometheus = Prometheus::start(&[envoy.admin()], "/stats/prometheus", Duration::from_millis(500))?;
    let settings = Settings { url: prometheus.url(), token: None, ca: None, timeout: Duration::from_secs(5) };
    let source = Source::new(settings)?;

    let write = |number: u64, out: &mut Vec<u8>| {
        let (query, header) = if number.is_multiple_of(5) { ("?status=503", "x-canary: always\r\n") } else { ("", "") };
        out.extend_from_slice(format!("GET /{query} HTTP/1.1\r\nhost: test\r\n{header}\r\n").as_bytes());
    };
    let web = envoy.listener(WEB)?;
    let stop = Arc::new(AtomicBool::new(false));
    let limits = Limits::duration(Duration::from_secs(60)).rate(300.0).until(&stop);
    let load = std::thread::spawn(move || Load::with(web, 4, Box::new(write))?.run(&limits));
    let query = query::fill(REQUESTS, &subject("v1"))?;
    let there = |window: Window| match source.series(&query, window) {
        Ok(points) if points.iter().all(Option::is_some) => Ok(()),
        Ok(points) => Err(format!("{points:?}")),
        Err(why) => Err(why.to_string()),
    };
    let second = Duration::from_secs(1);
    poll::until("a first rate", poll::LONG, || {
        let now = SystemTime::now().try_into().map_err(|why| format!("{why}"))?;
        there(Window::new(now, now, second).map_err(|why| why.to_string())?)
    })?;
    // Rates look four seconds back, and the counters move once a second.
    let start = SystemTime::now() + 4 * second;
    let window = Window::new(start.try_into()?, (start + 10 * second).try_into()?, second)?;
    poll::until("the last point of the window", poll::LONG * 2, || there(window))?;
    stop.store(true, Ordering::Relaxed);
    let tally = load.join().map_err(|_| anyhow::anyhow!("the load died"))??;
    ensure!(tally.statuses[&503] > 200 && tally.broken == 0, "{:?}", tally.statuses);

    let good = judge(&source, "v3", "v1", window)?;
    ensure!(good.verdict == Verdict::Pass && good.score == Some(100.0), "{good:#?}");
    ensure!(good.metrics[0].canary.used == 11 && good.metrics[1].class == Some(Class::Nodata), "{good:#?}");

    let bad = judge(&source, "v2", "v1", window)?;
    ensure!(bad.verdict == Verdict::Fail && bad.score == Some(0.0) && bad.metrics[1].critical, "{bad:#?}");
    let errors = bad.metrics[1].comparison.map(|it| it.estimate).unwrap_or_default();
    ensure!((40.0..80.0).contains(&errors), "60 errors a second were made, {errors} seen");

    let nobody = judge(&source, "v9", "v1", window)?;
    ensure!(nobody.metrics[0].class == Some(Class::Nodata) && nobody.verdict != Verdict::Pass, "{nobody:#?}");

    // In its own words.
    let both = source.series("sluicegate_requests_total", window).err().map(|why| why.to_string()).unwrap_or_default();
    ensure!(both.contains("must give one series; got 3: aggregate with sum()"), "{both}");
    let wrong = source.series("sum(rate(x[1m])", window).err().map(|why| why.to_string()).unwrap_or_default();
    ensure!(wrong.contains("refuses the query (400 bad_data)") && wrong.contains("parse error"), "{wrong}");
    let values = Subject { subset: "a\"} or vector(0) #'\\`\n".to_owned(), ..subject("v1") };
    let odd = query::fill(REQUESTS, &values)?;
    ensure!(source.series(&odd, window)?.iter().all(Option::is_none), "{odd}");

    prometheus.kill();
    let gone = judge(&source, "v3", "v1", window)?;
    ensure!(gone.verdict == Verdict::Inconclusive && gone.reasons.concat().contains("does not answer"), "{gone:#?}");
    Ok(())
}
