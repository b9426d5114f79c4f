//! What Envoy shows of us: access logs and Prometheus.

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::stats_tags;
use sluicegate_tests::lab::{self, PODS, WEB, plugin};
use sluicegate_tests::load::{Limits, Load};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{client, paths, poll};

#[test]
fn the_access_log_names_the_subset_and_prometheus_has_labels() -> Result<()> {
    let brain = Brain::start()?;
    let pods = Upstreams::start(&PODS)?;
    let folder = paths::scratch("access-log")?;
    let file = folder.path().join("access");
    let mut listener = lab::listener(WEB, &plugin(json!({ "access_log": true }))?);
    listener.access_log = Some((file.clone(), "%FILTER_STATE(wasm.subset:PLAIN)% %RESPONSE_CODE%\n".into()));
    let mut options = lab::options(&pods, vec![listener], brain.door.addr(), 2);
    options.stats_tags = stats_tags();
    // What people copy must be what is tested.
    let yaml = std::fs::read_to_string(paths::repo().join("envoy/envoy.yaml"))?;
    for tag in stats_tags().as_array().into_iter().flatten() {
        let (name, regex) = (tag["tag_name"].as_str().unwrap_or_default(), tag["regex"].as_str().unwrap_or_default());
        ensure!(yaml.contains(&format!("tag_name: {name}, regex: '{regex}'")), "not in envoy/envoy.yaml: {tag}");
    }
    let envoy = Envoy::start(options)?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 1), ("v2", 1)]))?;
    let web = envoy.listener(WEB)?;
    let tally = Load::new(web, 4, "")?.run(&Limits::count(100))?;
    ensure!(tally.failures() == 0);
    for _ in 0..10 {
        ensure!(client::get(web, "/?status=503")?.status == 503);
    }
    poll::until("110 lines in the access log", poll::LONG, || {
        let log = std::fs::read_to_string(&file).unwrap_or_default();
        let lines = |line: &str| log.lines().filter(|one| *one == line).count() as u64;
        let good = lines("v1 200") == tally.pods["v1"] && lines("v2 200") == tally.pods["v2"];
        if good && lines("v1 503") + lines("v2 503") == 10 { Ok(()) } else { Err(log) }
    })?;

    let metric = |page: &str, name: &str, labels: &str| {
        page.lines()
            .find_map(|line| line.strip_prefix(&format!("{name}{{{labels}}} "))?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let labels = |subset: &str| format!("namespace=\"default\",split=\"backend\",subset=\"{subset}\"");
    poll::until("the counters", poll::LONG, || {
        let page = envoy.prometheus().map_err(|why| format!("{why:#}"))?;
        let ours: Vec<&str> = page.lines().filter(|line| line.starts_with("sluicegate")).collect();
        let sum = |name: &str, behind: &str| -> u64 {
            ["v1", "v2"].iter().map(|subset| metric(&page, name, &format!("{}{behind}", labels(subset)))).sum()
        };
        let requests = sum("sluicegate_requests_total", "");
        let good = sum("sluicegate_responses_total", ",outcome=\"2xx\"");
        let bad = sum("sluicegate_responses_total", ",outcome=\"5xx\"");
        if (requests, good, bad) == (110, 100, 10) { Ok(()) } else { Err(ours.join("\n")) }
    })
}
